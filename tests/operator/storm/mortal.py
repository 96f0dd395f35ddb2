"""An operator in memory that can be killed in the midst of a write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any, cast

from kindling.kube.contexts import KubeContext
from kindling.kube.errors import UnreachableError
from kindling.kube.protocol import Cluster, EventKind
from kindling.operator.controller import post
from kindling.operator.controller.lease import Terms
from kindling.operator.controller.reading import SORTS

__all__ = ["Followed", "Mortal", "Severed"]

_CALLS = frozenset({"apply", "create", "delete", "get", "list", "patch"})


class Severed:
    """A cluster until `cut`: then calls fail, some of them after the server has done them, as they
    do for a process that is killed. `after` cuts it at that call by itself."""

    def __init__(self, cluster: Cluster, after: int, *, done: bool) -> None:
        self.cut = asyncio.Event()
        self._cluster = cluster
        self._left = after
        self._done = done

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._cluster, name)
        if name not in _CALLS:
            return inner

        async def call(*args: Any, **keywords: Any) -> Any:
            if self.cut.is_set():
                raise UnreachableError("killed", transient=True)
            self._left -= 1
            if self._left == 0:
                if self._done:
                    await inner(*args, **keywords)
                self.cut.set()
                raise UnreachableError("killed", transient=True)
            return await inner(*args, **keywords)

        return call


class Followed:
    """Stands for kopf's watch of environments, which needs a server on a wire."""

    def __init__(
        self,
        context: KubeContext,
        environment: Mapping[str, str],
        namespace: str,
        kinds: tuple[str, ...],
        told: Callable[[Mapping[str, Any], bool], None],
        begun: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        del environment, say
        self._cluster = cast("Cluster", context)
        self._namespace, self._kinds = namespace, kinds
        self._told, self._begun = told, begun
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._begun()
        self._tasks = [asyncio.create_task(self._follow(kind)) for kind in self._kinds]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, kind: str) -> None:
        sort = SORTS[kind]
        events = self._cluster.watch(sort.api_version, kind, namespace=self._namespace)
        async with aclosing(events):
            async for event in events:
                items = event.items if event.kind is EventKind.SYNCED else (event.object,)
                for one in items:
                    self._told(one, event.kind is EventKind.DELETED)


class Mortal:
    """One life of an operator: it has the real queue, memory, passes and Lease. The next life bears
    the same name, as a container that is started again does, and need not wait for the Lease."""

    def __init__(self, cluster: Cluster, namespace: str, after: int, *, done: bool) -> None:
        self.said: list[str] = []
        self._severed = Severed(cluster, after, done=done)
        reached = cast("Cluster", self._severed)
        self._post = post.Post(
            reached,
            cast("KubeContext", reached),  # the stand-in above takes the cluster in its place
            {},
            namespace,
            identity="operator",
            image="kindling:test",
            pools=False,
            say=self.said.append,
            changed=lambda: None,
            terms=Terms(system="nowhere"),
        )
        self._task = asyncio.create_task(self._post.run())

    async def death(self, over: asyncio.Event) -> None:
        """Wait for its last call, or until all is over, and clear away what is left of it."""
        waits = [asyncio.create_task(one.wait()) for one in (self._severed.cut, over)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await self.kill()

    async def look(self, name: str) -> None:
        """One more pass over an environment, as of a mind that has followed everything."""
        await self._post._reconciler.environment(self._post.namespace, name)

    async def kill(self) -> None:
        self._severed.cut.set()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
