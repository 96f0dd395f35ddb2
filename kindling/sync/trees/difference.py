"""What must happen so that a container's tree comes to hold what the source holds.

The order, so that a program that reads meanwhile sees old or new files and never neither:

    1. folders that nobody may write into are opened for the time of the batch
    2. folders, from above; a file or link in the place of one goes just before
    3. files: moved where the container has the bytes under a name that goes, else put; modes
    4. links, which so never point at what is yet to come
    5. deletes, from below, which so never take what a link still points at
    6. files and links in the place of folders, which are empty now
    7. the bits of folders, from below

Which files go: those that the source has dropped, that is, those in `had` (what the source is known
to have had) and no longer wanted. What the source never had, the container's own, stays, unless a
mirror is asked for: logs, caches and what an image's build wrote beside the sources. Over a path
that is wanted the source wins, whatever the container has there; but a folder of the container's
gives place to a file only when nothing of the container's own is in it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from kindling.sync.trees.batch import (
    Batch,
    Chmod,
    Delete,
    Link,
    Mkdir,
    Move,
    Operation,
    Put,
    Rmdir,
)
from kindling.sync.trees.manifest import (
    EMPTY,
    Entry,
    Kind,
    Reason,
    Refused,
    TreeManifest,
    above,
    shown,
)

__all__ = ["covered", "difference"]

_NEW_FOLDER = 0o755
_OPEN = 0o700
_NOTHING = "sha256:" + hashlib.sha256(b"").hexdigest()


def difference(
    wanted: TreeManifest,
    there: TreeManifest,
    *,
    had: Collection[str] = EMPTY.entries,
    mirror: bool = False,
    excluded: Callable[[str], bool] | None = None,
) -> Batch:
    """The operations that bring `there` to hold `wanted`.

    `had` are paths that the source had before, so that they go where they are wanted no longer;
    `mirror`: all that is not wanted goes. What `excluded` names is carried from neither side and
    never touched, save that an excluded folder is made, or opened for a moment, for what is wanted
    in it. What was refused of the source, and all below it, is left as the container has it.

    The batch's `refused` are those of the source and what is in the way.
    """
    if excluded is None:
        return _Difference(wanted, there, frozenset(had), mirror, _none).batch()
    return _Difference(covered(wanted, excluded), there, frozenset(had), mirror, excluded).batch()


def covered(wanted: TreeManifest, excluded: Callable[[str], bool]) -> TreeManifest:
    """`wanted` without what is excluded. An excluded folder with something in it that is not stays,
    with whatever mode it has."""
    kept = {path: entry for path, entry in wanted.entries.items() if not excluded(path)}
    for path in list(kept):
        for folder in above(path):
            if folder in kept:
                break
            # Where an excluded link or file is in the place, there is no folder to put it into.
            if wanted.entries[folder].kind is Kind.DIR:
                kept[folder] = Entry(Kind.DIR)
    return TreeManifest(kept, wanted.refused)


def _none(path: str) -> bool:  # noqa: ARG001
    return False


@dataclass(slots=True)
class _Difference:
    wanted: TreeManifest
    there: TreeManifest
    had: frozenset[str]
    mirror: bool
    excluded: Callable[[str], bool]
    blocked: dict[str, str] = field(default_factory=dict)

    def batch(self) -> Batch:
        going = self._going()
        self._block(going)
        want: Mapping[str, Entry] = self.wanted.entries
        if self.blocked:
            want = {path: entry for path, entry in want.items() if self._free(path)}
        have = self.there.entries
        steps = _Steps()
        # What takes the place of a folder waits until it is empty.
        late: set[str] = set()
        for path, entry in want.items():
            held = have.get(path)
            if entry.kind is Kind.DIR:
                if held is None or held.kind is not Kind.DIR:
                    if held is not None:
                        steps.folders.append(Delete(path))
                    mode = _NEW_FOLDER if entry.mode is None else entry.mode
                    steps.folders.append(Mkdir(path, mode | _OPEN))
                    if mode | _OPEN != mode:
                        steps.closing[path] = mode
                elif not entry.same(held) and entry.mode is not None:
                    steps.closing[path] = entry.mode
            elif held is not None and held.kind is Kind.DIR:
                late.add(path)
        moved = self._files(want, late, going, steps)
        for path in sorted(going - moved, key=lambda path: path.split("/"), reverse=True):
            is_folder = have[path].kind is Kind.DIR
            steps.deletes.append(Rmdir(path) if is_folder else Delete(path))
        return Batch(
            tuple(self._opened(steps)),
            tuple(
                sorted(
                    (
                        *self.wanted.refused,
                        *(Refused(p, Reason.IN_THE_WAY, why) for p, why in self.blocked.items()),
                    ),
                    key=lambda one: one.path,
                )
            ),
        )

    def _going(self) -> set[str]:
        """What is to be removed: neither wanted, nor excluded, nor the container's own; a folder
        only when all in it goes."""
        refused = {one.path for one in self.wanted.refused}
        want, have = self.wanted.entries, self.there.entries
        going: set[str] = set()
        staying: set[str] = set()
        # What is wanted lies in no folder that could go, so it need not be looked at.
        others = [
            path
            for path, held in have.items()
            if (entry := want.get(path)) is None
            or (held.kind is Kind.DIR and entry.kind is not Kind.DIR)
        ]
        for path in sorted(others, key=lambda path: path.split("/"), reverse=True):
            if (
                (path in want or self.mirror or path in self.had)
                and path not in staying
                and not self.excluded(path)
                and path not in refused
                and refused.isdisjoint(above(path))
            ):
                going.add(path)
            else:
                staying.update(above(path))
        return going

    def _block(self, going: set[str]) -> None:
        """Finds what cannot be made since something that stays is in its place."""
        for path, entry in self.wanted.entries.items():
            held = self.there.entries.get(path)
            if held is None or held.kind is entry.kind or not self._free(path):
                continue
            if entry.kind is not Kind.DIR and held.kind is Kind.DIR and path not in going:
                self.blocked[path] = (
                    f"the container has a folder `{shown(path)}` with files of its own in its place"
                )
            elif entry.kind is Kind.DIR and held.kind is not Kind.DIR and self.excluded(path):
                self.blocked[path] = (
                    f"the container has an excluded file `{shown(path)}` in the place of its folder"
                )

    def _free(self, path: str) -> bool:
        if not self.blocked:
            return True
        return path not in self.blocked and not any(up in self.blocked for up in above(path))

    def _files(
        self, want: Mapping[str, Entry], late: set[str], going: set[str], steps: _Steps
    ) -> set[str]:
        """The steps for files and links; which paths go by being moved."""
        have = self.there.entries
        sources: dict[str, list[str]] = defaultdict(list)
        for path in sorted(going):
            gone = have[path]
            if gone.kind is Kind.FILE and gone.digest and gone.digest != _NOTHING:
                sources[gone.digest].append(path)
        moved: set[str] = set()
        for path, entry in want.items():
            held = have.get(path)
            if entry.kind is Kind.DIR or entry.same(held):
                continue
            if entry.kind is Kind.LINK:
                link = Link(path, entry.target)
                (steps.late_links if path in late else steps.links).append(link)
                continue
            mode = 0o644 if entry.mode is None else entry.mode
            put = Put(path, mode, entry.digest, entry.size)
            if path in late:
                steps.late_files.append(put)
            elif held is not None and held.kind is Kind.FILE and held.digest == entry.digest:
                steps.files.append(Chmod(path, mode))
            elif choices := sources.get(entry.digest):
                source = min(choices, key=lambda choice: _distance(choice, path))
                choices.remove(source)
                moved.add(source)
                steps.files.append(Move(source, path, mode, entry.digest))
            else:
                steps.files.append(put)
        return moved

    def _opened(self, steps: _Steps) -> Iterable[Operation]:
        """The steps in their order, between the opening and the closing of folders."""
        inner = steps.inner()
        paths = {step.path for step in inner}
        paths.update(step.source for step in inner if isinstance(step, Move))
        # Thousands of files lie in few folders.
        need = {path.rpartition("/")[0] for path in paths.union(steps.closing)} - {""}
        need.update([up for folder in need for up in above(folder)])
        have = self.there.entries
        opened: list[Operation] = []
        closing = dict(steps.closing)
        gone = {step.path for step in steps.deletes}
        for path in sorted(need):
            held = have.get(path)
            if held is None or held.kind is not Kind.DIR or held.mode is None:
                continue
            if held.mode & _OPEN != _OPEN:
                opened.append(Chmod(path, held.mode | _OPEN))
                if path not in gone:
                    closing.setdefault(path, held.mode)
        shut = [
            Chmod(path, closing[path])
            for path in sorted(closing, key=lambda path: path.split("/"), reverse=True)
        ]
        return (*opened, *inner, *shut)


@dataclass(slots=True)
class _Steps:
    folders: list[Operation] = field(default_factory=list)
    files: list[Operation] = field(default_factory=list)
    links: list[Operation] = field(default_factory=list)
    deletes: list[Operation] = field(default_factory=list)
    late_files: list[Operation] = field(default_factory=list)
    late_links: list[Operation] = field(default_factory=list)
    closing: dict[str, int] = field(default_factory=dict)

    def inner(self) -> list[Operation]:
        return [
            *self.folders,
            *self.files,
            *self.links,
            *self.deletes,
            *self.late_files,
            *self.late_links,
        ]


def _distance(source: str, path: str) -> tuple[bool, int, str]:
    """How far a name is from another: one that keeps its last part is nearest."""
    old, new = source.split("/"), path.split("/")
    alike = 0
    for one, other in zip(old, new, strict=False):
        if one != other:
            break
        alike += 1
    return (old[-1] != new[-1], len(old) + len(new) - 2 * alike, source)
