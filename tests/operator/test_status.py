"""How an environment stands: conditions that say why, and turn back."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.operator.credentials import Known
from kindling.operator.desired import desired
from kindling.operator.status import World, status_of
from tests.operator.manifests import Obj, environment, refusals

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
GOOD = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
FULL: dict[str, Any] = {
    "ingress": {"enabled": True, "host": "shop.localhost", "ingressClassName": "traefik"},
    "dependencies": [{"type": "postgres"}, {"type": "redis"}],
}


def live(obj: Obj, **statuses: Obj) -> tuple[Obj, ...]:
    """The children of an environment as a cluster holds them; statuses are those of Deployments,
    with `_` for `-` in their names."""
    made = desired(obj, Known(), lambda size: b"\x01" * size)
    result = []
    for one in made.objects:
        head = one["metadata"] | {"generation": 1}
        status: Obj = {}
        if one["kind"] == "Deployment":
            status = statuses.get(head["name"].replace("-", "_"), GOOD)
        result.append(one | {"metadata": head, "status": status})
    return tuple(result)


def pod(labels: Obj, name: str = "shop", *, init: bool = False, **state: Any) -> Obj:
    key = "initContainerStatuses" if init else "containerStatuses"
    return {
        "kind": "Pod",
        "metadata": {"labels": labels},
        "status": {key: [{"name": name} | state]},
    }


def conditions(status: Obj) -> dict[str, tuple[str, str, str]]:
    return {
        one["type"]: (one["status"], one["reason"], one["message"]) for one in status["conditions"]
    }


def told(obj: Obj, world: World, sort: str = "Ready") -> tuple[str, str, str]:
    return conditions(status_of(obj, world, (), NOW))[sort]


def test_ready_when_all_parts_are() -> None:
    """Row 36, with upstream's fields and reason."""
    obj = environment(**FULL)
    status = status_of(obj, World(live(obj)), (), NOW)
    flags = {key: value for key, value in status.items() if key != "conditions"}
    assert flags == {
        "availableReplicas": 1,
        "deploymentReady": True,
        "serviceReady": True,
        "ingressReady": True,
        "dependenciesReady": True,
        "url": "http://shop.localhost/",
        "observedGeneration": 3,
    }
    assert conditions(status)["Ready"] == ("True", "AllResourcesReady", "everything is ready")
    assert refusals(obj | {"status": status}) == []


def test_an_unchanged_world_gives_the_status_that_is_there() -> None:
    """So it is not written again; a condition that turns says when."""
    obj = environment(**FULL)
    world = World(live(obj))
    obj["status"] = status_of(obj, world, (), NOW)
    assert status_of(obj, world, (), LATER) == obj["status"]
    worse = status_of(obj, World(live(obj, shop={"observedGeneration": 1})), (), LATER)
    times = {one["type"]: one["lastTransitionTime"] for one in worse["conditions"]}
    assert times["Ready"] == times["DeploymentReady"] == LATER
    assert times["ServiceReady"] == NOW
    obj["status"] = worse
    assert status_of(obj, world, (), NOW)["deploymentReady"] is True


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({}, "Progressing"),
        ({**GOOD, "observedGeneration": 0}, "Progressing"),
        ({**GOOD, "updatedReplicas": 0}, "Progressing"),
        ({**GOOD, "availableReplicas": 0}, "Progressing"),
        ({**GOOD, "replicas": 2}, "Progressing"),
        (
            {
                "observedGeneration": 1,
                "conditions": [
                    {
                        "type": "Progressing",
                        "status": "False",
                        "reason": "ProgressDeadlineExceeded",
                        "message": "too long",
                    }
                ],
            },
            "ProgressDeadlineExceeded",
        ),
        (
            {
                "observedGeneration": 1,
                "conditions": [
                    {"type": "ReplicaFailure", "status": "True", "message": "quota"},
                ],
            },
            "ReplicaFailure",
        ),
    ],
)
def test_a_roll_out_that_is_not_over_is_not_ready(status: Obj, reason: str) -> None:
    obj = environment()
    assert told(obj, World(live(obj, shop=status)), "DeploymentReady")[1] == reason
    assert told(obj, World(live(obj, shop=status)))[1] == "ResourcesNotReady"


def test_a_crash_loop_is_named_with_what_was_said_last() -> None:
    obj = environment()
    children = live(obj, shop={"observedGeneration": 1})
    labels = children[1]["spec"]["selector"]["matchLabels"]
    crashed = pod(
        labels,
        state={"waiting": {"reason": "CrashLoopBackOff"}},
        lastState={"terminated": {"exitCode": 3, "message": "no database\n"}},
    )
    status = told(obj, World(children, (crashed,)), "DeploymentReady")
    message = "`shop`: shop: CrashLoopBackOff, exit 3, no database"
    assert status == ("False", "CrashLoopBackOff", message)
    gone = {**crashed, "metadata": {"labels": labels, "deletionTimestamp": NOW}}
    assert told(obj, World(children, (gone,)), "DeploymentReady")[1] == "Progressing"
    other = pod({"app": "other"}, state={"waiting": {"reason": "ErrImagePull"}})
    assert told(obj, World(children, (other,)), "DeploymentReady")[1] == "Progressing"


