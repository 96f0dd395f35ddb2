"""What one container holds, as far as we know, and how it comes to hold what it should.

    catch_up    reads the container's tree by digests and brings what differs
    bring       brings named places, by what is known; reads nothing

What is known is noted from what was applied, so that a save costs no walk and no question. Where
the container turns out to hold something else, a change cannot be applied whole; then the tree is
read anew, and the difference to that is brought. A broken connection is made again, a file that
changed under our hands is looked at again; each some times, with growing waits. What does not fit
on a full disk keeps the rest from nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kindling.errors import ClusterError
from kindling.sync.protocol import (
    CannotCarryError,
    Clock,
    Container,
    Contents,
    Link,
    LinkLostError,
    NoRoomError,
    Sent,
    SourceChangedError,
)
from kindling.sync.rules.failures import TRIES
from kindling.sync.session.known import noted, part_of, without_ways
from kindling.sync.session.routes import Routes, Through
from kindling.sync.trees.batch import Batch
from kindling.sync.trees.difference import difference
from kindling.sync.trees.manifest import Entry, Kind, Refused, TreeManifest

__all__ = ["Brought", "Connect", "Replica", "Wanted"]

_CHANGES = 5
"""How often a file that changes while it is read is tried before the rest goes without it."""
_FITS = 6
"""How often less and less is tried where there is no room for all."""
_FIRST_WAIT = 0.1
_LONGEST_WAIT = 3.0


class Wanted(Contents, Protocol):
    """What a container should hold: the source, or what was built from it."""

    @property
    def tree(self) -> TreeManifest:
        """All of it, rooted at the container's `/`."""
        ...

    @property
    def tops(self) -> tuple[str, ...]:
        """The destinations: folders below which everything lands."""
        ...

    @property
    def skip(self) -> Collection[str]:
        """Names that are never looked at over there."""
        ...

    @property
    def had(self) -> Collection[str]:
        """Places that were wanted at any time, or are."""
        ...

    def part(self, places: Iterable[str]) -> TreeManifest:
        """Those places as they should be, with the folders that lead to them. A place that is not
        in it should not be."""
        ...

    def excluded(self, place: str) -> bool:
        """Is the place left to the container, whoever put it there?"""
        ...

    async def again(self, place: str) -> None:
        """Look at the source of this place again: it is not what was said of it."""
        ...


@dataclass(frozen=True, slots=True)
class Brought:
    """What it took to make a container equal."""

    operations: int = 0
    size: int = 0
    refused: tuple[Refused, ...] = ()
    unsteady: tuple[str, ...] = ()
    """Files that went on changing while they were read; they come with their next event."""

    def __bool__(self) -> bool:
        return self.operations > 0

    def __add__(self, other: Brought) -> Brought:
        refused = tuple(dict.fromkeys((*self.refused, *other.refused)))
        unsteady = tuple(dict.fromkeys((*self.unsteady, *other.unsteady)))
        return Brought(
            self.operations + other.operations, self.size + other.size, refused, unsteady
        )


Connect = Callable[[Container], Awaitable[Link]]


