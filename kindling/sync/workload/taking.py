"""Taking a workload for a session: the record first, then the ConfigMap, then the patch.

A session that has it already is refused by name, unless its process died on this machine: then what
it left is put back first, and said so.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kindling.errors import ClusterError, StoreError, UsageError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from kindling.kube.protocol import Cluster, ClusterFacts, Object, PatchKind, PodSource
from kindling.objects.identity import display_name
from kindling.sync.notices import Remark, Tell
from kindling.sync.protocol import Clock
from kindling.sync.template.normal import template_bytes
from kindling.sync.template.patch import chosen
from kindling.sync.template.restore import begin
from kindling.sync.template.session import Held, SecondSessionError, Session, held
from kindling.sync.workload.agents import (
    MANAGER,
    architecture_of,
    config_map,
    find_record,
    kubernetes_name,
    needs,
    put_config_map,
    renewed,
    session_config_map,
)
from kindling.sync.workload.hold import Hold
from kindling.sync.workload.liveness import SILENT_AFTER, Life, here, life_of
from kindling.sync.workload.records import Record, Records, check_name
from kindling.sync.workload.restoring import restore

__all__ = ["session_name", "take"]

_TRIES = 6
_UNDO_SECONDS = 20.0


def session_name(ref: ObjectRef) -> str:
    """A name for a session on a workload, unlike any other."""
    stem = ref.name[:40].strip("-.").replace(".", "-") or "sync"
    return f"{stem}-{secrets.token_hex(3)}"


async def take(
    cluster: Cluster,
    ref: ObjectRef,
    session: Session,
    records: Records,
    *,
    patch: bool,
    agents: Callable[[str], bytes],
    clock: Clock,
    tell: Tell,
    project: str = "",
    machine: str = "",
) -> Hold:
    """Take the workload `ref` for `session`; with `patch`, its pods get the agent.

    `agents` gives the agent for an architecture (`x86_64`), `machine` names that architecture where
    it is known. `session.agent` and the container's name are filled in here. Whatever fails after
    something was touched is undone at once; where that fails too, the record stays for
    `restore_all`.

    Raises:
        SecondSessionError: Another session has it; the message names it and the way out.
        UsageError: It cannot be synced; nothing was touched.
        ForbiddenError: We are not allowed to; the message says what a session needs.
        ClusterError: The cluster refused or did not answer.
        StoreError: The record cannot be written; nothing was touched.
    """
    check_name(session.name)
    facts = await cluster.facts()
    live, touched, old = await _free(cluster, ref, session, records, facts, clock, tell)
    template = live["spec"]["template"]
    name = str(chosen(template, session.container)["name"])
    config = session_config_map(session.name, ref.namespace)
    session = replace(session, container=name, agent=config.name)
    agent = b""
    if patch:
        _check_partition(live, f"`{display_name(ref)}`", tell)

        async def pods() -> tuple[Object, ...]:
            return await cluster.pods_of(PodSource((ref,)))

        platforms = facts.node_platforms
        found, keep = await architecture_of(cluster, platforms, template, pods, machine)
        if keep:
            session = replace(session, architecture=kubernetes_name(found))
            tell(Remark(f"The session's pods are kept on {session.architecture} nodes"))
        agent = await asyncio.to_thread(agents, found)
    base = Record(
        recorded=begin(live, session, patch=patch).record,
        cluster=facts.uid,
        context=cluster.context,
        holder=here(str(records.folder.absolute())),
        patched=patch,
        touched=() if patch else touched,
    )
    hold = Hold(cluster, base, records, clock=clock, tell=tell, agent=agent, project=project)
    await _send(hold, live)
    for name in old:
        await asyncio.to_thread(records.forget, name)
    return hold


async def _send(hold: Hold, live: Object) -> None:
    """Record, ConfigMap and patch; all again when someone writes in between."""
    cluster, base = hold.cluster, hold.record
    try:
        for left in reversed(range(_TRIES)):
            begun = begin(live, base.recorded.session, patch=base.patched)
            owners = tuple((live.get("metadata") or {}).get("managedFields") or ())
            hold.record = replace(base, recorded=begun.record, owners=owners)
            await asyncio.to_thread(hold.records.save, hold.record)
            await _offer(hold)
            try:
                answer = await cluster.patch(hold.ref, begun.patch, PatchKind.JSON, manager=MANAGER)
            except (ConflictError, InvalidError, NotFoundError):
                seen, live = live, await cluster.get(hold.ref)
                if not left or _version(seen) == _version(live):
                    raise
                continue
            await _as_answered(hold, answer)
            return
        raise AssertionError("the last try returns or raises")
    except BaseException as error:
        await _undo(hold)
        if isinstance(error, ForbiddenError):
            raise needs(hold.ref.namespace, error) from error
        raise


async def _offer(hold: Hold) -> None:
    """The ConfigMap. A session that only carries files can do without."""
    manifest = config_map(hold.record, hold.agent, now=hold.clock.time(), project=hold.project)
    try:
        await put_config_map(hold.cluster, manifest)
    except ForbiddenError:
        if hold.record.patched:
            raise
        hold.tell(
            Remark(
                "No ConfigMap may be made here, so that no other machine can see that this session "
                "lives, nor end it after a crash"
            )
        )


async def _as_answered(hold: Hold, answer: Object) -> None:
    """Record the template as the server made it, where that says something else: a webhook may
    have had its part in it."""
    template: dict[str, Any] = answer["spec"]["template"]
    record = hold.record
    kept = record.recorded
    if not record.patched or template_bytes(template) == template_bytes(kept.patched):
        return
    hold.record = replace(record, recorded=replace(kept, patched=template))
    await asyncio.to_thread(hold.records.save, hold.record)
    ref = session_config_map(record.session, record.ref.namespace)
    await hold.cluster.patch(ref, {"data": {"record": hold.record.to_json()}}, manager=MANAGER)


async def _undo(hold: Hold) -> None:
    """Nobody will have this hold, so that what was done of it is undone here."""
    try:
        async with asyncio.timeout(_UNDO_SECONDS):
            await hold.release(fresh=not hold.record.touched)
    except (ClusterError, StoreError, TimeoutError):
        hold.tell(
            Remark(
                f"{display_name(hold.ref)} may still have a part of session "
                f"`{hold.record.session}`",
                warning=True,
                hint="The next start puts it back, and so does `kindling sync --restore`.",
            )
        )


# Who has it already -------------------------------------------------------------------------------


async def _free(
    cluster: Cluster,
    ref: ObjectRef,
    session: Session,
    records: Records,
    facts: ClusterFacts,
    clock: Clock,
    tell: Tell,
) -> tuple[Object, tuple[str, ...], tuple[str, ...]]:
    """The workload once no other session has it; the pods into which dead ones have put files, and
    the names of those, whose records go when ours tells of them."""
    live = await cluster.get(ref)
    other = held(live)
    if other is None or other.name == session.name:
        return await _parted(cluster, ref, session, live, records, facts, clock, tell)
    called = f"`{display_name(ref)}`"
    mine = await asyncio.to_thread(records.get, other.name)
    record = mine or await find_record(cluster, other.name, ref.namespace)
    if record is None or record.cluster != facts.uid or record.ref != ref:
        raise SecondSessionError(
            f"{called} is held by {other}",
            hint="Stop that session first. If it is gone without a trace, "
            "`kindling sync --restore` puts back what it left.",
        )
    # Whatever brought what was meant to stay is over, wherever it ran.
    life = Life.DEAD if record.stays else life_of(record.holder, record.session)
    if life is Life.ALIVE:
        by_us = record.holder.pid == os.getpid()
        raise SecondSessionError(
            f"{called} is held by {other}, which runs here"
            + ("" if by_us else f" as process {record.holder.pid}"),
            hint="Stop that session first.",
        )
    if life is Life.ELSEWHERE:
        raise await _elsewhere(cluster, ref, record, f"{called} is held by {other}", clock)
    tell(Remark(_found(called, other, record)))
    await restore(
        cluster, record, records=_Keeping(records), clock=clock, tell=tell, fresh=record.patched
    )
    kept = await asyncio.to_thread(records.get, record.session)
    return await cluster.get(ref), (kept or record).touched, (record.session,)


def _found(called: str, other: Held, record: Record) -> str:
    """What is said of a session that is over and has left something."""
    if not record.stays:
        return (
            f"{called} was held by {other}, whose process ended without putting it back; "
            "that is done now"
        )
    brought = f"{called} has what {other} brought to stay (`--once`)"
    return f"{brought}; " + (
        "its pod template is put back first" if record.patched else "this session takes it over"
    )


async def _parted(
    cluster: Cluster,
    ref: ObjectRef,
    session: Session,
    live: Object,
    records: Records,
    facts: ClusterFacts,
    clock: Clock,
    tell: Tell,
) -> tuple[Object, tuple[str, ...], tuple[str, ...]]:
    """What those left who gave the workload back and were gone before its pods were fresh, such as
    by a second Ctrl-C."""
    touched: list[str] = []
    names: list[str] = []
    for record in (await asyncio.to_thread(records.all)).records:
        other = record.session != session.name and record.ref == ref and record.cluster == facts.uid
        if not other or life_of(record.holder, record.session) is not Life.DEAD:
            continue
        await restore(
            cluster, record, records=_Keeping(records), clock=clock, tell=tell, fresh=record.patched
        )
        touched += ((await asyncio.to_thread(records.get, record.session)) or record).touched
        names.append(record.session)
    if names:
        live = await cluster.get(ref)
    return live, tuple(dict.fromkeys(touched)), tuple(names)


class _Keeping(Records):
    """Records that are not forgotten yet."""

    def __init__(self, records: Records) -> None:
        super().__init__(records.folder)

    def forget(self, session: str) -> None:
        del session


async def _elsewhere(
    cluster: Cluster, ref: ObjectRef, record: Record, what: str, clock: Clock
) -> SecondSessionError:
    where = record.holder.host
    heard = await renewed(cluster, record.session, ref.namespace)
    silence = clock.time() - heard if heard is not None else None
    if silence is not None and silence < SILENT_AFTER:
        return SecondSessionError(
            f"{what}, which runs on {where}", hint="Stop that session there first."
        )
    since = f"for {_spoken(silence)}" if silence is not None else "at all"
    return SecondSessionError(
        f"{what}, which was started on {where} and has not been heard of {since}",
        hint=f"If it is gone, `kindling sync --restore -d {ref.kind.lower()}/{ref.name} "
        f"-n {ref.namespace}` puts back what it left.",
    )


def _spoken(seconds: float) -> str:
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {name}"
    return f"{int(seconds)} seconds"


def _check_partition(live: Object, called: str, tell: Tell) -> None:
    """Pods below a StatefulSet's partition come back in their old form even when deleted."""
    spec = live["spec"]
    strategy = spec.get("updateStrategy") or {}
    partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    replicas = 1 if spec.get("replicas") is None else int(spec["replicas"])
    if partition and partition >= replicas:
        raise UsageError(
            f"{called} has a partition of {partition}, so that none of its {replicas} pods would "
            "follow its template",
            hint="Set `spec.updateStrategy.rollingUpdate.partition` to 0 for development, or sync "
            "without `--restart`.",
        )
    if partition:
        tell(
            Remark(
                f"Pods of {called} below its partition ({partition}) keep their template, so that "
                "the session does not reach them"
            )
        )


def _version(live: Object) -> tuple[str, str]:
    metadata = live["metadata"]
    return str(metadata.get("uid")), str(metadata.get("resourceVersion"))
