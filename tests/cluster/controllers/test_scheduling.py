"""Pods go to the node, or are told why not, in the words of the real scheduler."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.cluster.controllers.fit import misfits
from kindling.cluster.controllers.kinds import NODES, PODS
from kindling.cluster.controllers.meta import condition
from kindling.cluster.controllers.occupancy import Occupancy
from kindling.cluster.controllers.quantities import parse_quantity, requests_of
from kindling.cluster.model.api import Obj
from tests.cluster.controllers.bed import Bed, node_obj, pod_obj

HOPELESS = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
FULL = "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."


def asking(cpu: str = "", memory: str = "") -> list[Obj]:
    asked = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    return [{"name": "main", "image": "app:1", "resources": {"requests": asked}}]


def verdict(bed: Bed, name: str) -> tuple[str, str, str]:
    found = condition(bed.get(PODS, name)["status"], "PodScheduled")
    assert found is not None
    return found["status"], found.get("reason", ""), found.get("message", "")


async def test_a_bound_pod_says_so(bed: Bed) -> None:
    await bed.create(PODS, pod_obj())
    assert bed.get(PODS, "one")["spec"]["nodeName"] == "node"
    assert verdict(bed, "one") == ("True", "", "")
    assert bed.events("Scheduled") == ["Successfully assigned default/one to node"]


async def test_a_pod_that_does_not_fit_waits_and_goes_when_there_is_room(bed: Bed) -> None:
    await bed.create(PODS, pod_obj("big", containers=asking("3")))
    await bed.create(PODS, pod_obj("more", containers=asking("2", "1Gi")))
    message = f"0/1 nodes are available: 1 Insufficient cpu. {FULL}"
    assert verdict(bed, "more") == ("False", "Unschedulable", message)
    assert bed.events("FailedScheduling") == [message]
    await bed.delete(PODS, "big")
    assert verdict(bed, "more")[0] == "True"


async def test_a_pod_that_ended_needs_no_room(bed: Bed) -> None:
    await bed.create(PODS, pod_obj("big", containers=asking("3")))
    await bed.create(PODS, pod_obj("more", containers=asking("2")))
    await bed.set_pod("big", "succeeded")
    assert verdict(bed, "more")[0] == "True"


async def test_a_cordoned_node_takes_none_until_it_is_uncordoned(bed: Bed) -> None:
    await bed.patch(NODES, "node", {"spec": {"unschedulable": True}})
    taints = bed.get(NODES, "node")["spec"]["taints"]
    assert [(one["key"], one["effect"]) for one in taints] == [
        ("node.kubernetes.io/unschedulable", "NoSchedule")
    ]
    await bed.create(PODS, pod_obj())
    assert verdict(bed, "one")[2] == (
        f"0/1 nodes are available: 1 node(s) were unschedulable. {HOPELESS}"
    )
    await bed.patch(NODES, "node", {"spec": {"unschedulable": None}})
    assert verdict(bed, "one")[0] == "True"
    assert len(bed.events("FailedScheduling")) == 1
    assert "taints" not in bed.get(NODES, "node")["spec"]


async def test_gates_hold_a_pod_back(bed: Bed) -> None:
    await bed.create(PODS, pod_obj(schedulingGates=[{"name": "example.com/later"}]))
    assert verdict(bed, "one")[:2] == ("False", "SchedulingGated")
    await bed.patch(PODS, "one", {"spec": {"schedulingGates": []}})
    assert verdict(bed, "one")[0] == "True"


async def test_without_a_node_pods_wait_for_one(bed: Bed) -> None:
    await bed.delete(NODES, "node")
    await bed.create(PODS, pod_obj())
    assert verdict(bed, "one")[2] == "no nodes available to schedule pods"
    await bed.create(NODES, node_obj())
    assert verdict(bed, "one")[0] == "True"


async def test_a_missing_claim_is_named(bed: Bed) -> None:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "lost"}}
    await bed.create(PODS, pod_obj(volumes=[volume]))
    assert verdict(bed, "one")[2] == (
        f'0/1 nodes are available: persistentvolumeclaim "lost" not found. {HOPELESS}'
    )


async def test_other_schedulers_pods_are_left_to_them(bed: Bed) -> None:
    await bed.create(PODS, pod_obj(schedulerName="mine"))
    assert "nodeName" not in bed.get(PODS, "one")["spec"]


async def test_an_untolerated_no_execute_taint_evicts(bed: Bed) -> None:
    await bed.create(PODS, pod_obj("short"))
    stays = {"key": "gone", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    await bed.create(PODS, pod_obj("long", tolerations=[stays]))
    taint = {"key": "gone", "effect": "NoExecute"}
    await bed.patch(NODES, "node", {"spec": {"taints": [taint]}})
    assert [pod["metadata"]["name"] for pod in bed.pods()] == ["long"]
    await bed.advance(61)
    assert bed.pods() == []


@pytest.mark.parametrize(
    ("pod", "node", "told"),
    [
        ({"nodeSelector": {"a": "b"}}, {}, "node(s) didn't match Pod's node affinity/selector"),
        (
            {},
            {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]},
            "node(s) had untolerated taint {k: v}",
        ),
        ({}, {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}, ""),
        (
            {"tolerations": [{"key": "k", "operator": "Exists"}]},
            {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]},
            "",
        ),
        ({"containers": asking(memory="9Gi")}, {}, "Insufficient memory"),
        ({"containers": asking("4", "8Gi")}, {}, ""),
    ],
)
def test_the_first_objection_decides(pod: Obj, node: Obj, told: str) -> None:
    found = misfits(pod_obj(**pod), node_obj(**node), Occupancy())
    assert ", ".join(one.reason for one in found) == told


def affinity(kind: str) -> dict[str, Any]:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def test_pods_that_must_be_apart_or_together() -> None:
    there = Occupancy([pod_obj("there", labels={"a": "b"})])
    apart = pod_obj(affinity=affinity("podAntiAffinity"))
    together = pod_obj(affinity=affinity("podAffinity"))
    (misfit,) = misfits(apart, node_obj(), there)
    assert misfit.reason == "node(s) didn't match pod anti-affinity rules"
    assert misfits(apart, node_obj(), Occupancy()) == []
    assert misfits(together, node_obj(), there) == []
    (misfit,) = misfits(together, node_obj(), Occupancy())
    assert misfit.reason == "node(s) didn't match pod affinity rules"


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", "0.5"), ("1Gi", "1073741824"), ("2", "2"), ("1e3", "1000"), ("5k", "5000")],
)
def test_quantities(text: str, value: str) -> None:
    from decimal import Decimal

    assert parse_quantity(text) == Decimal(value)


def test_init_containers_count_as_far_as_they_need_more() -> None:
    init = [
        {"name": "a", "resources": {"requests": {"cpu": "3"}}},
        {"name": "b", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}},
    ]
    pod = pod_obj(containers=asking("1"), initContainers=init)
    assert requests_of(pod)["cpu"] == 3
