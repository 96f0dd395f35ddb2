"""`kindling sync`: what a session tells, as lines for people and as JSON lines.

    ✓ Detected runtime: Python (uvicorn)
    ✓ Strategy: supervise and restart
    ✓ my-api-6f8b9c4d7-x2k9p/app: 12 files, 34 KB in 80 ms
    ✓ Watching src → /app
    ✓ main.py, 1.2 KB in 21 ms, restart in 310 ms
    ✓ a.py, b.py, c.py and 37 more (2 deleted), 84 KB in 46 ms

A batch is one line, which stays open until what was done about it is known. The faces write; here
is what they write.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kindling.report.ink import Ink, wrapped
from kindling.report.narrator import Tone
from kindling.report.safetext import plain
from kindling.report.terminal import Signs
from kindling.report.words import counted, duration
from kindling.sync.notices import (
    Acted,
    Built,
    Carried,
    Found,
    Notice,
    Reached,
    Released,
    Remark,
)

__all__ = ["SyncNarrator", "sizes", "sync_form", "took"]

_NAMES = 3
_TYPES = {
    Found: "found",
    Reached: "reached",
    Carried: "carried",
    Acted: "acted",
    Built: "built",
    Remark: "remark",
    Released: "released",
}


def took(seconds: float) -> str:
    """A time as sync tells it: in milliseconds below a second, since that is what it is about."""
    return f"{max(1, round(seconds * 1000))} ms" if seconds < 0.9995 else duration(seconds)


def sizes(count: int) -> str:
    """`812 B`, `1.2 KB`, `34 KB`, `5.1 MB`: bytes as exact as a reader can use."""
    if count < 1000:
        return f"{count} B"
    amount = count / 1000
    units = ["TB", "GB", "MB", "KB"]
    while amount >= 999.5 and len(units) > 1:
        amount /= 1000
        units.pop()
    unit = units[-1]
    return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:.0f} {unit}"


def sync_form(notice: Notice, at: float) -> dict[str, Any]:
    """A notice as JSON (docs/json.md)."""
    form = {"schema": 1, "type": _TYPES[type(notice)], "at": round(at, 3)}
    for key, value in asdict(notice).items():
        form[key] = round(value, 4) if isinstance(value, float) else _plain(value)
    return form


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


@dataclass(slots=True)
class SyncNarrator:
    """Turns notices into text, in pieces that are written as they come.

    The line of a batch is left open; what is done about it is added to it, and `settle` ends it. A
    piece from elsewhere (a log line) must come after `settle`.
    """

    ink: Ink
    signs: Signs
    _open: int = 0
    """How many columns the open line has; 0: none is."""

    def settle(self) -> str:
        """The end of the open line, if one is open."""
        if not self._open:
            return ""
        self._open = 0
        return "\n"

    def tell(self, notice: Notice) -> str:
        """What to write now."""
        match notice:
            case Carried():
                text = self._batch(notice)
                piece = f"{self.settle()}{self._good(text)}"
                self._open = len(text) + 2
                return piece
            case Acted():
                return self._acted(notice)
            case _:
                lines = "".join(f"{line}\n" for line in self._lines(notice))
                return self.settle() + lines

    def _acted(self, notice: Acted) -> str:
        text = f"{plain(notice.what)} in {took(notice.seconds)}"
        if not self._open:
            if notice.containers > 1:
                text += f" in {notice.containers} containers"
            return f"{self._good(text)}\n"
        if self._open + 2 + len(text) > self.ink.width:
            self._open = len(text) + 2
            return f",\n  {text}"
        self._open += len(text) + 2
        return f", {text}"

    def _batch(self, notice: Carried) -> str:
        went = ""
        if notice.deleted == notice.count:
            went = " deleted"
        elif notice.deleted:
            went = f" ({notice.deleted} deleted)"
        tail = f"{went}, {sizes(notice.size)} in {took(notice.seconds)}"
        if notice.containers > 1:
            tail += f" to {notice.containers} containers"
        room = self.ink.width - len(tail) - 2
        return self._names(notice.names, notice.count, room) + tail

    def _names(self, names: Sequence[str], count: int, room: int) -> str:
        """As many names as fit, at most three, and how many more there are."""
        for shown in range(min(_NAMES, len(names), count), 0, -1):
            text = self._joined([plain(name) for name in names[:shown]], count - shown)
            if len(text) <= room:
                return text
        if not names:
            return counted(count, "change")
        more = self._joined([""], count - 1)
        return self._joined([self._short(plain(names[0]), room - len(more))], count - 1)

    def _joined(self, names: Sequence[str], more: int) -> str:
        if more > 0:
            return f"{', '.join(names)} and {more:,} more"
        return ", ".join(names)

    def _short(self, name: str, room: int) -> str:
        """The end of a path, which tells most."""
        if len(name) <= room:
            return name
        last = f"{self.signs.dots}/{posixpath.basename(name)}"
        if len(last) <= room:
            return last
        return name[: max(1, room - len(self.signs.dots))] + self.signs.dots

    def _lines(self, notice: Notice) -> Iterator[str]:
        match notice:
            case Found():
                yield self._good(plain(notice.runtime))
                yield from self._said(self.signs.done, plain(notice.strategy), Tone.GOOD)
                watching = plain(notice.watching).replace(" -> ", f" {self.signs.arrow} ")
                yield from self._said(self.signs.done, watching, Tone.GOOD)
                for text in notice.warnings:
                    yield from self._said(self.signs.unready, plain(text), Tone.WARN)
                for text in notice.tips:
                    yield from self._said(" ", plain(text), Tone.DIM)
            case Reached():
                yield from self._reached(notice)
            case Built(ok=True):
                yield self._good(f"{plain(notice.what)} in {took(notice.seconds)}")
            case Built():
                text = (
                    f"{plain(notice.what)} failed after {took(notice.seconds)}; "
                    "what runs in the pods is as it was"
                )
                yield from self._said(self.signs.failed, text, Tone.BAD)
                yield from self._details(notice.output)
            case Remark():
                sign = self.signs.unready if notice.warning else " "
                tone = Tone.WARN if notice.warning else Tone.NORMAL
                yield from self._said(sign, plain(notice.text), tone)
                yield from self._details(notice.details)
                for line in notice.hint.splitlines():
                    yield from self._said(" ", plain(line), Tone.NORMAL)
            case Released():
                sign = self.signs.done if notice.exact else self.signs.unready
                tone = Tone.GOOD if notice.exact else Tone.WARN
                yield from self._said(sign, plain(notice.text), tone)
                yield from self._details(notice.details)
            case _:
                raise AssertionError(notice)

    def _reached(self, notice: Reached) -> Iterator[str]:
        what = f"{counted(notice.files, 'file')}, {sizes(notice.size)} in {took(notice.seconds)}"
        if not notice.files and not notice.size:
            what = f"up to date in {took(notice.seconds)}"
        why = f" ({plain(notice.why)})" if notice.why else ""
        by = "" if notice.way in ("", "agent") else f" by {notice.way}"
        yield from self._said(
            self.signs.done, f"{plain(notice.container)}{why}: {what}{by}", Tone.GOOD
        )

    def _details(self, lines: Sequence[str]) -> Iterator[str]:
        for line in lines:
            yield self.ink(f"    {plain(line)}", Tone.DIM)

    def _said(self, sign: str, text: str, tone: Tone) -> Iterator[str]:
        """A sentence in as many lines as it takes; only its sign is coloured."""
        first, *rest = wrapped(text, self.ink.width - 2)
        dim = tone is Tone.DIM
        yield f"{self.ink(sign, tone)} {self.ink(first, tone) if dim else first}"
        for line in rest:
            yield f"  {self.ink(line, tone) if dim else line}"

    def _good(self, text: str) -> str:
        return f"{self.ink(self.signs.done, Tone.GOOD)} {text}"
