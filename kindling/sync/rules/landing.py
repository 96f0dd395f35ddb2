"""Where in a container a file lands.

A file below a step's local folder lands below its remote one; a single file lands at `remote`, or
in it under its own name where `remote` ends in a slash. A file that several steps cover lands in
all their places (Tilt: by the first step alone, save at an initial sync). Where two sources land on
one path, the later step wins, and when its file goes, the earlier step's comes back.

Whether a path of a step is a folder is read from the entries of the tree as it is now. What is gone
is taken for a file, which is right for all that lies below a folder.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kindling.files.ignore import DEFAULT_PATTERNS, Ignore
from kindling.files.tree import ABSENT
from kindling.graph.node import FileSet, IgnoreRule
from kindling.lang.declared import LiveUpdateStep, SyncStep
from kindling.sync.trees.manifest import Entry, Kind, Refused, TreeManifest, above, of_source

__all__ = [
    "Context",
    "Sync",
    "always_ignored",
    "ignored_by_name",
    "landed_tree",
    "landings",
    "source_of",
    "syncs_of",
]

_DEFAULTS = Ignore(Path("/"), (IgnoreRule(".", DEFAULT_PATTERNS),))


def always_ignored(path: str) -> bool:
    """Is it what version control and editors write for themselves, or below such a thing? In a
    folder beside the root (`../shared`) as in it."""
    while path.startswith("../"):
        path = path[3:]
    return _DEFAULTS.matches(path)


def ignored_by_name(name: str) -> bool:
    """`always_ignored` of a member of a folder that is not."""
    return _DEFAULTS.matches_child(name, name)


@dataclass(frozen=True)
class Context:
    """What an image is made of: the file sets of it and of every image below it.

    Paths are relative to `root`, as those of the graph are. Without an image, as for `kindling
    sync` of a folder, it is all that the folder holds.
    """

    image: str = ""
    root: Path = Path()
    files: tuple[FileSet, ...] = (FileSet((".",)),)
    _ignores: tuple[Ignore, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ignores = tuple(Ignore(self.root, one.ignore) for one in self.files)
        object.__setattr__(self, "_ignores", ignores)

    def holds(self, path: str) -> bool:
        """Is the path part of the image: in a file set, and ignored neither there nor always?"""
        if always_ignored(path):
            return False
        for files, ignore in zip(self.files, self._ignores, strict=True):
            inside = any(self.inside(path, one) for one in files.paths)
            if inside and files.only:
                inside = any(self.inside(path, one) for one in files.only)
            if inside and not ignore.matches(path):
                return True
        return False

    def filtered(self) -> tuple[tuple[FileSet, Ignore], ...]:
        """The file sets, each with its rules ready to be asked."""
        return tuple(zip(self.files, self._ignores, strict=True))

    def inside(self, path: str, folder: str) -> bool:
        """Is `path` the folder (or file) itself, or below it?"""
        return self.below(path, folder) is not None

    def below(self, path: str, folder: str) -> str | None:
        """`path` relative to `folder`, empty for the folder itself; None: not in it."""
        if folder == "." and not path.startswith(("../", "/")) and path != "..":
            return "" if path == "." else path
        top = posixpath.normpath(posixpath.join(self.root.as_posix(), folder))
        place = posixpath.normpath(posixpath.join(self.root.as_posix(), path))
        if place == top:
            return ""
        prefix = top.rstrip("/") + "/"
        return place[len(prefix) :] if place.startswith(prefix) else None


@dataclass(frozen=True)
class Sync:
    """A sync step, ready to be asked."""

    step: SyncStep
    context: Context
    single: bool
    """Its local path is a file."""
    _ignore: Ignore = field(repr=False, compare=False)

    def covers(self, path: str) -> bool:
        return self.context.inside(path, self.step.local)

    def ignores(self, path: str) -> bool:
        """Do the step's own patterns leave the path out?"""
        return self._ignore.matches(path)

    def turned(self, *, single: bool) -> Sync:
        """The same step, whose local path is a file now, or is none any more."""
        return replace(self, single=single)

    @property
    def remote(self) -> str:
        """The absolute path in the container of what `local` is."""
        remote = self.step.remote
        if self.single and remote.endswith("/"):
            remote += posixpath.basename(self.step.local)
        return posixpath.normpath("/" + remote.lstrip("/"))

    def lands(self, path: str) -> str | None:
        """Where a path that the step covers and does not ignore lands."""
        inner = self.context.below(path, self.step.local)
        if inner is None or self.ignores(path) or not self.context.holds(path):
            return None
        return posixpath.join(self.remote, inner) if inner else self.remote

    def source(self, place: str) -> str | None:
        """The path that lands on `place` by this step, whether it exists or not."""
        path = self.covered(place.strip("/"))
        return path if path is not None and self.lands(path) == place else None

    def covered(self, place: str) -> str | None:
        """The path whose place it would be, whether it is ignored or not. `place` is without the
        first slash."""
        top = self.remote.strip("/")
        if place == top:
            return self.step.local
        if self.single or (top and not place.startswith(top + "/")):
            return None
        inner = place[len(top) + 1 :] if top else place
        return inner if self.step.local == "." else posixpath.join(self.step.local, inner)


