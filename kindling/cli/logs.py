"""`kindling logs`."""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from kindling.cli.invocation import Duration, Invocation, complete_names, verb
from kindling.cli.there import wanted_cluster
from kindling.errors import KindlingError, UsageError, nearest

if TYPE_CHECKING:
    from kindling.engine.environments.podlines import Line
    from kindling.engine.environments.reach import Reached
    from kindling.report.ink import Ink
    from kindling.store.sessionlog import LogFilter, LogRecord

__all__ = ["command"]

_ANSWER_LIMIT = 10.0


@verb(
    "logs",
    "Show what nodes have written.",
    "  kindling logs                     everything that is kept\n"
    "  kindling logs api -F              the resource api, and go on\n"
    "  kindling logs --since 5m --tail 50\n"
    "  kindling logs orders/postgres     pods of an environment, without a session\n"
    "  kindling logs --operator -F       the operator that is installed",
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_names)
@click.option("-F", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option(
    "--since",
    type=Duration(),
    metavar="DURATION",
    help="Only lines of the last 90s, 5m, 1h.  [default: 5m for --operator]",
)
@click.option(
    "--tail",
    type=click.IntRange(min=0),
    metavar="N",
    help="Only the last N lines; of pods, N of each container.",
)
@click.option("--session", default="", metavar="NAME", help="Only lines of this session.")
@click.option("--operator", is_flag=True, help="The operator that is installed in the cluster.")
@click.option(
    "--all", "every", is_flag=True, help="Every container of it.  [default: the main one]"
)
@click.option("-n", "--namespace", default="", metavar="NS", help="Where to look for pods.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line (docs/json.md).")
@click.pass_obj
def command(
    invocation: Invocation,
    names: tuple[str, ...],
    follow: bool,
    since: float | None,
    tail: int | None,
    session: str,
    operator: bool,
    every: bool,
    namespace: str,
    as_json: bool,
) -> None:
    """Show the output of nodes or resources, of this session and of earlier ones: builds, commands,
    servers and pods. It is kept in .kindling/logs.

    A name that was never in it is looked for in the cluster: a DevStagingEnvironment, a dependency
    of one (`orders/postgres`), a Deployment or StatefulSet.
    """
    import time

    from kindling.cli.output import ink_for
    from kindling.store.sessionlog import LogFilter, read_log

    invocation.no_words("logs")
    ink = ink_for(invocation)
    if every and not operator:
        raise UsageError("`--all` is for `kindling logs --operator`")
    if operator and (names or session):
        raise UsageError("`--operator` takes no names and no session")
    known = _elsewhere(invocation, names, namespace) if names and not session else None
    if operator or known is not None:
        since = 300.0 if operator and since is None else since
        known = known or frozenset()
        asked = _Asked(names, namespace, operator, every, follow, since, tail, known)
        _of_cluster(invocation, asked, ink, as_json)
        return
    moment = time.time() - since if since is not None else 0.0
    wanted = LogFilter(names=names, session=session, since=moment, tail=tail)
    if follow:
        import asyncio

        asyncio.run(_follow(invocation, wanted, ink, as_json))
        return
    if invocation.state_dir.is_dir():
        for record in read_log(invocation.state_dir, wanted):
            _show(record, ink, as_json)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is wanted of pods."""

    names: tuple[str, ...]
    namespace: str
    operator: bool
    every: bool
    follow: bool
    since: float | None
    tail: int | None
    known: frozenset[str]
    """Names that the project knows."""


def _elsewhere(
    invocation: Invocation, names: tuple[str, ...], namespace: str
) -> frozenset[str] | None:
    """The names that the project knows when it knows none of `names`, so that these mean something
    in the cluster; None when it does.

    Raises:
        UsageError: Some are known here and others are not.
    """
    from kindling.store.database import Store
    from kindling.store.sessionlog import read_log

    if namespace:
        return frozenset()
    known: set[str] = set()
    if invocation.state_dir.is_dir():
        with Store.open(invocation.state_dir) as store:
            ids = {*store.records(), *store.failures()}
        known = {*ids, *(id_.partition(":")[2] for id_ in ids)}
        if not known.issuperset(names):
            for record in read_log(invocation.state_dir):
                known |= {record.node, record.resource} - {""}
    strange = [name for name in names if name not in known]
    if strange and len(strange) < len(names):
        hint = nearest(strange[0], sorted(known))
        raise UsageError(
            f"`{strange[0]}` was never in the log of this project, as the others were",
            hint=hint or "What is only in the cluster is to be asked for by itself.",
        )
    return frozenset(known) if strange else None


def _of_cluster(invocation: Invocation, asked: _Asked, ink: Ink, as_json: bool) -> None:
    import asyncio
    import os

    from kindling.engine.clock import SystemClock
    from kindling.engine.environments import podlines
    from kindling.engine.environments.reach import find_target, reach

    def show(line: podlines.Line) -> None:
        _show_line(line, ink, as_json)

    async def find(reached: Reached) -> tuple[podlines.Source, ...]:
        if asked.operator:
            return await podlines.find_operator(reached.cluster, every=asked.every)
        place = asked.namespace or reached.namespace
        return await podlines.find_sources(reached.cluster, place, asked.names, asked.known)

    async def run() -> None:
        async with AsyncExitStack() as stack:
            try:
                target = await find_target(wanted_cluster(invocation, reads=True), dict(os.environ))
                reached = await stack.enter_async_context(
                    reach(target, dict(os.environ), start=False, limit=_ANSWER_LIMIT)
                )
            except KindlingError as error:
                if asked.operator or asked.namespace:
                    raise
                raise UsageError(
                    f"nothing is called `{asked.names[0]}` in the log of this project, and no "
                    "cluster can be asked",
                    details=[error.message],
                    hint=nearest(asked.names[0], sorted(asked.known)),
                ) from error
            sources = await find(reached)
            if asked.follow:
                await podlines.follow(
                    reached.cluster,
                    sources,
                    show,
                    SystemClock(),
                    since=asked.since,
                    tail=asked.tail,
                )
            lines = podlines.read(reached.cluster, sources, since=asked.since, tail=asked.tail)
            async with aclosing(lines) as received:
                async for line in received:
                    show(line)

    asyncio.run(run())


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


def _show_line(line: Line, ink: Ink, as_json: bool) -> None:
    """A line of a pod; when it was written is not known."""
    from kindling.cli.output import emit, emit_json
    from kindling.report.narrator import Tone
    from kindling.report.safetext import coloured, plain

    if as_json:
        form = {
            "schema": 1,
            "type": "log",
            "at": None,
            "session": "",
            "node": "",
            "resource": line.name,
            "stream": line.stream,
            "text": plain(line.text),
        }
        emit_json(form, indent=None)
        return
    _, pod, container = line.stream.split("/", 2)
    head = f"{line.name} {pod}/{container} | "
    emit(ink(head, Tone.DIM) + (coloured(line.text) if ink.color else plain(line.text)), "\n")
