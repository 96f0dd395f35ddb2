"""Scripts: shell commands, each under the name of what it shows.

A script is text. A line that begins with `# ` names a step; the lines below it, up to the next such
line, are given to bash as they stand. Words in brackets at the end of the name say how it is run:

    [settles]   asked again for some seconds until both clusters say the same
    [sorted]    the order of the lines printed means nothing
    [tty]       within a terminal
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

__all__ = ["Step", "steps"]

FLAGS = frozenset({"settles", "sorted", "tty"})


@dataclass(frozen=True, slots=True)
class Step:
    """One command, and what it shows."""

    name: str
    command: str
    flags: frozenset[str] = frozenset()


def steps(text: str) -> list[Step]:
    """The steps of a script. ValueError when a step has no command, or a flag nobody knows."""
    found: list[Step] = []
    name, lines = "", list[str]()

    def close() -> None:
        if not name:
            return
        flags = frozenset(re.findall(r"\[(\w+)\]", name))
        command = "\n".join(lines).strip("\n")
        if not command or flags - FLAGS:
            raise ValueError(f"step {name!r}: no command, or flags other than {sorted(FLAGS)}")
        found.append(Step(re.sub(r"\s*\[\w+\]", "", name), command, flags))

    for line in textwrap.dedent(text).splitlines():
        if line.startswith("# "):
            close()
            name, lines = line.removeprefix("# "), []
        elif name:
            lines.append(line)
        elif line.strip():
            raise ValueError(f"no step has a name before {line!r}")
    close()
    return found
