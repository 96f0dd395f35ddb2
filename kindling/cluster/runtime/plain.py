"""Containers without containment: plain processes of this machine, ended as one."""

from __future__ import annotations

from pathlib import Path

from kindling.cluster.runtime.protocol import Isolation
from kindling.cluster.runtime.spawned import SpawnedRuntime

__all__ = ["PlainRuntime"]


class PlainRuntime(SpawnedRuntime):
    """`why` says, for people, why there is nothing better."""

    def __init__(self, folder: Path, *, why: str = "") -> None:
        super().__init__(folder)
        self._why = why

    @property
    def isolation(self) -> Isolation:
        why = f": {self._why}" if self._why else ""
        return Isolation(
            pids=False,
            root=False,
            network=False,
            memory=False,
            users=False,
            missing=(f"containers are plain processes of this machine{why}",),
        )

    async def start(self) -> None:
        if self._link is None:
            await self._begin({"mode": "plain"})
