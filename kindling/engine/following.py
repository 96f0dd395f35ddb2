"""Following file changes: which nodes read a changed path, and whether the Kindlingfile does.

A changed path only makes a node *look* at its files again; whether anything runs is decided by
content. So this may name a node too many, and must never name one too few.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from kindling.executors.protocol import Clock
from kindling.files.ignore import DEFAULT_PATTERNS, Ignore
from kindling.files.roots import Sink
from kindling.files.watching import Backend, Watcher, WatchRoot
from kindling.graph.dag import Graph
from kindling.graph.node import FileSet, IgnoreRule, Kind, NodeId
from kindling.sync.source.gather import follow

__all__ = ["Changes", "Follower", "Readers"]

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Changes:
    """A batch of file changes, sorted out. `paths` are the first few, relative to the project.
    `since` is when the first was seen, by the session's monotonic clock. `every` are all of them,
    and `rescan` says that there may be more, which nobody saw.
    """

    nodes: tuple[NodeId, ...]
    config: bool = False
    paths: tuple[str, ...] = ()
    total: int = 0
    since: float = 0.0
    every: tuple[str, ...] = ()
    rescan: bool = False


@dataclass(frozen=True, slots=True)
class _Reader:
    node: NodeId | None
    """None stands for the Kindlingfile's own evaluation."""
    ignore: Ignore | None
    only: tuple[str, ...]


class Readers:
    """An index from watched paths to who reads below them. Pure.

    A change is looked up by its own path and by every folder above it, so the cost follows the
    depth of the path and not the number of nodes.
    """

    def __init__(self, root: Path, common: Sequence[IgnoreRule] = ()) -> None:
        self._root = root
        self._common = tuple(common)
        self._by_path: dict[str, list[_Reader]] = {}
        self._ignores: dict[tuple[IgnoreRule, ...], Ignore | None] = {}

    def add(self, node: NodeId | None, filesets: Iterable[FileSet]) -> None:
        """Let `node` read these files; None is the evaluation."""
        for fileset in filesets:
            ignore = self._ignore((*self._common, *fileset.ignore))
            only = tuple(self._absolute(path) for path in fileset.only)
            for path in fileset.paths:
                readers = self._by_path.setdefault(self._absolute(path), [])
                readers.append(_Reader(node, ignore, only))

    def _absolute(self, path: str) -> str:
        return os.path.normpath(self._root / path)

    def _ignore(self, rules: tuple[IgnoreRule, ...]) -> Ignore | None:
        if rules not in self._ignores:
            self._ignores[rules] = Ignore(self._root, rules) if rules else None
        return self._ignores[rules]

    def roots(self) -> list[WatchRoot]:
        """What must be watched, each with what may be left out of sight."""
        return [
            WatchRoot(path, reader.ignore)
            for path, readers in self._by_path.items()
            for reader in {id(r.ignore): r for r in readers}.values()
        ]

    def of(self, paths: Collection[str], rescan: Collection[str] = ()) -> Changes:
        """Who reads any of these paths, or anything below the folders that must be rescanned."""
        found: set[NodeId | None] = set()
        seen: list[str] = []
        for path in sorted(paths):
            readers = set(self._readers(path))
            if readers:
                found |= readers
                seen.append(self._shown(path))
        for folder in rescan:
            for path, below in self._by_path.items():
                if _inside(path, folder) or _inside(folder, path):
                    found.update(reader.node for reader in below)
            seen.append(self._shown(folder))
        nodes = tuple(sorted(node for node in found if node is not None))
        return Changes(
            nodes,
            None in found,
            tuple(seen[:_SHOWN]),
            len(seen),
            every=tuple(seen),
            rescan=bool(rescan),
        )

    def _readers(self, path: str) -> Iterable[NodeId | None]:
        above = path
        while True:
            for reader in self._by_path.get(above, ()):
                if self._reads(reader, path):
                    yield reader.node
            parent = above.rpartition("/")[0]
            if parent == above or not above:
                return
            above = parent or "/" if above != "/" else ""

    def _reads(self, reader: _Reader, path: str) -> bool:
        if reader.only and not any(_inside(path, o) or _inside(o, path) for o in reader.only):
            return False
        return reader.ignore is None or not reader.ignore.matches(self._shown(path))

    def _shown(self, path: str) -> str:
        return os.path.relpath(path, self._root)


def _copied(files: FileSet) -> FileSet:
    """Files that a sync session follows: what it never copies is not watched for it."""
    return replace(files, ignore=(*files.ignore, IgnoreRule(".", DEFAULT_PATTERNS)))


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


class Follower:
    """Watches what a session's graph and its Kindlingfile read, and yields sorted-out changes, each
    when its burst is over: a save comes at once, however often it is done, and what an editor takes
    away for a moment is no deletion."""

    def __init__(
        self, root: Path, clock: Clock, *, backend: Callable[[Sink], Backend] | None = None
    ) -> None:
        self._root = root
        self._clock = clock
        self._watcher = Watcher(clock, backend=backend)
        self._readers = Readers(root)

    async def __aenter__(self) -> Self:
        await self._watcher.__aenter__()
        return self

    async def __aexit__(self, *why: Any) -> None:
        await self._watcher.__aexit__(*why)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know about watching, such as that the system's limit is reached."""
        return self._watcher.warnings

    async def watch(
        self,
        config: FileSet,
        graph: Graph,
        selected: Collection[NodeId],
        ignores: Sequence[IgnoreRule],
    ) -> None:
        """Watch what the evaluation and the selected nodes read, less `ignores`, which hold for
        all.

        When it returns, every later change is seen.
        """
        readers = Readers(self._root, ignores)
        readers.add(None, [config])
        for id_ in graph.order:
            if id_ in selected and (files := graph[id_].watched):
                readers.add(id_, map(_copied, files) if graph[id_].kind is Kind.SYNC else files)
        self._readers = readers
        await self._watcher.watch(readers.roots())

    async def changes(self) -> AsyncIterator[Changes]:
        """Changes as they come, until cancelled."""
        async with follow(self._watcher, self._clock, known=_unknown) as saves:
            async for saved in saves:
                paths = {*saved.paths, *saved.passed} - saved.lost
                changes = self._readers.of(paths, saved.lost)
                if changes.nodes or changes.config:
                    yield replace(changes, since=saved.since)


def _unknown(path: str) -> bool:
    """That a temporary name is gone is waited for by nobody; it is named all the same."""
    del path
    return False
