"""`kindling logs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kindling.cli.invocation import Duration, Invocation, complete_names, verb
from kindling.errors import UsageError, nearest

if TYPE_CHECKING:
    from kindling.report.ink import Ink
    from kindling.store.sessionlog import LogFilter, LogRecord

__all__ = ["command"]


@verb(
    "logs",
    "Show what nodes have written.",
    "  kindling logs                     everything that is kept\n"
    "  kindling logs api -F              the resource api, and go on\n"
    "  kindling logs --since 5m --tail 50",
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_names)
@click.option("-F", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option(
    "--since", type=Duration(), metavar="DURATION", help="Only lines of the last 90s, 5m, 1h."
)
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@click.option("--session", default="", metavar="NAME", help="Only lines of this session.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line (docs/json.md).")
@click.pass_obj
def command(
    invocation: Invocation,
    names: tuple[str, ...],
    follow: bool,
    since: float | None,
    tail: int | None,
    session: str,
    as_json: bool,
) -> None:
    """Show the output of nodes or resources, of this session and of earlier ones: builds, commands,
    servers and pods. It is kept in .kindling/logs."""
    import time

    from kindling.cli.output import ink_for
    from kindling.store.sessionlog import LogFilter, read_log

    invocation.no_words("logs")
    moment = time.time() - since if since is not None else 0.0
    wanted = LogFilter(names=names, session=session, since=moment, tail=tail)
    ink = ink_for(invocation)
    if follow:
        import asyncio

        asyncio.run(_follow(invocation, wanted, ink, as_json))
        return
    silent = True
    if invocation.state_dir.is_dir():
        for record in read_log(invocation.state_dir, wanted):
            silent = False
            _show(record, ink, as_json)
    if silent and names:
        _check_names(invocation, names)


def _check_names(invocation: Invocation, names: tuple[str, ...]) -> None:
    """Nothing was written under these names: because they said nothing, or because nobody has them?

    Raises:
        UsageError: Nothing that ever ran here has one of these names.
    """
    from kindling.store.database import Store
    from kindling.store.sessionlog import read_log

    known: set[str] = set()
    if invocation.state_dir.is_dir():
        with Store.open(invocation.state_dir) as store:
            ids = {*store.records(), *store.failures()}
        known = {*ids, *(id_.partition(":")[2] for id_ in ids)}
        known |= {record.resource for record in read_log(invocation.state_dir)} - {""}
    for name in names:
        if name not in known:
            raise UsageError(f"nothing is called `{name}`", hint=nearest(name, sorted(known)))


async def _follow(invocation: Invocation, wanted: LogFilter, ink: Ink, as_json: bool) -> None:
    from kindling.engine.clock import SystemClock
    from kindling.store.sessionlog import follow_log

    async for record in follow_log(invocation.state_dir, SystemClock(), wanted):
        _show(record, ink, as_json)


def _show(record: LogRecord, ink: Ink, as_json: bool) -> None:
    from kindling.cli.output import emit, emit_json
    from kindling.engine.notices import LogLine
    from kindling.report.narrator import Tone, log_prefix
    from kindling.report.safetext import coloured, plain

    if as_json:
        form = {
            "schema": 1,
            "type": "log",
            "at": round(record.at, 3),
            "session": record.session,
            "node": record.node,
            "resource": record.resource,
            "stream": record.stream,
            "text": plain(record.text),
        }
        emit_json(form, indent=None)
        return
    line = LogLine(record.at, record.node, record.resource, record.stream, record.text)
    text = coloured(record.text) if ink.color else plain(record.text)
    emit(ink(log_prefix(line), Tone.DIM) + text, "\n")
