"""Plain lines: for pipes, CI logs and terminals that cannot do more.

Each line stands by itself and begins with the node it is about, so that `grep '^image:api'` works.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from typing import IO

from kindling.engine.notices import Notice
from kindling.report.beat import Beat
from kindling.report.narrator import Line, Narrator, Tone
from kindling.report.record import Record
from kindling.report.safetext import encodable

__all__ = ["PlainReporter", "painted"]

_SGR = {
    Tone.NORMAL: "",
    Tone.GOOD: "32",
    Tone.BAD: "31",
    Tone.WARN: "33",
    Tone.DIM: "2",
    Tone.LOG: "",
}


def painted(line: Line) -> str:
    """The line with colours: its head bold (a log's prefix faint), its text by tone."""
    code = _SGR[line.tone]
    text = f"\x1b[{code}m{line.text}\x1b[0m" if code and line.text else line.text
    if not line.head:
        return text
    return f"\x1b[{'2' if line.tone is Tone.LOG else '1'}m{line.head}\x1b[0m{text}"


class PlainReporter:
    """Writes each thing worth saying as one line, at once.

    `timestamps` puts the time of day before each line. `clock` None: time passes only with
    notices, and no thread is started. A reader that has gone away (`kindling up | head`) silences
    it.
    """

    def __init__(
        self,
        stream: IO[str],
        *,
        color: bool = False,
        timestamps: bool = False,
        clock: Callable[[], float] | None = time.time,
    ) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._color = color
        self._timestamps = timestamps
        self._record = Record()
        self._narrator = Narrator(self._record, colours=color)
        self._lock = threading.Lock()
        self._gone = False
        self._asleep_until = math.inf
        self._beat = (
            Beat(self._on_beat, name="kindling-plain", clock=clock) if clock is not None else None
        )
        if self._beat is not None:
            self._beat.start()

    def notice(self, notice: Notice) -> None:
        with self._lock:
            self._record.take(notice)
            lines = self._narrator.beat(notice.at)
            self._write([*lines, *self._narrator.take(notice)], notice.at)
            sooner = self._narrator.quiet_until < self._asleep_until
            self._asleep_until = min(self._asleep_until, self._narrator.quiet_until)
        if self._beat is not None and sooner:
            self._beat.wake()

    def close(self) -> None:
        if self._beat is not None:
            self._beat.stop()

    def _on_beat(self, now: float) -> float | None:
        with self._lock:
            self._write(self._narrator.beat(now), now)
            self._asleep_until = self._narrator.quiet_until
            return None if self._asleep_until == math.inf else self._asleep_until

    def _write(self, lines: Iterable[Line], at: float) -> None:
        if self._gone:
            return
        stamp = time.strftime("%H:%M:%S ", time.localtime(at)) if self._timestamps else ""
        text = "".join(
            f"{stamp}{painted(line) if self._color else str(line)}".rstrip() + "\n"
            for line in lines
        )
        if not text:
            return
        try:
            self._stream.write(encodable(text, self._encoding))
            self._stream.flush()
        except (OSError, ValueError):
            self._gone = True
