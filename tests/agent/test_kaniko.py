"""A build is a pod that is made, fed, followed and deleted, however it ends."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from kindling.agent.kaniko import KanikoBuilder
from kindling.agent.orders import BuildOrder
from kindling.agent.pods import BuildSettings
from kindling.engine.clock import SystemClock
from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import UnreachableError
from kindling.testing.cluster import FakeCluster

ORDER = BuildOrder("api", "registry:5000/api:x")
SETTINGS = BuildSettings("default", image="kaniko:1", agent="runner-x")
RUNNING = {"phase": "Running", "containerStatuses": [{"name": "kaniko", "state": {"running": {}}}]}


def ended(code: int, reason: str = "Completed") -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason}}
    phase = "Failed" if code else "Succeeded"
    return {"phase": phase, "containerStatuses": [{"name": "kaniko", "state": state}]}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [{"name": "kaniko", "state": state}]}


class Play:
    """One build, and the test as kubelet."""

    def __init__(self, cluster: FakeCluster, settings: BuildSettings) -> None:
        self.cluster = cluster
        self.said: list[str] = []
        builder = KanikoBuilder(cluster, settings, SystemClock())
        self.task = asyncio.create_task(
            builder.build(ORDER, lambda: io.BytesIO(b"context"), self.said.append)
        )

    async def pod(self, other_than: str = "") -> ObjectRef:
        def there() -> bool:
            return any(self._names(other_than))

        await self.until(there)
        return ObjectRef("v1", "Pod", self._names(other_than)[0], "default")

    def _names(self, other_than: str) -> list[str]:
        names = [str(one["metadata"]["name"]) for one in self.cluster.objects("Pod")]
        return [name for name in names if name != other_than]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true() and not self.task.done():  # noqa: ASYNC110 (a fake tells nothing)
                await asyncio.sleep(0.002)

    def log(self, ref: ObjectRef, *lines: str) -> None:
        self.cluster.log_lines[ref.namespace, ref.name, "kaniko"] = list(lines)

    async def fed(self, ref: ObjectRef) -> bytes:
        key = (ref.namespace, ref.name, "kaniko")
        await self.until(lambda: key in self.cluster.fed)
        return self.cluster.fed.get(key, b"")


@asynccontextmanager
async def playing(cluster: FakeCluster | None = None, **changes: Any) -> AsyncIterator[Play]:
    play = Play(cluster or FakeCluster(), replace(SETTINGS, **changes))
    try:
        yield play
    finally:
        play.task.cancel()
        await asyncio.gather(play.task, return_exceptions=True)
        assert play.cluster.objects("Pod") == ()


@pytest.mark.parametrize("code", [0, 1, 64])
async def test_row_45_a_build_ends_with_the_tools_exit_code_and_log(code: int) -> None:
    async with playing() as play:
        pod = await play.pod()
        play.log(pod, "INFO one", "INFO two")
        play.cluster.set_status(pod, RUNNING)
        assert await play.fed(pod) == b"context"
        play.cluster.set_status(pod, ended(code))
        assert await play.task == code
    assert play.said[1:] == ["INFO one", "INFO two"]
    assert pod.name in play.said[0]


async def test_a_build_that_ends_before_it_is_seen_running_counts() -> None:
    async with playing() as play:
        pod = await play.pod()
        play.log(pod, "error: unknown flag")
        play.cluster.set_status(pod, ended(64))
        assert await play.task == 64
    assert play.said[-1] == "error: unknown flag"


async def test_a_build_without_memory_says_so() -> None:
    async with playing() as play:
        pod = await play.pod()
        play.cluster.set_status(pod, RUNNING)
        play.cluster.set_status(pod, ended(137, "OOMKilled"))
        assert await play.task == 137
    assert "memory" in play.said[-1]


async def test_an_image_that_cannot_be_pulled_ends_the_build_after_a_while() -> None:
    async with playing(starting=0.2) as play:
        pod = await play.pod()
        play.cluster.set_status(pod, waiting("ErrImagePull", "no such image"))
        play.cluster.set_status(pod, waiting("ImagePullBackOff", "Back-off pulling"))
        assert await play.task == 125
    assert "ErrImagePull: no such image" in play.said[1]
    assert play.said[-1].endswith("its pod does not start: ImagePullBackOff: Back-off pulling")


async def test_an_image_name_that_is_none_ends_the_build_at_once() -> None:
    async with playing(starting=3600.0, scheduling=3600.0) as play:
        pod = await play.pod()
        play.cluster.set_status(pod, waiting("InvalidImageName", "couldn't parse"))
        assert await play.task == 125


async def test_a_pod_that_no_node_takes_ends_the_build_after_a_while() -> None:
    async with playing(scheduling=0.2) as play:
        pod = await play.pod()
        told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        play.cluster.set_status(pod, {"phase": "Pending", "conditions": [told]})
        assert await play.task == 125
    assert "waits for a node: Unschedulable" in play.said[-1]


async def test_a_pod_that_hangs_tells_what_the_cluster_complained_of() -> None:
    async with playing(scheduling=0.2) as play:
        pod = await play.pod()
        play.cluster.put(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": "e", "namespace": "default"},
                "type": "Warning",
                "involvedObject": {"name": pod.name},
                "message": "failed to set up the\n network",
            }
        )
        assert await play.task == 125
    assert play.said[-1].endswith("failed to set up the network")


async def test_a_pod_that_somebody_deletes_ends_the_build() -> None:
    async with playing() as play:
        pod = await play.pod()
        play.cluster.set_status(pod, RUNNING)
        await play.fed(pod)
        play.cluster.remove(pod)
        assert await play.task == 125
    assert "somebody deleted" in play.said[-1]


async def test_a_build_has_a_time_limit() -> None:
    async with playing(limit=0.3) as play:
        play.cluster.set_status(await play.pod(), RUNNING)
        assert await play.task == 124
    assert "longer than" in play.said[-1]


async def test_a_cluster_that_is_away_for_a_while_is_waited_for() -> None:
    async with playing() as play:
        pod = await play.pod()
        play.cluster.set_status(pod, RUNNING)
        await play.fed(pod)
        play.cluster.go_away()
        await play.until(lambda: any("does not answer" in line for line in play.said))
        play.cluster.come_back()
        play.cluster.set_status(pod, ended(0))
        assert await play.task == 0


class Broken(FakeCluster):
    """Connections to containers break, `breaks` times."""

    breaks = 1

    async def feed(self, *args: Any, **more: Any) -> None:
        if self.breaks:
            self.breaks -= 1
            raise UnreachableError("Cannot write: it broke", transient=True)
        await super().feed(*args, **more)


async def test_a_context_that_broke_off_is_handed_over_to_another_pod(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kindling.agent.kaniko._FEED_GRACE", 0.1)
    async with playing(Broken()) as play:
        first = await play.pod()
        play.cluster.set_status(first, RUNNING)
        second = await play.pod(other_than=first.name)
        play.cluster.set_status(second, RUNNING)
        assert await play.fed(second) == b"context"
        play.cluster.set_status(second, ended(0))
        assert await play.task == 0
    assert any("trying again" in line for line in play.said)


async def test_a_tool_that_ends_before_it_has_read_all_is_believed() -> None:
    """Its own exit code says more than the broken connection does."""
    async with playing(Broken()) as play:
        pod = await play.pod()
        play.cluster.set_status(pod, RUNNING)
        await play.until(lambda: not play.cluster.__dict__.get("breaks", 1))
        play.cluster.set_status(pod, ended(64))
        assert await play.task == 64


async def test_a_cluster_that_refuses_is_an_error() -> None:
    class Refusing(FakeCluster):
        async def create(self, *_: Any, **__: Any) -> Any:
            raise ClusterError("pods is forbidden")

    async with playing(Refusing()) as play:
        with pytest.raises(ClusterError, match="forbidden"):
            await play.task


async def test_cancelling_deletes_the_pod() -> None:
    async with playing() as play:
        play.cluster.set_status(await play.pod(), RUNNING)
        play.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await play.task
        assert play.cluster.objects("Pod") == ()


async def test_row_49_pods_of_an_earlier_agent_are_deleted_and_no_others() -> None:
    cluster = FakeCluster()
    for name, agent in (("mine", "runner-x"), ("theirs", "runner-y")):
        labels = {"kindling.dev/build-agent": agent}
        head = {"name": name, "namespace": "default", "labels": labels}
        cluster.put({"apiVersion": "v1", "kind": "Pod", "metadata": head})
    assert await KanikoBuilder(cluster, SETTINGS, SystemClock()).sweep() == 1
    assert [one["metadata"]["name"] for one in cluster.objects("Pod")] == ["theirs"]
