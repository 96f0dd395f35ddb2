"""Commands that keep running for the session: `local_resource(serve_cmd=...)`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from kindling.executors.commands import Tail, command_failure, environment, folder
from kindling.executors.probes import ProbeChange, Prober, watch_probe
from kindling.executors.protocol import (
    Failed,
    Job,
    Observation,
    Outcome,
    ReadinessReport,
    RunningProcess,
    Succeeded,
)
from kindling.graph.node import Kind
from kindling.graph.outcome import Failure, FailureKind, Output
from kindling.graph.spec import ServeSpec

__all__ = ["STOP_GRACE", "ServeExecutor"]

STOP_GRACE = 30.0
"""Seconds between the interrupt and the kill when a server is stopped, as Tilt gives it."""


class ServeExecutor:
    """Starts a server and hands it over as the node's live part.

    Without a probe it is ready once it has started. With one, the run lasts until the probe passes.
    A server that exits, with whatever code, has failed: it was to keep running.
    """

    @property
    def kind(self) -> Kind:
        return Kind.SERVE

    async def run(self, job: Job) -> Outcome:
        spec = job.node.spec
        assert isinstance(spec, ServeSpec)
        cwd, env = folder(job, spec.dir), environment(job.world, spec.env)
        tail = Tail(job.log)
        process = await job.world.processes.start(spec.argv, cwd=cwd, env=env, log=tail)
        server = _Server(process, tail)
        output = Output(f"serve:{job.key}")
        if spec.probe is None:
            return Succeeded(output, server)
        prober = Prober(spec.probe, job.world.processes, job.world.clock, cwd, env)
        server.changes = watch_probe(spec.probe, prober.attempt, job.world.clock)
        try:
            failure = await server.become_ready(job)
        except BaseException:
            await server.close()
            raise
        if failure is not None:
            await server.close()
            return Failed(failure)
        return Succeeded(output, server)

    async def observe(self, job: Job, recorded: Output) -> Observation:
        return Observation(same=False, difference="it lives with the session")

    async def restore(self, job: Job, cached: Output) -> bool:
        return False

    async def undo(self, job: Job, recorded: Output) -> tuple[str, ...]:
        return ()


@dataclass(slots=True)
class _Server:
    """A server under way. `changes` are its probe's, None without a probe."""

    process: RunningProcess
    tail: Tail
    changes: AsyncIterator[ProbeChange] | None = None

    async def become_ready(self, job: Job) -> Failure | None:
        """Wait for the probe; a failure when the server exits first."""
        assert self.changes is not None
        exit_ = asyncio.ensure_future(self.process.wait())
        try:
            while True:
                change = asyncio.ensure_future(anext(self.changes))
                try:
                    await asyncio.wait((exit_, change), return_when=asyncio.FIRST_COMPLETED)
                    if exit_.done():
                        return self._exit(exit_.result(), "before it was ready")
                    if change.result().ready:
                        return None
                    job.log(f"not ready yet: {change.result().message}", "kindling")
                finally:
                    change.cancel()
                    await asyncio.gather(change, return_exceptions=True)
        finally:
            exit_.cancel()
            await asyncio.gather(exit_, return_exceptions=True)

    async def follow(self, report: Callable[[ReadinessReport], None]) -> None:
        probing = asyncio.ensure_future(self._follow_probe(report))
        try:
            code = await self.process.wait()
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        report(ReadinessReport(ready=False, failure=self._exit(code, ""), ended=True))

    async def close(self) -> None:
        await self.process.stop(grace=STOP_GRACE)

    async def _follow_probe(self, report: Callable[[ReadinessReport], None]) -> None:
        if self.changes is None:
            return
        async for change in self.changes:
            failure = None
            if not change.ready:
                summary = f"its probe fails: {change.message}"
                failure = Failure(FailureKind.COMMAND, summary, self.tail.lines)
            report(ReadinessReport(ready=change.ready, failure=failure))

    def _exit(self, code: int, when: str) -> Failure:
        ended = command_failure(code, self.tail.lines)
        suffix = f" {when}" if when else ", but was to keep running"
        return Failure(ended.kind, ended.summary + suffix, ended.details, ended.hint)
