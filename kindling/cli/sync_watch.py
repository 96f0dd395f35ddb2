"""From file events to a session: what was saved goes out as one batch when it is quiet.

    events → `Watcher` (bursts) → `Quiet` (what editors do to save one file) → `changed`

That the source folder itself may go and come is the session's to know (`sync.source.tree`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from kindling.files.watching import Batch
from kindling.sync.protocol import Clock
from kindling.sync.trees.quiet import Quiet

__all__ = ["Changes", "Keeper"]

_HELD_MOST = 10.0
_LAST_WORD = 0.05
"""How long what was saved just before the end may take to be seen."""


class Changes(Protocol):
    """Takes what changed: paths relative to the root, or everything (`rescan`). `since` is when
    the first of it was seen, by the clock."""

    async def __call__(
        self, paths: Collection[str], *, rescan: bool = False, since: float = 0.0
    ) -> Any: ...


@dataclass(slots=True)
class Keeper:
    """Hands on what changes below `root` for as long as it runs. `pause`: how long it must be
    quiet at least; None: as long as seems right."""

    root: Path
    batches: AsyncIterator[Batch]
    changed: Changes
    known: Callable[[str], bool]
    clock: Clock
    pause: float | None = None
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    """Hand on what is pending, and end."""
    _quiet: Quiet = field(init=False)
    _rescan: float | None = None
    """When it was seen that everything must be looked at."""
    _last: float = 0.0
    _first: float | None = None

    def __post_init__(self) -> None:
        self._quiet = Quiet(self.known)

    async def run(self) -> None:
        """Until `ending` is set, or no more batches come. What is being handed on is finished."""
        batches = cast("Any", self.batches)
        async with aclosing(batches) as arriving:
            waiting = asyncio.ensure_future(anext(arriving))
            ending = asyncio.ensure_future(self.ending.wait())
            try:
                while not self.ending.is_set():
                    await self._wait({waiting, ending}, self._patience())
                    if waiting.done():
                        try:
                            self._saw(waiting.result())
                        except StopAsyncIteration:
                            break
                        waiting = asyncio.ensure_future(anext(arriving))
                    await self._hand_on(self.clock.monotonic())
                await self._wait({waiting}, _LAST_WORD)
                if waiting.done() and not waiting.exception():
                    self._saw(waiting.result())
                await self._hand_on(float("inf"))
            finally:
                for one in (waiting, ending):
                    one.cancel()
                await asyncio.gather(waiting, ending, return_exceptions=True)

    def _patience(self) -> float | None:
        """How long to wait for more."""
        due = self._due
        return None if due is None else max(0.0, due - self.clock.monotonic())

    async def _wait(self, what: set[asyncio.Future[Any]], seconds: float | None) -> None:
        """Until one of them is done, or so many seconds have passed."""
        if seconds is None:
            await asyncio.wait(what, return_when=asyncio.FIRST_COMPLETED)
            return
        passing = asyncio.ensure_future(self.clock.sleep(seconds))
        try:
            await asyncio.wait({*what, passing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            passing.cancel()
            await asyncio.gather(passing, return_exceptions=True)

    def _saw(self, batch: Batch) -> None:
        """A burst was over when the watcher handed it out, so that it is due as of its beginning;
        only what editors do, and a pause that was asked for, hold it back further."""
        since = batch.since
        self._last = self.clock.monotonic()
        if self._first is None:
            self._first = since
        if batch.rescan and self._rescan is None:
            self._rescan = since
        for path in batch.paths:
            inner = os.path.relpath(path, self.root)
            if inner == ".":
                if self._rescan is None:
                    self._rescan = since
            elif not inner.startswith(".." + os.sep):
                self._quiet.saw(inner.replace(os.sep, "/"), since, gone=not os.path.lexists(path))

    @property
    def _due(self) -> float | None:
        """When what is gathered goes out."""
        moments = [one for one in (self._quiet.due, self._rescan) if one is not None]
        if not moments:
            return None
        due = min(moments) if self._quiet.due is None else self._quiet.due
        if self.pause is not None:
            held = max(due, self._last + self.pause)
            first = self._first if self._first is not None else self._last
            return min(held, first + max(_HELD_MOST, self.pause))
        return due

    async def _hand_on(self, moment: float) -> None:
        """Hand on what is due by then."""
        due = self._due
        if due is None or moment < due:
            return
        gathered = self._quiet.take(moment)
        rescan, self._rescan = self._rescan, None
        self._first = None
        if rescan is not None:
            began = rescan if gathered is None else min(rescan, gathered.began)
            await self.changed((), rescan=True, since=began)
        elif gathered is not None:
            await self.changed(gathered.paths, since=gathered.began)
