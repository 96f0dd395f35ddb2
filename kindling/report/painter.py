"""A block of rows that stays at the bottom of a terminal while lines scroll by above it.

Each update is one write that hides the cursor at its beginning and shows it at its end, so that
however the process ends (a signal that nobody can catch included) the terminal is left as it
should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["PaintedRow", "Painter"]

_BEGIN = "\x1b[?2026h\x1b[?25l"  # one update at a time, where the terminal knows that; no cursor
_END = "\x1b[?25h\x1b[?2026l"
_ERASE_LINE = "\x1b[K"
_ERASE_BELOW = "\x1b[J"


@dataclass(frozen=True, slots=True)
class PaintedRow:
    """One row with its colours, and how many cells it takes."""

    text: str
    cells: int


class Painter:
    """Knows what stands in the block, and says what to write so that it becomes something else.

    The cursor rests at the start of the line below the block. A block is never higher than the
    terminal less one line: what has scrolled away can not be painted over.
    """

    def __init__(self) -> None:
        self._block: tuple[PaintedRow, ...] = ()
        self._columns = 0

    def paint(self, above: Sequence[str], block: Sequence[PaintedRow], columns: int) -> str:
        """What to write to add `above` to the scrolling lines and to show `block` below them."""
        if not above and tuple(block) == self._block and columns == self._columns:
            return ""
        parts = [_BEGIN, "\r"]
        if (up := self._height(columns)) > 0:
            parts.append(f"\x1b[{up}A")
        afresh = bool(above) or columns != self._columns
        if afresh:
            parts.append(_ERASE_BELOW)
            parts += [f"{line}\r\n" for line in above]
        for at, row in enumerate(block):
            same = not afresh and at < len(self._block) and self._block[at] == row
            parts.append("\r\n" if same else f"{row.text}{'' if afresh else _ERASE_LINE}\r\n")
        if not afresh and len(block) < len(self._block):
            parts.append(_ERASE_BELOW)
        parts.append(_END)
        self._block, self._columns = tuple(block), columns
        return "".join(parts)

    def _height(self, columns: int) -> int:
        """Lines that the block takes now. A terminal that became narrower has wrapped its rows."""
        if columns >= self._columns:
            return len(self._block)
        return sum(max(1, -(-row.cells // columns)) for row in self._block)