def syncs_of(
    steps: Sequence[LiveUpdateStep], context: Context, entries: Mapping[str, str]
) -> tuple[Sync, ...]:
    """The sync steps, in their order. `entries` is the tree as it is now."""
    found: list[Sync] = []
    for step in steps:
        if isinstance(step, SyncStep):
            rule = IgnoreRule(step.local, step.ignore)
            ignore = Ignore(context.root, (rule,) if step.ignore else ())
            found.append(Sync(step, context, _is_single(step.local, entries), ignore))
    return tuple(found)


def landings(path: str, syncs: Sequence[Sync]) -> tuple[str, ...]:
    """Every container path that a source path lands on; empty: none."""
    places = (sync.lands(path) for sync in syncs)
    return tuple(dict.fromkeys(place for place in places if place is not None))


def source_of(place: str, syncs: Sequence[Sync], entries: Mapping[str, str]) -> str | None:
    """Which source path the container path shows: that of the last step that has one; None: it is
    to be gone."""
    for sync in reversed(syncs):
        path = sync.source(place)
        if path is not None and _there(path, entries):
            return path
    return None


def landed_tree(syncs: Sequence[Sync], entries: Mapping[str, str]) -> TreeManifest:
    """All that the steps put into a container, as one tree whose root is the container's `/`.

    For the first copy and the repair of drift. Links that leave a step's folder are refused, as
    everywhere; the folders that lead to a remote path have whatever mode they have.
    """
    known: dict[str, Entry] = {}
    refused: list[Refused] = []
    for sync in syncs:
        laid = list(_tree_of(sync, entries, refused))
        if laid:
            for folder in reversed([*above(laid[0][0])]):
                _lay(known, folder, Entry(Kind.DIR))
        for place, entry in laid:
            _lay(known, place, entry)
    return TreeManifest(known, tuple(one for one in refused if one.path not in known))


def _tree_of(
    sync: Sync, entries: Mapping[str, str], refused: list[Refused]
) -> Iterator[tuple[str, Entry]]:
    """What one step lays down, by paths below the container's root."""
    top = sync.remote.strip("/")
    if sync.single:
        if _there(sync.step.local, entries) and sync.lands(sync.step.local) is not None:
            name = posixpath.basename(sync.step.local)
            tree = of_source({name: entries[sync.step.local]})
            refused.extend(Refused(top, one.reason, one.text) for one in tree.refused)
            yield from ((top, entry) for entry in tree.entries.values())
        return
    below = {
        inner: text
        for path, text in entries.items()
        if (inner := sync.context.below(path, sync.step.local)) and sync.lands(path) is not None
    }
    tree = of_source(below)
    if top and (tree.entries or _there(sync.step.local, entries)):
        yield top, Entry(Kind.DIR)
    for inner, entry in tree.entries.items():
        yield posixpath.join(top, inner), entry
    for one in tree.refused:
        refused.append(Refused(posixpath.join(top, one.path), one.reason, one.text))


def _lay(known: dict[str, Entry], place: str, entry: Entry) -> None:
    """Lays an entry over those of earlier steps, which give way where both cannot be."""
    held = known.get(place)
    if held is not None and held.kind is Kind.DIR:
        if entry.kind is not Kind.DIR:
            for path in [path for path in known if path.startswith(place + "/")]:
                del known[path]
        elif entry.mode is None:
            return
    known[place] = entry


def _is_single(local: str, entries: Mapping[str, str]) -> bool:
    text = entries.get(local, ABSENT)
    if text != ABSENT:
        return not text.startswith("dir:")
    if local == ".":
        return False
    return not any(path.startswith(local + "/") for path in entries)


def _there(path: str, entries: Mapping[str, str]) -> bool:
    return entries.get(path, ABSENT) != ABSENT
