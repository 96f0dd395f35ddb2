"""What a build made, as a tree to be carried: a program over the one that runs, or a folder."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Collection, Iterable
from pathlib import Path

from kindling.errors import ExecutionError
from kindling.files.statcache import StatCache
from kindling.files.tree import ABSENT, TreeReader
from kindling.graph.node import FileSet
from kindling.sync.session.known import part_of
from kindling.sync.trees.manifest import EMPTY, Entry, Kind, TreeManifest, above, of_source

__all__ = ["Artefact"]

_RUNNABLE = 0o111


class Artefact:
    """The output of a build, which lands on `place`. Empty until it is read for the first time.

    What an older output had and a newer one has no longer goes, such as assets with a hash in their
    names.
    """

    def __init__(
        self,
        place: str,
        *,
        folder: bool,
        cache: StatCache | None = None,
        making: asyncio.Lock | None = None,
    ) -> None:
        """`making` is held by whoever makes another one."""
        self.place = place
        self._making = making or asyncio.Lock()
        self.folder = folder
        self.tree: TreeManifest = EMPTY
        self._output: Path | None = None
        self._cache = cache or StatCache()
        self._had: set[str] = set()
        self._owed: set[str] = set()
        """Places that were looked at again for one container."""

    @property
    def tops(self) -> tuple[str, ...]:
        return (self.place,)

    @property
    def skip(self) -> Collection[str]:
        return ()

    @property
    def had(self) -> Collection[str]:
        return self._had

    async def read(self, output: Path) -> tuple[str, ...]:
        """Take `output` for what is wanted; the places that are another thing than when it was last
        read.

        Raises:
            ExecutionError: It is not what was said.
        """
        changed = await self._look(output)
        changed.update(self._owed)
        self._owed.clear()
        return tuple(sorted(changed))

    async def _look(self, output: Path) -> set[str]:
        self._output = output
        tree = await asyncio.to_thread(self._read, output)
        old, new = self.tree.entries, tree.entries
        changed = {path for path in {*old, *new} if old.get(path) != new.get(path)}
        self.tree = tree
        self._had.update(new)
        return changed

    def part(self, places: Iterable[str]) -> TreeManifest:
        return part_of(self.tree.entries, places)

    def file(self, place: str) -> Path:
        assert self._output is not None
        inner = place[len(self.place) + 1 :]
        return self._output / inner if inner else self._output

    def excluded(self, place: str) -> bool:  # noqa: ARG002
        return False

    async def again(self, place: str) -> None:
        assert self._output is not None
        # Whoever asks has what is found now; the others are to have it with the next build.
        self._owed.add(place)
        async with self._making:
            try:
                self._owed |= await self._look(self._output)
            except (ExecutionError, OSError):
                # There is none just now, and whoever asks goes without it.
                return

    def _read(self, output: Path) -> TreeManifest:
        reader = TreeReader(output.parent, self._cache)
        entries = reader.read(FileSet((output.name,))).entries
        found = entries.get(output.name, ABSENT)
        if found == ABSENT or found.startswith("dir:") is not self.folder:
            raise ExecutionError(f"{output} is no {'folder' if self.folder else 'file'}")
        known: dict[str, Entry] = {folder: Entry(Kind.DIR) for folder in above(self.place)}
        if not self.folder:
            entry = of_source({output.name: found}).entries[output.name]
            size = output.stat().st_size
            mode = (entry.mode or 0o644) | _RUNNABLE
            known[self.place] = Entry(Kind.FILE, mode, entry.digest, size=size)
            return TreeManifest(known)
        below = of_source(entries, output.name)
        if self.place:
            known[self.place] = Entry(Kind.DIR)
        for inner, entry in below.entries.items():
            known[posixpath.join(self.place, inner)] = entry
        return TreeManifest(known, below.refused)
