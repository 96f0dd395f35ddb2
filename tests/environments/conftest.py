"""A cluster in memory that the program talks to, as if a kubeconfig led there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kindling.engine.environments import reach
from kindling.kube.contexts import KubeContext
from kindling.kube.protocol import Cluster
from kindling.testing.cluster import FakeCluster
from tests.cli.conftest import Kindling, Outcome, kindling

__all__ = ["Kindling", "Outcome", "fake", "folder", "kindling", "pod", "workload"]

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: kind-fake
clusters: [{name: kind-fake, cluster: {server: "https://fake"}}]
contexts:
  - {name: kind-fake, context: {cluster: kind-fake, user: me}}
  - {name: far, context: {cluster: far, user: me}}
users: [{name: me, user: {}}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, beside a kubeconfig whose current context is a local cluster."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("NO_COLOR", "1")
    return here


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """The cluster that every context leads to."""
    cluster = FakeCluster()

    async def connect(context: KubeContext, environment: Mapping[str, str]) -> Cluster:
        del context, environment
        return cluster

    monkeypatch.setattr(reach, "connected", connect)
    return cluster


def workload(name: str, kind: str = "Deployment", **metadata: Any) -> dict[str, Any]:
    """A Deployment or StatefulSet of one container."""
    labels = {"app": name}
    pod = {"containers": [{"name": name, "image": f"{name}:1"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
        "status": {"readyReplicas": 1},
    }


def pod(
    name: str, status: Mapping[str, Any], *, container: str = "", **metadata: Any
) -> dict[str, Any]:
    """A pod of one container."""
    one = {"name": container or name, "image": "x"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {"containers": [one]},
        "status": dict(status),
    }
