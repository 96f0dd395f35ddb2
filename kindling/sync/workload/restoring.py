"""The way back: the template as it was, fresh pods where files were put into them, nothing of ours.

At a session's end, at the next start after a crash, by `--restore`, from another machine by the
copy of the record in the cluster. Every step can be done again: whatever was reached before a
`kill -9` is found done, and the record goes last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import Enum

from kindling.errors import KindlingError, UsageError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from kindling.kube.protocol import Cluster, ClusterFacts, Object, PatchKind
from kindling.objects.identity import display_name
from kindling.objects.pods import pod_name
from kindling.sync.notices import Released, Remark, Tell
from kindling.sync.protocol import Clock
from kindling.sync.template.normal import template_bytes
from kindling.sync.template.owners import owners_given_back
from kindling.sync.template.restore import Conflict, Restore, Restored, changes, original
from kindling.sync.template.session import held
from kindling.sync.workload.agents import (
    MANAGER,
    find_record,
    needs,
    renewed,
    session_config_map,
)
from kindling.sync.workload.choosing import has_patch
from kindling.sync.workload.liveness import SILENT_AFTER, Life, is_here, life_of
from kindling.sync.workload.records import Record, Records
from kindling.sync.workload.replacing import replace_pods

__all__ = ["Attempt", "Choice", "Decide", "restore", "restore_all", "restore_workload"]

_TRIES = 6


class Choice(Enum):
    """What becomes of a template that someone changed during the session."""

    KEEP = "keep"
    """Their change stays; only what the session put in is taken out."""
    FORCE = "force"
    """The template of before comes back over their change."""


Decide = Choice | Callable[[Conflict], Awaitable[Choice]]
"""A choice made beforehand, or whom to ask."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of one record. `released` None: it is kept, and `problem` says why."""

    record: Record
    released: Released | None = None
    problem: str = ""
    error: KindlingError | None = None
    lives: bool = False
    """Its session goes on, so that there was nothing to put back."""


async def restore(
    cluster: Cluster,
    record: Record,
    *,
    records: Records,
    clock: Clock,
    decide: Decide = Choice.KEEP,
    tell: Tell | None = None,
    fresh: bool = True,
) -> Released:
    """Put back what `record` tells of, and forget it. Done again, it finds nothing to do.

    Pods that cannot be made fresh, since others of their workload do not come, stay recorded: the
    next time they are tried again. Without `fresh`, pods into which files were put stay as they
    are, and are forgotten.

    Raises:
        UsageError: The record is of another cluster; nothing was touched.
        ClusterError: The cluster refused or did not answer. The record is kept for the next try.
    """
    facts = await cluster.facts()
    if not _of(facts, record):
        raise UsageError(
            f"Session `{record.session}` on {display_name(record.ref)} is of another cluster than "
            f"`{cluster.context}`: it was reached by context `{record.context}`",
            hint=f"Choose that one: `--context {record.context}`. Nothing was changed here.",
        )
    try:
        released = await _template(cluster, record, decide)
        left: tuple[Object, ...] = ()
        if fresh:
            released, left = await _pods(cluster, record, released, clock, tell)
        if left:
            await asyncio.to_thread(records.save, _for_pods_alone(record, left))
    except ForbiddenError as error:
        raise needs(record.ref.namespace, error, kept=True) from error
    await _without_config_map(cluster, record, tell)
    if not left:
        await asyncio.to_thread(records.forget, record.session)
    return released


async def _without_config_map(cluster: Cluster, record: Record, tell: Tell | None) -> None:
    """The session's ConfigMap is the last of it in the cluster, and belongs to the workload: where
    it may not be deleted, all else is put back none the less."""
    config = session_config_map(record.session, record.ref.namespace)
    try:
        await cluster.delete(config)
    except ForbiddenError as error:
        hint = f"It goes with {display_name(record.ref)}, or when somebody deletes it."
        _tell(tell, Remark(f"{error.message}; it stays", True, tuple(error.details), hint))


def _of(facts: ClusterFacts, record: Record) -> bool:
    """Is it the cluster of the record? Who may not read its uid has recorded its address."""
    return record.cluster in (facts.uid, f"server {facts.server}")


def _for_pods_alone(record: Record, left: tuple[Object, ...]) -> Record:
    """The record once all is put back but the files in these pods. Whatever becomes of the template
    from now on is no longer the session's affair."""
    return replace(
        record,
        recorded=replace(record.recorded, patched=record.recorded.before),
        patched=False,
        touched=tuple(str(pod["metadata"]["uid"]) for pod in left),
        owners=(),
    )


