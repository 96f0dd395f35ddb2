"""What benches of sync found, as one table of 80 columns and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Found", "Section", "rendered", "written"]

_NAME, _WIDE, _COUNT, _RATIO = 33, 10, 5, 7


@dataclass(slots=True)
class Found:
    """What one way took, in seconds. `problem`: why there is no figure, or not the whole one."""

    name: str
    times: list[float] = field(default_factory=list)
    wanted: int = 0
    """So often it was to be tried; fewer times where a limit came first."""
    lost: int = 0
    sent: int | None = None
    """Bytes that went out for one change, where that is counted."""
    problem: str = ""
    ours: bool = False
    """It is kindling: what it loses is a failure, and what others lose is their figure."""
    cut: bool = False
    """It was tried fewer times than was wanted, since its time was over."""

    @property
    def failed(self) -> bool:
        """There is no figure, or kindling lost something or was slower than its time allows. Others
        may be so slow that they are tried less often: `n` tells."""
        ours = self.ours and (self.lost > 0 or self.cut)
        return bool(self.problem) or not self.times or ours

    def part(self, part: float) -> float:
        times = sorted(self.times)
        return times[min(len(times) - 1, int(part * len(times)))]


@dataclass(slots=True)
class Section:
    """Ways of doing one thing. The first that is ours is what all are compared to."""

    title: str
    few: bool = False
    """Tried so few times that the median and the best say more than the 99th of a hundred."""
    rows: list[Found] = field(default_factory=list)

    @property
    def base(self) -> float:
        return next((one.part(0.5) for one in self.rows if one.ours and one.times), 0.0)


def rendered(sections: Sequence[Section]) -> str:
    """The sections as text."""
    lines: list[str] = []
    for section in sections:
        counted = any(one.sent is not None for one in section.rows)
        names = ("best", "median", "sent" if counted else "worst", "n", "", "ratio")
        if not section.few:
            names = ("p50", "p99", "best", "n", "lost", "ratio")
        wide = [f"{name:>{_WIDE}}" for name in names[:3]]
        few = [f"{names[3]:>{_COUNT}}", f"{names[4]:>{_COUNT}}", f"{names[5]:>{_RATIO}}"]
        lines += ["", f"{section.title:<{_NAME}}{''.join(wide)}{''.join(few)}"]
        for one in section.rows:
            if one.times:
                lines.append(_row(section, one))
            told = [one.problem] if one.problem else []
            if one.cut:
                told.append(f"its time was over before {one.wanted}")
            if told:
                text = f"  {one.name}: {', '.join(told)}"
                lines += textwrap.wrap(text, 80, subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def _row(section: Section, one: Found) -> str:
    middle = one.part(0.5)
    if not section.few:
        figures = [_time(middle), _time(one.part(0.99)), _time(min(one.times))]
    else:
        last = _few(max(one.times)) if one.sent is None else f"{one.sent / 1e6:.3f} MB"
        figures = [_few(min(one.times)), _few(middle), last]
    ratio = middle / section.base if section.base else 0.0
    lost = "" if section.few else str(one.lost)
    return (
        f"  {one.name:<{_NAME - 2}}{''.join(f'{each:>{_WIDE}}' for each in figures)}"
        f"{len(one.times):>{_COUNT}}{lost:>{_COUNT}}"
        f"{f'{ratio:.{2 if ratio < 10 else 1}f}' if ratio else '':>{_RATIO}}"
    )


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 10 else f"{seconds:.2f} s"


def _few(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def written(sections: Iterable[Section]) -> list[dict[str, Any]]:
    """The sections as JSON; all times are seconds, and every one is there."""

    def figure(one: Found, part: float) -> float | None:
        return one.part(part) if one.times else None

    return [
        {
            "title": section.title,
            "rows": [
                {
                    "name": one.name,
                    "n": len(one.times),
                    "wanted": one.wanted,
                    "lost": one.lost,
                    "cut": one.cut,
                    "p50": figure(one, 0.5),
                    "p99": figure(one, 0.99),
                    "best": min(one.times, default=None),
                    "ratio": one.part(0.5) / section.base if one.times and section.base else None,
                    "bytes_sent": one.sent,
                    "problem": one.problem or None,
                    "times": one.times,
                }
                for one in section.rows
            ],
        }
        for section in sections
    ]
