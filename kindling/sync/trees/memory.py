"""A tree in memory that takes operations as a file system does: the oracle of batches.

It is stricter than root on a real one: nothing is made, replaced or removed in a folder that its
owner may not write and enter, so that a batch which works here works for a user who is not root.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from kindling.sync.trees.batch import Chmod, Delete, Link, Mkdir, Move, Operation, Put, Rmdir
from kindling.sync.trees.manifest import Entry, Kind, TreeManifest, above

__all__ = ["ImpossibleError", "MemoryTree", "applied"]

_OPEN = 0o700


class ImpossibleError(Exception):
    """A file system would not do this."""


class MemoryTree:
    """A tree that can be changed."""

    def __init__(self, start: TreeManifest) -> None:
        self.entries = dict(start.entries)

    def apply(self, step: Operation) -> None:
        """One operation.

        Raises:
            ImpossibleError: The path's folder is missing or closed, or something is in the way.
        """
        self._enter(step.path)
        held = self.entries.get(step.path)
        match step:
            case Mkdir(path, mode):
                if held is not None:
                    raise ImpossibleError(f"{path!r} is there")
                self.entries[path] = Entry(Kind.DIR, mode)
            case Put(path, mode, digest, size):
                self._replace(path, Entry(Kind.FILE, mode, digest, size=size))
            case Link(path, target):
                self._replace(path, Entry(Kind.LINK, target=target))
            case Move(source, path, mode, digest):
                self._enter(source)
                moved = self.entries.get(source)
                if moved is None or moved.kind is not Kind.FILE or moved.digest != digest:
                    raise ImpossibleError(f"{source!r} does not hold what is to be moved")
                self._replace(path, Entry(Kind.FILE, mode, digest, size=moved.size))
                del self.entries[source]
            case Chmod(path, mode):
                if held is None or held.kind is Kind.LINK:
                    raise ImpossibleError(f"{path!r} has no mode to set")
                self.entries[path] = Entry(held.kind, mode, held.digest, size=held.size)
            case Delete(path):
                if held is not None and held.kind is Kind.DIR:
                    raise ImpossibleError(f"{path!r} is a folder")
                self.entries.pop(path, None)
            case Rmdir(path):
                if held is not None and held.kind is not Kind.DIR:
                    raise ImpossibleError(f"{path!r} is no folder")
                if not any(other.startswith(path + "/") for other in self.entries):
                    self.entries.pop(path, None)

    def manifest(self) -> TreeManifest:
        return TreeManifest(dict(self.entries))

    def _enter(self, path: str) -> None:
        nearest = posixpath.dirname(path)
        for folder in above(path):
            held = self.entries.get(folder)
            if held is None or held.kind is not Kind.DIR:
                raise ImpossibleError(f"{folder!r} is no folder, on the way to {path!r}")
            if held.mode is not None and held.mode & _OPEN != _OPEN:
                what = "written" if folder == nearest else "entered"
                raise ImpossibleError(f"{folder!r} cannot be {what}")

    def _replace(self, path: str, entry: Entry) -> None:
        held = self.entries.get(path)
        if held is not None and held.kind is Kind.DIR:
            raise ImpossibleError(f"{path!r} is a folder")
        self.entries[path] = entry


def applied(batch: Iterable[Operation], tree: TreeManifest) -> TreeManifest:
    """`tree` after the operations.

    Raises:
        ImpossibleError: One of them cannot be done.
    """
    memory = MemoryTree(tree)
    for step in batch:
        memory.apply(step)
    return memory.manifest()
