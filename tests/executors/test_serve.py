"""Servers: when they are ready, what their exit means, and that they end with the session."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kindling.executors.protocol import Failed, Job, Outcome, ReadinessReport, Succeeded
from kindling.executors.serve import STOP_GRACE, ServeExecutor
from kindling.graph.node import Kind
from kindling.graph.spec import Probe, ProbeAction, ServeSpec
from kindling.testing.clock import FakeClock
from kindling.testing.jobs import JobWorld
from kindling.testing.processes import FakeProcesses, Program

PROBE = Probe(ProbeAction.EXEC, argv=("probe",))


class Stage:
    """A world in which `server` runs and `probe` answers as the test says."""

    def __init__(self, root: Path) -> None:
        self.clock = FakeClock()
        self.processes = FakeProcesses()
        self.processes.answer("server", program=Program(stdout=b"listening\n", hangs=True))
        self.world = JobWorld(root, self.processes, self.clock)
        self.reports: list[ReadinessReport] = []

    def probe(self, code: int) -> None:
        self.processes.answer(
            "probe", program=Program(code, stderr=b"no answer\n" if code else b"")
        )

    def job(self, probe: Probe | None = None) -> Job:
        return self.world.job(Kind.SERVE, ServeSpec(("server",), probe=probe))

    def run(self, probe: Probe | None = None) -> asyncio.Task[Outcome]:
        return asyncio.create_task(ServeExecutor().run(self.job(probe)))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


async def test_without_a_probe_it_is_ready_once_started(stage: Stage) -> None:
    outcome = await stage.run()
    assert isinstance(outcome, Succeeded)
    assert outcome.live is not None
    assert stage.world.lines.of("stdout") == ["listening"]
    await outcome.live.close()
    assert stage.processes.running[0].stopped
    assert stage.processes.running[0].grace == STOP_GRACE


async def test_with_a_probe_it_is_ready_when_that_passes(stage: Stage) -> None:
    stage.probe(1)
    run = stage.run(PROBE)
    await stage.clock.advance(25)
    assert not run.done()
    assert stage.world.lines.of("kindling") == ["not ready yet: `probe` exited with 1: no answer"]
    stage.probe(0)
    await stage.clock.advance(10)
    outcome = await run
    assert isinstance(outcome, Succeeded)
    assert outcome.live is not None
    await outcome.live.close()


async def test_an_exit_before_it_is_ready_fails(stage: Stage) -> None:
    stage.probe(1)
    run = stage.run(PROBE)
    await stage.clock.advance(5)
    stage.processes.running[0].exit(0)
    outcome = await run
    assert isinstance(outcome, Failed)
    assert outcome.failure.summary == "exited with code 0 before it was ready"
    assert outcome.failure.details == ("listening",)


async def test_any_exit_ends_it_even_with_code_0(stage: Stage) -> None:
    outcome = await stage.run()
    assert isinstance(outcome, Succeeded)
    assert outcome.live is not None
    follow = asyncio.create_task(outcome.live.follow(stage.reports.append))
    await stage.clock.settle()
    assert not stage.reports
    stage.processes.running[0].exit(0)
    await follow
    (report,) = stage.reports
    assert not report.ready
    assert report.ended
    assert report.failure is not None
    assert report.failure.summary == "exited with code 0, but was to keep running"
    assert report.failure.details == ("listening",)


async def test_its_probe_goes_on_after_it_was_ready(stage: Stage) -> None:
    stage.probe(0)
    outcome = await stage.run(PROBE)
    assert isinstance(outcome, Succeeded)
    assert outcome.live is not None
    follow = asyncio.create_task(outcome.live.follow(stage.reports.append))
    stage.probe(1)
    await stage.clock.advance(30)
    stage.probe(0)
    await stage.clock.advance(10)
    assert [(r.ready, r.ended) for r in stage.reports] == [(False, False), (True, False)]
    assert stage.reports[0].failure is not None
    assert stage.reports[0].failure.summary == "its probe fails: `probe` exited with 1: no answer"
    follow.cancel()
    await asyncio.gather(follow, return_exceptions=True)
    assert not stage.processes.running[0].stopped, "following is not owning"
    await outcome.live.close()
    assert stage.processes.running[0].stopped


async def test_a_cancelled_start_leaves_no_server(stage: Stage) -> None:
    stage.probe(1)
    run = stage.run(PROBE)
    await stage.clock.advance(5)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert stage.processes.running[0].stopped


async def test_a_server_is_never_found_as_it_was(stage: Stage) -> None:
    """It lives with the session: a new one starts it anew."""
    outcome = await stage.run()
    assert isinstance(outcome, Succeeded)
    assert not (await ServeExecutor().observe(stage.job(), outcome.output)).same
