"""Watching files: batches of changed paths, with a rescan wherever events may have been lost."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from kindling.errors import HostError
from kindling.files.debounce import Debounce
from kindling.files.roots import Sink, WatchRoot

__all__ = ["Backend", "Batch", "WatchRoot", "Watcher"]


class Clock(Protocol):
    """The part of a clock that watching needs."""

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class Backend(Protocol):
    """What sees the changes: inotify on Linux, elsewhere what the system has."""

    def set_roots(self, roots: Sequence[WatchRoot]) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """What changed: absolute paths, and the paths of roots where anything may have changed."""

    paths: frozenset[str]
    rescan: frozenset[str] = frozenset()
    since: float = 0.0
    """When the first of it was seen, by the watcher's monotonic clock."""
    until: float = 0.0
    """When the last of it was."""


class Watcher:
    """Watches sets of roots, and hands out what changed in batches.

        async with Watcher(clock) as watcher:
            await watcher.watch([WatchRoot("/project/src")])
            async for batch in watcher.batches():
                ...

    A path in a batch is a reason to look, not a fact: it may be a folder, be gone, or hold what it
    held. A move shows as both of its ends.
    """

    def __init__(self, clock: Clock, *, backend: Callable[[Sink], Backend] | None = None) -> None:
        self._clock = clock
        self._make = backend or _backend
        self._gathering = _Gathering(self._arrived)
        self._debounce = Debounce()
        self._last = 0.0
        self._backend: Backend | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._awake = asyncio.Event()
        self._closed = False

    async def __aenter__(self) -> Watcher:
        self._loop = asyncio.get_running_loop()
        self._backend = await asyncio.to_thread(self._make, self._gathering)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        self._awake.set()
        if self._backend is not None:
            await asyncio.to_thread(self._backend.close)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know once: that a limit of the system is reached and files are
        polled."""
        return tuple(_limit_error(limit).render() for limit in self._gathering.limits)

    async def watch(self, roots: Sequence[WatchRoot]) -> None:
        """Watch exactly these roots from now on: adds and removes what differs from before.

        When it returns, every later change is seen. What changed before, a new root's content
        included, is not told.
        """
        if self._backend is None:
            raise RuntimeError("the watcher is not open")
        await asyncio.to_thread(self._backend.set_roots, roots)

    async def batches(self) -> AsyncIterator[Batch]:
        """Batches as they come, until the watcher is closed."""
        while not self._closed:
            await self._awake.wait()
            self._awake.clear()
            while (due := self._debounce.due) is not None and not self._closed:
                now = self._clock.monotonic()
                if now < due:
                    # What arrives meanwhile moves `due`, which is looked at again afterwards.
                    await self._clock.sleep(due - now)
                    continue
                since = self._debounce.first
                self._debounce.flush(now)
                batch = self._gathering.take(since, self._last)
                if batch.paths or batch.rescan:
                    yield batch

    async def arrivals(self) -> AsyncGenerator[Batch, None]:
        """What was seen as soon as it was, for who decides himself when a burst is over. Use this
        or `batches`, not both."""
        while not self._closed:
            await self._awake.wait()
            self._awake.clear()
            if self._debounce.due is None or self._closed:
                continue
            since = self._debounce.first
            self._debounce.flush(self._clock.monotonic())
            batch = self._gathering.take(since, self._last)
            if batch.paths or batch.rescan:
                yield batch

    def _arrived(self) -> None:
        """Called on the back end's threads, once per burst until `_note` ran."""
        if self._loop is not None and not self._closed:
            try:
                self._loop.call_soon_threadsafe(self._note)
            except RuntimeError:
                # The loop is closed: nobody waits for this any more.
                return

    def _note(self) -> None:
        self._gathering.noted()
        self._last = self._clock.monotonic()
        self._debounce.touch(self._last)
        self._awake.set()


class _Gathering:
    """Collects what back ends find, on their threads, until it is taken on the loop."""

    def __init__(self, arrived: Callable[[], None]) -> None:
        self._arrived = arrived
        self._lock = threading.Lock()
        self._paths: set[str] = set()
        self._rescan: set[str] = set()
        self._announced = False
        self._limits: dict[str, None] = {}

    @property
    def limits(self) -> tuple[str, ...]:
        return tuple(self._limits)

    def changed(self, path: str) -> None:
        with self._lock:
            self._paths.add(path)
            announce, self._announced = not self._announced, True
        if announce:
            self._arrived()

    def lost(self, root: str) -> None:
        with self._lock:
            self._rescan.add(root)
            announce, self._announced = not self._announced, True
        if announce:
            self._arrived()

    def limited(self, what: str) -> None:
        self._limits[what] = None

    def noted(self) -> None:
        """The loop knows; the next event is news again."""
        with self._lock:
            self._announced = False

    def take(self, since: float, until: float) -> Batch:
        with self._lock:
            paths, self._paths = self._paths, set()
            rescan, self._rescan = self._rescan, set()
        return Batch(frozenset(paths), frozenset(rescan), since, until)


def _backend(sink: Sink) -> Backend:
    # watchdog is imported only where something is watched.
    if sys.platform == "linux":
        from kindling.files.inotify import InotifyBackend

        return InotifyBackend(sink)
    from kindling.files.native import NativeBackend

    return NativeBackend(sink)


def _limit_error(limit: str) -> HostError:
    return HostError(
        f"The system's limit `{limit}` is reached: some folders are polled once a second instead",
        details=[f"sudo sysctl {limit}={_more(limit)}"],
        hint="Raise it as above, or leave large folders out with ignore patterns.",
    )


def _more(limit: str) -> int:
    path = "/proc/sys/" + limit.replace(".", "/")
    try:
        with open(path, encoding="ascii") as file:
            return max(2 * int(file.read()), 1024)
    except (OSError, ValueError):
        return 524_288
