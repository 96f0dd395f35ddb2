"""How long it takes to find out that nothing is to be done, or what one change makes dirty."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench import task_graph
from bench.peers import KINDLING, WORK, find, install_peers
from bench.timing import Command, Row, Table, race, run_once

__all__ = ["measure"]


def measure(table: Table, sizes: tuple[int, ...], rounds: int) -> None:
    """Add two sections for each size. Each tool has a copy of the graph of its own."""
    install_peers()
    for count in sizes:
        _measure_size(table, count, rounds if count < 5000 else max(3, rounds // 2))


def _measure_size(table: Table, count: int, rounds: int) -> None:
    WORK.mkdir(exist_ok=True)
    base = Path(tempfile.mkdtemp(prefix=f"graph-{count}-", dir=WORK))
    folders: dict[str, Path] = {}
    for tool in ("kindling", "make", "ninja", "doit"):
        folders[tool] = base / tool
        task_graph.write(folders[tool], count)

    programs = {tool: KINDLING if tool == "kindling" else find(tool) for tool in folders}
    missing = [Row(tool, note="not on this machine") for tool in folders if not programs[tool]]
    present = {tool: folder for tool, folder in folders.items() if programs[tool]}

    def command(name: str, tool: str, *arguments: str) -> Command:
        return Command(name, (programs[tool], *arguments), present[tool])

    runs = {
        "kindling": ("up", "--once", "--plain"),
        "make": ("-s", "-j2"),
        "ninja": ("-j2",),
        "doit": ("-v0", "-n2"),
    }
    built = _first_build(present, programs, runs)
    usable = [tool for tool in present if built[tool].samples]
    failed = [Row(tool, note="the first build failed") for tool in present if tool not in usable]

    # Tools that go by time doubt a file that changed a moment ago; and what a first look remembers
    # for the next one is remembered by all.
    time.sleep(2.5)
    stamps = {tool: _stamps(present[tool]) for tool in usable}
    peers = [
        command(f"{tool} {' '.join(run)}", tool, *run)
        for tool, run in runs.items()
        if tool in usable and tool != "kindling"
    ]
    plan = [command("kindling plan", "kindling", "plan")] if "kindling" in usable else []
    race([*plan, *peers], 1)
    rows = race([*plan, *peers], rounds)
    table.section(f"{count:,} nodes, nothing changed", [*failed, *rows, *missing])
    if plan:
        again = command("kindling up --once --plain", "kindling", *runs["kindling"])
        after = race([again, *plan], rounds)
        after[1:] = [replace(row, name="kindling plan, right after that") for row in after[1:]]
        table.section(f"{count:,} nodes, nothing changed, a whole session", after)
    for tool in usable:
        if _stamps(present[tool]) != stamps[tool]:
            table.remark(f"{tool} ran something although nothing had changed", "see above")

    dry = {
        "kindling": ("plan",),
        "make": ("-n",),
        "ninja": ("-n",),
        "doit": ("list", "--all", "--status"),
    }
    # Never undone: make and ninja go by time, so a restored file would be new to them.
    for tool in usable:
        (present[tool] / task_graph.changed_source(count)).write_text("changed\n", encoding="utf-8")
    commands = [
        command(f"{tool} {' '.join(arguments)}", tool, *arguments)
        for tool, arguments in dry.items()
        if tool in usable
    ]
    title = f"{count:,} nodes, one source changed: what is to be done?"
    table.section(title, [*failed, *race(commands, rounds)])
    table.section(f"{count:,} nodes, first build (once)", [*built.values(), *missing])
    shutil.rmtree(base, ignore_errors=True)


def _first_build(
    folders: dict[str, Path], programs: dict[str, str], runs: dict[str, tuple[str, ...]]
) -> dict[str, Row]:
    """Build everything, so that there is a state in which nothing has changed."""
    rows: dict[str, Row] = {}
    for tool, folder in folders.items():
        name = f"{tool} {' '.join(runs[tool])}"
        try:
            seconds = run_once(Command(name, (programs[tool], *runs[tool]), folder))
            rows[tool] = Row(name, (seconds,))
        except (OSError, RuntimeError) as error:
            rows[tool] = Row(name, note=f"failed: {error}")
    return rows


def _stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "out").iterdir()}
