"""Every object in memory: what is acknowledged, and what is on its way to the disk.

Readers see what is durable. Writers decide upon `current`, which has the writes under way as well,
so that two that race meet each other and not the same old state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kindling.cluster.model.status import ApiError, internal_error
from kindling.cluster.registry.history import Entry, History
from kindling.cluster.storage.database import ObjectStore, Undo, Write
from kindling.cluster.storage.document import Document

__all__ = ["Key", "Memory"]

Key = tuple[str, str, str]
"""Storage key, namespace and name of an object."""


@dataclass(slots=True, eq=False)
class _Pending:
    """A write that is not durable yet; `document` None is a removal."""

    revision: int
    key: Key
    document: Document | None
    before: Document | None
    shown: Document
    settled: asyncio.Future[ApiError | None]


class Memory:
    """The objects of one cluster, on one event loop."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._loop: asyncio.AbstractEventLoop | None = None
        self._objects: dict[str, dict[Key, Document]] = {}
        self._namespaces: dict[tuple[str, str], dict[Key, Document]] = {}
        self._owned: dict[str, set[Key]] = {}
        self._sorted: dict[tuple[str, str | None], list[Key]] = {}
        self._pending: dict[int, _Pending] = {}
        self._overlay: dict[Key, _Pending] = {}
        self._epoch = 0
        self._next = 1
        self.revision = 0
        self.history = History()
        self._listeners: list[Callable[[Sequence[Entry]], None]] = []

    def open(self) -> None:
        """Read the database. Call on the event loop that will use it."""
        self._loop = asyncio.get_running_loop()
        contents = self._store.open(self._from_thread)
        for key, namespace, name, body in contents.objects:
            self._put((key, namespace, name), Document.parse(body))
        self.revision = contents.revision
        self._next = contents.revision + 1
        self.history = History(contents.history_start)
        self._restore(contents.history)

    def close(self) -> None:
        self._store.close()

    def listen(self, listener: Callable[[Sequence[Entry]], None]) -> None:
        """Call `listener` with each batch of changes right after it became visible."""
        self._listeners.append(listener)

    # Reading

    def get(self, key: Key) -> Document | None:
        return self._objects.get(key[0], {}).get(key)

    def select(self, resource: str, namespace: str | None = None) -> list[Document]:
        """All of a resource, in the order of namespace and name."""
        shelf = self._objects.get(resource)
        if not shelf:
            return []
        return [shelf[key] for key in self.keys(resource, namespace)]

    def keys(self, resource: str, namespace: str | None = None) -> list[Key]:
        """The keys of `select`, in its order. Not to be changed."""
        found = self._sorted.get((resource, namespace))
        if found is None:
            shelf = (
                self._objects.get(resource, {})
                if namespace is None
                else self._namespaces.get((resource, namespace), {})
            )
            found = self._sorted[resource, namespace] = sorted(shelf)
        return found

    def owned(self, uid: str) -> list[tuple[Key, Document]]:
        return [(key, self._objects[key[0]][key]) for key in sorted(self._owned.get(uid, ()))]

    def shelves(self) -> list[str]:
        """The storage keys that have objects."""
        return [key for key, shelf in self._objects.items() if shelf]

    # Deciding

    def current(self, key: Key) -> Document | None:
        """The newest state, durable or not."""
        pending = self._overlay.get(key)
        return pending.document if pending is not None else self.get(key)

    def current_all(self, resource: str, namespace: str | None = None) -> Iterable[Document]:
        """All of a resource in the newest state, in no order."""
        shelf = (
            self._objects.get(resource, {})
            if namespace is None
            else self._namespaces.get((resource, namespace), {})
        )
        overlay = {
            key: pending
            for key, pending in self._overlay.items()
            if key[0] == resource and namespace in (None, key[1])
        }
        if not overlay:
            return shelf.values()
        kept = [document for key, document in shelf.items() if key not in overlay]
        return kept + [p.document for p in overlay.values() if p.document is not None]

    async def settle(self, key: Key) -> None:
        """Wait until the newest state of an object is acknowledged. Raises `ApiError` when its
        write fails."""
        pending = self._overlay.get(key)
        if pending is not None:
            await self._wait(pending)

    def write(self, key: Key, obj: dict[str, object] | None) -> tuple[Document, _Pending]:
        """Decide an object's next state; None removes it. Gives it the next revision, and hands it
        to the disk. Nobody sees it before `wait` returns."""
        if self._loop is None:
            raise RuntimeError("the registry is not started")
        before = self.current(key)
        last = obj if obj is not None else before
        if last is None:
            raise RuntimeError(f"{key} is not there to be removed")
        revision = self._next
        metadata = last["metadata"]
        assert isinstance(metadata, dict)
        shown = Document(last | {"metadata": metadata | {"resourceVersion": str(revision)}})
        try:
            encoded = shown.encoded
        except TypeError as error:
            raise ApiError(400, "BadRequest", f"object cannot be encoded: {error}") from error
        self._next += 1
        document = shown if obj is not None else None
        pending = _Pending(revision, key, document, before, shown, self._loop.create_future())
        self._pending[revision] = pending
        self._overlay[key] = pending
        self._store.submit(
            Write(
                revision,
                *key,
                encoded if obj is not None else None,
                before.encoded if before is not None else None,
                self._epoch,
            )
        )
        return shown, pending

    async def commit(self, key: Key, obj: dict[str, object] | None) -> Document:
        """`write`, and wait until it is durable."""
        document, pending = self.write(key, obj)
        await self._wait(pending)
        return document

    async def _wait(self, pending: _Pending) -> None:
        # Shielded: several may wait for one write, and one that is cancelled takes none along.
        error = await asyncio.shield(pending.settled)
        if error is not None:
            raise error

    # From the disk

    def _from_thread(self, writes: Sequence[Write], error: Exception | None) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._settled, writes, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _settled(self, writes: Sequence[Write], error: Exception | None) -> None:
        if error is not None:
            self._failed(writes, error)
            return
        entries: list[Entry] = []
        for write in writes:
            pending = self._pending.pop(write.revision)
            if self._overlay.get(pending.key) is pending:
                del self._overlay[pending.key]
            if pending.document is None:
                self._drop(pending.key)
            else:
                self._put(pending.key, pending.document)
            entry = Entry(
                pending.revision, *pending.key, pending.before, pending.document, pending.shown
            )
            self.history.append(entry)
            entries.append(entry)
            self.revision = pending.revision
            if not pending.settled.done():
                pending.settled.set_result(None)
        errors: list[Exception] = []
        for listener in self._listeners:
            try:
                listener(entries)
            except Exception as problem:  # the others are to hear of it all the same
                errors.append(problem)
        if errors:
            raise errors[0]

    def _failed(self, writes: Sequence[Write], error: Exception) -> None:
        """Nothing that is not durable yet may stay: later writes were decided upon earlier ones."""
        if writes[-1].epoch < self._epoch:
            return
        self._epoch += 1
        self._overlay.clear()
        failed, self._pending = self._pending, {}
        refusal = internal_error(f"the object could not be stored: {error}")
        for pending in failed.values():
            if not pending.settled.done():
                pending.settled.set_result(refusal)

    def _put(self, key: Key, document: Document) -> None:
        shelf = self._objects.setdefault(key[0], {})
        old = shelf.get(key)
        if old is None:
            self._sorted.pop((key[0], None), None)
            self._sorted.pop((key[0], key[1]), None)
        shelf[key] = document
        self._namespaces.setdefault((key[0], key[1]), {})[key] = document
        owners = _owners(document)
        gone = _owners(old) - owners if old is not None else frozenset()
        for uid in gone:
            self._disown(uid, key)
        for uid in owners:
            self._owned.setdefault(uid, set()).add(key)

    def _drop(self, key: Key) -> None:
        old = self._objects.get(key[0], {}).pop(key, None)
        if old is None:
            return
        self._namespaces[key[0], key[1]].pop(key, None)
        self._sorted.pop((key[0], None), None)
        self._sorted.pop((key[0], key[1]), None)
        for uid in _owners(old):
            self._disown(uid, key)

    def _disown(self, uid: str, key: Key) -> None:
        keys = self._owned.get(uid)
        if keys is not None:
            keys.discard(key)
            if not keys:
                del self._owned[uid]

    def _restore(self, undo: Sequence[Undo]) -> None:
        """Make the history anew from the undo log: what an object became is what the next change
        of it undid, or what it is now."""
        entries: list[Entry] = []
        after: dict[Key, Document | None] = {}
        for row in reversed(undo):
            key = (row.resource, row.namespace, row.name)
            became = after[key] if key in after else self.get(key)
            before = Document.parse(row.before) if row.before is not None else None
            after[key] = before
            if became is not None:
                shown = became
            elif before is not None:
                metadata = before["metadata"] | {"resourceVersion": str(row.revision)}
                shown = Document(before | {"metadata": metadata})
            else:
                continue
            entries.append(Entry(row.revision, *key, before, became, shown))
        for entry in reversed(entries):
            self.history.append(entry)


def _owners(document: Document) -> frozenset[str]:
    references = document["metadata"].get("ownerReferences")
    if not references:
        return frozenset()
    return frozenset(str(reference.get("uid", "")) for reference in references)
