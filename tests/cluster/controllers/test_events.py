"""Events are counted, combined, held to a rate, and forgotten."""

from __future__ import annotations

from kindling.cluster.controllers.kinds import EVENTS, PODS
from kindling.cluster.events import EventSink
from tests.cluster.controllers.bed import Bed, pod_obj


async def test_a_repetition_is_a_count_on_one_event(bed: Bed) -> None:
    pod = await bed.create(PODS, pod_obj(schedulerName="none"))
    recorder = bed.controllers.events.recorder("kubelet", "node")
    recorder.warning(pod, "BackOff", "Back-off restarting failed container")
    await bed.advance(30)
    recorder.warning(pod, "BackOff", "Back-off restarting failed container")
    await bed.settle()
    (event,) = [one for one in bed.all(EVENTS) if one["reason"] == "BackOff"]
    assert event["count"] == 2
    assert event["firstTimestamp"] == "2023-11-14T22:13:20Z"
    assert event["lastTimestamp"] == "2023-11-14T22:13:50Z"
    assert event["source"] == {"component": "kubelet", "host": "node"}
    assert event["involvedObject"]["uid"] == pod["metadata"]["uid"]
    name, _, digits = event["metadata"]["name"].rpartition(".")
    assert (name, len(digits)) == ("one", 16)
    await bed.advance(3599)
    assert len(bed.events("BackOff")) == 1
    await bed.advance(2)
    assert bed.events("BackOff") == []


async def test_a_flood_of_similar_ones_is_combined_and_held_back(bed: Bed) -> None:
    pod = await bed.create(PODS, pod_obj(schedulerName="none"))
    recorder = bed.controllers.events.recorder("kubelet")
    for number in range(100):
        recorder.warning(pod, "Failed", f"attempt {number}")
    await bed.settle()
    told = bed.events("Failed")
    assert len(told) == 10
    assert told[-1].startswith("(combined from similar events): ")
    (last,) = [one for one in bed.all(EVENTS) if one["message"].startswith("(combined")]
    assert last["count"] == 25 - 9


async def test_an_event_that_cannot_be_written_is_dropped(bed: Bed) -> None:
    sink: EventSink = bed.controllers.events
    nowhere = {"kind": "Pod", "name": "x", "namespace": "no-such-namespace"}
    sink.recorder("kubelet").normal(nowhere, "Started", "Started container")
    sink.recorder("kubelet").normal(
        {"kind": "Node", "name": "node"}, "Starting", "Starting kubelet."
    )
    await bed.settle()
    assert bed.events("Starting") == ["Starting kubelet."]
