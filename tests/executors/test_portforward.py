"""Port-forwards: which pod, which port, what is said when nothing can flow, with real sockets."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kindling.engine.clock import SystemClock
from kindling.errors import HostError
from kindling.executors.localport import holder
from kindling.executors.portforward import PortForwardExecutor, choose_pod
from kindling.executors.protocol import Failed, Job, Live, ReadinessReport, Succeeded
from kindling.graph.node import Kind
from kindling.graph.outcome import Output
from kindling.graph.spec import ObjectRef, PortForwardSpec
from kindling.kube.errors import UnreachableError
from kindling.kube.protocol import Object
from kindling.testing.cluster import FakeCluster, FakePortStream
from kindling.testing.jobs import JobWorld

LABELS = {"app": "web"}
ROLLOUT = Output(
    "d",
    {
        "objects": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "namespace": "default"}
        ],
        "selectors": [],
    },
)


class Stage:
    """A replica set whose pods a test makes."""

    def __init__(self, world: JobWorld, fake: FakeCluster) -> None:
        self.world = world
        self.fake = fake
        self.open: list[Live] = []
        fake.put(
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {"name": "web", "namespace": "default"},
                "spec": {"selector": {"matchLabels": LABELS}},
            }
        )

    def pod(self, name: str, *ports: int, listens: int = 8080, answer: str = "") -> None:
        self.fake.put(pod(name, *ports))
        text = (answer or name).encode()
        self.fake.ports["default", name, listens] = lambda _data: text

    def job(self, local: int = 0, container: int = 8080) -> Job:
        spec = PortForwardSpec("rollout:web", local, container, name="ui", path="ui")
        return self.world.job(Kind.PORTFORWARD, spec, inputs={"rollout:web": ROLLOUT})

    async def forwarded(self, local: int = 0, container: int = 8080) -> tuple[int, Live]:
        outcome = await PortForwardExecutor().run(self.job(local, container))
        assert isinstance(outcome, Succeeded), outcome
        assert outcome.live is not None
        self.open.append(outcome.live)
        return int(outcome.output.data["local_port"]), outcome.live


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    fake = FakeCluster()
    made = Stage(JobWorld(tmp_path, clock=SystemClock(), api=fake), fake)
    yield made
    for live in made.open:
        await live.close()


def pod(name: str, *ports: int, ready: bool = True, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": LABELS, **metadata},
        "spec": {
            "containers": [{"name": "main", "ports": [{"containerPort": port} for port in ports]}]
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


async def ask(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"who")
        await writer.drain()
        return (await asyncio.wait_for(reader.read(100), 5)).decode()
    finally:
        writer.close()
        await writer.wait_closed()


def test_connections_go_to_the_newest_ready_pod_that_stays() -> None:
    def at(name: str, moment: str, **more: Any) -> dict[str, Any]:
        return pod(name, creationTimestamp=f"2024-01-01T00:00:{moment}Z", **more)

    old, new = at("old", "01"), at("new", "02")
    unready, going = at("unready", "03", ready=False), at("going", "04", deletionTimestamp="x")
    assert choose_pod([new, old, unready, going]) is new
    assert choose_pod([unready, going]) is unready
    assert choose_pod([going]) is None


def test_of_pods_made_in_one_second_that_of_the_new_revision_is_the_right_one() -> None:
    made = "2026-01-01T00:00:00Z"
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    pods: list[Object] = [
        {"metadata": {"name": name, "uid": name, "creationTimestamp": made}, "status": ready}
        for name in ("a", "b", "c")
    ]
    for one in pods:
        assert choose_pod(pods, {one["metadata"]["uid"]}) is one


async def test_bytes_flow_through_a_local_port(stage: Stage) -> None:
    stage.pod("a")
    port, _ = await stage.forwarded()
    assert await ask(port) == "a"


async def test_the_local_port_outlives_the_pod(stage: Stage) -> None:
    """A replaced pod is found by the next connection, on the same port."""
    stage.pod("a")
    port, live = await stage.forwarded()
    reports: list[ReadinessReport] = []
    following = asyncio.create_task(live.follow(reports.append))
    stage.fake.remove(ObjectRef("v1", "Pod", "a", "default"))
    stage.pod("b")
    async with asyncio.timeout(5):
        while "pod b" not in stage.world.lines.text:
            await stage.world.clock.sleep(0)
    assert await ask(port) == "b"
    following.cancel()
    await asyncio.wait([following])


async def test_the_trial_of_a_port_leaves_no_connection_open_in_the_pod(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of one connection after the other would answer nobody else until it ends."""
    ended = asyncio.Event()

    class Stream(FakePortStream):
        async def close(self) -> None:
            await super().close()
            ended.set()

    monkeypatch.setattr("kindling.testing.cluster.FakePortStream", Stream)
    stage.pod("a")
    await stage.forwarded()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_lone_port_means_the_one_that_the_pod_declares(stage: Stage) -> None:
    stage.pod("a", 9090, 9091, listens=9090)
    port, _ = await stage.forwarded(container=0)
    assert await ask(port) == "a"


