"""The world of one session: everything outside that executors may touch, connected when first
asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kindling.errors import ClusterError
from kindling.executors.protocol import BlobStore, Clock, LogSink, ProcessRunner

if TYPE_CHECKING:
    from kindling.build.protocol import ContainerEngine
    from kindling.engine.operating import Operating
    from kindling.kube.protocol import Cluster

__all__ = ["SessionWorld"]


class SessionWorld:
    """`World` for real: connects to the cluster and the container engine at most once each.

    A failed connection is not remembered: the next node that asks tries again.
    """

    def __init__(
        self,
        *,
        root: Path,
        state_dir: Path,
        project: str,
        clock: Clock,
        processes: ProcessRunner,
        environment: Mapping[str, str],
        blobs: BlobStore,
        connect_cluster: Callable[[], Awaitable[Cluster]],
        connect_containers: Callable[[], Awaitable[ContainerEngine]],
        make_operating: Callable[[], Operating] | None = None,
    ) -> None:
        self._root = root
        self._state_dir = state_dir
        self._project = project
        self._clock = clock
        self._processes = processes
        self._environment = environment
        self._blobs = blobs
        self._connect_cluster = connect_cluster
        self._connect_containers = connect_containers
        self._make_operating = make_operating
        self._operating: Operating | None = None
        self._cluster: Cluster | None = None
        self._containers: ContainerEngine | None = None
        self._connecting_cluster = asyncio.Lock()
        self._connecting_containers = asyncio.Lock()

    @property
    def root(self) -> Path:
        return self._root

    @property
    def state_dir(self) -> Path:
        return self._state_dir

    @property
    def project(self) -> str:
        return self._project

    @project.setter
    def project(self, name: str) -> None:
        self._project = name

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def processes(self) -> ProcessRunner:
        return self._processes

    @property
    def environment(self) -> Mapping[str, str]:
        return self._environment

    @property
    def blobs(self) -> BlobStore:
        return self._blobs

    async def cluster(self) -> Cluster:
        async with self._connecting_cluster:
            if self._cluster is None:
                self._cluster = await self._connect_cluster()
            return self._cluster

    async def containers(self) -> ContainerEngine:
        async with self._connecting_containers:
            if self._containers is None:
                self._containers = await self._connect_containers()
            return self._containers

    async def operate(self, namespace: str, name: str = "", log: LogSink | None = None) -> str:
        if self._make_operating is None:
            raise ClusterError("No operator can be started here")
        if self._operating is None:
            self._operating = self._make_operating()
        return await self._operating.act(await self.cluster(), namespace, name, log)

    async def close(self) -> None:
        """Stop the operator, and close what was connected."""
        operating, self._operating = self._operating, None
        try:
            if operating is not None:
                await operating.stop()
        finally:
            await self._disconnect()

    async def _disconnect(self) -> None:
        for thing in (self._cluster, self._containers):
            if thing is not None:
                await thing.close()
        self._cluster = self._containers = None
