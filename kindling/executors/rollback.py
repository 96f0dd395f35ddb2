"""`rollback`: the pod template of a workload, put back as it was before a sync session took it.

It runs before anything writes the workload, so that what a killed session left is gone by then, and
when a user asks for it, which ends the session. Without a record there is nothing to ask a cluster.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from kindling.executors.protocol import Failed, Job, Observation, Outcome, Succeeded
from kindling.executors.sync import records_folder
from kindling.executors.synclines import lines_of
from kindling.graph.node import Kind
from kindling.graph.outcome import Failure, FailureKind, Output
from kindling.graph.spec import ObjectRef, RollbackSpec

if TYPE_CHECKING:
    from kindling.sync.notices import Notice
    from kindling.sync.workload.records import Record
    from kindling.sync.workload.restoring import Attempt

__all__ = ["RollbackExecutor", "put_back"]

_NOTHING = "nothing was changed"


class RollbackExecutor:
    """Its output's digest is of the template that was put back."""

    @property
    def kind(self) -> Kind:
        return Kind.ROLLBACK

    async def observe(self, job: Job, recorded: Output) -> Observation:
        """Reads a folder, and no cluster."""
        spec = job.node.spec
        assert isinstance(spec, RollbackSpec)
        left = await _left(job, spec.workload)
        if not left:
            return Observation(same=True)
        return Observation(same=False, difference=f"{left[0].ref} is held by a sync session")

    async def run(self, job: Job) -> Outcome:
        spec = job.node.spec
        assert isinstance(spec, RollbackSpec)
        failure, digest = await put_back(job, spec.workload)
        if failure is not None:
            return Failed(failure)
        if not digest:
            return Succeeded(job.previous or Output(_NOTHING), idle=True)
        return Succeeded(Output(digest))

    async def restore(self, job: Job, cached: Output) -> bool:
        return False

    async def undo(self, job: Job, recorded: Output) -> tuple[str, ...]:
        """The sync node saw to it."""
        return ()


async def put_back(job: Job, workload: ObjectRef | None) -> tuple[Failure | None, str]:
    """Put back whatever sessions left on a workload (None: on that of the node's resource): why it
    could not be done, and the digest of the template that is there again, empty where there was
    nothing to do."""
    left = await _left(job, workload)
    if not left:
        return None, ""
    from kindling.sync.workload.records import Records
    from kindling.sync.workload.restoring import restore_all

    cluster = await job.world.cluster()
    uid = (await cluster.facts()).uid

    def tell(notice: Notice) -> None:
        for line in lines_of(notice):
            job.log(line, "kindling")

    digest = ""
    for ref in dict.fromkeys(record.ref for record in left):
        attempts = await restore_all(
            cluster,
            Records(records_folder(job)),
            clock=job.world.clock,
            tell=tell,
            only=ref,
            living=True,
        )
        for attempt in attempts:
            if attempt.record.cluster != uid:
                job.log(f"a session on another cluster is left alone: {ref}", "kindling")
            elif attempt.lives:
                job.log(f"{ref} is left alone: {attempt.problem}", "kindling")
            elif attempt.released is None:
                return _refused(ref, attempt), digest
            else:
                tell(attempt.released)
                digest = _digest(attempt.record)
    return None, digest


def _refused(ref: ObjectRef, attempt: Attempt) -> Failure:
    error = attempt.error
    return Failure(
        FailureKind.CLUSTER,
        f"{ref} could not be put back: {attempt.problem}",
        tuple(error.details) if error else (),
        (error.hint if error else "")
        or "Its record is kept: `kindling sync --restore` tries again.",
    )


async def _left(job: Job, workload: ObjectRef | None) -> tuple[Record, ...]:
    """What sessions left on the workload, or still have; not what another process is about."""
    folder = records_folder(job)
    if not folder.is_dir():
        return ()
    from kindling.sync.workload.liveness import Life, is_here, life_of
    from kindling.sync.workload.records import Records

    kept = await asyncio.to_thread(Records(folder).all)
    for problem in kept.problems:
        job.log(f"warning: {problem}", "kindling")
    return tuple(
        record
        for record in kept.records
        if _is_of(record, workload, job.node.resource)
        and (is_here(record.holder) or life_of(record.holder, record.session) is not Life.ALIVE)
    )


def _is_of(record: Record, workload: ObjectRef | None, resource: str) -> bool:
    if workload is None:
        return record.recorded.session.what == resource
    return _same(record.ref, workload)


def _same(one: ObjectRef, other: ObjectRef) -> bool:
    places = {one.namespace, other.namespace}
    return (one.kind, one.name) == (other.kind, other.name) and (len(places) == 1 or "" in places)


def _digest(record: Record) -> str:
    from kindling.sync.template.normal import template_bytes

    return f"sha256:{hashlib.sha256(template_bytes(record.recorded.before)).hexdigest()}"
