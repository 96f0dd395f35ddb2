"""Two containers that are values: changing one gives another and leaves the first as it was.

The scheduler never mutates the state it is given. Copying a dict of all nodes at every event would
make a session of n nodes cost n², so both containers keep their items in small chunks and copy only
the chunks that change (and the short list of chunks).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

__all__ = ["Queue", "Rank", "Row", "RowEdit"]

T = TypeVar("T")

_BITS = 6
_CHUNK = 1 << _BITS
_MASK = _CHUNK - 1

Rank = tuple[Any, ...]
"""What a queue is ordered by: numbers, the most important first."""


class Row(Generic[T]):
    """A sequence of fixed length."""

    __slots__ = ("_chunks", "_length")

    def __init__(self, items: Iterable[T] = ()) -> None:
        whole = tuple(items)
        self._length = len(whole)
        self._chunks = tuple(whole[at : at + _CHUNK] for at in range(0, len(whole), _CHUNK))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, at: int) -> T:
        return self._chunks[at >> _BITS][at & _MASK]

    def __iter__(self) -> Iterator[T]:
        for chunk in self._chunks:
            yield from chunk

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and self._chunks == other._chunks

    def __hash__(self) -> int:
        return hash(self._chunks)

    def edit(self) -> RowEdit[T]:
        """A copy that can be changed, for the length of one step."""
        return RowEdit(self._chunks, self._length)

    def differing(self, other: Row[T]) -> Iterator[int]:
        """Where two rows of one length hold different things; shared chunks cost nothing."""
        for at, (mine, theirs) in enumerate(zip(self._chunks, other._chunks, strict=True)):
            if mine is not theirs:
                for within, (a, b) in enumerate(zip(mine, theirs, strict=True)):
                    if a is not b and a != b:
                        yield (at << _BITS) + within


class RowEdit(Generic[T]):
    """A `Row` under change."""

    __slots__ = ("_chunks", "_length", "_own")

    def __init__(self, chunks: tuple[tuple[T, ...], ...], length: int) -> None:
        self._chunks: list[Any] = list(chunks)
        self._length = length
        self._own: set[int] = set()

    def __getitem__(self, at: int) -> T:
        item: T = self._chunks[at >> _BITS][at & _MASK]
        return item

    def __setitem__(self, at: int, item: T) -> None:
        chunk = at >> _BITS
        if chunk not in self._own:
            self._own.add(chunk)
            self._chunks[chunk] = list(self._chunks[chunk])
        self._chunks[chunk][at & _MASK] = item

    def done(self) -> Row[T]:
        """The row as it is now. The edit must not be used afterwards."""
        for chunk in self._own:
            self._chunks[chunk] = tuple(self._chunks[chunk])
        row: Row[T] = Row()
        row._chunks = tuple(self._chunks)
        row._length = self._length
        return row


class Queue:
    """An ordered set of ranks (tuples that compare); the smallest is first."""

    __slots__ = ("_chunks",)

    def __init__(self, ranks: Iterable[Rank] = ()) -> None:
        whole = tuple(sorted(ranks))
        self._chunks = tuple(whole[at : at + _CHUNK] for at in range(0, len(whole), _CHUNK))

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def __iter__(self) -> Iterator[Rank]:
        for chunk in self._chunks:
            yield from chunk

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Queue) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    @property
    def first(self) -> Rank:
        """The smallest rank of a queue that is not empty."""
        return self._chunks[0][0]

    def add(self, rank: Rank) -> Queue:
        """With `rank`."""
        chunks = self._chunks
        if not chunks:
            return self._of(((rank,),))
        at = min(bisect_left(chunks, rank, key=_last), len(chunks) - 1)
        chunk = chunks[at]
        within = bisect_left(chunk, rank)
        if within < len(chunk) and chunk[within] == rank:
            return self
        grown = (*chunk[:within], rank, *chunk[within:])
        parts = (grown,) if len(grown) <= 2 * _CHUNK else (grown[:_CHUNK], grown[_CHUNK:])
        return self._of((*chunks[:at], *parts, *chunks[at + 1 :]))

    def discard(self, rank: Rank) -> Queue:
        """Without `rank`."""
        chunks = self._chunks
        at = bisect_left(chunks, rank, key=_last)
        if at == len(chunks):
            return self
        chunk = chunks[at]
        within = bisect_left(chunk, rank)
        if chunk[within] != rank:
            return self
        rest = (*chunk[:within], *chunk[within + 1 :])
        return self._of((*chunks[:at], *((rest,) if rest else ()), *chunks[at + 1 :]))

    @classmethod
    def _of(cls, chunks: tuple[tuple[Rank, ...], ...]) -> Queue:
        queue = cls()
        queue._chunks = chunks
        return queue


def _last(chunk: tuple[Rank, ...]) -> Rank:
    return chunk[-1]
