"""The same commands on two real clusters; nothing here is faked.

The reference is the cluster of KUBECONFIG. The other is an embedded one of these tests' own, which
is deleted after them. Where KUBECONFIG is an embedded cluster itself the tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parity.clusters import Both, Cluster, embedded


@pytest.fixture(scope="session")
def embedded_kubeconfig() -> Iterator[Path]:
    """An embedded cluster that has busybox:1.36. Its folder's path is short, for sockets."""
    home = Path(tempfile.mkdtemp(prefix="kp"))
    try:
        embedded("start", "--name", "parity", "--no-kubeconfig", home=home)
        embedded("load", "--name", "parity", "busybox:1.36", home=home)
        yield Path(embedded("kubeconfig", "--name", "parity", "--path", home=home).strip())
    finally:
        embedded("reset", "--name", "parity", "--yes", home=home)
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def reference_kubeconfig() -> Path:
    done = subprocess.run(
        ["kubectl", "version", "-o", "json"], capture_output=True, text=True, check=True
    )
    version = json.loads(done.stdout)["serverVersion"]["gitVersion"]
    if "kindling" in version:
        pytest.skip("the cluster of KUBECONFIG is an embedded one: nothing to compare with")
    return Path(os.environ["KUBECONFIG"].split(os.pathsep)[0])


def _open(cluster: Cluster) -> None:
    made = cluster.ask(
        f"kubectl create namespace {cluster.namespace} && "
        "until kubectl get serviceaccount default >/dev/null 2>&1; do sleep 0.1; done"
    )
    assert made.code == 0, made.err


@pytest.fixture
def both(reference_kubeconfig: Path, embedded_kubeconfig: Path, tmp_path: Path) -> Iterator[Both]:
    """The two clusters, with an empty namespace of the same name in each, deleted afterwards."""
    namespace = f"parity-{uuid.uuid4().hex[:8]}"
    pair = Both(
        Cluster("old", reference_kubeconfig, namespace, tmp_path / "reference"),
        Cluster("new", embedded_kubeconfig, namespace, tmp_path / "embedded"),
    )
    for cluster in (pair.reference, pair.ours):
        _open(cluster)
    try:
        yield pair
    finally:
        for cluster in (pair.reference, pair.ours):
            cluster.ask(f"kubectl delete namespace {namespace} --wait=false")


@pytest.fixture
def ours(embedded_kubeconfig: Path, tmp_path: Path) -> Iterator[Cluster]:
    """The embedded cluster alone, with an empty namespace."""
    cluster = Cluster("new", embedded_kubeconfig, f"newer-{uuid.uuid4().hex[:8]}", tmp_path)
    _open(cluster)
    yield cluster
    cluster.ask(f"kubectl delete namespace {cluster.namespace} --wait=false")
