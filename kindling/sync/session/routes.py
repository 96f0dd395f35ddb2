"""Where in a container the destinations really are: `/app` may be a link to `/srv/app`.

Below a destination no link is followed (a link in the place of a folder gives way to the folder),
but the way to it may lead over links of the image, which stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kindling.sync.protocol import Contents
from kindling.sync.trees.batch import Batch, Move
from kindling.sync.trees.manifest import Entry, Kind, TreeManifest, above

__all__ = ["Routes", "Through"]


@dataclass(frozen=True, slots=True)
class Routes:
    """Destinations, and where they are; only those that are elsewhere. The longest one counts."""

    moved: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, resolved: Mapping[str, str]) -> Routes:
        elsewhere = [(top, real) for top, real in resolved.items() if top != real]
        if elsewhere:
            # A destination within one that is elsewhere is told, too, or it would be thought there.
            elsewhere = list(resolved.items())
        return cls(tuple(sorted(elsewhere, key=lambda pair: -len(pair[0]))))

    def real(self, place: str) -> str:
        """Where the place is in the container."""
        for top, real in self.moved:
            if (inner := _below(place, top)) is not None:
                return _joined(real, inner)
        return place

    def landed(self, real: str) -> str:
        """The place whose `real` this is."""
        best: tuple[int, str] | None = None
        for top, at in self.moved:
            inner = _below(real, at)
            if inner is not None and (best is None or len(at) > best[0]):
                best = (len(at), _joined(top, inner))
        return best[1] if best is not None else real

    def batch(self, batch: Batch) -> Batch:
        """The batch as the container's paths have it."""
        if not self.moved:
            return batch
        steps = [
            replace(one, path=self.real(one.path), source=self.real(one.source))
            if isinstance(one, Move)
            else replace(one, path=self.real(one.path))
            for one in batch.operations
        ]
        return Batch(tuple(steps), batch.refused)

    def tree(
        self, found: TreeManifest, tops: Iterable[str], *, doubt: bool = False
    ) -> TreeManifest:
        """What a container lists, by places. Only what lies at or below `tops` is known of it, so
        the folders above them are taken for folders of any mode; with `doubt`, those above what is
        not there are taken to be missing."""
        known: dict[str, Entry] = {}
        for top in sorted(tops, key=len):
            real = self.real(top)
            if not self.moved:
                pairs = found.entries.items()
                inside = {path: one for path, one in pairs if _below(path, top) is not None}
            else:
                inside = {
                    _joined(top, inner): one
                    for path, one in found.entries.items()
                    if (inner := _below(path, real)) is not None
                }
            for path in [path for path in known if _below(path, top) is not None]:
                del known[path]
            inside.pop("", None)
            known.update(inside)
            if doubt and not inside:
                continue
            for folder in above(top):
                held = known.get(folder)
                if held is None or held.kind is not Kind.DIR:
                    known[folder] = Entry(Kind.DIR)
        return TreeManifest(known, found.refused)


@dataclass(frozen=True, slots=True)
class Through:
    """Contents by the container's paths."""

    routes: Routes
    contents: Contents

    def file(self, place: str) -> Path:
        return self.contents.file(self.routes.landed(place))


def _below(path: str, top: str) -> str | None:
    if not top or path == top:
        return path if not top else ""
    return path[len(top) + 1 :] if path.startswith(top + "/") else None


def _joined(top: str, inner: str) -> str:
    return f"{top}/{inner}" if top and inner else top or inner
