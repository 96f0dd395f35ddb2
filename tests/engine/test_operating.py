"""The operator of a session: when it is started, whose its lines are, and when it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from kindling.engine.operating import SELF, Operating
from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Cluster
from kindling.operator.controller.run import Operation, Phase, Standing
from kindling.testing.cluster import FakeCluster
from kindling.testing.outside import Outside
from kindling.testing.workbench import Workbench


class Played:
    """An operator that only remembers what was asked of it."""

    def __init__(self, namespaces: tuple[str, ...], say: Callable[[str], None]) -> None:
        self.namespaces = list(namespaces)
        self.say = say
        self.failure: ClusterError | None = None
        self.stopped = 0

    @property
    def standing(self) -> Standing:
        return Standing(Phase.ACTING)

    async def settled(self) -> Standing:
        if self.failure is not None:
            raise self.failure
        return self.standing

    async def extend(self, namespace: str) -> None:
        self.namespaces.append(namespace)

    async def stop(self) -> None:
        self.stopped += 1


class Stage:
    def __init__(self) -> None:
        self.begun: list[Played] = []
        self.holder = ""
        self.failure: ClusterError | None = None
        self.gate: asyncio.Event | None = None
        self.said: list[str] = []
        self.operating = Operating(
            begin=self._begin, holder=self._holder, identity="me", say=self.said.append
        )
        self.cluster = FakeCluster()

    async def _begin(
        self, namespaces: tuple[str, ...], identity: str, say: Callable[[str], None]
    ) -> Operation:
        assert identity == "me"
        if self.gate is not None:
            await self.gate.wait()
        played = Played(namespaces, say)
        played.failure = self.failure
        self.begun.append(played)
        return played

    async def _holder(self, cluster: Cluster, namespace: str) -> str:
        assert cluster is self.cluster
        assert namespace
        return self.holder


async def test_one_operator_acts_in_every_namespace_that_is_asked_for() -> None:
    stage = Stage()
    assert await stage.operating.act(stage.cluster, "a") == SELF
    await asyncio.gather(*(stage.operating.act(stage.cluster, n) for n in ("b", "a", "b")))
    assert [one.namespaces for one in stage.begun] == [["a", "b"]]


async def test_who_holds_the_lease_is_told() -> None:
    stage = Stage()
    stage.holder = "operator-7f"
    assert await stage.operating.act(stage.cluster, "a") == "operator-7f"
    stage.holder = "me"
    assert await stage.operating.act(stage.cluster, "a") == SELF


async def test_lines_go_to_the_node_that_they_are_about() -> None:
    stage = Stage()
    lines: list[str] = []

    def log(line: str, stream: str = "stdout") -> None:
        lines.append(f"{stream} {line}")

    await stage.operating.act(stage.cluster, "a", "shop", log)
    await asyncio.to_thread(stage.begun[0].say, "a/shop: create Service/shop")
    await asyncio.to_thread(stage.begun[0].say, "a/other: create Service/other")
    await asyncio.to_thread(stage.begun[0].say, "it acts in namespace a")
    await asyncio.sleep(0)
    assert lines == ["kindling a/shop: create Service/shop"]
    assert stage.said == ["a/other: create Service/other", "it acts in namespace a"]


async def test_it_is_stopped_once_and_only_when_it_was_started() -> None:
    stage = Stage()
    await stage.operating.stop()
    await stage.operating.act(stage.cluster, "a")
    await stage.operating.stop()
    await stage.operating.stop()
    assert [one.stopped for one in stage.begun] == [1]


async def test_one_whose_start_nobody_waits_for_any_more_is_stopped_all_the_same() -> None:
    stage = Stage()
    stage.gate = asyncio.Event()
    asking = asyncio.create_task(stage.operating.act(stage.cluster, "a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    stopping = asyncio.create_task(stage.operating.stop())
    await asyncio.sleep(0)
    stage.gate.set()
    await stopping
    assert [one.stopped for one in stage.begun] == [1]


async def test_one_that_cannot_act_is_not_kept() -> None:
    stage = Stage()
    stage.failure = ClusterError("no rights to Leases")
    with pytest.raises(ClusterError, match="no rights"):
        await stage.operating.act(stage.cluster, "a")
    stage.failure = None
    assert await stage.operating.act(stage.cluster, "a") == SELF
    assert [one.stopped for one in stage.begun] == [1, 0]


FILE = """
service("shop", image = "shop:1", port = 8080, dependencies = [{dependencies}])
k8s_resource("shop", pod_readiness = "ignore")
"""

SHOP = ObjectRef("apps.example.com/v1alpha1", "DevStagingEnvironment", "shop", "default")


@pytest.fixture
async def outside(bench: Workbench) -> AsyncIterator[Outside]:
    async with Outside.open() as made:
        made.cluster.add_kind(
            "networking.k8s.io/v1", "IngressClass", "ingressclasses", namespaced=False
        )
        made.cluster.add_kind("coordination.k8s.io/v1", "Lease")
        made.stand_before(bench)
        yield made


async def test_a_session_reconciles_forgets_and_takes_away(
    bench: Workbench, outside: Outside
) -> None:
    def names(kind: str) -> set[str]:
        return {item["metadata"]["name"] for item in outside.cluster.objects(kind)}

    bench.write("Kindlingfile", FILE.format(dependencies=""))
    first = await bench.run("up")
    assert first.exit_code == 0, first.explain()
    first.assert_ran("operator:shop")
    assert names("Deployment") == {"shop"}
    assert [one.standing.phase for one in outside.operations] == [Phase.STOPPED]

    outside.cluster.writes.clear()
    again = await bench.run("ci")
    again.assert_only_ran()
    assert outside.cluster.writes == []
    assert len(outside.operations) == 1  # nothing was left to be done

    bench.write("Kindlingfile", FILE.format(dependencies="").replace("8080", "9090"))
    changed = await bench.run("up")
    changed.assert_ran("operator:shop", "rollout:shop")

    bench.write("Kindlingfile", CONFIG)
    without = await bench.run("up")
    assert without.exit_code == 0, without.explain()
    assert any("removing DevStagingEnvironment/shop" in line for line in without.messages)
    assert names("DevStagingEnvironment") == names("Deployment") == set()


CONFIG = """
k8s_yaml(blob('''
apiVersion: v1
kind: ConfigMap
metadata: {name: rest}
'''))
"""
