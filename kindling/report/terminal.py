"""What a stream can show: colour, typographic signs, a live region; and the signs themselves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from kindling.engine.notices import NodeStatus

__all__ = ["ASCII", "UNICODE", "ColorChoice", "Signs", "Terminal", "signs_for", "window_size"]

ColorChoice = str
"""`auto`, `always` or `never`."""

_NO_CONTROL = frozenset({"dumb", "unknown"})
_SMALLEST = 20


@dataclass(frozen=True, slots=True)
class Signs:
    """The signs of a face. Every state has its own sign, so that colour is never needed to tell."""

    done: str
    failed: str
    running: str
    held: str
    idle: str
    unready: str
    bar: str
    dots: str
    middot: str
    arrow: str

    def of(self, status: NodeStatus) -> str:
        return {
            NodeStatus.DONE: self.done,
            NodeStatus.FAILED: self.failed,
            NodeStatus.RUNNING: self.running,
            NodeStatus.HELD: self.held,
            NodeStatus.IDLE: self.idle,
            NodeStatus.UNREADY: self.unready,
        }[status]


UNICODE = Signs(
    done="✓",
    failed="✗",
    running="●",
    held="◌",
    idle="○",
    unready="!",
    bar="│",
    dots="…",
    middot="·",
    arrow="→",
)
ASCII = Signs(
    done="+",
    failed="x",
    running="*",
    held=":",
    idle="-",
    unready="!",
    bar="|",
    dots="..",
    middot="-",
    arrow="->",
)


def signs_for(encoding: str | None) -> Signs:
    """The typographic signs where the encoding has them all, else the ASCII ones."""
    every = "".join(str(getattr(UNICODE, name)) for name in UNICODE.__slots__)
    try:
        every.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


@dataclass(frozen=True, slots=True)
class Terminal:
    """What is known about the stream that a face writes to.

    `live`: the cursor can be moved. `color`: escape sequences for colour are welcome (NO_COLOR,
    TERM and `--color` have been heard).
    """

    encoding: str
    live: bool
    color: bool
    signs: Signs

    @classmethod
    def of(
        cls, stream: IO[str], environ: Mapping[str, str] | None = None, color: ColorChoice = "auto"
    ) -> Terminal:
        env = os.environ if environ is None else environ
        encoding = getattr(stream, "encoding", None) or "ascii"
        is_tty = stream.isatty()
        able = is_tty and env.get("TERM", "") not in _NO_CONTROL
        coloured = able and not env.get("NO_COLOR")
        if color != "auto":
            coloured = color == "always"
        live = able and env.get("TERM", "") != ""
        return cls(encoding, live=live, color=coloured, signs=signs_for(encoding))


def window_size(stream: IO[str]) -> tuple[int, int]:
    """Columns and lines of the terminal just now; 80 by 24 where it does not say."""
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        columns, lines = shutil.get_terminal_size((80, 24))
    return max(columns, _SMALLEST) if columns else 80, lines or 24
