"""`kindling sync --restore`: what sessions left that are gone is put back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kindling.cli.invocation import Invocation
from kindling.cli.sync_face import Face
from kindling.cli.sync_places import record_folders
from kindling.cli.there import tell, wanted_cluster
from kindling.errors import ExecutionError, InterruptError
from kindling.objects.identity import display_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kindling.engine.environments.reach import Reached
    from kindling.sync.template.restore import Conflict
    from kindling.sync.workload.records import Record
    from kindling.sync.workload.restoring import Attempt, Choice, Decide

__all__ = ["Wish", "decide_by", "restore_left"]

_MANAGED = (("app.kubernetes.io/managed-by", "kindling"),)


class Wish(Enum):
    """What the command line says about a workload that others changed meanwhile."""

    ASK = "ask"
    """On a terminal; elsewhere their change is kept."""
    KEEP = "keep"
    FORCE = "force"


def restore_left(
    invocation: Invocation, workload: str, namespace: str, wish: Wish, *, as_json: bool = False
) -> int:
    """Put back what dead sessions left on `workload`, or everywhere that is known of. 1 when
    something is not as it was before.

    Raises:
        KindlingError: There is no such workload, or the cluster cannot be asked.
    """
    from kindling.engine.clock import SystemClock

    face = Face(invocation, SystemClock(), as_json=as_json)
    return asyncio.run(_restore(invocation, workload, namespace, wish, face))


async def _restore(
    invocation: Invocation, workload: str, namespace: str, wish: Wish, face: Face
) -> int:
    from kindling.engine.environments.reach import find_target, reach

    environment = dict(os.environ)
    target = await find_target(wanted_cluster(invocation), environment)
    tell(f"Cluster `{target.context.name}`: {target.reason}")
    folders = record_folders(invocation, environment)
    async with reach(target, environment, start=False) as reached:
        place = namespace or reached.namespace
        decide = decide_by(wish, face)
        if workload:
            attempts = await _one(reached, workload, place, folders, decide, face)
        else:
            attempts = await _all(reached, place, folders, decide, face)
    return max([_said(one, face, wish) for one in attempts], default=0)


async def _one(
    reached: Reached, workload: str, place: str, folders: Sequence[Path], decide: Decide, face: Face
) -> list[Attempt]:
    from kindling.engine.clock import SystemClock
    from kindling.sync.workload.finding import find
    from kindling.sync.workload.records import Records
    from kindling.sync.workload.restoring import restore_all, restore_workload

    clock = SystemClock()
    ref = await find(reached.cluster, workload, place)
    attempts: list[Attempt] = []
    for folder in folders:
        attempts += await restore_all(
            reached.cluster, Records(folder), clock=clock, decide=decide, tell=face.tell, only=ref
        )
    if not attempts:
        # A session on another machine, or in another folder of this one.
        attempts += await restore_workload(
            reached.cluster, ref, Records(folders[0]), clock=clock, decide=decide, tell=face.tell
        )
    if not attempts:
        face.remark(f"no session has left anything on {display_name(ref)}")
    for one in attempts:
        if one.released is None and one.error is None:
            raise ExecutionError(
                f"`{display_name(ref)}` is not put back: {one.problem}",
                hint="Ctrl-C where it runs ends it in order.",
            )
    return attempts


async def _all(
    reached: Reached, place: str, folders: Sequence[Path], decide: Decide, face: Face
) -> list[Attempt]:
    from kindling.engine.clock import SystemClock
    from kindling.sync.workload.records import Records
    from kindling.sync.workload.restoring import restore_all

    attempts: list[Attempt] = []
    clock = SystemClock()
    for folder in folders:
        attempts += await restore_all(
            reached.cluster, Records(folder), clock=clock, decide=decide, tell=face.tell
        )
    told = {one.record.session for one in attempts}
    for record in await _recorded_there(reached, place):
        if record.session in told:
            continue
        told.add(record.session)
        attempts += await _elsewhere(reached, record, decide, face)
    if not attempts:
        face.remark(f"no session has left anything, as far as is known here and in `{place}`")
    return attempts


async def _recorded_there(reached: Reached, place: str) -> list[Record]:
    """The records that sessions keep in the namespace, of which this machine may know nothing."""
    from kindling.kube.errors import ForbiddenError
    from kindling.sync.workload.agents import CONFIG_MAP_PREFIX, find_record

    try:
        listing = await reached.cluster.list("v1", "ConfigMap", namespace=place, labels=_MANAGED)
    except ForbiddenError:
        return []
    names = sorted(
        name
        for item in listing.items
        if (name := str(item["metadata"]["name"])).startswith(CONFIG_MAP_PREFIX)
    )
    found = [
        await find_record(reached.cluster, name.removeprefix(CONFIG_MAP_PREFIX), place)
        for name in names
    ]
    return [record for record in found if record is not None]


async def _elsewhere(
    reached: Reached, record: Record, decide: Decide, face: Face
) -> tuple[Attempt, ...]:
    """A session of which only the cluster tells. One whose process is dead on this machine began in
    another folder, and has its record there; of one on another machine nobody here knows whether it
    lives.

    What the cluster says of folders of this machine, anybody may have written who may write there:
    nothing is put back by it, and no file touched, unless that folder says the same.
    """
    from kindling.engine.clock import SystemClock
    from kindling.sync.workload.liveness import Life, life_of
    from kindling.sync.workload.records import Records
    from kindling.sync.workload.restoring import Attempt, restore

    life = life_of(record.holder, record.session)
    if life is Life.ALIVE:
        return (Attempt(record, problem=f"it still runs: {record.holder}"),)
    own = Records(Path(record.holder.folder))
    kept = await asyncio.to_thread(own.get, record.session) if life is Life.DEAD else None
    if kept is None or (kept.ref, kept.holder) != (record.ref, record.holder):
        has = "has what was brought to stay by" if record.stays else "is held by"
        way = "To put that back:" if record.stays else "If that one is gone:"
        face.remark(
            f"{display_name(record.ref)} {has} session `{record.session}` of "
            f"{record.recorded.session.who or 'somebody'}, on {record.holder.host}",
            hint=f"{way} `kindling sync --restore -d {_spoken(record)}`",
        )
        return ()
    released = await restore(
        reached.cluster, kept, records=own, clock=SystemClock(), decide=decide, tell=face.tell
    )
    return (Attempt(kept, released),)


def _said(one: Attempt, face: Face, wish: Wish) -> int:
    """Say what became of a record; the exit code that it asks for. That others' change is kept is
    what `--keep` asks for, and no success where nobody was asked."""
    if one.released is not None:
        face.tell(one.released)
        return 0 if one.released.exact or wish is Wish.KEEP else 1
    if one.error is None:
        # It runs, or is another cluster's: nobody's fault, and nothing was asked of it by name.
        face.remark(f"{display_name(one.record.ref)} is left alone: {one.problem}")
        return 0
    face.remark(
        f"{display_name(one.record.ref)} is not put back: {one.problem}",
        warning=True,
        hint=one.error.hint,
    )
    return 1


def _spoken(record: Record) -> str:
    ref = record.ref
    return f"{ref.kind.lower()}/{ref.name} -n {ref.namespace}"


def decide_by(wish: Wish, face: Face) -> Decide:
    """Who says what becomes of a change that others have made."""
    from kindling.cli.values import on_a_terminal
    from kindling.sync.workload.restoring import Choice

    if wish is Wish.FORCE:
        return Choice.FORCE
    if wish is Wish.KEEP or not on_a_terminal():
        return Choice.KEEP

    async def ask(conflict: Conflict) -> Choice:
        return asked(conflict, face)

    return ask


def asked(conflict: Conflict, face: Face) -> Choice:
    """What somebody at the terminal wants to become of a change that others have made.

    Raises:
        InterruptError: They left without an answer; nothing was changed.
    """
    from kindling.sync.notices import Remark
    from kindling.sync.workload.restoring import Choice

    face.tell(
        Remark("someone changed the workload while the session had it", True, conflict.differs)
    )
    words: Mapping[str, Choice] = {"keep": Choice.KEEP, "force": Choice.FORCE}
    with _own_interrupt():
        try:
            word: str = click.prompt(
                "keep their change, or force back what was before?",
                type=click.Choice(list(words)),
                default="keep",
                err=True,
            )
        except (click.Abort, KeyboardInterrupt):
            raise InterruptError("it was left as it is") from None
    return words[word]


@contextmanager
def _own_interrupt() -> Iterator[None]:
    """Ctrl-C ends the question, and not the loop that waits for the answer."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