@dataclass(slots=True, eq=False)
class Replica:
    """One container of the workload. Its calls are made one after the other; `lock` sees to it."""

    container: Container
    connect: Connect
    clock: Clock
    mirror: bool = False
    link: Link | None = None
    known: dict[str, Entry] | None = None
    """By place; None: nothing is known, its tree is to be read."""
    equal: bool = False
    """It held what was wanted when it was last brought to."""
    over: bool = False
    """Its container, or the session, is no more: no link is made any longer."""
    doubtful: bool = False
    """A call was cut off midway, so that neither the link nor what is known may be trusted."""
    partly: Brought = field(default_factory=Brought)
    """What did fit when there was no room for all at the last call."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    routes: Routes = field(default_factory=Routes)
    _resolved: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return str(self.container)

    async def linked(self) -> Link:
        """The link, made where there is none.

        Raises: LinkLostError: There is no way to the container just now.
            CannotCarryError: There will never be one.
        """
        if self.doubtful:
            await self.lost()
        if self.link is None and not self.over:
            link = await self.connect(self.container)
            if self.link is not None or self.over:
                # Another call was quicker, or it ended meanwhile.
                await link.close()
            else:
                self.link = link
        if self.link is None:
            raise LinkLostError(f"{self.container} is not synced any more")
        return self.link

    async def catch_up(
        self, wanted: Wanted, places: Sequence[str] | None = None, *, least: bool = False
    ) -> Brought:
        """Make the container hold what is wanted (of `places`, where given), by its own word.

        `least`: look at these places alone, which is quick and enough for most.
        """
        return await self._persistently(wanted, places, read=True, least=least)

    async def bring(self, wanted: Wanted, places: Sequence[str]) -> Brought:
        """Make these places equal, by what is known of the container."""
        return await self._persistently(wanted, places, read=self.known is None, least=False)

    async def try_out(self, wanted: Wanted) -> None:
        """Find out whether what is wanted could be put in its places.

        Raises: CannotCarryError: One of them could not.
        """
        for place in _firsts(wanted):
            await (await self.linked()).try_out(self.routes.real(place))

    async def lost(self) -> None:
        """Forget the link and what was known by it."""
        link, self.link, self.known, self.equal = self.link, None, None, False
        self._resolved, self.doubtful = None, False
        if link is not None:
            await link.close()

    async def end(self) -> None:
        """Close the link, and make no other."""
        self.over = True
        await self.lost()

    async def _persistently(
        self, wanted: Wanted, places: Sequence[str] | None, *, read: bool, least: bool
    ) -> Brought:
        """Try as often as may help."""
        self.equal = False
        lost = changed = 0
        misread = False
        unsteady: set[str] = set()
        outsized: set[str] = set()
        full: list[NoRoomError] = []
        self.partly = so_far = Brought()
        while True:
            try:
                link = await self.linked()
                if read or self.known is None:
                    await self._read(
                        link, wanted, places if least and not misread else None, misread
                    )
                made = await self._apply(link, wanted, places, unsteady, outsized)
            except SourceChangedError as problem:
                changed += 1
                place = self.routes.landed(problem.place)
                if changed >= _CHANGES:
                    unsteady.add(place)
                else:
                    await self._wait(changed)
                await wanted.again(place)
            except NoRoomError as problem:
                full.append(problem)
                if len(full) > _FITS or problem.place not in outsized:
                    await self.lost()
                    raise
                # How much of it became visible is not known.
                self.known = None
            except CannotCarryError:
                await self.lost()
                raise
            except LinkLostError:
                await self.lost()
                lost += 1
                if lost >= TRIES or self.over:
                    raise
                read = True
                await self._wait(lost)
            except ClusterError:
                # It holds something else than we thought. Once its tree was read, that is an error.
                self.known = None
                if misread:
                    raise
                misread = read = True
            else:
                if full:
                    self.partly = so_far + made
                    raise full[0]
                self.equal = True
                return so_far + made

    async def _read(
        self, link: Link, wanted: Wanted, places: Sequence[str] | None, doubt: bool
    ) -> None:
        """`doubt`: the folders that lead to a missing destination may be missing, too."""
        if self._resolved != wanted.tops:
            resolved = {top: await link.resolve(top) for top in wanted.tops if top}
            self.routes, self._resolved = Routes.of(resolved), wanted.tops
        tops = _tops(wanted) if places is None else tuple(places)
        found = await link.tree([self.routes.real(top) for top in tops], wanted.skip)
        self.known = dict(self.routes.tree(found, tops, doubt=doubt).entries)

    async def _apply(
        self,
        link: Link,
        wanted: Wanted,
        places: Sequence[str] | None,
        unsteady: Collection[str],
        outsized: set[str],
    ) -> Brought:
        """`outsized` is left out, and gets what turns out to be too big for what room there is."""
        known = self.known
        assert known is not None
        if places is None:
            want, there = wanted.tree, TreeManifest(known)
        else:
            want = wanted.part(places)
            try:
                there = part_of(known, places, want)
            except ValueError as wrong:
                # Reading it anew mends that, as it does whatever else is known wrongly.
                raise ClusterError(f"What is known of {self} is no tree: {wrong}") from wrong

        def left(path: str) -> bool:
            return path in unsteady or path in outsized or (self.mirror and wanted.excluded(path))

        leave = left if unsteady or outsized or self.mirror else None
        # Of what was wanted at any time, what is there is enough.
        had = [path for path in there.entries if path in wanted.had]
        batch = difference(want, there, had=had, mirror=self.mirror, excluded=leave)
        sent = Sent(0, 0, 0.0)
        if batch:
            sending = self.routes.batch(without_ways(batch, want))
            try:
                sent = await link.apply(sending, Through(self.routes, wanted))
            except NoRoomError as problem:
                problem.place = self.routes.landed(problem.place)
                outsized |= _too_big(batch, problem.place)
                raise
            noted(known, batch)
        return Brought(len(batch), sent.size, batch.refused, tuple(sorted(unsteady)))

    async def _wait(self, times: int) -> None:
        """Longer each time, and not all replicas at the same moment."""
        most = min(_LONGEST_WAIT, _FIRST_WAIT * 4 ** (times - 1))
        await self.clock.sleep(most * random.uniform(0.5, 1.0))


def _too_big(batch: Batch, place: str) -> set[str]:
    """What to leave out where there was no room for the file at `place`: all that are as big, and
    those that are much of what was to come, or small files would never fit beside a big one."""
    sizes = {one.path: one.size or 0 for one in batch.puts}
    if place not in sizes:
        return set()
    least = max(sizes[place], max(sizes.values()) // 4)
    return {path for path, size in sizes.items() if size >= least} | {place}


def _firsts(wanted: Wanted) -> tuple[str, ...]:
    """A file of each destination, the one that lies least deep."""
    files = [path for path, one in wanted.tree.entries.items() if one.kind is Kind.FILE]
    files.sort(key=lambda path: (path.count("/"), path))
    found: dict[str, str] = {}
    for top in wanted.tops:
        below = (path for path in files if not top or path == top or path.startswith(top + "/"))
        if (first := next(below, None)) is not None:
            found[top] = first
    return tuple(dict.fromkeys(found.values()))


def _tops(wanted: Wanted) -> tuple[str, ...]:
    """What of a container's tree is read. Where the root itself is a destination, that is what we
    put there and not the whole of it."""
    if "" not in wanted.tops:
        return wanted.tops
    firsts = {path.partition("/")[0] for path in (*wanted.tree.entries, *wanted.had)}
    return tuple(sorted(firsts))
