"""`sync`: the containers of a workload kept equal to files of this machine, while `up` goes on.

Begun once, the session goes on through all that is saved: a save costs a look at one file, the
bytes, and what makes them have effect. In a session that ends by itself an image that was just
built from these files holds them already, and nothing is touched.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kindling.errors import ExecutionError, KindlingError
from kindling.executors.protocol import (
    Failed,
    FilesSaved,
    Job,
    Observation,
    Outcome,
    ReadinessReport,
    Succeeded,
)
from kindling.executors.synclines import lines_of
from kindling.graph.node import Kind, NodeId
from kindling.graph.outcome import Failure, FailureKind, Output
from kindling.graph.spec import ObjectRef, SyncSpec
from kindling.graph.steps import InitialSync, RestartContainer

if TYPE_CHECKING:
    from kindling.sync.notices import Notice, Released
    from kindling.sync.session.order import Order, Report, Standing
    from kindling.sync.session.order import Outcome as Answer

__all__ = ["RECORDS", "SyncExecutor", "records_folder", "workload_of"]

RECORDS = "sync"
"""The folder below `.kindling` that holds what is needed to put workloads back."""

_KINDS = ("Deployment", "StatefulSet")


class SessionLike(Protocol):
    """What of `kindling.sync.session.session.SyncSession` is needed."""

    @property
    def entries(self) -> Mapping[str, str]: ...

    async def start(self) -> None: ...

    async def changed(
        self, paths: Sequence[str], *, rescan: bool = False, since: float = 0.0
    ) -> Answer: ...

    async def follow(self, report: Report | None = None) -> None: ...

    async def stop(self, *, restore: bool = True, fresh: bool = True) -> Released: ...


Make = Callable[[Job, "Order", Callable[["Notice"], None]], "SessionLike"]


def records_folder(job: Job) -> Path:
    """Where the records of this project's sessions lie."""
    return job.world.state_dir / RECORDS


class SyncExecutor:
    """Its output's digest is of all that the containers hold of the source."""

    def __init__(self, make: Make | None = None) -> None:
        self._make = make

    @property
    def kind(self) -> Kind:
        return Kind.SYNC

    async def run(self, job: Job) -> Outcome:
        spec = _spec(job)
        if job.once and spec.built:
            job.log("its image was built of these files: nothing to carry", "kindling")
            return Succeeded(Output(_digest_of(sorted(_built(job, spec).items()))))
        workload = workload_of(job, spec)
        live = _Syncing(job, spec)
        session = await self._session(job, _order(job, spec, workload), live)
        live.use(session)
        try:
            await session.start()
            if job.saved.paths:
                answer = await session.changed(job.saved.paths)
                if (failed := _failed(answer)) is not None:
                    # The session stays: what it could not bring may come with the next save.
                    return Failed(failed.failure, live=live, rebuild=failed.rebuild)
            output = await live.output()
        except BaseException:
            # Also when it is cut off: what was touched is put back before anything else happens.
            try:
                await asyncio.shield(session.stop())
            except KindlingError as error:
                # What went wrong first is what is to be known; the record is there for this.
                live.tell(_left_over(workload, error))
            await live.tidy()
            raise
        return Succeeded(output, live=live)

    async def observe(self, job: Job, recorded: Output) -> Observation:
        return Observation(same=False, difference="it lives with the session")

    async def restore(self, job: Job, cached: Output) -> bool:
        return False

    async def undo(self, job: Job, recorded: Output) -> tuple[str, ...]:
        """Before what it held is taken away, it is put back."""
        from kindling.executors.rollback import put_back

        spec = _spec(job)
        failure, _ = await put_back(job, spec.workload)
        return () if failure is None else (failure.summary,)

    async def _session(self, job: Job, order: Order, live: _Syncing) -> SessionLike:
        if self._make is not None:
            return self._make(job, order, live.tell)
        from kindling.build.imageconfig import ImageConfigs
        from kindling.sync.session.session import SyncSession
        from kindling.sync.workload.records import Records
        from kindling.sync.workload.scratch import make_scratch

        folder = records_folder(job)
        cluster = await job.world.cluster()
        announced = (await cluster.facts()).registry
        hosts = announced.from_here if announced else str
        scratch = await asyncio.to_thread(make_scratch, folder / "scratch", job.node.name)
        live.scratch = scratch
        return SyncSession(
            order,
            cluster=cluster,
            records=Records(folder),
            processes=job.world.processes,
            clock=job.world.clock,
            tell=live.tell,
            folder=scratch,
            # The engine is the world's, which closes it.
            images=ImageConfigs(job.world.containers, hosts=hosts),
            log=lambda line: job.log(line),
            project=job.world.project,
        )


