"""`kindling status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kindling.cli.invocation import Invocation, complete_names, verb
from kindling.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kindling.report.status import StatusRow

__all__ = ["command"]


@verb(
    "status",
    "Show where every node stands.",
    "  kindling status              of the running session, else of the last one\n"
    "  kindling status api          only the resource api\n"
    "  kindling status --json       for programs (docs/json.md)",
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_names)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_obj
def command(invocation: Invocation, names: tuple[str, ...], as_json: bool) -> int:
    """Show every node of the session that runs in this project: what it does or waits for, how it
    was settled, its addresses. Without a running session, show what is recorded of the last ones.

    Exit 0, or 1 when a node has failed.
    """
    import asyncio
    import time

    from kindling.cli.output import emit, emit_json, ink_for
    from kindling.engine.control import NoSessionError, ask
    from kindling.report.status import StatusRow, status_text

    invocation.no_words("status")
    now = time.time()
    try:
        reply = asyncio.run(ask(invocation.state_dir, {"ask": "status"}))
        nodes = reply.get("nodes", [])
        rows = [StatusRow.of_reply(node, now) for node in nodes]
        running = True
    except NoSessionError:
        nodes, rows, running = [], _recorded(invocation, now), False
    rows = _named(rows, names)
    if as_json:
        shown = {row.node for row in rows}
        forms = [node for node in nodes if node["id"] in shown]
        emit_json(
            {
                "schema": 1,
                "type": "status",
                "running": running,
                "nodes": forms or [row.to_json() for row in rows],
            }
        )
    else:
        head = "a session is running" if running else "no session is running; last known results:"
        if not running and not rows:
            head = "no session is running, and nothing has run here yet"
        emit(status_text(rows, head, ink=ink_for(invocation)))
    return 1 if any(row.status == "failed" for row in rows) else 0


def _recorded(invocation: Invocation, now: float) -> list[StatusRow]:
    """What the run database knows: the last success or failure of each node."""
    from kindling.report.status import StatusRow
    from kindling.report.words import reasons_phrase
    from kindling.store.database import Store

    if not invocation.state_dir.is_dir():
        return []
    with Store.open(invocation.state_dir) as store:
        records, failures = store.records(), store.failures()
    rows = {
        id_: StatusRow(
            node=id_,
            resource=id_.partition(":")[2],
            status="done",
            verdict=record.verdict.value,
            seconds=record.seconds,
            age=max(0.0, now - record.finished_at),
            detail=reasons_phrase(record.reasons),
        )
        for id_, record in records.items()
    }
    for id_, failure in failures.items():
        rows[id_] = StatusRow(
            node=id_,
            resource=id_.partition(":")[2],
            status="failed",
            seconds=failure.seconds,
            age=max(0.0, now - failure.at),
            detail=failure.failure.summary,
        )
    return list(rows.values())


def _named(rows: Sequence[StatusRow], names: Sequence[str]) -> list[StatusRow]:
    known = {row.node for row in rows} | {row.resource for row in rows if row.resource}
    for name in names:
        if name not in known:
            raise UsageError(f"nothing is called `{name}`", hint=nearest(name, sorted(known)))
    return [row for row in rows if not names or row.node in names or row.resource in names]
