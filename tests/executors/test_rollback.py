"""The way back as a node: it costs nothing where nothing was changed, and puts back what was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kindling.errors import ClusterError
from kindling.executors.protocol import Failed, Job, Succeeded
from kindling.executors.rollback import RollbackExecutor
from kindling.graph.node import Kind
from kindling.graph.outcome import Output
from kindling.graph.spec import ObjectRef, RollbackSpec
from kindling.sync.template.session import SESSION_ANNOTATION
from kindling.sync.workload.liveness import Holder, here
from kindling.sync.workload.records import Records
from kindling.sync.workload.taking import take
from kindling.testing.cluster import FakeCluster
from kindling.testing.jobs import JobWorld
from tests.sync.workload.playing import agents, deployment, ref_of, session, silent

WEB = ref_of(deployment())
NOTHING = Output("nothing was changed")


@pytest.fixture
def world(tmp_path: Path) -> JobWorld:
    made = FakeCluster()
    made.put(deployment())
    return JobWorld(tmp_path, api=made)


def job(world: JobWorld, workload: ObjectRef | None = WEB) -> Job:
    return world.job(Kind.ROLLBACK, RollbackSpec("sync:web", workload), name="web")


async def left_behind(world: JobWorld) -> str:
    """The template of a workload that a killed session had; what it was before."""
    assert isinstance(world.api, FakeCluster)
    before = (await world.api.get(WEB))["spec"]["template"]
    records = Records(world.state_dir / "sync")
    await take(
        world.api,
        WEB,
        session("s1"),
        records,
        patch=True,
        agents=agents,
        clock=world.clock,
        tell=silent,
    )
    record = records.get("s1")
    assert record is not None
    dead = replace(here(str(records.folder)), pid=2**22 + 1, started="1")
    records.save(replace(record, holder=dead))
    return json.dumps(before, sort_keys=True)


async def test_without_a_record_no_cluster_is_asked(tmp_path: Path) -> None:
    """The world here has none."""
    world, executor = JobWorld(tmp_path), RollbackExecutor()
    assert (await executor.observe(job(world), NOTHING)).same
    assert await executor.run(job(world)) == Succeeded(NOTHING, idle=True)


async def test_what_a_killed_session_left_is_put_back(world: JobWorld) -> None:
    before = await left_behind(world)
    executor = RollbackExecutor()
    seen = await executor.observe(job(world), NOTHING)
    assert not seen.same
    assert "held by a sync session" in seen.difference
    outcome = await executor.run(job(world))
    assert isinstance(outcome, Succeeded), outcome
    assert outcome.output.digest.startswith("sha256:")
    assert not outcome.idle
    live = await (await world.cluster()).get(WEB)
    assert json.dumps(live["spec"]["template"], sort_keys=True) == before
    assert SESSION_ANNOTATION not in (live["metadata"].get("annotations") or {})
    assert (await executor.observe(job(world), outcome.output)).same


async def held_from(world: JobWorld, holder: Holder) -> dict[str, Any]:
    """A workload that a session of `holder` has; how it is then."""
    assert isinstance(world.api, FakeCluster)
    await left_behind(world)
    records = Records(world.state_dir / "sync")
    record = records.get("s1")
    assert record is not None
    records.save(replace(record, holder=holder))
    return dict(await world.api.get(WEB))


async def test_a_session_of_a_container_with_the_same_process_number_is_left_alone(
    world: JobWorld,
) -> None:
    """It shares the project's folder, and runs."""
    theirs = replace(here(), host="devbox", space="pid:[1]")
    held = await held_from(world, theirs)
    outcome = await RollbackExecutor().run(job(world))
    assert outcome == Succeeded(NOTHING, idle=True)
    assert await (await world.cluster()).get(WEB) == held
    assert Records(world.state_dir / "sync").get("s1") is not None
    assert "is left alone: it runs on devbox" in world.lines.text


async def test_a_session_of_this_very_process_ends_when_it_is_rolled_back(world: JobWorld) -> None:
    held = await held_from(world, here())
    outcome = await RollbackExecutor().run(job(world))
    assert isinstance(outcome, Succeeded), outcome
    live = await (await world.cluster()).get(WEB)
    assert live["spec"]["template"] != held["spec"]["template"]
    assert Records(world.state_dir / "sync").get("s1") is None


async def test_another_workload_is_no_business_of_it(world: JobWorld) -> None:
    await left_behind(world)
    other = ObjectRef("apps/v1", "Deployment", "other", "default")
    assert (await RollbackExecutor().observe(job(world, other), NOTHING)).same


async def test_a_custom_deploy_knows_its_sessions_by_their_resource(world: JobWorld) -> None:
    await left_behind(world)
    assert (await RollbackExecutor().observe(job(world, None), NOTHING)).same
    records = Records(world.state_dir / "sync")
    record = records.get("s1")
    assert record is not None
    named = replace(record.recorded.session, what=job(world, None).node.resource)
    records.save(replace(record, recorded=replace(record.recorded, session=named)))
    assert not (await RollbackExecutor().observe(job(world, None), NOTHING)).same


async def test_a_workload_that_cannot_be_put_back_keeps_its_record(
    world: JobWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure says so, and a later try does it."""
    await left_behind(world)

    async def refused(*_: Any, **__: Any) -> Any:
        raise ClusterError("the API server says no")

    with monkeypatch.context() as patched:
        patched.setattr(world.api, "patch", refused)
        outcome = await RollbackExecutor().run(job(world))
    assert isinstance(outcome, Failed)
    assert "could not be put back: the API server says no" in outcome.failure.summary
    assert Records(world.state_dir / "sync").get("s1") is not None
    assert isinstance(await RollbackExecutor().run(job(world)), Succeeded)
