"""The live view: what happened scrolls by, what is the case stands below it."""

from __future__ import annotations

import io
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from kindling.engine.notices import Notice
from kindling.report.beat import Beat
from kindling.report.frame import frame, is_lively
from kindling.report.narrator import Narrator
from kindling.report.painter import PaintedRow, Painter
from kindling.report.plain import painted
from kindling.report.record import Record
from kindling.report.safetext import encodable
from kindling.report.terminal import Terminal, window_size

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["LiveReporter"]

_SHORTEST = 0.1
_TICK = 0.2
_LOOK_AT_SIZE = 0.5
_BACKLOG = 20_000
_COST_SHARE = 20


class LiveReporter:
    """Draws at most ten times a second, from a thread of its own, and not at all while nothing
    changes.

    `clock` None starts no thread: `draw` is called by hand. `size` gives columns and lines.
    """

    def __init__(
        self,
        stream: IO[str],
        terminal: Terminal,
        *,
        clock: Callable[[], float] | None = time.time,
        size: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        from rich.console import Console

        self._stream = stream
        self._terminal = terminal
        self._size = size if size is not None else lambda: window_size(stream)
        self._record = Record()
        self._narrator = Narrator(self._record, waits=False, colours=terminal.color)
        self._painter = Painter()
        self._lock = threading.Lock()
        self._above: deque[str] = deque(maxlen=_BACKLOG)
        self._lost = 0
        self._dirty = True
        self._closed = False
        self._gone = False
        self._last_size = (0, 0)
        self._ink = io.StringIO()
        self._console = Console(
            file=self._ink,
            force_terminal=terminal.color,
            color_system="standard" if terminal.color else None,
            no_color=not terminal.color,
            width=1_000,
            legacy_windows=False,
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._beat: Beat | None = None
        if clock is not None:
            self._beat = Beat(self.draw, name="kindling-live", at_most=_SHORTEST, clock=clock)
            self._beat.start()

    def notice(self, notice: Notice) -> None:
        with self._lock:
            self._record.take(notice)
            for line in self._narrator.take(notice):
                if len(self._above) == _BACKLOG:
                    self._lost += 1
                self._above.append(painted(line) if self._terminal.color else str(line))
            self._dirty = True
        if self._beat is not None:
            self._beat.wake()

    def draw(self, now: float) -> float:
        """Bring the terminal up to date; the moment at which to do so again."""
        began = time.perf_counter()
        size = self._size()
        with self._lock:
            lively = is_lively(self._record)
            if not (self._dirty or lively or size != self._last_size):
                return now + _LOOK_AT_SIZE
            above = self._take_above()
            columns, lines = size
            rows = (
                frame(self._record, now, columns, lines - 1, self._terminal.signs)
                if self._record.ended is None
                else []
            )
            self._dirty, self._last_size = False, size
        self._write(self._painter.paint(above, self._inked(rows), columns))
        cost = time.perf_counter() - began
        return now + (max(_TICK, cost * _COST_SHARE) if lively else _LOOK_AT_SIZE)

    def close(self) -> None:
        """Write what is left to say and take the picture away; the cursor is at the start of a
        line.
        """
        if self._closed:
            return
        self._closed = True
        if self._beat is not None and not self._beat.stop():
            return
        with self._lock:
            above = self._take_above()
        self._write(self._painter.paint(above, (), self._size()[0]))

    def _take_above(self) -> list[str]:
        lines = list(self._above)
        self._above.clear()
        if self._lost:
            dots = self._terminal.signs.dots
            lines.insert(0, f"{dots} {self._lost:,} lines went by too fast to be shown {dots}")
            self._lost = 0
        return lines

    def _inked(self, rows: list[Text]) -> list[PaintedRow]:
        """The rows with escape sequences for their styles, where colour is wanted."""
        if not self._terminal.color:
            return [PaintedRow(row.plain, row.cell_len) for row in rows]
        painted_rows: list[PaintedRow] = []
        for row in rows:
            self._ink.seek(0)
            self._ink.truncate()
            self._console.print(row, end="", soft_wrap=True)
            painted_rows.append(PaintedRow(self._ink.getvalue(), row.cell_len))
        return painted_rows

    def _write(self, text: str) -> None:
        if self._gone or not text:
            return
        try:
            self._stream.write(encodable(text, self._terminal.encoding))
            self._stream.flush()
        except (OSError, ValueError):
            self._gone = True
