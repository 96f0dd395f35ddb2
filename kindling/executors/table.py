"""Which executor runs which kind of node: the one list of them all.

A module is imported when a node of its kind is first met, so that a graph of local commands pays
for no cluster and no engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import cast

from kindling.executors.protocol import Executor
from kindling.graph.node import Kind

__all__ = ["Executors"]

_TABLE: Mapping[Kind, tuple[str, str]] = {
    Kind.CLUSTER: ("cluster", "ClusterExecutor"),
    Kind.REGISTRY: ("registry", "RegistryExecutor"),
    Kind.LOCAL: ("local", "LocalExecutor"),
    Kind.SERVE: ("serve", "ServeExecutor"),
    Kind.TEST: ("test", "TestExecutor"),
    Kind.IMAGE: ("image", "ImageExecutor"),
    Kind.PUSH: ("push", "PushExecutor"),
    Kind.LOAD: ("load", "LoadExecutor"),
    Kind.SECRET: ("secret", "SecretExecutor"),
    Kind.APPLY: ("apply", "ApplyExecutor"),
    Kind.OPERATOR: ("operator", "OperatorExecutor"),
    Kind.ROLLOUT: ("rollout", "RolloutExecutor"),
    Kind.SYNC: ("sync", "SyncExecutor"),
    Kind.ROLLBACK: ("rollback", "RollbackExecutor"),
    Kind.PORTFORWARD: ("portforward", "PortForwardExecutor"),
}


class Executors(Mapping[Kind, Executor]):
    """The executor of each kind, made once, when it is first asked for."""

    def __init__(self) -> None:
        self._made: dict[Kind, Executor] = {}

    def __getitem__(self, kind: Kind) -> Executor:
        if kind not in self._made:
            module, name = _TABLE[kind]
            class_ = getattr(import_module(f"kindling.executors.{module}"), name)
            self._made[kind] = cast(Executor, class_())
        return self._made[kind]

    def __iter__(self) -> Iterator[Kind]:
        return iter(_TABLE)

    def __len__(self) -> int:
        return len(_TABLE)
