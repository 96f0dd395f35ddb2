"""Row 15: `kindling deploy -f`, with an operator of the test's own and a cluster in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from kindling.engine.environments.deploying import Deployment, deploy
from kindling.engine.environments.manifests import read
from kindling.engine.environments.reach import Reached
from kindling.errors import ConfigError, ExecutionError
from kindling.graph.spec import ObjectRef
from kindling.kube.contexts import KubeContext, Target
from kindling.kube.errors import Cause, InvalidError
from kindling.kube.protocol import Cluster, EventKind
from kindling.operator.controller.definitions import install_definitions
from kindling.operator.controller.run import Operation
from kindling.testing.clock import FakeClock
from kindling.testing.cluster import FakeCluster
from kindling.testing.operating import FakeOperation

ORDERS = """\
apiVersion: apps.example.com/v1alpha1
kind: DevStagingEnvironment
metadata: {name: orders}
spec:
  deployment: {image: "nginx:1", port: 80}
  service: {port: 80}
"""
CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: "1"}
"""
ENVIRONMENT = ObjectRef("apps.example.com/v1alpha1", "DevStagingEnvironment", "orders", "default")
CRASHED = {
    "phase": "Running",
    "containerStatuses": [
        {
            "name": "orders",
            "restartCount": 4,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}},
        }
    ],
}


class Operators:
    """Nobody acts (or `who` does), and ours is one in memory."""

    def __init__(self, who: str = "") -> None:
        self.who = who
        self.begun: list[FakeOperation] = []

    async def holder(self, cluster: Cluster, namespace: str) -> str:
        del cluster, namespace
        return self.who

    async def begin(
        self, reached: Reached, namespaces: tuple[str, ...], say: Callable[[str], None]
    ) -> Operation:
        self.begun.append(FakeOperation(reached.cluster, namespaces, say))
        return self.begun[-1]


class Bench:
    """`await bench.deploy(text)`, and the lines that were said."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.operators = Operators()
        self.said: list[str] = []

    async def deploy(self, text: str, **options: Any) -> Deployment:
        context = KubeContext("kind-fake", "kind-fake", "https://fake")
        reached = Reached(self.cluster, Target(context, "it is the only one"), context, {})
        return await deploy(
            reached,
            read(["-"], text),
            say=self.said.append,
            operators=self.operators,
            **{"timeout": 30.0, **options},
        )

    @asynccontextmanager
    async def rolling_out(self, status: dict[str, Any] | None = None) -> AsyncIterator[None]:
        """Every Deployment gets the pods it wants, as by its controller; or only this `status`."""

        async def play() -> None:
            async with aclosing(self.cluster.watch("apps/v1", "Deployment")) as events:
                async for event in events:
                    if event.kind in (EventKind.ADDED, EventKind.MODIFIED):
                        self._roll_out(event.object, status)

        task = asyncio.create_task(play())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def _roll_out(self, live: Any, status: dict[str, Any] | None) -> None:
        head, count = live["metadata"], live["spec"].get("replicas", 1)
        fields = ("replicas", "updatedReplicas", "availableReplicas", "readyReplicas")
        ready = dict.fromkeys(fields, count)
        told: dict[str, Any] = {"observedGeneration": head["generation"]}
        told |= ready if status is None else status
        if live.get("status") != told:
            ref = ObjectRef("apps/v1", "Deployment", head["name"], head["namespace"])
            self.cluster.set_status(ref, told)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_row_15_documents_are_applied_and_their_environments_awaited(bench: Bench) -> None:
    async with bench.rolling_out():
        done = await bench.deploy(f"{CONFIG}---\n{ORDERS}")
    assert [(str(step.ref), step.verb) for step in done.steps] == [
        ("ConfigMap/settings in default", "create"),
        ("DevStagingEnvironment/orders in default", "create"),
    ]
    assert [(one.name, one.ready) for one in done.environments] == [("orders", True)]
    said = "\n".join(bench.said)
    for text in (
        "CustomResourceDefinition/devstagingenvironments.apps.example.com installed",
        "no operator acts in [default]: this command is one until all is ready",
        "default/orders: ready",
        "nobody acts in [default] from now on: `kindling operator install`",
    ):
        assert text in said, said
    assert [one.standing.phase.value for one in bench.operators.begun] == ["stopped"]


async def test_the_same_again_writes_nothing(bench: Bench) -> None:
    async with bench.rolling_out():
        await bench.deploy(f"{CONFIG}---\n{ORDERS}")
        bench.cluster.writes.clear()
        done = await bench.deploy(f"{CONFIG}---\n{ORDERS}")
    assert {step.verb for step in done.steps} == {"same"}
    assert bench.cluster.writes == []


async def test_row_15_what_the_server_refuses_is_refused_before_the_first_write(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = bench.cluster.apply

    async def strict(manifest: Any, **options: Any) -> Any:
        if manifest["kind"] == "Service":
            causes = [Cause("spec.ports", "Required value")]
            raise InvalidError("Cannot apply Service/s", causes)
        return await genuine(manifest, **options)

    monkeypatch.setattr(bench.cluster, "apply", strict)
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {}\n"
    with pytest.raises(ConfigError) as caught:
        await bench.deploy(f"{CONFIG}---\n{service}---\n{ORDERS}")
    assert caught.value.message == "standard input:9: document 2: spec.ports: Required value"
    assert bench.cluster.writes == []


async def test_a_kind_that_nobody_knows_is_refused(bench: Bench) -> None:
    text = "apiVersion: apps/v1\nkind: Deploymen\nmetadata: {name: x}\n"
    with pytest.raises(ConfigError, match=r"no kind `Deploymen`.*Did you mean `Deployment`"):
        await bench.deploy(text)


async def test_a_kind_may_come_with_the_same_files(bench: Bench) -> None:
    crd = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Thing, plural: things}
  versions: [{name: v1, served: true, storage: true}]
"""
    thing = "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: t, namespace: default}\n"
    done = await bench.deploy(f"{thing}---\n{crd}")
    assert [step.ref.kind for step in done.steps] == ["CustomResourceDefinition", "Thing"]


