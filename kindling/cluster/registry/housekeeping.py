"""What the registry does by itself: reminding watches, forgetting old events, and cleaning up after
definitions that go."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from kindling.cluster.model.api import DeleteOptions
from kindling.cluster.model.resource import builtin
from kindling.cluster.model.status import ApiError
from kindling.cluster.registry.definitions import CLEANUP, DEFINITIONS
from kindling.cluster.registry.history import Entry
from kindling.cluster.registry.memory import Memory
from kindling.cluster.registry.served import Served
from kindling.cluster.registry.watching import Watches
from kindling.cluster.registry.writing import Writer

__all__ = ["Housekeeping"]

_EVENTS_KEPT = 3_600.0
"""Seconds, as the API server's `--event-ttl`."""

_RETRY = 1.0


class Housekeeping:
    """Two loops, run by the registry for as long as it is open."""

    def __init__(
        self,
        memory: Memory,
        served: Served,
        watches: Watches,
        writer: Writer,
        *,
        bookmark_interval: float,
    ) -> None:
        self._memory = memory
        self._served = served
        self._watches = watches
        self._writer = writer
        self._interval = bookmark_interval
        self._wake = asyncio.Event()
        self._ages: deque[tuple[float, int]] = deque()
        """Pairs of monotonic time and revision: how old a revision is, whatever the clock says."""
        memory.listen(self._changed)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick(), name="watch-bookmarks")
            group.create_task(self._clean(), name="definition-cleanup")

    def _changed(self, entries: Sequence[Entry]) -> None:
        if any(entry.key == DEFINITIONS or entry.after is None for entry in entries):
            self._wake.set()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            self._watches.remind()
            now = time.monotonic()
            self._ages.append((now, self._memory.revision))
            old = 0
            while self._ages and self._ages[0][0] <= now - _EVENTS_KEPT:
                old = self._ages.popleft()[1]
            if old:
                await self._forget_events(old)

    async def _forget_events(self, revision: int) -> None:
        events = builtin("events")
        for event in self._memory.select(events.key):
            metadata = event["metadata"]
            if int(metadata["resourceVersion"]) > revision:
                continue
            try:
                await self._writer.delete(
                    events, metadata["name"], metadata["namespace"], DeleteOptions()
                )
            except ApiError:
                return  # gone already, or the disk is full; the next turn sees

    async def _clean(self) -> None:
        while True:
            self._wake.clear()
            try:
                for definition in self._memory.select(DEFINITIONS):
                    metadata = definition["metadata"]
                    going = metadata.get("deletionTimestamp")
                    if going and CLEANUP in (metadata.get("finalizers") or ()):
                        await self._empty(metadata["name"])
            except ApiError:
                await asyncio.sleep(_RETRY)
                continue
            await self._wake.wait()

    async def _empty(self, name: str) -> None:
        """Delete the objects of a definition, or let it go when there are none."""
        objects = self._memory.select(name)
        for found in objects:
            resource = self._served.stored_as(name, found["apiVersion"])
            metadata = found["metadata"]
            if resource is None or metadata.get("deletionTimestamp"):
                continue
            await self._writer.delete(
                resource, metadata["name"], metadata.get("namespace", ""), DeleteOptions()
            )
        if self._memory.select(name):
            return
        definitions = builtin("customresourcedefinitions", "apiextensions.k8s.io")
        definition = self._memory.current((DEFINITIONS, "", name))
        if definition is None:
            return
        await self._writer.release(definitions, definition, CLEANUP)
