"""The source of a session: its files, what they come to in the container, and what a look finds.

    path here (from the root)                place in the container (from `/`)
    entries   src/main.py: file:644:...  ──▶ tree   app/main.py: Entry(FILE, 0o644, ...)

A look at one file of a tree of 10,000 costs one read of that file: nothing is walked, compiled or
sorted for it. What a path comes to is decided by its content and mode; a touch is no change.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from kindling.files.statcache import StatCache
from kindling.files.tree import ABSENT
from kindling.files.watching import WatchRoot
from kindling.lang.declared import LiveUpdateStep
from kindling.sync.protocol import SourceChangedError
from kindling.sync.rules.landing import Context, Sync, syncs_of
from kindling.sync.source.ignoring import ignore_files, with_ignores
from kindling.sync.source.landed import Landed
from kindling.sync.source.members import Members
from kindling.sync.source.reading import Found, Reader
from kindling.sync.source.selection import Selection
from kindling.sync.trees.manifest import Refused, TreeManifest

__all__ = ["Looked", "SourceTree"]


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look found.

    `changed`: paths of the source, relative to the context's root, that hold something else, came
    or went. `places`: those of the container that are to hold something else, or to go. `refused`:
    what cannot be carried and was not refused before. `left`: places that an ignore rule has taken
    out of the session; they are in `places` no more and stay in the container as they are. `gone`
    and `back`: folders of sync steps that are no more, and those that came again.
    """

    changed: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()
    left: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    back: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        found = self.changed or self.places or self.refused or self.left
        return bool(found or self.gone or self.back)


@dataclass(frozen=True, slots=True)
class _Rules:
    """What follows from the steps and from all that is ignored."""

    top: str
    folder: Path
    context: Context
    selection: Selection
    reader: Reader
    ignore_files: frozenset[str]