def test_a_wait_is_visible_and_so_is_its_end() -> None:
    """Row 30."""
    obj = environment(dependencies=[{"type": "redis"}])
    children = live(obj, shop={"observedGeneration": 1})
    labels = children[-1]["spec"]["selector"]["matchLabels"]
    waiting = pod(labels, "wait-for-redis", init=True, state={"running": {}})
    status = told(obj, World(children, (waiting,)), "DeploymentReady")
    assert status[1:] == ("WaitingForDependency", "`shop`: wait-for-redis is waiting")
    over = {"terminated": {"exitCode": 1, "message": "shop-redis:6379 did not open within 300 s"}}
    for state in ({"state": over}, {"state": {"waiting": {"reason": "X"}}, "lastState": over}):
        failed = pod(labels, "wait-for-redis", init=True, **state)
        status = told(obj, World(children, (failed,)), "DeploymentReady")
        assert "shop-redis:6379 did not open within 300 s" in status[2]


def test_a_pod_without_a_node_says_why() -> None:
    obj = environment()
    children = live(obj, shop={"observedGeneration": 1})
    labels = children[1]["spec"]["selector"]["matchLabels"]
    lost = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full"}
    nowhere = {"kind": "Pod", "metadata": {"labels": labels}, "status": {"conditions": [lost]}}
    status = told(obj, World(children, (nowhere,)), "DeploymentReady")
    assert status == ("False", "Unschedulable", "`shop`: full")


def test_a_missing_child_is_named() -> None:
    obj = environment(**FULL)
    children = live(obj)
    for index, child in enumerate(children):
        world = World(children[:index] + children[index + 1 :])
        _, reason, message = told(obj, world)
        assert reason == "ResourcesNotReady"
        assert f"the {child['kind']} `{child['metadata']['name']}` is not there" in message


def test_a_dependency_that_is_not_ready_is_named() -> None:
    obj = environment(**FULL)
    world = World(live(obj, shop_redis={"observedGeneration": 1}))
    status = status_of(obj, world, (), NOW)
    assert status["dependenciesReady"] is False
    assert "0 of 1 pods of `shop-redis`" in conditions(status)["DependenciesReady"][2]
    assert status["deploymentReady"] is True


def test_an_address_is_waited_for_where_one_can_come() -> None:
    """`ingressReady` counts, unless there is nobody to serve the class."""
    obj = environment(**FULL)
    children = live(obj)
    assert told(obj, World(children), "IngressReady")[:2] == ("True", "NoController")
    served = World(children, ingress_classes=frozenset({"traefik"}))
    assert told(obj, served, "IngressReady")[:2] == ("False", "NoAddress")
    assert told(obj, served)[1] == "ResourcesNotReady"
    address = {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}
    given = tuple(
        one | {"status": address} if one["kind"] == "Ingress" else one for one in children
    )
    served = World(given, ingress_classes=frozenset({"traefik"}))
    assert told(obj, served)[1] == "AllResourcesReady"
    assert told(environment(), World(live(environment())), "IngressReady")[1] == "NotWanted"


def test_tls_makes_the_url_https() -> None:
    """Row 40."""
    ingress = FULL["ingress"] | {"tls": {"secretName": "cert"}, "path": "/app"}
    obj = environment(ingress=ingress)
    assert status_of(obj, World(live(obj)), (), NOW)["url"] == "https://shop.localhost/app"


def test_a_clash_keeps_an_environment_from_being_ready_until_it_is_mended() -> None:
    obj = environment(dependencies=[{"type": "postgres"}, {"type": "mysql"}])
    found = desired(obj, Known(), bytes).problems
    status = status_of(obj, World(), found, NOW)
    ready = conditions(status)["Ready"]
    assert ready[:2] == ("False", "VariableClash")
    assert "DATABASE_URL" in ready[2]
    assert "envVarName" in ready[2]
    obj["spec"]["dependencies"][1]["envVarName"] = "MYSQL_URL"
    obj["status"] = status
    assert told(obj, World(live(obj)))[:2] == ("True", "AllResourcesReady")


def test_an_environment_that_cannot_be_read_says_so() -> None:
    obj = environment(service={})
    found = desired(obj, Known(), bytes).problems
    ready = conditions(status_of(obj, World(), found, NOW))["Ready"]
    assert ready == ("False", "InvalidSpec", "spec.service.port: is required")
