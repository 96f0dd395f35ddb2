"""Settling one node: from its inputs to a verdict.

    manifest -> same key as the last success? -> world still as recorded? -> UNCHANGED
                                                                  no     -> in the action cache? ->
                                                                  RESTORED
                                                                                           no    ->
                                                                                           run ->
                                                                                           RAN |
                                                                                           FAILED

A success is recorded whole, with the manifest read *before* the run: a file that changes meanwhile
makes the next manifest differ, so nothing is missed. A failure is never recorded as done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from kindling.engine import standstill
from kindling.engine.failures import failure_of
from kindling.engine.inputs import InputReader
from kindling.engine.redact import Redactor
from kindling.errors import StoreError
from kindling.executors.protocol import (
    Carrier,
    Executor,
    Failed,
    FilesSaved,
    Job,
    Live,
    LogSink,
    Outcome,
    Succeeded,
    World,
)
from kindling.graph.key import Manifest, differences
from kindling.graph.node import Kind, Node, NodeId
from kindling.graph.outcome import Failure, FailureKind, Output, Verdict
from kindling.store.database import Store
from kindling.store.records import Entries, Record

__all__ = ["Request", "Settled", "Settler", "Standing"]

Progress = Callable[[str, tuple[str, ...]], None]
"""Told what a settling node does just now, and why it runs."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The live part of a node that goes on in this session: under which key, with which output.

    `well` is false when the run that started it failed: it may come to work, and has no output.
    """

    key: str
    output: Output
    well: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    """One settling: which node, how, and what its predecessors produced.

    `inputs` are the outputs of all settled predecessors; those in `content` are part of the key.
    `target` is the identity of the cluster, `limit` the seconds it may take (0: none).
    """

    node: Node
    attempt: int
    forced: bool
    inputs: Mapping[NodeId, Output]
    content: frozenset[NodeId] = frozenset()
    target: str = ""
    standing: Standing | None = None
    limit: float = 0.0
    because: tuple[str, ...] = ()
    """Why it is due, where its inputs do not say it all: a change that could not be carried."""
    carrier: Carrier | None = None
    """The sync session of the node that goes on."""
    saved: Callable[[], Awaitable[FilesSaved]] | None = None
    """Tells what a sync session has to look at."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of it. `live` is a new live part; None with UNCHANGED means the old one goes on."""

    verdict: Verdict
    key: str = ""
    output: Output | None = None
    previous: Output | None = None
    live: Live | None = field(default=None, compare=False)
    failure: Failure | None = None
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0
    rebuild: str = ""
    """Of a sync session that cannot carry: why its image is to be built anew."""


