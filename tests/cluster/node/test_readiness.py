"""When a container without a readiness probe is ready: if it is to stay, not before it has been up
for a moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kindling.cluster.controllers.manager import Controllers
from kindling.cluster.model.api import Obj, Selection
from kindling.cluster.model.resource import builtin
from kindling.cluster.node.clock import sleep
from kindling.cluster.runtime.fake import FakeProcess
from kindling.cluster.schema.catalog import Catalog
from tests.cluster.node.bed import PODS, Bed, FakeClock, forever

DEPLOYMENTS = builtin("deployments", "apps")
ALIVE = {"livenessProbe": {"exec": {"command": ["health"]}, "periodSeconds": 1}}


async def statuses(bed: Bed, seconds: float) -> list[tuple[str, bool]]:
    """State and readiness of `main` in every write of the time that passes."""
    watch = bed.api.watch([PODS])
    await bed.clock.advance(seconds)
    last = bed.get()["metadata"]["resourceVersion"]
    told: list[tuple[str, bool]] = []
    async for change in watch:
        for one in (change.object.get("status") or {}).get("containerStatuses") or ():
            if one["name"] == "main":
                told.append((next(iter(one["state"])), one["ready"]))
        if change.object["metadata"]["resourceVersion"] == last:
            break
    return told


async def test_it_runs_at_once_and_is_ready_half_a_second_later(bed: Bed) -> None:
    await bed.pod()
    await bed.running()
    assert bed.entry()["started"]
    assert bed.status()["phase"] == "Running"
    ready = bed.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")
    await bed.clock.advance(0.49)
    assert not bed.entry()["ready"]
    await bed.clock.advance(0.01)
    await bed.until(lambda: bed.entry()["ready"])
    assert bed.condition("Ready")["status"] == "True"


@pytest.mark.parametrize("program", ["true", "false"])
async def test_one_that_ends_at_once_never_is_ready(bed: Bed, program: str) -> None:
    await bed.pod(containers=[{"command": [program]}])
    told = await statuses(bed, 700)
    assert bed.entry()["restartCount"] > 4
    assert ("waiting", False) in told
    assert not [state for state, ready in told if ready]


async def test_one_that_ends_before_its_time_was_never_ready(bed: Bed) -> None:
    async def brief(_process: FakeProcess) -> int:
        await sleep(bed.clock, 0.4)
        return 1

    bed.fake.programs["brief"] = brief
    await bed.pod(containers=[{"command": ["brief"]}])
    told = await statuses(bed, 60)
    assert bed.entry()["restartCount"] > 2
    assert ("running", False) in told
    assert not [state for state, ready in told if ready]


async def test_every_run_counts_anew(bed: Bed) -> None:
    await bed.pod()
    await bed.running()
    await bed.clock.advance(0.4)
    bed.process().exit(1)
    await bed.running(restarts=1)
    await bed.clock.advance(0.4)
    assert not bed.entry()["ready"]
    await bed.clock.advance(0.1)
    await bed.until(lambda: bed.entry()["ready"])
    bed.process().exit(1)
    await bed.clock.advance(10)
    await bed.running(restarts=2)
    assert not bed.entry()["ready"]


async def test_one_that_is_stopped_in_that_time_does_not_become_ready(bed: Bed) -> None:
    await bed.pod()
    await bed.running()
    bed.process().traps.add(15)
    await bed.delete()
    await bed.clock.advance(5)
    assert "running" in bed.entry()["state"]
    assert not bed.entry()["ready"]


async def test_a_slow_start_has_waited_enough(bed: Bed) -> None:
    """The time counts from the start of the container, not from the end of its startup probe."""
    code = 1

    async def health(_process: FakeProcess) -> int:
        return code

    bed.fake.programs["health"] = health
    probe = {"exec": {"command": ["health"]}, "periodSeconds": 1, "failureThreshold": 9}
    await bed.pod(containers=[{"startupProbe": probe}])
    await bed.running()
    await bed.clock.advance(1.5)
    assert not bed.entry()["started"]
    code = 0
    told = await statuses(bed, 0.5)
    assert bed.entry()["started"]
    assert told[-1] == ("running", True)
    assert len(told) == 1


@pytest.mark.parametrize("policy", ["Never", "OnFailure"])
async def test_one_that_runs_to_an_end_is_ready_at_once(bed: Bed, policy: str) -> None:
    """It replaces none, and `kubectl run --attach` waits for it."""
    await bed.pod(restartPolicy=policy)
    await bed.until(lambda: bed.entry().get("ready"))
    assert bed.condition("Ready")["status"] == "True"


async def test_liveness_does_not_wait_for_it(bed: Bed) -> None:
    asked: list[float] = []

    async def health(_process: FakeProcess) -> int:
        asked.append(bed.clock.now)
        return 0

    bed.fake.programs["health"] = health
    began = bed.clock.now
    await bed.pod(containers=[ALIVE])
    await bed.running()
    await bed.until(lambda: asked)
    assert asked[0] == began


async def test_a_sidecar_lets_the_others_start_at_once(bed: Bed) -> None:
    await bed.pod(initContainers=[{"restartPolicy": "Always"}])
    await bed.running("init0")
    await bed.running()
    assert bed.entry("init0")["started"]
    assert not bed.entry("init0")["ready"]
    await bed.clock.advance(0.5)
    await bed.until(lambda: bed.condition("Ready")["status"] == "True")
    assert bed.entry("init0")["ready"]


class ControllersClock:
    """The node's clock, for controllers."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def time(self) -> float:
        return self._clock.time()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await sleep(self._clock, seconds)


