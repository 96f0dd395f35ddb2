"""`kindling status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kindling.cli.invocation import Invocation, complete_names, verb
from kindling.cli.there import wanted_cluster
from kindling.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kindling.report.status import StatusRow

__all__ = ["command"]


@verb(
    "status",
    "Show where every node stands.",
    "  kindling status              of the session, and what stands in the cluster\n"
    "  kindling status api          only what is called api\n"
    "  kindling status -n staging   look in this namespace alone\n"
    "  kindling status --json       for programs (docs/json.md)",
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_names)
@click.option("-n", "--namespace", default="", metavar="NS", help="Look in this namespace alone.")
@click.option(
    "-A",
    "--all-namespaces",
    "everywhere",
    is_flag=True,
    help="Look in all namespaces.  [default for local clusters]",
)
@click.option("--no-cluster", is_flag=True, help="Leave the cluster out.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.pass_obj
def command(
    invocation: Invocation,
    names: tuple[str, ...],
    namespace: str,
    everywhere: bool,
    no_cluster: bool,
    as_json: bool,
) -> int:
    """Show every node of the session that runs in this project: what it does or waits for, how it
    was settled, its addresses. Without a running session, show what is recorded of the last ones.

    Below it, what stands in the cluster: its nodes, who acts as operator, registry, ingress
    controller, runner pools, DevStagingEnvironments, sync sessions, deployments, pods that ail with
    the end of their logs, and routes. It is the cluster that `kindling up` would use; one that
    does not answer within 3 s is one line.

    Exit 0, or 1 when a node has failed.
    """
    import asyncio
    import os
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
    seen = None
    if not no_cluster:
        from kindling.engine.environments.look import look
        from kindling.engine.environments.overview import selected

        wanted = wanted_cluster(invocation, reads=True)
        seen = asyncio.run(
            look(wanted, dict(os.environ), namespace=namespace, everywhere=everywhere)
        )
        _check_names(rows, names, seen.names)
        seen = selected(seen, names) if names else seen
    else:
        _check_names(rows, names, frozenset())
    rows = [row for row in rows if not names or row.node in names or row.resource in names]
    if as_json:
        shown = {row.node for row in rows}
        forms = [node for node in nodes if node["id"] in shown]
        emit_json(
            {
                "schema": 1,
                "type": "status",
                "running": running,
                "nodes": forms or [row.to_json() for row in rows],
                "cluster": seen.to_json() if seen is not None else None,
            }
        )
    else:
        ink = ink_for(invocation)
        head = "a session is running" if running else "no session is running; last known results:"
        if not running and not rows:
            head = "no session is running, and nothing has run here yet"
        if rows or not names:
            emit(status_text(rows, head, ink=ink))
        if seen is not None:
            from kindling.report.overview import overview_text

            if rows or not names:
                emit("\n")
            emit(overview_text(seen, chosen_names=bool(names), ink=ink))
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


def _check_names(rows: Sequence[StatusRow], names: Sequence[str], there: frozenset[str]) -> None:
    """Names may be those of nodes and resources, and of what stands in the cluster."""
    known = {row.node for row in rows} | {row.resource for row in rows if row.resource} | there
    for name in names:
        if name not in known:
            raise UsageError(f"nothing is called `{name}`", hint=nearest(name, sorted(known)))
