"""Bursts of saves, as they are over.

    async with Watcher(clock) as watcher:
        await watcher.watch(source.roots())
        async with follow(watcher, clock, known=source.knows) as saves:
            async for saved in saves:
                looked = await source.look(None if saved.rescan else saved.paths)
                await watcher.watch(source.roots())  # an ignore file may have changed

A lone save comes some 10 ms after its event; editors' temporary files, and what they take away for
a moment, are waited out (`kindling.sync.trees.quiet`). While the consumer is busy with one burst
the next gathers. Roots that are watched already are watched on at no cost.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from kindling.files.watching import Batch, Watcher
from kindling.sync.protocol import Clock
from kindling.sync.trees.quiet import Quiet, is_temporary

__all__ = ["Saved", "follow"]


@dataclass(frozen=True, slots=True)
class Saved:
    """One burst: absolute paths in which something happened, or, with `rescan`, anything anywhere:
    events were lost, or a watched root came anew. `since` is when its first event was seen, by the
    monotonic clock. `lost`: the watched roots below which anything may have happened. `passed`:
    temporary names that came and went, which are mostly a step of some editor's save."""

    paths: tuple[str, ...]
    rescan: bool = False
    since: float = 0.0
    lost: frozenset[str] = frozenset()
    passed: tuple[str, ...] = ()


@asynccontextmanager
async def follow(
    watcher: Watcher,
    clock: Clock,
    *,
    known: Callable[[str], bool],
    debounce: float | None = None,
) -> AsyncIterator[AsyncIterator[Saved]]:
    """The bursts that an open watcher sees, until it is closed.

    `known`: was the path there so far? A temporary file that was not, and is gone when the burst
    ends, is not told. `debounce`: seconds of quiet that end a burst, instead of what it suggests.
    """
    saves = _saves(watcher, clock, Quiet(known, debounce))
    try:
        yield saves
    finally:
        await saves.aclose()


async def _saves(watcher: Watcher, clock: Clock, quiet: Quiet) -> AsyncGenerator[Saved, None]:
    lost: set[str] = set()
    passed: set[str] = set()
    began = 0.0
    arrivals = watcher.arrivals()
    arriving: asyncio.Future[Batch | None] | None = None
    try:
        while True:
            if arriving is None:
                arriving = asyncio.ensure_future(anext(arrivals, None))
            await _either(arriving, quiet.due, clock)
            if arriving.done():
                batch, arriving = arriving.result(), None
                if batch is None:
                    return
                lost |= batch.rescan
                began = began or batch.since
                passed |= _note(batch, quiet)
            gathered = quiet.take(clock.monotonic())
            if gathered is not None or (passed and quiet.due is None):
                paths = gathered.paths if gathered is not None else ()
                gone = tuple(sorted(passed.difference(paths)))
                yield Saved(paths, bool(lost), began, frozenset(lost), gone)
                lost, passed, began = set(), set(), 0.0
    finally:
        if arriving is not None:
            arriving.cancel()
            await asyncio.gather(arriving, return_exceptions=True)
        await arrivals.aclose()


async def _either(arriving: asyncio.Future[Batch | None], due: float | None, clock: Clock) -> None:
    """Wait until something arrives, or it is time."""
    if due is None:
        await asyncio.wait([arriving])
        return
    left = due - clock.monotonic()
    if left <= 0:
        return
    sleeping = asyncio.ensure_future(clock.sleep(left))
    both: set[asyncio.Future[Any]] = {arriving, sleeping}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeping.cancel()
        await asyncio.gather(sleeping, return_exceptions=True)


def _note(batch: Batch, quiet: Quiet) -> set[str]:
    """Tell `quiet`; the temporary names that are gone."""
    # What happened while the consumer was busy has been quiet since, and need not wait once more.
    quiet.began(batch.since)
    for root in sorted(batch.rescan):
        quiet.saw(root, batch.until)
    passed: set[str] = set()
    for path in sorted(batch.paths - batch.rescan):
        gone = not os.path.lexists(path)
        if gone and is_temporary(path):
            passed.add(path)
        quiet.saw(path, batch.until, gone=gone)
    return passed