class Settler:
    """Settles nodes with the executors, the store and the world of one session."""

    def __init__(
        self,
        *,
        world: World,
        store: Store,
        executors: Mapping[Kind, Executor],
        inputs: InputReader,
        redactor: Redactor,
        session: str,
        once: bool,
    ) -> None:
        self._world = world
        self._store = store
        self._executors = executors
        self._inputs = inputs
        self._redactor = redactor
        self._session = session
        self._once = once

    async def settle(
        self,
        request: Request,
        *,
        progress: Progress,
        log: LogSink,
        before_run: Callable[[], Awaitable[None]],
    ) -> Settled:
        """Settle one node. Only cancellation passes through; every other end is a `Settled`.

        `before_run` is awaited when the node is really going to run: it ends the live part of the
        run before, which must not stand beside a new one.
        """
        limit = asyncio.timeout(request.limit or None)
        try:
            async with limit:
                return await self._settle(request, progress, log, before_run)
        except TimeoutError as error:
            if not limit.expired():
                return Settled(Verdict.FAILED, failure=failure_of(error))
            return Settled(
                Verdict.FAILED,
                failure=Failure(FailureKind.TIMEOUT, f"not done within {request.limit:g} s"),
                seconds=request.limit,
            )
        except Exception as error:
            return Settled(Verdict.FAILED, failure=failure_of(error))

    async def _settle(
        self,
        request: Request,
        progress: Progress,
        log: LogSink,
        before_run: Callable[[], Awaitable[None]],
    ) -> Settled:
        node = request.node
        progress("checking", ())
        manifest = await self._inputs.manifest(
            node,
            {id_: out for id_, out in request.inputs.items() if id_ in request.content},
            request.target,
        )
        record = self._store.record(node.id)
        standing = request.standing
        same = record is not None and record.key == manifest.key
        job = Job(
            node=node,
            key=manifest.key,
            attempt=request.attempt,
            world=self._world,
            log=log,
            inputs=request.inputs,
            previous=record.output if record else None,
            forced=request.forced,
            once=self._once,
            saved=await request.saved() if request.saved is not None else FilesSaved(),
        )
        if request.carrier is not None and request.carrier.takes(job):
            return await self._carry(request.carrier, job, manifest, record)
        executor = self._executors[node.kind]
        reasons = self._reasons(request, record, manifest)
        if not request.forced:
            goes_on = standing is not None and standing.well and standing.key == manifest.key
            if standing is not None and goes_on and node.traits.session:
                return Settled(Verdict.UNCHANGED, manifest.key, standing.output)
            if same and record is not None and not node.traits.session:
                seen = await executor.observe(job, record.output)
                if seen.same:
                    return Settled(
                        Verdict.UNCHANGED,
                        manifest.key,
                        record.output,
                        record.output,
                        live=seen.live,
                    )
                reasons = (seen.difference,)
            if node.traits.cacheable and (cached := self._store.cached(manifest.key)) is not None:
                progress("restoring", reasons)
                standstill.forget(self._store)
                if await executor.restore(job, cached):
                    self._save(job, manifest, record, cached, Verdict.RESTORED, reasons)
                    return Settled(
                        Verdict.RESTORED, manifest.key, cached, job.previous, reasons=reasons
                    )
        progress("running", reasons)
        standstill.forget(self._store)
        await before_run()
        started = self._world.clock.monotonic()
        outcome = await executor.run(job)
        seconds = self._world.clock.monotonic() - started
        return self._after_run(job, manifest, record, outcome, reasons, seconds)

    async def _carry(
        self, carrier: Carrier, job: Job, manifest: Manifest, record: Record | None
    ) -> Settled:
        """The session goes on; only what it has to look at is new."""
        started = self._world.clock.monotonic()
        outcome = await carrier.carry(job.saved)
        seconds = self._world.clock.monotonic() - started
        if isinstance(outcome, Succeeded) and job.previous == outcome.output:
            return Settled(Verdict.UNCHANGED, manifest.key, outcome.output, job.previous)
        reasons = tuple(f"`{path}` changed" for path in job.saved.paths)
        return self._after_run(job, manifest, record, outcome, reasons, seconds)

    async def carried(self, id_: NodeId, key: str, carrier: Carrier, saved: FilesSaved) -> Settled:
        """Let a session carry what was saved, and only then write down what came of it.

        Everything between a save and its bytes is here; nothing of it touches the disk.
        """
        started = self._world.clock.monotonic()
        try:
            outcome = await carrier.carry(saved)
        except Exception as error:
            return Settled(Verdict.FAILED, key, failure=failure_of(error))
        seconds = self._world.clock.monotonic() - (saved.since or started)
        reasons = tuple(f"`{path}` changed" for path in saved.paths)
        if isinstance(outcome, Failed):
            return Settled(
                Verdict.FAILED,
                key,
                failure=outcome.failure,
                reasons=reasons,
                seconds=seconds,
                rebuild=outcome.rebuild,
            )
        record = self._store.record(id_)
        if record is None:
            return Settled(Verdict.RAN, key, outcome.output, reasons=reasons, seconds=seconds)
        if record.output == outcome.output:
            return Settled(Verdict.UNCHANGED, key, outcome.output, outcome.output)
        try:
            self._store.save(
                replace(
                    record,
                    output=outcome.output,
                    seconds=seconds,
                    finished_at=self._world.clock.time(),
                    reasons=reasons,
                )
            )
        except StoreError as error:
            return Settled(Verdict.FAILED, key, failure=failure_of(error))
        return Settled(
            Verdict.RAN, key, outcome.output, record.output, reasons=reasons, seconds=seconds
        )

    def _reasons(
        self, request: Request, record: Record | None, manifest: Manifest
    ) -> tuple[str, ...]:
        if request.because:
            return request.because
        if request.forced:
            return ("asked for by name",)
        if request.node.traits.session and request.standing is None:
            return ("it lives with the session",)
        if request.standing is not None and not request.standing.well:
            return ("its last run failed",)
        if record is None:
            return ("never done before",)
        before = Manifest(tuple(record.manifest.lines.items()))
        return tuple(difference.text for difference in differences(before, manifest))

    def _after_run(
        self,
        job: Job,
        manifest: Manifest,
        record: Record | None,
        outcome: Outcome,
        reasons: tuple[str, ...],
        seconds: float,
    ) -> Settled:
        if isinstance(outcome, Failed):
            try:
                self._store.save_failure(
                    job.node.id,
                    self._redactor.failure(outcome.failure),
                    at=self._world.clock.time(),
                    seconds=seconds,
                    session=self._session,
                )
            except StoreError as error:
                # What failed is what matters; that nobody can look it up later is less.
                job.log(error.message, "kindling")
            return Settled(
                Verdict.FAILED,
                manifest.key,
                previous=job.previous,
                live=outcome.live,
                failure=outcome.failure,
                reasons=reasons,
                seconds=seconds,
                rebuild=outcome.rebuild,
            )
        try:
            self._save(job, manifest, record, outcome.output, Verdict.RAN, reasons, seconds)
            if job.node.traits.cacheable:
                self._store.remember(manifest.key, outcome.output)
        except StoreError as error:
            # Not done until it is recorded; what it started is ended before its next run.
            return Settled(
                Verdict.FAILED,
                manifest.key,
                previous=job.previous,
                live=outcome.live,
                failure=failure_of(error),
                reasons=reasons,
                seconds=seconds,
            )
        return Settled(
            Verdict.UNCHANGED if outcome.idle else Verdict.RAN,
            manifest.key,
            outcome.output,
            job.previous,
            live=outcome.live,
            reasons=reasons,
            seconds=seconds,
        )

    def _save(
        self,
        job: Job,
        manifest: Manifest,
        before: Record | None,
        output: Output,
        verdict: Verdict,
        reasons: tuple[str, ...],
        seconds: float = 0.0,
    ) -> None:
        self._store.save(
            Record(
                node=job.node.id,
                key=manifest.key,
                output=output,
                manifest=Entries(manifest.entries),
                previous=before.manifest if before else Entries(),
                verdict=verdict,
                seconds=seconds,
                finished_at=self._world.clock.time(),
                session=self._session,
                reasons=reasons,
            )
        )
