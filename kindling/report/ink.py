"""Colour and width for text that is written once: plans, explanations, states."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from kindling.report.narrator import Tone

__all__ = ["Ink", "wrapped"]

_SGR = {
    Tone.NORMAL: "",
    Tone.GOOD: "32",
    Tone.BAD: "31",
    Tone.WARN: "33",
    Tone.DIM: "2",
    Tone.LOG: "",
}


@dataclass(frozen=True, slots=True)
class Ink:
    """How text may look where it goes. `width` is what lines should keep within."""

    color: bool = False
    width: int = 100

    def __call__(self, text: str, tone: Tone) -> str:
        code = _SGR[tone]
        return f"\x1b[{code}m{text}\x1b[0m" if self.color and code and text else text

    def bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self.color and text else text


def wrapped(text: str, width: int) -> Sequence[str]:
    """`text` in lines of at most `width`, never fewer than 20; words are broken only when they
    alone are longer."""
    return textwrap.wrap(text, max(20, width), break_on_hyphens=False) or [""]
