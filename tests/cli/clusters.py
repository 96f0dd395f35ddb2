"""Clusters in memory for verbs that act on one without a session: kubeconfig, connection, input."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from kindling.engine.environments import reach
from kindling.kube.contexts import KubeContext
from kindling.testing.cluster import FakeCluster

__all__ = ["Clusters", "typed"]


@dataclass(slots=True)
class Clusters:
    """The clusters that the kubeconfig names, by context; the first is the current one."""

    monkeypatch: pytest.MonkeyPatch
    known: dict[str, FakeCluster] = field(default_factory=dict)

    def add(self, context: str, *, namespace: str = "default") -> FakeCluster:
        """One more cluster."""
        made = self.known[context] = FakeCluster(context=context, namespace=namespace)
        self._write()
        return made

    def remove(self, context: str) -> None:
        """It is destroyed, and its context gone."""
        del self.known[context]
        self._write()

    def connect(self) -> None:
        """From now on, connections lead here."""

        async def cluster(context: KubeContext, environment: Mapping[str, str]) -> FakeCluster:
            assert environment
            found = self.known[context.name]
            await found.ready()
            return found

        self.monkeypatch.setattr(reach, "connected", cluster)

    def _write(self) -> None:
        contexts = [
            {"name": name, "context": {"cluster": name, "user": "u", "namespace": one.namespace}}
            for name, one in self.known.items()
        ]
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": next(iter(self.known), ""),
            "contexts": contexts,
            "clusters": [{"name": n, "cluster": {"server": "https://fake"}} for n in self.known],
            "users": [{"name": "u", "user": {}}],
        }
        Path(os.environ["KUBECONFIG"]).write_text(yaml.safe_dump(document))


def typed(monkeypatch: pytest.MonkeyPatch, content: bytes, *, terminal: bool = False) -> None:
    """What standard input is for the next command."""
    stream = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "stdin", stream)