@contextlib.asynccontextmanager
async def controlled(folder: Path) -> AsyncIterator[Bed]:
    """A node and all controllers, on one clock."""
    bed = Bed(folder, schemas=Catalog())
    await bed.open()
    controllers = Controllers(bed.api, clock=ControllersClock(bed.clock), authority="PEM")
    running = asyncio.create_task(controllers.run(), name="controllers")
    try:
        yield bed
    finally:
        running.cancel()
        (result,) = await asyncio.gather(running, return_exceptions=True)
        await bed.close()
        if isinstance(result, Exception):
            raise result


async def test_what_serves_stays_while_a_new_revision_crashes_at_once(tmp_path: Path) -> None:
    async with controlled(tmp_path) as bed:
        bed.fake.programs["serve"] = forever

        def running() -> list[Obj]:
            return [one for one in bed.api.select(PODS, Selection()) if ready(one)]

        main = {"name": "main", "image": "app:1", "command": ["serve"]}
        template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [main]}}
        selector = {"matchLabels": {"app": "web"}}
        await bed.create(
            "deployments",
            "web",
            "apps",
            spec={"replicas": 1, "selector": selector, "template": template},
        )
        await bed.clock.advance(1)
        await bed.until(running)
        (old,) = running()
        change = {"spec": {"template": {"spec": {"containers": [main | {"command": ["false"]}]}}}}
        watch = bed.api.watch([PODS])
        await bed.api.patch(DEPLOYMENTS, "web", change, "default")
        await bed.clock.advance(120)
        found = {one["metadata"]["name"]: one for one in bed.api.select(PODS, Selection())}
        (new,) = (pod for name, pod in found.items() if name != old["metadata"]["name"])
        assert new["status"]["containerStatuses"][0]["restartCount"] > 2
        assert running() == [old]
        assert not found[old["metadata"]["name"]]["metadata"].get("deletionTimestamp")
        async for change_seen in watch:
            seen = change_seen.object["metadata"]
            assert seen["name"] == new["metadata"]["name"]
            assert not ready(change_seen.object)
            if seen["resourceVersion"] == new["metadata"]["resourceVersion"]:
                break
        # And once it does not crash any more, it takes over.
        bed.fake.programs["false"] = forever
        await bed.clock.advance(400)
        await bed.until(lambda: [one["metadata"]["name"] for one in running()] != [])
        assert [one["metadata"]["name"] for one in running()] == [new["metadata"]["name"]]


def ready(pod: Obj) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
