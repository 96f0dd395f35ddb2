"""What is said of a rollout while a sync session has its workload: not that it is due."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kindling.engine.survey import survey
from kindling.executors.rollout import RolloutExecutor, session_of
from kindling.graph.dag import Graph
from kindling.graph.key import Manifest
from kindling.graph.node import Kind, Node
from kindling.graph.outcome import Output, Verdict
from kindling.graph.plan import CheckState
from kindling.graph.spec import RolloutSpec
from kindling.objects.identity import display_name
from kindling.store.records import Entries, Record
from kindling.sync.workload.hold import Hold
from kindling.sync.workload.liveness import end_life
from kindling.sync.workload.records import Records
from kindling.sync.workload.taking import take
from kindling.testing.cluster import FakeCluster
from kindling.testing.jobs import JobWorld
from tests.sync.workload.playing import agents, deployment, ref_of, session, silent

WEB = ref_of(deployment())


@pytest.fixture
def world(tmp_path: Path) -> JobWorld:
    cluster = FakeCluster()
    cluster.put(deployment())
    return JobWorld(tmp_path, api=cluster)


async def held(world: JobWorld) -> Hold:
    """The workload, taken by a session of this process."""
    assert world.api is not None
    return await take(
        world.api,
        WEB,
        session(),
        Records(world.state_dir / "sync"),
        patch=True,
        agents=agents,
        clock=world.clock,
        tell=silent,
    )


def rollout(world: JobWorld) -> Node:
    return world.job(Kind.ROLLOUT, RolloutSpec(apply="apply:web", objects=(WEB,)), name="web").node


async def checked(world: JobWorld) -> tuple[CheckState, str]:
    """What `plan` and `why` find out about the rollout, whose last success had another template."""
    node = rollout(world)
    manifest = Manifest(())
    known = Record(
        node=node.id,
        key=manifest.key,
        output=Output("x", {"revision": "Deployment/web@1"}),
        manifest=Entries(manifest.entries),
        previous=Entries(),
        verdict=Verdict.RAN,
        seconds=1.0,
        finished_at=0.0,
        session="s",
    )
    tools: Any = SimpleNamespace(
        world=world,
        options=SimpleNamespace(root=world.root),
        executors={Kind.ROLLOUT: RolloutExecutor()},
        store=SimpleNamespace(records=lambda: {node.id: known}, cached=lambda key: None),  # noqa: ARG005
        inputs=SimpleNamespace(manifest_of=lambda *of: manifest),  # noqa: ARG005
    )
    found = await survey(tools, cast("Any", SimpleNamespace(graph=Graph([node], []))), {node.id})
    check = found.checks[node.id]
    return check.state, check.text


async def test_a_rollout_is_not_due_while_a_sync_session_has_its_workload(world: JobWorld) -> None:
    assert (await checked(world))[0] is CheckState.DRIFTED
    hold = await held(world)
    state, text = await checked(world)
    assert state is CheckState.CLEAN
    said = "session `s1` of ada@desk since 2026-01-02T03:04:05Z (./web) has "
    assert text == said + display_name(WEB)
    await hold.release()
    assert (await checked(world))[0] is CheckState.DRIFTED


@pytest.mark.parametrize("over", ["dead", "to stay"])
async def test_a_rollout_is_due_where_the_session_is_over_that_had_it(
    world: JobWorld, over: str
) -> None:
    """Its part is put back first, which rolls the workload out."""
    hold = await held(world)
    if over == "to stay":
        await hold.leave()
    else:
        gone = replace(hold.record.holder, pid=2**22 + 1, started="1")
        hold.records.save(replace(hold.record, holder=gone))
        end_life("s1")
    job = world.job(Kind.ROLLOUT, rollout(world).spec)
    assert await session_of(job) == ""
    assert (await checked(world))[0] is CheckState.DRIFTED
