"""A sync node that cannot begin says why, whatever becomes of the way back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from kindling.errors import ClusterError
from kindling.executors.protocol import Job
from kindling.executors.sync import SyncExecutor
from kindling.graph.node import Kind
from kindling.graph.outcome import Output
from kindling.graph.spec import ObjectRef, SyncSpec
from kindling.kube.errors import NotFoundError
from kindling.lang.declared import SyncStep
from kindling.sync.notices import Notice, Released
from kindling.sync.rules.failures import Action
from kindling.sync.session.order import Order, Outcome, Report
from kindling.testing.cluster import FakeCluster
from kindling.testing.jobs import JobWorld

WEB = ObjectRef("apps/v1", "Deployment", "web", "default")


class Session:
    """One that waits at its start, or fails there, and cannot be stopped."""

    def __init__(self, error: ClusterError | None) -> None:
        self.error = error
        self.begun = asyncio.Event()

    @property
    def entries(self) -> Mapping[str, str]:
        return {}

    async def start(self) -> None:
        self.begun.set()
        if self.error is not None:
            raise self.error
        await asyncio.Event().wait()

    async def changed(
        self, paths: Sequence[str], *, rescan: bool = False, since: float = 0.0
    ) -> Outcome:
        del paths, rescan, since
        return Outcome(Action.DONE)

    async def follow(self, report: Report | None = None) -> None:
        del report

    async def stop(self, *, restore: bool = True, fresh: bool = True) -> Released:
        del restore, fresh
        raise ClusterError("it still does not answer")


def begun(world: JobWorld, session: Session) -> tuple[SyncExecutor, Job]:
    def make(job: Job, order: Order, tell: Callable[[Notice], None]) -> Session:
        del job, order, tell
        return session

    spec = SyncSpec("rollout:web", WEB, (SyncStep(".", "/app"),), ())
    inputs = {"rollout:web": Output("there", {"objects": []})}
    return SyncExecutor(make), world.job(Kind.SYNC, spec, name="web", inputs=inputs)


async def test_the_first_error_is_the_one_that_is_given(tmp_path: Path) -> None:
    world = JobWorld(tmp_path)
    executor, job = begun(world, Session(ClusterError("the API server went away")))
    with pytest.raises(ClusterError, match="the API server went away"):
        await executor.run(job)
    assert "could not be put back: it still does not answer" in world.lines.text
    assert "kindling sync --restore" in world.lines.text


async def test_one_that_is_cut_off_is_cut_off(tmp_path: Path) -> None:
    """Whoever cancels it waits for that."""
    world, session = JobWorld(tmp_path), Session(None)
    executor, job = begun(world, session)
    running = asyncio.ensure_future(executor.run(job))
    await session.begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert "could not be put back: it still does not answer" in world.lines.text


async def test_what_a_session_builds_goes_with_it(tmp_path: Path) -> None:
    """What a killed one has left, too; here the session ends at its start: nothing is deployed."""
    world = JobWorld(tmp_path, api=FakeCluster())
    left = tmp_path / ".kindling/sync/scratch/web"
    left.mkdir(parents=True)
    _, job = begun(world, Session(None))
    with pytest.raises(NotFoundError):
        await SyncExecutor().run(job)
    assert list(left.parent.iterdir()) == []
