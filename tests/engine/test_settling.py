"""What settling a node is called: what found nothing to do is not said to have done something."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kindling.engine.inputs import InputReader
from kindling.engine.redact import Redactor
from kindling.engine.settle import Request, Settled, Settler
from kindling.executors.rollback import RollbackExecutor
from kindling.files.statcache import StatCache
from kindling.files.tree import TreeReader
from kindling.graph.node import Kind
from kindling.graph.outcome import Verdict
from kindling.graph.spec import RollbackSpec
from kindling.store.database import Store
from kindling.sync.workload.liveness import here
from kindling.sync.workload.records import Records
from kindling.sync.workload.taking import take
from kindling.testing.cluster import FakeCluster
from kindling.testing.jobs import JobWorld
from tests.sync.workload.playing import agents, deployment, ref_of, session, silent

WEB = ref_of(deployment())


async def settled(world: JobWorld) -> Settled:
    """The way back of a workload, settled in a session of its own."""
    store = Store.open(world.state_dir)
    try:
        settler = Settler(
            world=world,
            store=store,
            executors={Kind.ROLLBACK: RollbackExecutor()},
            inputs=InputReader(world.root, TreeReader(world.root, StatCache()), {}),
            redactor=Redactor(),
            session="s",
            once=False,
        )
        node = world.job(Kind.ROLLBACK, RollbackSpec("sync:web", WEB), name="web").node

        async def before_run() -> None:
            """Nothing lives on."""

        return await settler.settle(
            Request(node, 1, forced=False, inputs={}),
            progress=lambda doing, reasons: None,  # noqa: ARG005
            log=world.lines,
            before_run=before_run,
        )
    finally:
        store.close()


async def test_a_way_back_with_nothing_to_put_back_is_not_said_to_have_rolled_back(
    tmp_path: Path,
) -> None:
    cluster = FakeCluster()
    cluster.put(deployment())
    world = JobWorld(tmp_path, api=cluster)
    assert (await settled(world)).verdict is Verdict.UNCHANGED
    assert (await settled(world)).verdict is Verdict.UNCHANGED
    records = Records(world.state_dir / "sync")
    await take(
        cluster, WEB, session(), records, patch=True, agents=agents, clock=world.clock, tell=silent
    )
    (record,) = records.all().records
    dead = replace(here(str(records.folder)), pid=2**22 + 1, started="1")
    records.save(replace(record, holder=dead))
    assert (await settled(world)).verdict is Verdict.RAN
    assert (await settled(world)).verdict is Verdict.UNCHANGED