class SourceTree:
    """The files that the sync steps cover, read when it is opened and looked at again when told to.

        source = await SourceTree.open(Context(root=folder), [SyncStep(".", "/app")])
        looked = await source.look(["/home/ada/shop/main.py"])
        difference(source.part(looked.places), there, ...)

    What is refused is left as the container has it, and so is all that is ignored (`excluded`),
    whoever put it there: to ignore a folder means to leave it to the container.

    That the whole folder of a step is gone (a branch switch, a build that makes it anew, a disk
    that is not mounted) is never a wish to empty containers: what it held counts on, until it is
    back and says otherwise.
    """

    def __init__(
        self,
        context: Context,
        steps: Sequence[LiveUpdateStep],
        patterns: Sequence[str],
        cache: StatCache,
    ) -> None:
        """Use `open`."""
        self._given = context
        self._steps = tuple(steps)
        self._patterns = tuple(patterns)
        self._cache = cache
        self._looking = asyncio.Lock()
        self._entries: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self._members = Members()
        self._gone: set[str] = set()
        """Folders of steps that were there, and are not."""
        self._rules = self._made()

    @classmethod
    async def open(
        cls,
        context: Context,
        steps: Sequence[LiveUpdateStep],
        *,
        exclude: Sequence[str] = (),
        leaves: Sequence[str] = (),
        cache: StatCache | None = None,
    ) -> SourceTree:
        """Read all that the steps cover. `exclude` and `leaves` (what local builds write) are
        patterns as in `.dockerignore`, relative to the context's root.

        Raises:
            ConfigError: A pattern is none.
        """

        def read() -> SourceTree:
            tree = cls(context, steps, (*exclude, *leaves), cache or StatCache())
            tree._take(tree._rules.reader.examine(None, tree._entries, tree._members))
            tree._land()
            return tree

        return await asyncio.to_thread(read)

    @property
    def context(self) -> Context:
        """What was given, with all that is ignored as rules of it."""
        return self._rules.context

    @property
    def syncs(self) -> tuple[Sync, ...]:
        """The sync steps as the tree is now."""
        return self._landed.syncs

    @property
    def entries(self) -> Mapping[str, str]:
        """Path to entry, as `kindling.files.tree` writes them, of all that the steps land. It is
        the live one: it changes with each look."""
        return MappingProxyType(self._entries)

    @property
    def tree(self) -> TreeManifest:
        """All that is to be in the container."""
        return self._landed.manifest

    @property
    def refused(self) -> tuple[Refused, ...]:
        """What cannot be carried."""
        return self._landed.refused

    def part(self, places: Collection[str]) -> TreeManifest:
        """`tree`, but of these places and the folders above them alone. A place that is not in it
        is to be gone."""
        return self._landed.part(places)

    def file(self, place: str) -> Path:
        """The file here that the place shows.

        Raises:
            SourceChangedError: It shows none any more.
        """
        path = self._landed.source(place)
        if path is None:
            raise SourceChangedError(place)
        return self._rules.folder / path

    def knows(self, path: str) -> bool:
        """Was the (absolute) path there when it was last looked at?"""
        return self._named(path) in self._entries

    def excluded(self, place: str) -> bool:
        """Is the place one that ignore rules leave to the container? Never to be touched, not by a
        mirror either."""
        covered = False
        for sync in self.syncs:
            path = sync.covered(place)
            if path is not None:
                covered = True
                if sync.lands(path) is not None:
                    return False
        return covered

    def roots(self) -> tuple[WatchRoot, ...]:
        """What must be watched so that no change is missed. They may change with a look that finds
        an ignore file changed."""
        root = self._rules.context.root.as_posix()
        ignores = (
            WatchRoot(posixpath.normpath(posixpath.join(root, one)))
            for one in self._rules.ignore_files
        )
        return tuple(dict.fromkeys((*self._rules.selection.roots(), *ignores)))

    async def look(self, paths: Collection[str] | None = None) -> Looked:
        """See what these (absolute) paths are now, with all below them; None: look at everything,
        as after lost events. What is told need not be true: a path in which nothing changed is
        nothing.

        Raises:
            ConfigError: An ignore file that changed holds a pattern that is none; nothing is
                looked at until it is mended.
        """
        async with self._looking:
            named = None if paths is None else {self._named(path) for path in paths}
            if self._rules_may_differ(named) and await asyncio.to_thread(self._rules_differ):
                return await self._look_anew()
            seen = await asyncio.to_thread(
                self._rules.reader.examine, named, self._entries, self._members
            )
            return self._apply(seen)

    def _apply(self, seen: Mapping[str, Found | None]) -> Looked:
        if not seen and not self._gone:
            return Looked()
        seen, gone, back = self._less_gone(seen)
        before = set(self._landed.refused)
        self._take(seen)
        places = self._landed.changed(seen)
        fresh = tuple(one for one in self._landed.refused if one not in before)
        return Looked(tuple(sorted(seen)), tuple(sorted(places)), fresh, (), gone, back)

    def _less_gone(
        self, seen: Mapping[str, Found | None]
    ) -> tuple[Mapping[str, Found | None], tuple[str, ...], tuple[str, ...]]:
        """What was seen, less what went with a whole folder of a step; such folders that went just
        now, and those that are back."""
        missing = self._missing(seen)
        gone, back = sorted(missing - self._gone), sorted(self._gone - missing)
        self._gone = missing
        if missing:
            seen = {
                path: found
                for path, found in seen.items()
                if not any(path == one or _below(path, one) for one in missing)
            }
        return seen, tuple(gone), tuple(back)

    def _missing(self, seen: Mapping[str, Found | None]) -> set[str]:
        """Folders of steps that are no more. One inside of another that is there was deleted, as
        any folder may be."""
        folders = [
            one for one in self._rules.selection.locals if self._entries.get(one, "")[:4] == "dir:"
        ]
        missing = {one for one in folders if one in self._gone or _is_absent(seen.get(one))}
        missing = {one for one in missing if not os.path.isdir(os.path.join(self._rules.top, one))}
        there = [one for one in folders if one not in missing]
        return {one for one in missing if not any(_below(one, other) for other in there)}

    async def _look_anew(self) -> Looked:
        """The rules changed: what counts is found anew, and compared with what counted."""
        entries, tree, refused = dict(self._entries), self.tree.entries, set(self.refused)
        rules = await asyncio.to_thread(self._made)
        found = await asyncio.to_thread(rules.reader.examine, None, self._entries, self._members)
        self._rules = rules
        seen, gone, back = self._less_gone(found)
        self._take(seen)
        self._land()
        now = self.tree.entries
        differ = {p for p in tree.keys() | now.keys() if tree.get(p) != now.get(p)}
        left = {place for place in differ if place not in now and self.excluded(place)}
        return Looked(
            tuple(sorted(path for path in seen if self._entries.get(path) != entries.get(path))),
            tuple(sorted(differ - left)),
            tuple(one for one in self.refused if one not in refused),
            tuple(sorted(left)),
            gone,
            back,
        )

    def _made(self) -> _Rules:
        top = os.path.realpath(self._given.root)
        context = with_ignores(self._given, self._patterns, top)
        selection = Selection(context, syncs_of(self._steps, context, {}))
        files = frozenset(ignore_files(self._given))
        return _Rules(
            top, Path(top), context, selection, Reader(top, selection, self._cache), files
        )

    def _land(self) -> None:
        syncs = syncs_of(self._steps, self._rules.context, self._entries)
        self._landed = Landed(syncs, self._entries, self._members, self._sizes)

    def _take(self, seen: Mapping[str, Found | None]) -> None:
        for path, found in seen.items():
            self._sizes.pop(path, None)
            if found is None:
                self._entries.pop(path, None)
                self._members.remove(path)
                continue
            if path not in self._entries:
                self._members.add(path)
            self._entries[path] = found[0]
            if found[1] is not None:
                self._sizes[path] = found[1]

    def _rules_may_differ(self, named: Collection[str] | None) -> bool:
        if named is None:
            return True
        return any(
            path in self._rules.ignore_files or self._rules.selection.leads_to(path)
            for path in named
        )

    def _rules_differ(self) -> bool:
        if self._missing(dict.fromkeys(self._rules.selection.locals, (ABSENT, None))):
            # Its ignore files went with the folder, and are no less in force.
            return False
        if os.path.realpath(self._given.root) != self._rules.top:
            return True
        context = with_ignores(self._given, self._patterns, self._rules.top)
        return context != self._rules.context

    def _named(self, path: str) -> str:
        """An absolute path as the entries have it."""
        for top in (self._rules.top, self._given.root.as_posix()):
            if path == top:
                return "."
            if path.startswith(top.rstrip("/") + "/"):
                return posixpath.normpath(path[len(top.rstrip("/")) + 1 :])
        return os.path.relpath(path, self._given.root)


def _below(path: str, folder: str) -> bool:
    return folder == "." or path.startswith(folder + "/")


def _is_absent(found: Found | None) -> bool:
    return found is not None and found[0] == ABSENT
