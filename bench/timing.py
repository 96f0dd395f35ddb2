"""Wall-clock times of whole processes, and the table they end in."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

__all__ = ["Command", "Row", "Table", "milliseconds", "race", "run_once"]


@dataclass(frozen=True, slots=True)
class Command:
    """A program to be timed, under the name it has in the table."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 3600.0


@dataclass(frozen=True, slots=True)
class Row:
    """The seconds that one thing took, once for each time it was tried. No samples: see `note`."""

    name: str
    samples: tuple[float, ...] = ()
    note: str = ""


class Table:
    """Sections of rows. The first row of a section is what the others are compared to."""

    def __init__(self) -> None:
        self._sections: list[tuple[str, list[Row]]] = []

    def section(self, title: str, rows: Sequence[Row]) -> None:
        self._sections.append((title, list(rows)))

    def remark(self, title: str, text: str) -> None:
        """A section that could not be measured, and why."""
        self._sections.append((title, [Row("", note=text)]))

    def render(self) -> str:
        """The table as text. `x first` is a row's median divided by that of its section's first."""
        lines = [f"{'':<44}{'best':>11}{'median':>11}{'n':>4}{'x first':>10}"]
        for title, rows in self._sections:
            lines += ["", title]
            first = median(rows[0].samples) if rows and rows[0].samples else 0.0
            for row in rows:
                if not row.samples:
                    lines.append(f"  {row.name}{': ' if row.name else ''}{row.note}")
                    continue
                middle = median(row.samples)
                ratio = f"{middle / first:.2f}" if first else ""
                figures = f"{milliseconds(min(row.samples)):>11}{milliseconds(middle):>11}"
                lines.append(f"  {row.name:<42}{figures}{len(row.samples):>4}{ratio:>10}")
                if row.note:
                    lines.append(f"    {row.note}")
        return "\n".join(lines)


def milliseconds(seconds: float) -> str:
    """`1234 ms`, with a decimal where there are fewer than 100, and `123 us` below one."""
    value = seconds * 1000
    if value < 1:
        return f"{value * 1000:.0f} us"
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def run_once(command: Command) -> float:
    """The seconds that `command` took.

    Raises:
        RuntimeError: It failed; the message holds the end of what it said.
    """
    began = time.perf_counter()
    done = subprocess.run(
        command.argv,
        cwd=command.cwd,
        env={**os.environ, **command.env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=command.timeout,
        check=False,
    )
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        end = "\n".join(done.stdout.splitlines()[-10:])
        raise RuntimeError(f"{' '.join(command.argv)} exited with {done.returncode}\n{end}")
    return seconds


def race(
    commands: Sequence[Command], rounds: int, before: Callable[[Command], None] | None = None
) -> list[Row]:
    """Time each command `rounds` times, in turns, so that a busy moment meets them all.

    `before` is called ahead of each run, outside the measured time. A command that fails gets a row
    that says so, and the others go on.
    """
    samples: dict[str, list[float]] = {command.name: [] for command in commands}
    failed: dict[str, str] = {}
    for _ in range(rounds):
        for command in commands:
            if command.name in failed:
                continue
            try:
                if before is not None:
                    before(command)
                samples[command.name].append(run_once(command))
            except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
                failed[command.name] = f"failed: {error}"
    return [
        Row(command.name, note=failed[command.name])
        if command.name in failed
        else Row(command.name, tuple(samples[command.name]))
        for command in commands
    ]
