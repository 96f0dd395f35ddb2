"""What a new version of a file has in common with the older one in the container.

The agent tells sums of the older one's blocks; where the new one has a block of the same sums,
at whatever offset, it is copied there and does not travel. A block is looked for at the place where
the last match says it should be, and a few blocks on, which costs next to nothing, and only where
that fails at each byte. That search is bounded: a file in which little is found travels as it is.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate, compress, count, islice, repeat
from operator import and_, mul, sub

__all__ = [
    "SEARCH_MOST",
    "Literal",
    "Match",
    "Signature",
    "block_size",
    "difference",
    "literal_size",
    "signature",
    "weak_sum",
]

_MASK = 0xFFFFFFFF
_STRONG = 16
_LEAST = 1024
_MOST = 64 << 10
_WINDOW = 64 << 10
"""How much is searched at once, at most; less where the next match is likely to be near."""
SEARCH_MOST = 4 << 20
"""Some second of this side's time."""
_AHEAD = 4
"""How many blocks on a change in place is taken to end; a number or an address is all of it
mostly."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Sums of the blocks of a file of `size` bytes, in order; the last block may be short."""

    size: int
    block: int
    sums: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Match:
    """`size` bytes that the older file has at `offset`."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Literal:
    """The bytes from `start` to `end` of the new file."""

    start: int
    end: int


def block_size(size: int) -> int:
    """Blocks for a file of `size` bytes: about its square root, so that neither the sums nor what
    a small edit costs is much."""
    block = _LEAST
    while block < _MOST and block * block < size:
        block *= 2
    return block


def weak_sum(block: bytes) -> int:
    """The sum that can be rolled: each byte as often as there are bytes from it to the end."""
    return sum(accumulate(block)) & _MASK


def _strong(block: bytes) -> bytes:
    return sha256(block).digest()[:_STRONG]


def signature(content: bytes, block: int) -> Signature:
    """What the agent would tell of this content."""
    pieces = [content[at : at + block] for at in range(0, len(content), block)]
    sums = tuple((weak_sum(piece), _strong(piece)) for piece in pieces)
    return Signature(len(content), block, sums)


def difference(
    content: bytes, older: Signature, *, search_most: int = SEARCH_MOST
) -> tuple[Match | Literal, ...]:
    """The new content as pieces of the older one and of itself, in order, none empty.

    At most about `search_most` bytes are searched byte by byte in vain; then blocks are looked for
    only where they are expected.
    """
    return tuple(_joined(_found(content, older, search_most), len(content)))


def _found(content: bytes, older: Signature, search_most: int) -> Iterator[tuple[int, Match]]:
    """Where the new content has what, in order and without overlaps."""
    block = older.block
    whole = older.size // block
    places: dict[bytes, int] = {}
    for index, (_, strong) in enumerate(older.sums[:whole]):
        places.setdefault(strong, index * block)
    weak = frozenset(value for value, _ in older.sums[:whole])
    short = older.sums[whole][1] if len(older.sums) > whole else b""
    tail = older.size - whole * block
    at = 0
    shift = 0
    reach = block
    while at < len(content):
        strong = _strong(content[at : at + block])
        expected = at + shift
        index, inside = divmod(expected, block)
        if not inside and 0 <= index < whole and older.sums[index][1] == strong:
            offset = expected
        elif len(content) - at >= block and strong in places:
            offset = places[strong]
        elif short and len(content) - at == tail and strong == short:
            yield at, Match(whole * block, tail)
            return
        else:
            # Nothing here: at the next place that looks right, or, when enough was searched, where
            # the next block should be if this one was changed in place.
            before = at
            searches = search_most > 0 and bool(places)
            if searches and (ahead := _ahead(content, at, expected, older, places)):
                at = ahead
            elif searches:
                at = _next(content, at + 1, block, weak, min(reach, search_most))
                search_most -= at - before
                reach = min(2 * reach, max(_WINDOW, block))
            else:
                at += block - (expected % block)
            if short and before < len(content) - tail < at:
                at = len(content) - tail
            continue
        yield at, Match(offset, block)
        shift = offset - at
        reach = block
        at += block


def _ahead(
    content: bytes, at: int, expected: int, older: Signature, places: dict[bytes, int]
) -> int:
    """Where this side has one of the next blocks at the place that is expected of it, or 0. One
    that the older file has several times says nothing of places."""
    block = older.block
    rest = block - expected % block
    for place in range(at + rest, at + rest + _AHEAD * block, block):
        # What is beyond the end is short or empty, and no block.
        if places.get(_strong(content[place : place + block])) == expected + place - at:
            return place
    return 0


def _next(content: bytes, start: int, block: int, weak: frozenset[int], window: int) -> int:
    """The first place from `start` on where a block has one of the weak sums, or else the end of
    the window."""
    piece = content[start : start + window + block]
    places = len(piece) - block + 1
    if places <= 0:
        return len(content)
    # With P the sums of all bytes before a place and Q the sums of P, the weak sum of the block at
    # i is Q[i + block] - Q[i] - block * P[i]. All of it runs in C, a list at a time.
    first = list(accumulate(piece, initial=0))
    second = list(accumulate(islice(first, 1, None), initial=0))
    sums = map(
        and_,
        map(
            sub,
            map(sub, islice(second, block, None), second),
            map(mul, first, repeat(block)),
        ),
        repeat(_MASK),
    )
    hit = next(compress(count(), map(weak.__contains__, islice(sums, places))), None)
    return start + (places if hit is None else hit)


def _joined(found: Iterator[tuple[int, Match]], size: int) -> Iterator[Match | Literal]:
    """Matches that follow each other on both sides as one, and the literals between."""
    at = 0
    open_match: Match | None = None
    for place, match in found:
        if place > at or (
            open_match is not None and open_match.offset + open_match.size != match.offset
        ):
            if open_match is not None:
                yield open_match
                open_match = None
            if place > at:
                yield Literal(at, place)
        if open_match is None:
            open_match = match
        else:
            open_match = Match(open_match.offset, open_match.size + match.size)
        at = place + match.size
    if open_match is not None:
        yield open_match
    if at < size:
        yield Literal(at, size)


def literal_size(pieces: Sequence[Match | Literal]) -> int:
    """How many bytes have to travel."""
    return sum(piece.end - piece.start for piece in pieces if isinstance(piece, Literal))
