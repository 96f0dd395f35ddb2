"""Which paths below the root count for a list of sync steps, decided folder by folder.

A path counts when some step lands it: the step covers it and does not ignore it, and a file set of
the image holds it (`Sync.lands`). A walk over 50,000 files cannot ask that of each in full, so each
pair of a step and a file set is a `Span`, and a walk carries along the spans that are live in the
folder it is in. A folder in which none is live is not entered, and not watched either.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from kindling.files.ignore import Ignore
from kindling.files.watching import WatchRoot
from kindling.graph.node import IgnoreRule
from kindling.sync.rules.landing import Context, Sync, always_ignored

__all__ = ["Selection", "Span"]


@dataclass(frozen=True, slots=True)
class Span:
    """What one step and one file set have in common: all below `tops` that neither ignores."""

    tops: tuple[str, ...]
    files: Ignore
    step: Ignore

    def drops(self, path: str, name: str) -> bool:
        return self.files.matches_child(path, name) or self.step.matches_child(path, name)

    def prunes(self, folder: str) -> bool:
        return self.files.prunes(folder) or self.step.prunes(folder)


class Selection:
    """The paths that count for these sync steps."""

    def __init__(self, context: Context, syncs: Sequence[Sync]) -> None:
        self._context = context
        self._syncs = tuple(syncs)
        self.locals = tuple(dict.fromkeys(sync.step.local for sync in syncs))
        self.spans = tuple(self._spans())
        tops = dict.fromkeys(top for span in self.spans for top in span.tops)
        self.tops = tuple(sorted(tops, key=lambda top: (top.count("/"), top)))
        """Where walks begin, the outermost first."""
        self._joins = frozenset(self.tops)

    def holds(self, path: str) -> bool:
        """Does the path count?"""
        return any(sync.lands(path) is not None for sync in self._syncs)

    def spans_in(self, folder: str) -> tuple[Span, ...]:
        """The spans that are live in a folder: something below it may count because of them."""
        if always_ignored(folder):
            return ()
        inside = self._context.inside
        return tuple(
            span
            for span in self.spans
            if any(inside(folder, top) for top in span.tops) and not span.prunes(folder)
        )

    def spans_of_member(self, path: str, spans: Sequence[Span]) -> tuple[Span, ...]:
        """`spans_in` of a folder in a folder where `spans` are live. `path` is not always
        ignored."""
        if path in self._joins:
            return self.spans_in(path)
        return tuple(span for span in spans if not span.prunes(path))

    def leads_to(self, path: str) -> tuple[str, ...]:
        """The tops that lie below the path, which itself is in none of them."""
        inside = self._context.inside
        return tuple(top for top in self.tops if top != path and inside(top, path))

    def covers(self, path: str) -> bool:
        """Is the path a top, or below one?"""
        return any(self._context.inside(path, top) for top in self.tops)

    def roots(self) -> tuple[WatchRoot, ...]:
        """What must be watched, so that every change of a path that counts is seen. What one span
        ignores may count in another, so each is a root of its own; a watcher shares the watches."""
        root = self._context.root
        found: dict[WatchRoot, None] = {}
        for span in self.spans:
            rules = (*span.files.rules, *span.step.rules)
            ignore = Ignore(root, rules) if rules else None
            for top in span.tops:
                place = posixpath.normpath(posixpath.join(root.as_posix(), top))
                found[WatchRoot(place, ignore)] = None
        return tuple(found)

    def _spans(self) -> list[Span]:
        found: dict[Span, None] = {}
        root = self._context.root
        for local, own in dict.fromkeys((s.step.local, s.step.ignore) for s in self._syncs):
            step = Ignore(root, (IgnoreRule(local, own),) if own else ())
            for files, ignore in self._context.filtered():
                tops: dict[str, None] = {}
                for path in files.paths:
                    tops |= dict.fromkeys(self._common(path, files.only or (path,), local))
                if tops:
                    found[Span(tuple(tops), ignore, step)] = None
        return list(found)

    def _common(self, path: str, only: Sequence[str], local: str) -> list[str]:
        """Where what the file set has at `path`, as far as `only` goes, and `local` meet."""
        found: list[str] = []
        for kept in only:
            place: str | None = path
            for other in (kept, local):
                place = self._meet(place, other)
            if place is not None:
                found.append(place)
        return found

    def _meet(self, one: str | None, other: str) -> str | None:
        if one is None:
            return None
        if self._context.inside(one, other):
            return one
        return other if self._context.inside(other, one) else None
