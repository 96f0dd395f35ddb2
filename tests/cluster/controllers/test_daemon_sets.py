"""DaemonSets on a cluster of one node."""

from __future__ import annotations

from typing import Any

from kindling.cluster.controllers.kinds import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS
from kindling.cluster.model.api import Obj
from tests.cluster.controllers.bed import Bed, template


def daemon_set(**spec: Any) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": template(app="agent"),
            **spec,
        },
    }


def image(image: str) -> Obj:
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}


async def test_one_pod_runs_on_the_node_even_if_it_is_cordoned(bed: Bed) -> None:
    await bed.patch(NODES, "node", {"spec": {"unschedulable": True}})
    await bed.create(DAEMON_SETS, daemon_set())
    (pod,) = bed.pods()
    assert pod["spec"]["nodeName"] == "node"
    keys = {one["key"].removeprefix("node.kubernetes.io/") for one in pod["spec"]["tolerations"]}
    assert keys >= {
        "not-ready",
        "unreachable",
        "disk-pressure",
        "memory-pressure",
        "pid-pressure",
        "unschedulable",
    }
    assert bed.get(DAEMON_SETS, "agent")["status"] == {
        "currentNumberScheduled": 1,
        "desiredNumberScheduled": 1,
        "numberMisscheduled": 0,
        "numberReady": 1,
        "numberAvailable": 1,
        "updatedNumberScheduled": 1,
        "observedGeneration": 1,
    }


async def test_an_update_replaces_the_pod_and_keeps_its_history(bed: Bed) -> None:
    await bed.create(DAEMON_SETS, daemon_set())
    await bed.patch(DAEMON_SETS, "agent", image("app:2"))
    (pod,) = bed.pods()
    assert pod["spec"]["containers"][0]["image"] == "app:2"
    assert sorted(one["revision"] for one in bed.all(CONTROLLER_REVISIONS)) == [1, 2]


async def test_a_surge_brings_the_new_pod_before_the_old_one_goes(bed: Bed) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    await bed.create(DAEMON_SETS, daemon_set(updateStrategy=strategy))
    bed.node.verdict = lambda pod: (
        "running" if pod["spec"]["containers"][0]["image"] == "app:2" else "ready"
    )
    await bed.patch(DAEMON_SETS, "agent", image("app:2"))
    assert len(bed.pods()) == 2
    bed.node.verdict = lambda _: "ready"
    await bed.node_looks_again()
    (pod,) = bed.pods()
    assert pod["spec"]["containers"][0]["image"] == "app:2"


async def test_on_delete_waits_for_the_user(bed: Bed) -> None:
    await bed.create(DAEMON_SETS, daemon_set(updateStrategy={"type": "OnDelete"}))
    await bed.patch(DAEMON_SETS, "agent", image("app:2"))
    (pod,) = bed.pods()
    assert pod["spec"]["containers"][0]["image"] == "app:1"
    await bed.delete(PODS, pod["metadata"]["name"])
    (pod,) = bed.pods()
    assert pod["spec"]["containers"][0]["image"] == "app:2"


async def test_a_node_that_does_not_match_gets_none_and_loses_what_it_has(bed: Bed) -> None:
    await bed.create(
        DAEMON_SETS, daemon_set(template=template(app="agent", nodeSelector={"a": "b"}))
    )
    assert bed.pods() == []
    await bed.patch(NODES, "node", {"metadata": {"labels": {"a": "b"}}})
    assert len(bed.pods()) == 1
    await bed.patch(NODES, "node", {"metadata": {"labels": {"a": None}}})
    assert bed.pods() == []


async def test_a_failed_pod_is_replaced(bed: Bed) -> None:
    await bed.create(DAEMON_SETS, daemon_set())
    (pod,) = bed.pods()
    await bed.set_pod(pod["metadata"]["name"], "failed")
    (other,) = bed.pods()
    assert other["metadata"]["name"] != pod["metadata"]["name"]
