"""Watches: a place in the history, a selection, and a way to be woken."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kindling.cluster.model.api import Change, ChangeType, Selection
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError, Cause, bad_request, gone
from kindling.cluster.registry.fields import field_selector
from kindling.cluster.registry.history import Entry
from kindling.cluster.registry.memory import Memory
from kindling.cluster.registry.selectors import FieldSelector, LabelSelector, parse_labels
from kindling.cluster.registry.versions import storage_key, view
from kindling.cluster.storage.document import Document

__all__ = ["Filter", "Watch", "Watches", "parse_revision", "too_large_revision"]

_END_OF_STATE = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class Filter:
    """A `Selection` that was understood, for one resource."""

    namespace: str | None
    labels: LabelSelector
    fields: FieldSelector

    @classmethod
    def of(cls, resource: ResourceType, selection: Selection) -> Filter:
        """Raises `ApiError` 400."""
        return cls(
            selection.namespace if resource.namespaced else None,
            parse_labels(selection.labels),
            field_selector(resource, selection.fields),
        )

    @property
    def everything(self) -> bool:
        return not self.labels.requirements and not self.fields.conditions

    def matches(self, document: Document) -> bool:
        """Whether the selectors match; the namespace is the caller's to look at."""
        return self.labels.matches(document) and self.fields.matches(document)


class Watch:
    """One reader of the history; an asynchronous iterator of `Change`."""

    def __init__(
        self,
        memory: Memory,
        filters: dict[str, tuple[ResourceType, Filter]],
        position: int,
        backlog: deque[Change],
        *,
        bookmarks: bool,
        closed: Callable[[Watch], None],
    ) -> None:
        self._memory = memory
        self._filters = filters
        self._position = position
        self._seen = memory.revision
        self._backlog = backlog
        self.bookmarks = bookmarks
        self._bookmark_due = False
        self._wake = asyncio.Event()
        self._closed = closed
        self._done = False

    @property
    def keys(self) -> Sequence[str]:
        return tuple(self._filters)

    def wake(self) -> None:
        self._wake.set()

    def remind(self) -> None:
        """A bookmark is due, if the reader has come to the end by itself."""
        self._bookmark_due = True
        self._wake.set()

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Change:
        while True:
            if self._done:
                raise StopAsyncIteration
            if self._backlog:
                return self._backlog.popleft()
            change = self._read()
            if change is not None:
                return change
            if self._bookmark_due:
                self._bookmark_due = False
                if self.bookmarks:
                    return bookmark(next(iter(self._filters.values()))[0], self._memory.revision)
            self._wake.clear()
            await self._wake.wait()

    async def aclose(self) -> None:
        if not self._done:
            self._done = True
            self._closed(self)
            self._wake.set()

    def _read(self) -> Change | None:
        """The next change that is selected; None at the end of the history."""
        history = self._memory.history
        if self._position < history.first:
            if not history.knows(self._seen, self._filters):
                self._done = True
                self._closed(self)
                raise gone(f"too old resource version: {self._seen} ({self._memory.revision})")
            self._position = history.first
        while (entry := history.at(self._position)) is not None:
            self._position += 1
            self._seen = entry.revision
            found = self._filters.get(entry.key)
            if found is None:
                continue
            change = _selected(entry, *found)
            if change is not None:
                return change
        self._seen = self._memory.revision
        return None


def _selected(entry: Entry, resource: ResourceType, chosen: Filter) -> Change | None:
    if chosen.namespace is not None and entry.namespace != chosen.namespace:
        return None
    if chosen.everything:
        before, after = entry.before is not None, entry.after is not None
    else:
        before = entry.before is not None and chosen.matches(entry.before)
        after = entry.after is not None and chosen.matches(entry.after)
    if after:
        return entry.change(resource, ChangeType.MODIFIED if before else ChangeType.ADDED)
    return entry.change(resource, ChangeType.DELETED) if before else None


def bookmark(resource: ResourceType, revision: int, *, end_of_state: bool = False) -> Change:
    metadata: dict[str, object] = {"resourceVersion": str(revision)}
    if end_of_state:
        metadata["annotations"] = {_END_OF_STATE: "true"}
    obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    return Change(ChangeType.BOOKMARK, resource, Document(obj))


class Watches:
    """All open watches, woken only for the resources that they watch."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._by_key: dict[str, set[Watch]] = {}
        self._all: set[Watch] = set()
        memory.listen(self._changed)

    def __len__(self) -> int:
        return len(self._all)

    def open(
        self,
        resources: Sequence[ResourceType],
        selection: Selection,
        *,
        since: str,
        bookmarks: bool,
        initial: bool,
    ) -> Watch:
        """Begin a watch at once. Raises `ApiError` 400 or 410."""
        memory = self._memory
        filters = {storage_key(r): (r, Filter.of(r, selection)) for r in resources}
        backlog: deque[Change] = deque()
        position = memory.history.end
        if initial or since == "0":
            for key, (resource, chosen) in filters.items():
                backlog.extend(
                    Change(ChangeType.ADDED, resource, view(document, resource))
                    for document in memory.select(key, chosen.namespace)
                    if chosen.matches(document)
                )
            if initial:
                first = next(iter(filters.values()))[0]
                backlog.append(bookmark(first, memory.revision, end_of_state=True))
        elif since:
            revision = parse_revision(since)
            if revision > memory.revision:
                raise too_large_revision(revision, memory.revision)
            if not memory.history.knows(revision, filters):
                raise gone(f"too old resource version: {since} ({memory.revision})")
            position = memory.history.position(revision)
        watch = Watch(memory, filters, position, backlog, bookmarks=bookmarks, closed=self._forget)
        self._all.add(watch)
        for key in filters:
            self._by_key.setdefault(key, set()).add(watch)
        return watch

    def remind(self) -> None:
        """Let every watch that asked for bookmarks give one."""
        for watch in self._all:
            if watch.bookmarks:
                watch.remind()

    async def close(self) -> None:
        for watch in list(self._all):
            await watch.aclose()

    def _changed(self, entries: Sequence[Entry]) -> None:
        for key in {entry.key for entry in entries}:
            for watch in self._by_key.get(key, ()):
                watch.wake()

    def _forget(self, watch: Watch) -> None:
        self._all.discard(watch)
        for key in watch.keys:
            self._by_key.get(key, set()).discard(watch)


def parse_revision(text: str) -> int:
    """Raises `ApiError` 400."""
    if not text.isascii() or not text.isdigit():
        raise bad_request(
            f'invalid resource version: strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return int(text)


def too_large_revision(revision: int, newest: int) -> ApiError:
    return ApiError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {revision}, current: {newest}",
        causes=[Cause("ResourceVersionTooLarge", "Too large resource version")],
        retry_after=1,
    )
