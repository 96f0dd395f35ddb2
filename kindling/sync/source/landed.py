"""What the entries of the source come to in a container, kept up to date path by path.

It is `landed_tree` (`kindling.sync.rules.landing`) for a tree that changes a little at a time: that
one reads every entry for each answer, this one only what changed and what hangs on it. The tests
hold the two against each other.

Each step has a tree of its own (`_Laid`); a place shows what the last step has that lays something
there, as the rules of landing say.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping

from kindling.files.tree import ABSENT
from kindling.sync.rules.landing import Sync
from kindling.sync.source.members import Members
from kindling.sync.trees.manifest import (
    Entry,
    Kind,
    Reason,
    Refused,
    TreeManifest,
    above,
    escapes,
    not_carried,
    parsed,
)

__all__ = ["Landed"]

_FOLDER = Entry(Kind.DIR)


class _Laid:
    """What one step lays down. Its paths are relative to the step's own folder."""

    def __init__(self, sync: Sync, entries: Mapping[str, str]) -> None:
        self.sync = sync
        self.top = sync.remote.strip("/")
        self._way = frozenset(above(self.top)) if self.top else frozenset[str]()
        self._prefix = self.top + "/" if self.top else ""
        self._known: dict[str, Entry] = {}
        self._members = Members()
        self._links: set[str] = set()
        self.there = entries.get(sync.step.local, ABSENT) != ABSENT
        self.refused: dict[str, Refused] = {}
        """By place."""
        self._out: set[str] = set()
        """Links among the refused."""
        self._unsettled = False

    def put(self, inner: str, text: str | None, size: int | None) -> set[str]:
        """The step's path holds this now, or is gone (None); the places that may show it."""
        if self.sync.single:
            return self._put_single(text, size)
        touched = {inner}
        was = self._known.get(inner)
        # A folder that is only there for what lies in it comes and goes with it.
        touched.update(up for up in above(inner) if up not in self._known)
        self.refused.pop(self.place(inner), None)
        why = None if text is None else not_carried(inner, text)
        if why is not None:
            self.refused[self.place(inner)] = Refused(self.place(inner), why.reason, why.text)
        if text is None or (why is not None and why.reason is Reason.NAME):
            self._known.pop(inner, None)
            self._members.remove(inner)
        else:
            self._known[inner] = parsed(text, size)
            if was is None:
                self._members.add(inner)
        now = self._known.get(inner)
        if Kind.LINK in {was.kind if was else None, now.kind if now else None}:
            self._links.discard(inner)
            if now is not None and now.kind is Kind.LINK:
                self._links.add(inner)
            self._unsettled = True
        return {self.place(one) for one in touched}

    def _put_single(self, text: str | None, size: int | None) -> set[str]:
        self.refused.clear()
        self._known.clear()
        name = posixpath.basename(self.sync.step.local)
        if text is not None:
            why = not_carried(name, text)
            entry = parsed(text, size)
            if why is None and entry.kind is Kind.LINK:
                why = escapes({name: entry}, name)
            if why is not None:
                self.refused[self.top] = Refused(self.top, why.reason, why.text)
            else:
                self._known[""] = entry
        return {self.top}

    def settle(self) -> set[str]:
        """To be called after puts: where links came, went or lead elsewhere, others lead over
        them. The places of those that are refused now, or no longer are."""
        if not self._unsettled:
            return set()
        self._unsettled = False
        for link in self._out:
            if link in self._links:
                self.refused.pop(self.place(link), None)
        before, self._out = self._out, set()
        for link in self._links:
            if (why := escapes(self._known, link)) is not None:
                self._out.add(link)
                place = self.place(link)
                self.refused[place] = Refused(place, why.reason, why.text)
        return {self.place(link) for link in before ^ self._out}

    @property
    def lays(self) -> bool:
        """Is there anything to lay down?"""
        if self.sync.single:
            return bool(self._known)
        if self.there and self.top:
            return True
        return any(self._shown(one) is not None for one in self._members.within("."))

    def at(self, place: str) -> Entry | None:
        """What this step has there, were it the only one."""
        if place == self.top or place in self._way:
            if not self.lays:
                return None
            return self._known[""] if place == self.top and self.sync.single else _FOLDER
        if self.sync.single or not place.startswith(self._prefix):
            return None
        return self._shown(place[len(self._prefix) :])

    def places(self) -> Iterator[str]:
        """Every place where this step has something, or may have."""
        if self.top:
            yield self.top
            yield from self._way
        for inner in self._members.below("."):
            yield self.place(inner)
            for up in above(inner):
                if up in self._known:
                    break
                yield self.place(up)

    def below(self, place: str) -> Iterator[str]:
        """Its places below this one."""
        if place.startswith(self._prefix):
            inner = place[len(self._prefix) :]
            for one in self._members.below(inner):
                yield self.place(one)
                for up in above(one):
                    if up == inner or up in self._known:
                        break
                    yield self.place(up)
        elif place == self.top or place in self._way:
            yield from (one for one in self.places() if one.startswith(place + "/"))

    def place(self, inner: str) -> str:
        return self._prefix + inner if inner else self.top

    def source(self, place: str) -> str | None:
        """The path that lands on a place where this step has something."""
        local = self.sync.step.local
        if place == self.top or not place.startswith(self._prefix):
            return self.sync.source("/" + place)
        inner = place[len(self._prefix) :]
        if inner not in self._known:
            # A folder that is only there for what lies in it.
            return self.sync.source("/" + place)
        # It is known because it lands there: the rules need not be asked.
        return inner if local == "." else posixpath.join(local, inner)

    def _shown(self, inner: str) -> Entry | None:
        held = self._known.get(inner)
        if held is None:
            return _FOLDER if self._members.leads(inner) else None
        return None if held.kind is Kind.OTHER or inner in self._out else held


