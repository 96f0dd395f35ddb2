"""The life of a pod, from its binding to its end."""

from __future__ import annotations

from tests.cluster.node.bed import Bed


async def test_a_bound_pod_runs_and_is_ready(bed: Bed) -> None:
    await bed.pod()
    await bed.running()
    await bed.clock.advance(0.5)
    await bed.until(lambda: bed.entry()["ready"])
    status = bed.status()
    assert status["phase"] == "Running"
    assert {one["type"]: one["status"] for one in status["conditions"]} == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "True",
        "ContainersReady": "True",
        "PodScheduled": "True",
    }
    entry = bed.entry()
    assert entry["ready"]
    assert entry["started"]
    assert entry["containerID"].startswith("kindling://")
    assert status["podIP"].startswith("10.199.")
    assert status["hostIP"] == "10.199.0.1"
    await bed.told("Started", "Started container main")
    assert [reason for reason, _ in bed.events()] == ["Pulled", "Created", "Started"]