async def restore_all(
    cluster: Cluster,
    records: Records,
    *,
    clock: Clock,
    decide: Decide = Choice.KEEP,
    tell: Tell | None = None,
    only: ObjectRef | None = None,
    living: bool = False,
) -> tuple[Attempt, ...]:
    """Put back all that sessions left behind whose records are here, or what they left on `only`.

    Sessions that still live are left alone (unless `living`, those of this very process), also
    where another machine or container that shares the folder has them; those on other clusters are
    kept for when that cluster is asked for. One that cannot be put back does not keep the others.

    Raises:
        ClusterError: The cluster cannot be reached at all.
        StoreError: The records cannot be read.
    """
    kept = await asyncio.to_thread(records.all)
    for problem in kept.problems:
        _tell(tell, Remark(problem, warning=True, hint="It was left as it is."))
    if not kept.records:
        return ()
    facts = await cluster.facts()
    result: list[Attempt] = []
    for record in kept.records:
        if only is not None and record.ref != only:
            continue
        if not _of(facts, record):
            problem = f"it is of another cluster, reached by context `{record.context}`"
            result.append(Attempt(record, problem=problem))
        else:
            mine = living and is_here(record.holder)
            result.append(await _tried(cluster, record, records, clock, decide, tell, mine=mine))
    return tuple(result)


async def restore_workload(
    cluster: Cluster,
    ref: ObjectRef,
    records: Records,
    *,
    clock: Clock,
    decide: Decide = Choice.KEEP,
    tell: Tell | None = None,
) -> tuple[Attempt, ...]:
    """Put back what any session left on one workload: by the records of this machine, else by the
    copy in the cluster, which a session on another machine has made.

    Raises:
        UsageError: A session has it of which there is no record.
        ClusterError: The cluster refused or did not answer.
    """
    found = await restore_all(cluster, records, clock=clock, decide=decide, tell=tell, only=ref)
    try:
        other = held(await cluster.get(ref))
    except NotFoundError:
        return found
    if other is None or any(one.record.session == other.name for one in found):
        return found
    record = await find_record(cluster, other.name, ref.namespace)
    if record is None or record.ref != ref:
        raise UsageError(
            f"{display_name(ref)} is held by {other}, and there is no record of what it was before",
            hint=f"`kubectl rollout undo {ref.kind.lower()}/{ref.name} -n {ref.namespace}` goes "
            "back to the revision before.",
        )
    return (*found, await _tried(cluster, record, records, clock, decide, tell))


async def _tried(
    cluster: Cluster,
    record: Record,
    records: Records,
    clock: Clock,
    decide: Decide,
    tell: Tell | None,
    *,
    mine: bool = False,
) -> Attempt:
    """Put one back, unless its session lives. One that is `mine` is to end."""
    try:
        if not mine and (problem := await _lives(cluster, record, clock)):
            return Attempt(record, problem=problem, lives=True)
        released = await restore(
            cluster, record, records=records, clock=clock, decide=decide, tell=tell
        )
    except KindlingError as error:
        return Attempt(record, problem=error.message, error=error)
    return Attempt(record, released)


async def _lives(cluster: Cluster, record: Record, clock: Clock) -> str:
    """How it is known that a session goes on; empty where it does not, as far as anybody knows."""
    if record.stays:
        return ""
    life = life_of(record.holder, record.session)
    if life is Life.ALIVE:
        return f"it still runs: {record.holder}"
    if life is Life.DEAD:
        return ""
    heard = await renewed(cluster, record.session, record.ref.namespace)
    if heard is None or (silence := clock.time() - heard) >= SILENT_AFTER:
        return ""
    heard_of = f"was heard of {max(0, int(silence))} s ago"
    gone = f"it counts as gone once it was silent for {int(SILENT_AFTER)} s"
    return f"it runs on {record.holder.host}, and {heard_of} ({gone})"


# The template -------------------------------------------------------------------------------------


