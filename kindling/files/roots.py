"""What is watched, and which of its paths count."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kindling.files.ignore import DEFAULT_PATTERNS, Ignore
from kindling.graph.node import IgnoreRule

__all__ = ["Cover", "Sink", "WatchRoot"]

_DEFAULTS = Ignore(Path("/"), (IgnoreRule(".", DEFAULT_PATTERNS),))


@dataclass(frozen=True, slots=True)
class WatchRoot:
    """A file, or a folder with all below it, as an absolute path. It need not exist yet.

    `ignore` speaks of paths relative to its own root. What editors and version control write for
    themselves (`DEFAULT_PATTERNS`) is left out anyway, except where `path` itself is such a thing.
    """

    path: str
    ignore: Ignore | None = None


class Sink(Protocol):
    """Takes what a watching back end finds. Called from its threads."""

    def changed(self, path: str) -> None:
        """Something happened to this path."""
        ...

    def lost(self, root: str) -> None:
        """Anything may have happened below this root."""
        ...

    def limited(self, what: str) -> None:
        """The system refuses to watch more; `what` names its limit. Polling takes over."""
        ...


@dataclass(frozen=True, slots=True)
class Cover:
    """A watched folder as one root sees it. `place` is relative to the root of the ignore rules."""

    root: WatchRoot
    place: str

    @classmethod
    def of(cls, root: WatchRoot) -> Cover:
        """The root's own folder."""
        if root.ignore is None:
            return cls(root, ".")
        return cls(root, posixpath.normpath(os.path.relpath(root.path, root.ignore.root)))

    @property
    def out(self) -> bool:
        """Does the root drop itself, and all below it?"""
        return self.root.ignore is not None and self.root.ignore.prunes(self.place)

    def drops(self, name: str) -> bool:
        """Is this member of the folder left out?"""
        if _DEFAULTS.matches_child(name, name):
            return True
        ignore = self.root.ignore
        return ignore is not None and ignore.matches_child(self._inner(name), name)

    def prunes(self, name: str) -> bool:
        """Is this member left out with all it may hold?"""
        if _DEFAULTS.matches_child(name, name):
            return True
        ignore = self.root.ignore
        return ignore is not None and ignore.prunes(self._inner(name))

    def child(self, name: str) -> Cover:
        """A folder in this folder."""
        return Cover(self.root, self._inner(name) if self.root.ignore else ".")

    def _inner(self, name: str) -> str:
        return name if self.place == "." else f"{self.place}/{name}"
