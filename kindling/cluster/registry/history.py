"""The newest changes of all objects, in order: what watches read and old lists are made from.

A watch has a place in here and no queue of its own, so that memory is bounded by this one log
however many watches there are and however slowly some of them read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from kindling.cluster.model.api import Change, ChangeType
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.registry.versions import view
from kindling.cluster.storage.document import Document

__all__ = ["MOST_BYTES", "MOST_ENTRIES", "Entry", "History"]

MOST_ENTRIES = 5_000
MOST_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class Entry:
    """One acknowledged change of the object under (`key`, `namespace`, `name`).

    `after` None is a deletion; `shown` is then the last state with the deletion's revision, else
    the same as `after`.
    """

    revision: int
    key: str
    namespace: str
    name: str
    before: Document | None
    after: Document | None
    shown: Document
    changes: dict[tuple[ResourceType, ChangeType], Change] = field(default_factory=dict)

    def change(self, resource: ResourceType, kind: ChangeType) -> Change:
        """The change as a watch of `resource` gets it; watches of one version share it."""
        found = self.changes.get((resource, kind))
        if found is None:
            shown = self.shown
            if kind is ChangeType.DELETED and self.after is not None:
                # It ceased to match a selection: clients get the new state, as a deletion.
                shown = self.after
            before = view(self.before, resource) if self.before is not None else None
            found = Change(kind, resource, view(shown, resource), before)
            self.changes[resource, kind] = found
        return found


class History:
    """A log that forgets its oldest entries."""

    def __init__(
        self, start: int = 0, *, entries: int = MOST_ENTRIES, size: int = MOST_BYTES
    ) -> None:
        self._entries: deque[Entry] = deque()
        self._first = 0
        """The position of the first entry that is kept."""
        self._start = start
        """Every change after this revision was kept when the process began."""
        self._forgotten: dict[str, int] = {}
        """By key, the revision of the newest change that was forgotten."""
        self._most_entries = entries
        self._most_bytes = size
        self._bytes = 0

    @property
    def end(self) -> int:
        """The position after the newest entry."""
        return self._first + len(self._entries)

    def append(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._bytes += len(entry.shown.encoded)
        while len(self._entries) > self._most_entries or self._bytes > self._most_bytes:
            if len(self._entries) == 1:
                break
            old = self._entries.popleft()
            self._first += 1
            self._bytes -= len(old.shown.encoded)
            self._forgotten[old.key] = old.revision

    def knows(self, revision: int, keys: Iterable[str]) -> bool:
        """Whether every change of these resources after `revision` is still here."""
        if revision < self._start:
            return False
        return all(self._forgotten.get(key, 0) <= revision for key in keys)

    def position(self, revision: int) -> int:
        """The position of the first entry after `revision`, among those that are kept."""
        low, high = 0, len(self._entries)
        while low < high:
            middle = (low + high) // 2
            if self._entries[middle].revision <= revision:
                low = middle + 1
            else:
                high = middle
        return self._first + low

    def at(self, position: int) -> Entry | None:
        """The entry at a position; None for one that was forgotten or is yet to come."""
        index = position - self._first
        return self._entries[index] if 0 <= index < len(self._entries) else None

    @property
    def first(self) -> int:
        return self._first

    def newest_first(self) -> Iterator[Entry]:
        return reversed(self._entries)
