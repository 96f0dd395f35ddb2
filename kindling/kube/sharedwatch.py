"""One list and one watch for all who follow objects of the same kind in the same namespace.

A session follows many rollouts, and each needs workloads, pods, replica sets and warnings of the
same few namespaces. They share a source, which keeps the objects it has seen and hands each
follower those it asked for. A source ends a little after its last follower has left.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from kindling.errors import ClusterError
from kindling.kube.errors import ForbiddenError
from kindling.kube.protocol import EventKind, Object, Selector, WatchEvent
from kindling.kube.watch import Link

__all__ = ["OpenWatch", "SharedWatches"]

_LINGER = 5.0
_BEHIND_LIMIT = 5.0
_BACKLOG = 1000
"""Events that a follower may leave unread; one that is slower is given the whole state anew."""

_Key = tuple[str, str, str, Selector]
_Id = tuple[str, str]


class OpenWatch(Protocol):
    """How a watch is opened: apiVersion, kind, namespace, labels, fields, and where it tells
    whether it is connected. What it gives is as from `Cluster.watch`."""

    def __call__(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        labels: Selector,
        fields: Selector,
        link: Link | None,
        /,
    ) -> AsyncGenerator[WatchEvent, None]: ...


class _BehindError(Exception):
    """The source did not reach the version that a follower has seen already."""


class SharedWatches:
    """The sources of one cluster. Times are in seconds; `linger` is how long a source outlives its
    last follower. Whoever makes it calls `close` in the end."""

    def __init__(
        self, open_watch: OpenWatch, *, linger: float = _LINGER, behind_limit: float = _BEHIND_LIMIT
    ) -> None:
        self._open = open_watch
        self._linger = linger
        self._behind_limit = behind_limit
        self._sources: dict[_Key, _Source] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def sources(self) -> int:
        """How many watches are open, or about to be."""
        return len(self._sources)

    async def follow(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        labels: Selector = (),
        fields: Selector = (),
        since: str = "",
    ) -> AsyncGenerator[WatchEvent, None]:
        """See `Cluster.follow`. Labels and `metadata.name` are compared here; other fields are
        left to the server, and make a source of their own."""
        name = dict(fields).get("metadata.name", "")
        rest = tuple(pair for pair in fields if pair[0] != "metadata.name")
        source = self._source((api_version, kind, namespace, rest))
        follower = _Follower(source, labels, name, _number(since))
        source.join(follower)
        try:
            while (event := await self._next(follower)) is not None:
                yield event
        finally:
            self._leave(source, follower)
        # Its own watch, since the whole namespace may not be watched, or lags too far behind.
        async with aclosing(
            self._open(api_version, kind, namespace, labels, fields, None)
        ) as events:
            async for event in events:
                yield event

    async def close(self) -> None:
        """End all sources; followers that are left get an error."""
        for source in list(self._sources.values()):
            self._end(source)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _next(self, follower: _Follower) -> WatchEvent | None:
        try:
            return await follower.next(self._behind_limit)
        except (ForbiddenError, _BehindError):
            return None

    def _source(self, key: _Key) -> _Source:
        source = self._sources.get(key)
        if source is None:
            source = self._sources[key] = _Source(key)
            task = asyncio.create_task(self._run(source), name=f"watch every {key[1]} in {key[2]}")
            source.task = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if source.ending is not None:
            source.ending.cancel()
            source.ending = None
        return source

    def _leave(self, source: _Source, follower: _Follower) -> None:
        source.followers.discard(follower)
        if not source.followers and self._sources.get(source.key) is source:
            loop = asyncio.get_running_loop()
            source.ending = loop.call_later(self._linger, self._end, source)

    def _end(self, source: _Source) -> None:
        if source.ending is not None:
            source.ending.cancel()
        if source.task is not None:
            source.task.cancel()
        self._forget(source)

    def _forget(self, source: _Source) -> None:
        if self._sources.get(source.key) is source:
            del self._sources[source.key]

    async def _run(self, source: _Source) -> None:
        api_version, kind, namespace, fields = source.key
        error: Exception = ClusterError("The connection to the cluster was closed")
        try:
            events = self._open(api_version, kind, namespace, (), fields, source.link)
            async with aclosing(events):
                async for event in events:
                    source.learn(event)
        except Exception as caught:  # raised by every follower
            error = caught
        finally:
            self._forget(source)
            source.fail(error)


class _Source:
    """The objects of one kind in one namespace as one watch tells them."""

    def __init__(self, key: _Key) -> None:
        self.key = key
        self.link = Link(self._connected)
        self.task: asyncio.Task[None] | None = None
        self.ending: asyncio.TimerHandle | None = None
        self.followers: set[_Follower] = set()
        self.objects: dict[_Id, Object] = {}
        self.version: int | None = None
        self.listed = False
        self.away: WatchEvent | None = None
        self.error: Exception | None = None

    def join(self, follower: _Follower) -> None:
        """The present state is handed over at once where it is surely the present one."""
        self.followers.add(follower)
        if self.listed and self.link.up:
            follower.resync()
            return
        if self.away is not None:
            follower.push(self.away)
        self.link.hurry()

    def learn(self, event: WatchEvent) -> None:
        if event.kind is EventKind.AWAY:
            self.away = event
            for follower in self.followers:
                follower.push(event)
            return
        self.away = None
        if event.kind is EventKind.SYNCED:
            self.objects = {_id(item): _slim(item) for item in event.items}
            self.version = _number(event.version)
            self.listed = True
            for follower in self.followers:
                follower.resync()
            return
        event = WatchEvent(event.kind, _slim(event.object))
        key = _id(event.object)
        # The newest comes last, which is what readers of warnings want.
        self.objects.pop(key, None)
        if event.kind is not EventKind.DELETED:
            self.objects[key] = event.object
        version = _number(str(event.object["metadata"].get("resourceVersion") or ""))
        if self.version is not None and version is not None:
            self.version = max(self.version, version)
        for follower in self.followers:
            follower.push(event)

    def fail(self, error: Exception) -> None:
        self.error = error
        for follower in self.followers:
            follower.wake.set()

    def _connected(self) -> None:
        self.away = None
        if self.listed:
            for follower in self.followers:
                if not follower.begun:
                    follower.resync()


class _Follower:
    """What one reader of a source is still to be told."""

    def __init__(self, source: _Source, labels: Selector, name: str, since: int | None) -> None:
        self.wake = asyncio.Event()
        self.begun = False
        self._source = source
        self._labels = labels
        self._name = name
        self._since = since
        self._whole = False
        self._told: set[_Id] = set()
        self._coming: deque[WatchEvent] = deque()

    def resync(self) -> None:
        """The whole state is what it is told next."""
        self.begun = self._whole = True
        self._coming.clear()
        self.wake.set()

    def push(self, event: WatchEvent) -> None:
        if event.kind is EventKind.AWAY:
            self._coming.append(event)
        elif self._whole:
            pass  # the whole state will have it
        elif not self.begun or (mine := self._mine(event)) is None:
            return
        else:
            self._coming.append(mine)
            if len(self._coming) > _BACKLOG:
                self.resync()
        self.wake.set()

    async def next(self, behind_limit: float) -> WatchEvent:
        """Raises what ended the source, and `_BehindError`."""
        while True:
            self.wake.clear()
            if self._whole and not self._behind():
                self._whole, self._since = False, None
                items = {k: o for k, o in self._source.objects.items() if self._selects(o)}
                self._told = set(items)
                return WatchEvent(EventKind.SYNCED, {}, tuple(items.values()))
            if self._coming:
                return self._coming.popleft()
            if self._source.error is not None:
                raise self._source.error
            try:
                async with asyncio.timeout(behind_limit if self._whole else None):
                    await self.wake.wait()
            except TimeoutError:
                raise _BehindError from None

    def _behind(self) -> bool:
        known = self._source.version
        return self._since is not None and known is not None and known < self._since

    def _mine(self, event: WatchEvent) -> WatchEvent | None:
        """The event as one sees it who knows only what is selected."""
        key = _id(event.object)
        known = key in self._told
        if event.kind is not EventKind.DELETED and self._selects(event.object):
            self._told.add(key)
            return WatchEvent(EventKind.MODIFIED if known else EventKind.ADDED, event.object)
        if not known:
            return None
        self._told.discard(key)
        return WatchEvent(EventKind.DELETED, event.object)

    def _selects(self, item: Object) -> bool:
        if self._name and item["metadata"]["name"] != self._name:
            return False
        labels = (item["metadata"].get("labels") or {}) if self._labels else {}
        return all(labels.get(key) == value for key, value in self._labels)


def _id(item: Object) -> _Id:
    return str(item["metadata"].get("namespace") or ""), str(item["metadata"]["name"])


def _slim(item: Object) -> Object:
    """Without the record of who set which field, often the larger part of an object."""
    metadata = item["metadata"]
    if "managedFields" not in metadata:
        return item
    return {**item, "metadata": {k: v for k, v in metadata.items() if k != "managedFields"}}


def _number(version: str) -> int | None:
    """Versions of one kind can be compared as numbers; one that is none is not compared."""
    return int(version) if version.isascii() and version.isdigit() else None
