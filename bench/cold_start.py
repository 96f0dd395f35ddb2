"""How long a program takes to say its version: the least that each command of it costs."""

from __future__ import annotations

import sys

from bench.peers import KINDLING, ROOT, find
from bench.timing import Command, Row, Table, race

__all__ = ["measure"]


def measure(table: Table, rounds: int) -> None:
    """Add one section. A Python that does nothing is the floor for kindling and doit."""
    rows: list[Row] = []
    commands = [
        Command("kindling version", (KINDLING, "version"), ROOT),
        Command("python -c pass", (sys.executable, "-c", "pass"), ROOT),
    ]
    for argv in (
        ("make", "--version"),
        ("ninja", "--version"),
        ("doit", "--version"),
        ("docker", "--version"),
        ("kubectl", "version", "--client"),
        ("tilt", "version"),
    ):
        program = find(argv[0])
        if program:
            commands.append(Command(" ".join(argv), (program, *argv[1:]), ROOT))
        else:
            rows.append(Row(" ".join(argv), note="not on this machine"))
    table.section("cold start", [*race(commands, rounds), *rows])
