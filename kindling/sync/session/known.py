"""What is known of a container's tree, kept up to date by what was done to it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kindling.sync.trees.batch import Batch, Chmod, Delete, Link, Mkdir, Move, Operation, Put, Rmdir
from kindling.sync.trees.manifest import EMPTY, Entry, Kind, TreeManifest, above

__all__ = ["noted", "part_of", "without_ways"]


def part_of(
    known: Mapping[str, Entry], places: Iterable[str], want: TreeManifest | None = None
) -> TreeManifest:
    """What is known of these places, with the folders that lead there, and, where a folder is to
    give way (one of those that lead there, too), all that is in it."""
    wished = EMPTY.entries if want is None else want.entries
    part: dict[str, Entry] = {}
    going: list[str] = []
    for place in {*places, *wished}:
        held = known.get(place)
        for folder in above(place):
            if folder in part:
                break
            if (found := known.get(folder)) is not None:
                part[folder] = found
                if want is not None and folder not in wished:
                    going.append(folder + "/")
        if held is None:
            continue
        part[place] = held
        if held.kind is Kind.DIR:
            wish = wished.get(place)
            if wish is None or wish.kind is not Kind.DIR:
                going.append(place + "/")
    if going:
        within = tuple(going)
        part.update((path, entry) for path, entry in known.items() if path.startswith(within))
    return TreeManifest(part)


def noted(known: dict[str, Entry], batch: Batch | Iterable[Operation]) -> None:
    """Note in `known` what the operations did."""
    for step in batch:
        match step:
            case Mkdir(path, mode):
                known[path] = Entry(Kind.DIR, mode)
            case Put(path, mode, digest, size):
                known[path] = Entry(Kind.FILE, mode, digest, size=size)
            case Link(path, target):
                known[path] = Entry(Kind.LINK, target=target)
            case Move(source, path, mode, digest):
                held = known.pop(source, None)
                known[path] = Entry(Kind.FILE, mode, digest, size=held.size if held else None)
            case Chmod(path, mode):
                held = known.get(path)
                if held is not None:
                    known[path] = Entry(held.kind, mode, held.digest, size=held.size)
            case Delete(path) | Rmdir(path):
                known.pop(path, None)


def without_ways(batch: Batch, want: TreeManifest) -> Batch:
    """Without the making of folders that are made with the one below them, and which may be there
    with a mode of their own."""
    made = {one.path for one in batch.operations if isinstance(one, Mkdir)}
    leading = {up for path in made for up in above(path)}
    ways = {path for path in made & leading if want.entries[path].mode is None}
    if not ways:
        return batch
    steps = (one for one in batch.operations if not (isinstance(one, Mkdir) and one.path in ways))
    return Batch(tuple(steps), batch.refused)
