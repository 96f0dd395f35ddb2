"""`kindling replay`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kindling.cli.invocation import Invocation, verb
from kindling.errors import StoreError, UsageError

if TYPE_CHECKING:
    from kindling.graph.replay import Row
    from kindling.store.journal import Entry

__all__ = ["command"]


@verb(
    "replay",
    "Repeat the decisions of a recorded session.",
    "  kindling replay                      the last session of this project\n"
    "  kindling replay 20260314-091500-47   a session by name\n"
    "  kindling replay bug.jsonl            a journal that someone sent\n"
    "  kindling replay --list               the sessions whose journals are kept",
)
@click.argument("journal", required=False, metavar="[SESSION|FILE]")
@click.option("--list", "listing", is_flag=True, help="List the journals that are kept.")
@click.option("--events", is_flag=True, help="Show every event and what it led to.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_obj
def command(
    invocation: Invocation, journal: str | None, listing: bool, events: bool, as_json: bool
) -> int:
    """Feed the recorded events of a session to the scheduler of this version, and compare what it
    decides with what was decided then. Exit 0 when all agrees, 1 at the first difference."""
    from kindling.cli.output import emit, emit_json
    from kindling.graph.replay import describe, replay
    from kindling.store.journal import sessions

    invocation.no_words("replay")
    if listing:
        names = sessions(invocation.state_dir)
        if as_json:
            emit_json({"schema": 1, "type": "journals", "sessions": list(names)})
        else:
            emit("".join(f"{name}\n" for name in names))
        return 0
    name, entries = _entries(invocation, journal)
    rows = list(_rows(name, entries))
    found = replay(rows)
    if as_json:
        emit_json(
            {
                "schema": 1,
                "type": "replay",
                "journal": name,
                "events": len(rows),
                "difference": found.to_json() if found else None,
            }
        )
        return 1 if found else 0
    if events:
        for number, (event, commands) in enumerate(rows, start=1):
            emit(f"{number:>5}  {event.at:9.3f} s  {describe(event)}  ({len(commands)})", "\n")
    if found is None:
        emit(f"{name}: {len(rows):,} events, every decision is the same", "\n")
        return 0
    emit(f"{name}: decisions differ", "\n")
    emit("".join(f"{line}\n" for line in found.lines()))
    return 1


def _entries(invocation: Invocation, journal: str | None) -> tuple[str, Iterator[Entry]]:
    from kindling.store.journal import read_journal, sessions

    if journal is not None and Path(journal).is_file():
        return journal, _of_file(Path(journal))
    if journal is None:
        kept = sessions(invocation.state_dir)
        if not kept:
            raise UsageError(
                f"no journal is kept in `{invocation.state_dir}`",
                hint="`kindling up` and `kindling ci` write one.",
            )
        journal = kept[0]
    return journal, read_journal(invocation.state_dir, journal)


def _of_file(path: Path) -> Iterator[Entry]:
    """A journal outside `.kindling` is read through a folder that looks like one."""
    import shutil
    import tempfile

    from kindling.store.journal import Journal, read_journal

    with tempfile.TemporaryDirectory() as folder:
        made = Journal.open(Path(folder), "replay")
        made.close()
        shutil.copyfile(path, made.path)
        yield from read_journal(Path(folder), "replay")


def _rows(name: str, entries: Iterator[Entry]) -> Iterator[Row]:
    from kindling.graph.codec import command_from_json, event_from_json

    for number, entry in enumerate(entries, start=1):
        if entry.kind != "step":
            continue
        try:
            event = event_from_json(entry.data["event"])
            commands = tuple(command_from_json(one) for one in entry.data["commands"])
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"`{name}`: entry {number} is not of a journal of this version",
                details=[str(error)],
            ) from error
        yield event, commands
