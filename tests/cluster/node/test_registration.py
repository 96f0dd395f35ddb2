"""The Node object and its Lease."""

from __future__ import annotations

from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import builtin
from kindling.cluster.node.registration import RENEW_SECONDS
from tests.cluster.node.bed import NODE, Bed

NODES, LEASES = builtin("nodes"), builtin("leases", "coordination.k8s.io")


def node(bed: Bed) -> Obj:
    found = bed.api.get(NODES, NODE)
    assert found is not None
    return found


def conditions(obj: Obj) -> dict[str, Any]:
    return {one["type"]: one for one in obj["status"]["conditions"]}


async def test_the_node_says_what_it_is(bed: Bed) -> None:
    obj = node(bed)
    assert obj["metadata"]["labels"]["kubernetes.io/hostname"] == NODE
    assert obj["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] == ""
    found = conditions(obj)
    assert found["Ready"]["status"] == "True"
    assert found["MemoryPressure"]["status"] == "False"
    assert found["kindling.dev/Isolation"]["status"] == "True"
    status = obj["status"]
    assert status["nodeInfo"]["kubeletVersion"] == "v1.32.0+kindling"
    assert status["nodeInfo"]["containerRuntimeVersion"].startswith("kindling://")
    assert status["capacity"]["pods"] == "110"
    assert status["addresses"][0] == {"type": "InternalIP", "address": "10.199.0.1"}


async def test_missing_isolation_is_named(bed: Bed) -> None:
    import dataclasses

    bed.fake.isolation = dataclasses.replace(
        bed.fake.isolation, memory=False, missing=("memory: no cgroup v2",)
    )
    bed.node.images_changed()
    await bed.until(lambda: conditions(node(bed))["kindling.dev/Isolation"]["status"] == "False")
    condition = conditions(node(bed))["kindling.dev/Isolation"]
    assert condition["message"] == "memory: no cgroup v2"


async def test_an_idle_node_writes_its_lease_and_nothing_else(bed: Bed) -> None:
    await bed.pod()
    await bed.running()
    await bed.until(lambda: bed.api.get(LEASES, NODE, "kube-node-lease"))
    await bed.clock.advance(1)
    before = bed.api.revision
    await bed.clock.advance(RENEW_SECONDS - 2)
    assert bed.api.revision == before
    await bed.clock.advance(RENEW_SECONDS * 10)
    assert bed.api.revision - before <= 11


async def test_what_others_put_on_the_node_stays(bed: Bed) -> None:
    obj = node(bed)
    changed = obj | {
        "metadata": obj["metadata"] | {"labels": obj["metadata"]["labels"] | {"mine": "1"}},
        "spec": {"unschedulable": True},
    }
    await bed.api.update(NODES, changed)
    await bed.crash()
    assert node(bed)["metadata"]["labels"]["mine"] == "1"
    assert node(bed)["spec"]["unschedulable"] is True


async def test_a_pod_costs_few_writes(bed: Bed) -> None:
    """After its creation one, that it runs, one, that it is ready, and nothing afterwards."""
    await bed.clock.advance(1)
    watch = bed.api.watch([builtin("pods")])
    await bed.pod()
    await bed.running()
    await bed.clock.advance(60)
    versions = [bed.get()["metadata"]["resourceVersion"]]
    writes = 0
    async for change in watch:
        writes += 1
        if change.object["metadata"]["resourceVersion"] == versions[0]:
            break
    assert writes <= 3