async def test_the_address_is_told_and_does_not_depend_on_the_pod(stage: Stage) -> None:
    stage.pod("a")
    outcome = await PortForwardExecutor().run(stage.job())
    assert isinstance(outcome, Succeeded)
    assert outcome.live is not None
    stage.open.append(outcome.live)
    port = outcome.output.data["local_port"]
    assert outcome.output.data["url"] == f"http://localhost:{port}/ui"
    assert "a" not in outcome.output.data.values()


async def test_a_port_where_nothing_listens_is_no_success(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kindling.executors.portforward._PATIENCE", 0.0)
    stage.pod("a", listens=1)
    outcome = await PortForwardExecutor().run(stage.job())
    assert isinstance(outcome, Failed)
    assert outcome.live is not None
    stage.open.append(outcome.live)
    assert "leads nowhere" in outcome.failure.summary
    assert outcome.failure.transient


async def test_a_server_that_comes_late_is_noticed_without_any_change_of_its_pod(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kindling.executors.portforward._PATIENCE", 0.0)
    stage.pod("a", listens=9999)
    outcome = await PortForwardExecutor().run(stage.job())
    assert isinstance(outcome, Failed)
    assert outcome.live is not None
    stage.open.append(outcome.live)
    told: asyncio.Queue[ReadinessReport] = asyncio.Queue()
    follower = asyncio.create_task(outcome.live.follow(told.put_nowait))
    stage.fake.ports["default", "a", 8080] = lambda _data: b"late"
    assert (await asyncio.wait_for(told.get(), 10)).ready
    follower.cancel()


async def test_a_port_that_is_taken_names_its_holder(stage: Stage) -> None:
    stage.pod("a")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"(pid {os.getpid()})" in holder(port)
        job = stage.job(port)
        with pytest.raises(HostError, match=f"The local port {port} is taken by") as caught:
            await PortForwardExecutor().run(job)
        assert f"`kindling trigger {job.node.id}`" in caught.value.hint


async def test_a_connection_that_breaks_at_both_ends_at_once_is_one_trouble(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that is started anew cuts what is being read and written in one moment."""

    class Stream(FakePortStream):
        broken = asyncio.Event()

        async def read(self) -> bytes:
            await self.broken.wait()
            raise UnreachableError("Cannot connect to port 8080", transient=True)

        async def write(self, data: bytes) -> None:
            del data
            self.broken.set()
            raise UnreachableError("Cannot connect to port 8080", transient=True)

    lost: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
    stage.pod("a")
    port, _ = await stage.forwarded()
    monkeypatch.setattr("kindling.testing.cluster.FakePortStream", Stream)
    for _ in range(5):
        assert await ask(port) == ""
    gc.collect()
    await asyncio.sleep(0)
    assert lost == []


async def test_closing_gives_the_port_back(stage: Stage) -> None:
    stage.pod("a")
    port, live = await stage.forwarded()
    await live.close()
    with socket.create_server(("127.0.0.1", port)):
        pass