class _Syncing:
    """A session that goes on (a `Carrier`)."""

    def __init__(self, job: Job, spec: SyncSpec) -> None:
        self._spec = spec
        self._log = job.log
        self._root = job.world.root
        self._session: SessionLike | None = None
        self._turn = asyncio.Lock()
        self._last: dict[str, Any] = {}
        self.scratch: Path | None = None
        """Where it builds; gone with it."""

    def use(self, session: SessionLike) -> None:
        """The session it is about."""
        self._session = session

    def tell(self, notice: Notice) -> None:
        """Put a notice into the node's log."""
        for line in lines_of(notice):
            self._log(line, "kindling")

    def takes(self, job: Job) -> bool:
        """It goes on through anything but a change of what it is to do."""
        return job.node.spec == self._spec and not job.once

    async def carry(self, saved: FilesSaved) -> Outcome:
        async with self._turn:
            session = self._of()
            # What an editor wrote under another name first, and is gone by now, was never there.
            paths = [path for path in saved.paths if not self._passed(session, path)]
            if not paths and saved.paths and not saved.rescan:
                return Succeeded(await self.output())
            try:
                answer = await session.changed(
                    paths, rescan=saved.rescan or not paths, since=saved.since
                )
            except KindlingError as error:
                return Failed(_failure(error))
            if (failed := _failed(answer)) is not None:
                return failed
            if answer.places:
                self._last = {
                    "paths": paths[:5],
                    "count": answer.places,
                    "size": answer.size,
                    "acted": answer.acted,
                }
            return Succeeded(await self.output())

    async def output(self) -> Output:
        """What the containers hold, and the last batch."""
        entries = sorted(self._of().entries.items())
        digest = await asyncio.to_thread(_digest_of, entries)
        return Output(digest, {"files": len(entries), "last": self._last})

    async def follow(self, report: Callable[[ReadinessReport], None]) -> None:
        def told(standing: Standing) -> None:
            failure = None
            if not standing.ready:
                waiting = standing.waiting or "containers are caught up"
                failure = Failure(FailureKind.CLUSTER, waiting, transient=True)
            report(ReadinessReport(standing.ready, failure))

        await self._of().follow(told)

    async def tidy(self) -> None:
        """Remove what it has built."""
        from kindling.sync.workload.scratch import remove_scratch

        if self.scratch is not None:
            await asyncio.to_thread(remove_scratch, self.scratch)

    async def close(self) -> None:
        try:
            released = await self._of().stop()
        finally:
            await self.tidy()
        for line in lines_of(released):
            self._log(line, "kindling")

    def _passed(self, session: SessionLike, path: str) -> bool:
        from kindling.sync.trees.quiet import is_temporary

        known = path in session.entries
        return is_temporary(path) and not known and not os.path.lexists(self._root / path)

    def _of(self) -> SessionLike:
        assert self._session is not None
        return self._session


def workload_of(job: Job, spec: SyncSpec) -> ObjectRef:
    """The workload, with the namespace it has in the cluster.

    Raises:
        ExecutionError: A command deployed none, or several.
    """
    output = job.inputs.get(NodeId(spec.rollout))
    found = [
        ObjectRef(o["apiVersion"], o["kind"], o["name"], o.get("namespace") or "")
        for o in (output.data.get("objects", ()) if output else ())
    ]
    if spec.workload is not None:
        wanted = spec.workload
        same = (ref for ref in found if (ref.kind, ref.name) == (wanted.kind, wanted.name))
        return next((ref for ref in same if ref.namespace == wanted.namespace), wanted)
    fit = [ref for ref in found if ref.kind in _KINDS]
    if len(fit) == 1:
        return fit[0]
    raise ExecutionError(
        "there is no Deployment and no StatefulSet to sync"
        if not fit
        else "it is not clear what to sync",
        details=[f"deployed: [{', '.join(map(str, found))}]"],
        hint="A live update needs one Deployment or StatefulSet.",
    )


def _order(job: Job, spec: SyncSpec, workload: ObjectRef) -> Order:
    from kindling.sync.rules.landing import Context
    from kindling.sync.runtimes.plan import Overrides
    from kindling.sync.session.order import Order

    restarts = any(isinstance(step, RestartContainer) for step in spec.steps)
    # Of a prebuilt image's folders the steps say what to leave out, besides `.dockerignore` there.
    files = spec.files if spec.built else tuple(replace(one, ignore=()) for one in spec.files)
    return Order(
        workload=workload,
        steps=spec.steps,
        context=Context(spec.image or job.node.name, job.world.root, files),
        container=spec.container,
        also=spec.also,
        overrides=Overrides(restart=spec.acts or restarts),
        everything=not spec.built or any(isinstance(step, InitialSync) for step in spec.steps),
        what=job.node.resource or job.node.name,
    )


def _failed(answer: Answer) -> Failed | None:
    """What an answer is to the scheduler. What is still on its way is no failure: the session
    follows it up, and says so by its health."""
    from kindling.sync.rules.failures import Action

    if answer.built is False:
        return Failed(Failure(FailureKind.BUILD, "the build failed; the pods are as they were"))
    if answer.action is Action.REBUILD:
        summary = answer.why or "the files cannot be carried"
        return Failed(Failure(FailureKind.CLUSTER, summary), rebuild=answer.why or summary)
    if answer.action is Action.REPORT:
        return Failed(
            Failure(
                FailureKind.COMMAND,
                answer.why,
                hint="The files are in the container. The command runs again with the next save.",
            )
        )
    return None


def _failure(error: KindlingError) -> Failure:
    return Failure(FailureKind.CLUSTER, error.message, tuple(error.details), error.hint)


def _left_over(workload: ObjectRef, error: KindlingError) -> Notice:
    from kindling.sync.notices import Remark

    return Remark(
        f"{workload} could not be put back: {error.message}",
        True,
        error.details,
        error.hint or "Its record is kept: `kindling sync --restore` tries again.",
    )


def _built(job: Job, spec: SyncSpec) -> dict[str, str]:
    return {id_: out.digest for id_, out in job.inputs.items() if id_ == spec.rollout}


def _digest_of(entries: Sequence[tuple[str, str]]) -> str:
    text = "\0".join(part for entry in entries for part in entry)
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()}"


def _spec(job: Job) -> SyncSpec:
    assert isinstance(job.node.spec, SyncSpec)
    return job.node.spec