async def test_an_object_of_a_project_is_refused_by_name(bench: Bench) -> None:
    labels = {"kindling.dev/project": "shop"}
    bench.cluster.put(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings", "namespace": "default", "labels": labels},
        }
    )
    with pytest.raises(ConfigError, match="belongs to the project `shop`"):
        await bench.deploy(CONFIG)


async def test_what_people_changed_is_put_back_and_said(bench: Bench) -> None:
    await bench.deploy(CONFIG)
    live = dict(bench.cluster.objects("ConfigMap")[-1])
    bench.cluster.put({**live, "data": {"a": "2"}}, manager="kubectl-edit")
    await bench.deploy(CONFIG)
    assert bench.cluster.objects("ConfigMap")[-1]["data"] == {"a": "1"}
    assert any("`kubectl-edit` had set" in line for line in bench.said)
    bench.cluster.put({**live, "data": {"a": "3"}}, manager="argocd")
    with pytest.raises(ConfigError, match="argocd"):
        await bench.deploy(CONFIG)


async def test_a_namespace_that_is_missing_is_made(bench: Bench) -> None:
    async with bench.rolling_out():
        await bench.deploy(ORDERS, namespace="staging")
    assert "Namespace/staging created" in bench.said
    assert "staging/orders: ready" in bench.said


async def test_where_another_operator_acts_none_is_begun(bench: Bench) -> None:
    bench.operators.who = "kindling-operator in kindling-system"
    await install_definitions(bench.cluster)
    other = FakeOperation(bench.cluster, ("default",), bench.said.append)
    await other.settled()
    async with bench.rolling_out():
        await bench.deploy(ORDERS)
    await other.stop()
    assert bench.operators.begun == []
    assert "kindling-operator in kindling-system acts in default" in bench.said


async def test_without_waiting_it_says_that_nothing_comes_of_it(bench: Bench) -> None:
    await bench.deploy(ORDERS, wait=False)
    assert bench.operators.begun == []
    assert "no operator acts in [default], so nothing comes of it yet" in bench.said[-1]


async def test_a_dry_run_tells_the_children_and_writes_nothing(bench: Bench) -> None:
    done = await bench.deploy(ORDERS, dry_run=True)
    assert [str(step) for step in done.steps] == ["create DevStagingEnvironment/orders in default"]
    assert done.children == (
        "create Service/orders in default",
        "create Deployment/orders in default",
    )
    assert bench.cluster.writes == []


def crash(cluster: FakeCluster) -> None:
    """A pod of the app that crashes, with what it said."""
    labels = {
        "app.kubernetes.io/name": "orders",
        "app.kubernetes.io/instance": "orders",
        "app.kubernetes.io/managed-by": "devstagingenvironment-operator",
    }
    cluster.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "orders-1", "namespace": "default", "labels": labels},
            "spec": {"containers": [{"name": "orders", "image": "x"}]},
            "status": CRASHED,
        }
    )
    cluster.previous_log_lines["default", "orders-1", "orders"] = ["starting", "no database"]


async def test_row_15_an_environment_that_cannot_stand_is_told_with_pod_reason_and_log(
    bench: Bench,
) -> None:
    """As soon as it is plain, not when the time is over."""
    crash(bench.cluster)
    clock = FakeClock()
    none = {"replicas": 1, "updatedReplicas": 1}

    async def pass_time() -> None:
        while True:
            await asyncio.sleep(0.01)
            await clock.advance(1.0)

    task = asyncio.create_task(pass_time())
    async with bench.rolling_out(none):
        with pytest.raises(ExecutionError) as caught:
            await bench.deploy(ORDERS, clock=clock)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    summary = "pod orders-1, container orders: CrashLoopBackOff, Error, exit code 3, 4 restarts"
    assert caught.value.message == f"{ENVIRONMENT} does not become ready: {summary}"
    assert caught.value.details == (summary, "  | starting", "  | no database")


async def test_when_the_time_is_over_it_says_what_it_waited_for(bench: Bench) -> None:
    async with bench.rolling_out({"replicas": 1, "updatedReplicas": 1}):
        with pytest.raises(ExecutionError, match=r"is not ready after 0.3 s: .*0 of 1 pods"):
            await bench.deploy(ORDERS, timeout=0.3)
    assert [one.standing.phase.value for one in bench.operators.begun] == ["stopped"]
