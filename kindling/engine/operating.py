"""The operator of one session: it sees to environments where no other operator does.

It is started when the first environment is written, acts in the namespaces that nodes ask for, and
goes on until the session ends. Where another one holds the Lease it stands by: when that one is
gone, environments are not left alone. It runs in a thread of its own, so what it says is brought
to the session's loop first.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from kindling.errors import ClusterError
from kindling.executors.protocol import LogSink

if TYPE_CHECKING:
    from kindling.kube.contexts import KubeContext
    from kindling.kube.protocol import Cluster
    from kindling.operator.controller.run import Operation

__all__ = ["SELF", "Begin", "Operating", "Target", "begin"]

Target = Callable[[], Awaitable["tuple[KubeContext, dict[str, str]]"]]
"""Tells where the session's cluster is: the context, and the environment to reach it with."""

SELF = "this session"

_NAMED = re.compile(r"([a-z0-9][-a-z0-9]*)/([a-z0-9][-a-z0-9.]*)")
"""`namespace/name`, which a line has that is about one environment."""


class Begin(Protocol):
    """Starts an operator in some namespaces; `say` takes its lines, from any thread."""

    async def __call__(
        self, namespaces: tuple[str, ...], identity: str, say: Callable[[str], None]
    ) -> Operation: ...


def begin(target: Target) -> Begin:
    """How an operator is started for real."""

    async def start_there(
        namespaces: tuple[str, ...], identity: str, say: Callable[[str], None]
    ) -> Operation:
        from kindling.operator.controller.run import Scope, start

        context, environment = await target()
        scope = Scope(namespaces)
        return await start(context, environment, scope, identity=identity, say=say, pools=False)

    return start_there


class Operating:
    """Starts the session's operator at the first need, and stops it at the end.

    `holder` tells who acts in a namespace; `say` takes lines about no environment of this session.
    """

    def __init__(
        self,
        *,
        begin: Begin,
        holder: Callable[[Cluster, str], Awaitable[str]],
        identity: str,
        say: Callable[[str], None],
    ) -> None:
        self._begin = begin
        self._holder = holder
        self._identity = identity
        self._say = say
        self._operation: Operation | None = None
        self._work: asyncio.Task[Operation] | None = None
        self._namespaces: set[str] = set()
        self._listeners: dict[tuple[str, str], LogSink] = {}
        self._turn = asyncio.Lock()

    async def act(
        self, cluster: Cluster, namespace: str, name: str = "", log: LogSink | None = None
    ) -> str:
        """See to it that an operator acts in a namespace; who that is. What ours says about the
        environment `name` goes to `log` from now on.

        Raises:
            ClusterError: None acts, and ours cannot.
        """
        if log is not None:
            self._listeners[namespace, name] = log
        async with self._turn:
            # Whoever asks may be cut off; what was begun for him goes on, and ends with the rest.
            if namespace not in self._namespaces:
                self._work = asyncio.create_task(self._reach(namespace, self._work))
                self._namespaces.add(namespace)
            assert self._work is not None
            try:
                operation = await asyncio.shield(self._work)
                await operation.settled()
            except ClusterError:
                # The next node that asks may find what was missing.
                await self._drop()
                raise
        who = await self._holder(cluster, namespace)
        return SELF if who in ("", self._identity) else who

    async def _reach(self, namespace: str, before: asyncio.Task[Operation] | None) -> Operation:
        """Let the operator act in one more namespace; it is started for the first."""
        if before is not None:
            operation = await before
            await operation.extend(namespace)
            return operation
        loop = asyncio.get_running_loop()

        def hear(line: str) -> None:
            loop.call_soon_threadsafe(self._deliver, line)

        self._operation = await self._begin((namespace,), self._identity, hear)
        return self._operation

    def _deliver(self, line: str) -> None:
        for found in _NAMED.finditer(line):
            log = self._listeners.get((found[1], found[2].rstrip(".")))
            if log is not None:
                log(line, "kindling")
                return
        self._say(line)

    async def stop(self) -> None:
        """Stop the operator, if it was started, when it has written what it is at."""
        async with self._turn:
            await self._drop()

    async def _drop(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            await asyncio.wait([work])
            work.exception()  # it was told to whoever asked, or nobody waits for it any more
        operation, self._operation = self._operation, None
        self._namespaces.clear()
        if operation is not None:
            await operation.stop()
