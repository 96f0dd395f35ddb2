"""Builds by pods: one pod for each build, fed with the context, followed, and deleted."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import IO, Any, Protocol

from kindling.agent.orders import BuildOrder
from kindling.agent.pods import (
    AGENT_LABEL,
    CONTAINER,
    NEVER_RAN,
    OUT_OF_TIME,
    BuildSettings,
    Stage,
    Standing,
    build_pod,
    standing,
)
from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import NotFoundError
from kindling.kube.protocol import Cluster, EventKind, Object

__all__ = ["KanikoBuilder"]

Say = Callable[[str], None]

_CHUNK = 256 * 1024
_FEEDS = 2
"""How often a context is handed over before a build is given up."""
_LOG_TAIL = 20.0
"""Seconds in which the end of the log must come once the pod has ended."""
_FEED_GRACE = 15.0
"""Seconds in which a pod must end whose input broke off: mostly it ended first."""
_DELETE = 20.0


class Clock(Protocol):
    """The part of a clock that waiting needs."""

    def monotonic(self) -> float: ...


class KanikoBuilder:
    """Carries out build orders in a cluster."""

    def __init__(self, cluster: Cluster, settings: BuildSettings, clock: Clock) -> None:
        self._cluster = cluster
        self._settings = settings
        self._clock = clock

    async def sweep(self) -> int:
        """Delete the pods of an earlier life of this agent; how many."""
        labels = ((AGENT_LABEL, self._settings.agent),)
        namespace = self._settings.namespace
        left = (await self._cluster.list("v1", "Pod", namespace=namespace, labels=labels)).items
        for pod in left:
            await self._delete(pod)
        return len(left)

    async def build(self, order: BuildOrder, opened: Callable[[], IO[bytes]], say: Say) -> int:
        """Build and push an image; Kaniko's exit code, or one of `kindling.agent.pods`.

        `opened` gives the context from its beginning. Cancelling deletes the pod.

        Raises:
            ClusterError: The API server refuses, or is away for good.
        """
        try:
            async with asyncio.timeout(self._settings.limit):
                for attempt in range(1, _FEEDS + 1):
                    try:
                        return await self._once(order, opened, say)
                    except _BrokenFeedError as broken:
                        if attempt == _FEEDS:
                            raise broken.error from broken
                        say(f"kindling: {broken.error.message}: trying again")
                raise AssertionError("unreachable")
        except TimeoutError:
            say(f"kindling: the build took longer than {self._settings.limit:.0f} s: stopped")
            return OUT_OF_TIME

    async def _once(self, order: BuildOrder, opened: Callable[[], IO[bytes]], say: Say) -> int:
        pod = await self._cluster.create(build_pod(order, self._settings, secrets.token_hex(4)))
        name = str(pod["metadata"]["name"])
        say(f"kindling: building {order.destination} in the pod {name}")
        try:
            return await self._follow(name, opened, say)
        finally:
            # What was cut off must not leave its pod behind either.
            await asyncio.shield(asyncio.ensure_future(self._delete(pod)))

    async def _follow(self, name: str, opened: Callable[[], IO[bytes]], say: Say) -> int:
        reading: asyncio.Task[None] | None = None
        feeding: asyncio.Task[None] | None = None
        watch = _Watch(self._cluster, self._settings, self._clock, name, say)
        watching = asyncio.create_task(watch.run(), name=f"watch {name}")
        try:
            await watch.started.wait()
            if not watch.failed:
                reading = asyncio.create_task(self._read(name, say), name=f"log {name}")
            if not watching.done() and watch.runs:
                feeding = asyncio.create_task(self._feed(name, opened), name=f"feed {name}")
                await asyncio.wait((watching, feeding), return_when=asyncio.FIRST_COMPLETED)
                if feeding.done() and (error := feeding.exception()) is not None:
                    if not isinstance(error, ClusterError):
                        raise error
                    done, _ = await asyncio.wait((watching,), timeout=_FEED_GRACE)
                    if not done:
                        raise _BrokenFeedError(error)
            ended = await watching
            if reading is not None:
                await _finish(reading, say)
            if ended.message:
                say(f"kindling: {ended.message}")
            return ended.code
        finally:
            tasks: list[asyncio.Task[Any]] = [
                one for one in (watching, reading, feeding) if one is not None
            ]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _feed(self, name: str, opened: Callable[[], IO[bytes]]) -> None:
        settings = self._settings
        file = opened()
        try:
            pieces = _pieces(file)
            await self._cluster.feed(
                settings.namespace, name, CONTAINER, pieces, timeout=settings.limit
            )
        finally:
            file.close()

    async def _read(self, name: str, say: Say) -> None:
        """Pass the log on to its end. Where the connection breaks, what was passed on already is
        skipped."""
        passed = 0
        while True:
            at = 0
            lines = self._cluster.logs(
                self._settings.namespace, name, CONTAINER, follow=True, timeout=30.0
            )
            try:
                async with aclosing(lines):
                    async for line in lines:
                        at += 1
                        if at > passed:
                            passed = at
                            say(line)
                return
            except ClusterError as error:
                if not error.transient:
                    raise
                await asyncio.sleep(0.5)

    async def _delete(self, pod: Object) -> None:
        metadata = pod["metadata"]
        ref = ObjectRef("v1", "Pod", metadata["name"], metadata["namespace"])
        with contextlib.suppress(ClusterError):  # it ends itself, by its deadline
            await self._cluster.delete(ref, uid=metadata["uid"], grace=0, timeout=_DELETE)


class _BrokenFeedError(Exception):
    def __init__(self, error: ClusterError) -> None:
        super().__init__(error.message)
        self.error = error


class _Watch:
    """Follows a pod to its end. `started` is set once its container runs, ran, or never will."""

    def __init__(
        self, cluster: Cluster, settings: BuildSettings, clock: Clock, name: str, say: Say
    ) -> None:
        self.started = asyncio.Event()
        self.runs = False
        self.failed = False
        """It ended without its container having run."""
        self._cluster = cluster
        self._settings = settings
        self._clock = clock
        self._name = name
        self._say = say
        self._stage: Stage | None = None
        self._since = clock.monotonic()
        self._told = ""
        self._last = Standing(Stage.STARTING)

    async def run(self) -> Standing:
        try:
            ended = await self._watch()
        except BaseException:
            self.failed = True
            raise
        finally:
            self.started.set()
        return ended

    async def _watch(self) -> Standing:
        events = self._cluster.watch(
            "v1",
            "Pod",
            namespace=self._settings.namespace,
            fields=(("metadata.name", self._name),),
        )
        async with aclosing(events):
            coming = asyncio.ensure_future(anext(events))
            try:
                while True:
                    left = self._left()
                    done, _ = await asyncio.wait((coming,), timeout=left)
                    if not done:
                        return await self._given_up()
                    event = coming.result()
                    coming = asyncio.ensure_future(anext(events))
                    if event.kind is EventKind.AWAY:
                        self._tell(f"the cluster does not answer: {event.problem}")
                        continue
                    pods = event.items if event.kind is EventKind.SYNCED else (event.object,)
                    if event.kind is EventKind.DELETED or not pods:
                        self.failed = self._stage is not Stage.RUNNING
                        return Standing(Stage.ENDED, "somebody deleted the build's pod", NEVER_RAN)
                    if (ended := await self._took(standing(pods[0]))) is not None:
                        return ended
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)

    async def _took(self, now: Standing) -> Standing | None:
        if now.stage is not self._stage:
            self._stage, self._since = now.stage, self._clock.monotonic()
        self._last = now
        if now.stage is Stage.ENDED:
            self.failed = now.code == NEVER_RAN
            return now
        if now.hopeless:
            return await self._given_up()
        if now.stage is Stage.RUNNING:
            self.runs = True
            self.started.set()
        elif now.message:
            self._tell(f"the pod {now.stage.value}: {now.message}")
        return None

    def _left(self) -> float | None:
        """Seconds until waiting any longer is pointless."""
        if self._stage is Stage.RUNNING:
            return None
        stuck = self._stage is Stage.STUCK
        limit = self._settings.starting if stuck else self._settings.scheduling
        return max(0.0, self._since + limit - self._clock.monotonic())

    async def _given_up(self) -> Standing:
        self.failed = True
        why = self._last.message or await self._warning()
        message = f"the build never ran: its pod {self._last.stage.value}"
        return Standing(Stage.ENDED, f"{message}: {why}" if why else message, NEVER_RAN)

    async def _warning(self) -> str:
        """What the cluster last complained of where the pod's own status says nothing, such as a
        network that cannot be set up."""
        fields = (("involvedObject.name", self._name), ("type", "Warning"))
        try:
            found = await self._cluster.list(
                "v1", "Event", namespace=self._settings.namespace, fields=fields, timeout=10.0
            )
        except ClusterError as error:
            return f"(and its events cannot be read: {error.message})"
        return " ".join(str(found.items[-1].get("message") or "").split()) if found.items else ""

    def _tell(self, message: str) -> None:
        if message != self._told:
            self._told = message
            self._say(f"kindling: {message}")


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _CHUNK):
        yield piece


async def _finish(reading: asyncio.Task[None], say: Say) -> None:
    done, _ = await asyncio.wait((reading,), timeout=_LOG_TAIL)
    if not done:
        say("kindling: the end of the build's log did not come")
        return
    error = reading.exception()
    if isinstance(error, NotFoundError):
        return  # the pod is gone, and its log with it
    if isinstance(error, ClusterError):
        say(f"kindling: the build's log cannot be read: {error.message}")
    elif error is not None:
        raise error
