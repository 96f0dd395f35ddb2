"""An operator for clusters in memory: the real passes, in the loop of the test.

It looks at every environment of its namespaces whenever one of them, or anything that they are made
of, changes. No Lease is held, since nobody else is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from kindling.kube.protocol import Cluster
from kindling.operator.controller.reading import SORTS
from kindling.operator.controller.reconcile import Reconciler
from kindling.operator.controller.run import Phase, Standing
from kindling.operator.definitions.environment import KIND

__all__ = ["FakeOperation"]

_SORT = SORTS[KIND]


class FakeOperation:
    """An `Operation` over a cluster in memory. `passes` counts looks at environments."""

    def __init__(
        self, cluster: Cluster, namespaces: tuple[str, ...], say: Callable[[str], None]
    ) -> None:
        self.namespaces = list(namespaces)
        self.passes = 0
        self._cluster = cluster
        self._say = say
        self._reconciler = Reconciler(cluster)
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def standing(self) -> Standing:
        return Standing(Phase.ACTING if self._tasks else Phase.STOPPED)

    async def settled(self) -> Standing:
        if not self._tasks:
            kinds = ((_SORT.api_version, _SORT.kind), *_SORT.children, ("v1", "Pod"))
            self._tasks = [asyncio.create_task(self._watch(*kind)) for kind in kinds]
            self._tasks.append(asyncio.create_task(self._work()))
        return self.standing

    async def extend(self, namespace: str) -> None:
        self.namespaces.append(namespace)
        self._news.set()

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, api_version: str, kind: str) -> None:
        async with aclosing(self._cluster.watch(api_version, kind)) as events:
            async for _ in events:
                self._news.set()

    async def _work(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            for namespace in self.namespaces:
                found = await self._cluster.list(_SORT.api_version, _SORT.kind, namespace=namespace)
                for item in found.items:
                    await self._pass(namespace, item["metadata"]["name"])

    async def _pass(self, namespace: str, name: str) -> None:
        self.passes += 1
        done = await self._reconciler.environment(namespace, name)
        for line in done.writes:
            self._say(f"{namespace}/{name}: {line}")