class Landed:
    """The landed tree. Not for several threads at once."""

    def __init__(
        self,
        syncs: Collection[Sync],
        entries: Mapping[str, str],
        members: Members,
        sizes: Mapping[str, int],
    ) -> None:
        """`entries`, with `members` and `sizes`, is kept by the caller, who tells of each change
        (`changed`)."""
        self._entries = entries
        self._members = members
        self._sizes = sizes
        self._laid = [_Laid(sync, entries) for sync in syncs]
        self._known: dict[str, Entry] = {}
        self._manifest: TreeManifest | None = None
        for laid in self._laid:
            self._fill(laid)
        for laid in self._laid:
            for place in laid.places():
                if place not in self._known and (entry := self._resolve(place)) is not None:
                    self._known[place] = entry

    @property
    def syncs(self) -> tuple[Sync, ...]:
        return tuple(laid.sync for laid in self._laid)

    @property
    def manifest(self) -> TreeManifest:
        """All of it."""
        if self._manifest is None:
            self._manifest = TreeManifest(self._known, self.refused)
        return self._manifest

    @property
    def refused(self) -> tuple[Refused, ...]:
        return tuple(
            laid.refused[place]
            for laid in self._laid
            for place in sorted(laid.refused)
            if place not in self._known
        )

    def part(self, places: Collection[str]) -> TreeManifest:
        """These places with the folders above them, and what is refused at, above and below
        them."""
        some: dict[str, Entry] = {}
        for place in places:
            for one in (place, *above(place)):
                if one not in some and one in self._known:
                    some[one] = self._known[one]
        refused = tuple(
            one for one in self.refused if any(_related(one.path, place) for place in places)
        )
        return TreeManifest(some, refused)

    def source(self, place: str) -> str | None:
        """The path whose bytes the place shows; None where it shows none."""
        if place in self._known:
            for laid in reversed(self._laid):
                if laid.at(place) is not None:
                    return laid.source(place)
        return None

    def changed(self, paths: Collection[str]) -> set[str]:
        """The entries of these paths are others now; the places that hold something else, came or
        went."""
        touched: set[str] = set()
        for at, laid in enumerate(self._laid):
            touched |= self._step(at, laid, paths)
        return self._settle(touched)

    def _step(self, at: int, laid: _Laid, paths: Collection[str]) -> set[str]:
        sync = laid.sync
        touched: set[str] = set()
        local = sync.step.local
        text = self._entries.get(local, ABSENT)
        if text == ABSENT:
            single = local != "." and not self._members.leads(local)
        else:
            single = not text.startswith("dir:")
        if single is not sync.single:
            fresh = self._laid[at] = _Laid(sync.turned(single=single), self._entries)
            self._fill(fresh)
            return {*laid.places(), *fresh.places()}
        if laid.there is not (text != ABSENT):
            laid.there = not laid.there
            touched.update((laid.top, *above(laid.top)))
        laid_before = laid.lays
        for path in paths:
            touched |= self._put(laid, path)
        touched |= laid.settle()
        if laid.lays is not laid_before and laid.top:
            touched.update((laid.top, *above(laid.top)))
        return touched

    def _settle(self, touched: set[str]) -> set[str]:
        changed: set[str] = set()
        todo = [place for place in touched if place]
        while todo:
            place = todo.pop()
            was, now = self._known.get(place), self._resolve(place)
            if now is None:
                self._known.pop(place, None)
            else:
                self._known[place] = now
            if was == now:
                continue
            changed.add(place)
            if len(self._laid) > 1 and _is_folder(was) is not _is_folder(now):
                # What other steps have below comes to light, or is hidden.
                todo.extend({one for laid in self._laid for one in laid.below(place)})
        if changed or touched:
            self._manifest = None
        return changed

    def _resolve(self, place: str) -> Entry | None:
        shown: Entry | None = None
        for laid in self._laid:
            entry = laid.at(place)
            if entry is None:
                if shown is not None and self._hides(laid, place):
                    shown = None
            elif not (entry is _FOLDER and shown is not None and shown.kind is Kind.DIR):
                shown = entry
        return shown

    def _hides(self, laid: _Laid, place: str) -> bool:
        """Has the step something that is no folder on the way to the place?"""
        return any(
            (held := laid.at(up)) is not None and held.kind is not Kind.DIR for up in above(place)
        )

    def _fill(self, laid: _Laid) -> None:
        for path in self._entries:
            self._put(laid, path)
        laid.settle()

    def _put(self, laid: _Laid, path: str) -> set[str]:
        sync = laid.sync
        inner = sync.context.below(path, sync.step.local)
        if inner is None or sync.single is not (inner == ""):
            return set()
        text = self._entries.get(path, ABSENT)
        # Every entry is there because some step lands it.
        lands = len(self._laid) == 1 or sync.lands(path) is not None
        wanted = text if text != ABSENT and lands else None
        return laid.put(inner, wanted, self._sizes.get(path))


def _is_folder(entry: Entry | None) -> bool:
    return entry is not None and entry.kind is Kind.DIR


def _related(one: str, other: str) -> bool:
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")