async def _template(cluster: Cluster, record: Record, decide: Decide) -> Released:
    """Bring the template back; again when someone writes in between."""
    called = f"`{display_name(record.ref)}`"
    choice: Choice | None = None
    for left in reversed(range(_TRIES)):
        live = await _live(cluster, record.ref)
        if live is None:
            return Released(f"{called} is gone, so there is nothing to put back")
        found = original(live, record.recorded)
        if isinstance(found, Restored):
            await _give_owners_back(cluster, record, live)
            return Released(_settled(record, called))
        exact, details = True, tuple[str, ...]()
        if isinstance(found, Conflict):
            other = held(live)
            if other is not None and other.name != record.session:
                return Released(f"{called} is held by {other} now, which has taken it over")
            if found.kept is None and live["metadata"].get("uid") != record.recorded.uid:
                return Released(f"{called} was deleted and made anew, with nothing of the session")
            if choice is None:
                choice = decide if isinstance(decide, Choice) else await decide(found)
            exact, details = choice is Choice.FORCE, found.differs
            step = found.forced if choice is Choice.FORCE else found.kept
            if step is None:
                return Released(_kept(called), exact=False, details=details)
        else:
            step = found
        try:
            live = await cluster.patch(record.ref, step.patch, PatchKind.JSON, manager=MANAGER)
        except (ConflictError, InvalidError, NotFoundError):
            if not left or not await _moved(cluster, record.ref, live):
                raise
            continue
        await _give_owners_back(cluster, record, live)
        if not exact:
            return Released(_kept(called), exact=False, details=details)
        return _verified(record, step, live, called)
    raise AssertionError("the last try returns or raises")


async def _live(cluster: Cluster, ref: ObjectRef) -> Object | None:
    try:
        return await cluster.get(ref)
    except NotFoundError:
        return None


async def _moved(cluster: Cluster, ref: ObjectRef, seen: Object) -> bool:
    """Whether an object is no longer as it was `seen`, so that a patch may fit at another try."""
    now = await _live(cluster, ref)
    return now is None or any(
        now["metadata"].get(key) != seen["metadata"].get(key) for key in ("uid", "resourceVersion")
    )


async def _give_owners_back(cluster: Cluster, record: Record, live: Object | None) -> None:
    """Let the fields of the template belong to whom they belonged. What matters is put back
    already, so that a server that refuses this does no harm."""
    for _ in range(_TRIES):
        if live is None or live["metadata"].get("uid") != record.recorded.uid:
            return
        metadata = live["metadata"]
        owners = owners_given_back(metadata.get("managedFields") or (), record.owners, MANAGER)
        if owners is None:
            return
        version = metadata["resourceVersion"]
        steps = (
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": "/metadata/managedFields", "value": owners},
        )
        try:
            await cluster.patch(record.ref, steps, PatchKind.JSON, manager=MANAGER)
            return
        except (ConflictError, InvalidError, NotFoundError):
            if not await _moved(cluster, record.ref, live):
                return
        live = await _live(cluster, record.ref)


def _verified(record: Record, step: Restore, live: Object, called: str) -> Released:
    template = (live.get("spec") or {}).get("template") or {}
    if template_bytes(template) == template_bytes(step.template):
        return Released(_settled(record, called))
    return Released(
        f"{called} was put back, and the cluster made something else of it",
        exact=False,
        details=tuple(changes(step.template, template)),
    )


def _settled(record: Record, called: str) -> str:
    if record.patched:
        return f"{called} has its own pod template again"
    return f"{called} is as it was before the session"


def _kept(called: str) -> str:
    return f"{called} keeps what was rolled out during the session; the session's part is out"


# The pods -----------------------------------------------------------------------------------------


async def _pods(
    cluster: Cluster, record: Record, released: Released, clock: Clock, tell: Tell | None
) -> tuple[Released, tuple[Object, ...]]:
    """Fresh pods, where they do not come by the template; and those that could not be."""
    touched = frozenset(record.touched)
    live = await _live(cluster, record.ref)
    if live is None:
        return released, ()
    serving = True
    if record.patched:
        if record.recorded.kind != "StatefulSet":
            if not live["spec"].get("paused"):
                return released, ()
            name = f"{record.recorded.kind.lower()}/{record.recorded.name}"
            resume = f"kubectl rollout resume {name} -n {record.ref.namespace}"
            paused = f"it is paused: its pods stay as they are until `{resume}`"
            return Released(released.text, exact=False, details=(*released.details, paused)), ()
        strategy = live["spec"].get("updateStrategy") or {}
        serving = strategy.get("type") == "OnDelete"

        def stale(pod: Object) -> bool:
            return has_patch(pod, record.session)
    else:
        if not touched:
            return released, ()

        def stale(pod: Object) -> bool:
            return pod["metadata"]["uid"] in touched

        _tell(tell, Remark(f"The pods of {display_name(record.ref)} are made fresh"))
    left = await replace_pods(cluster, record.ref, stale, clock=clock, serving=serving)
    if not left:
        return released, ()
    still = (f"pod {pod_name(pod)} still has what was synced" for pod in left)
    again = "once its other pods run, `kindling sync --restore` makes them fresh"
    told = Released(
        released.text + "; not all of its pods could be made fresh",
        exact=False,
        details=(*released.details, *still, again),
    )
    return told, left


def _tell(tell: Tell | None, notice: Remark) -> None:
    if tell is not None:
        tell(notice)
