"""Installing and removing, on a cluster in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kindling.errors import ClusterError, ExecutionError, UsageError
from kindling.graph.spec import ObjectRef
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.definitions.environment import KIND
from kindling.operator.definitions.pool import POOL_KINDS
from kindling.operator.install.applying import Done, Verb, apply_objects
from kindling.operator.install.manifests import NAME, SYSTEM, Installation, operator_objects
from kindling.operator.install.removal import declared, remove_operator
from kindling.operator.install.waiting import until_running
from kindling.testing.cluster import FakeCluster

TOLD = Installation("kindling:1")
DEPLOYMENT = ObjectRef("apps/v1", "Deployment", NAME, SYSTEM)


@pytest.fixture
def cluster() -> FakeCluster:
    """A cluster that knows the custom kinds."""
    fake = FakeCluster()
    for kind in (KIND, *POOL_KINDS):
        fake.add_kind(f"{GROUP}/{VERSION}", kind)
    return fake


def verbs(done: tuple[Done, ...]) -> dict[str, Verb]:
    return {f"{one.ref.kind}/{one.ref.name}": one.verb for one in done}


async def test_a_second_run_writes_nothing(cluster: FakeCluster) -> None:
    first = await apply_objects(cluster, TOLD)
    assert {one.verb for one in first} == {Verb.CREATED}
    cluster.writes.clear()
    second = await apply_objects(cluster, TOLD)
    assert {one.verb for one in second} == {Verb.KEPT}
    assert cluster.writes == []


async def test_a_dry_run_tells_the_same_and_writes_nothing(cluster: FakeCluster) -> None:
    told = await apply_objects(cluster, TOLD, dry_run=True)
    assert cluster.writes == []
    assert told == await apply_objects(cluster, TOLD)


async def test_another_image_changes_the_deployment_alone(cluster: FakeCluster) -> None:
    await apply_objects(cluster, TOLD)
    done = await apply_objects(cluster, Installation("kindling:2"))
    [changed] = [one for one in done if one.verb is not Verb.KEPT]
    assert changed.ref == DEPLOYMENT
    assert "spec.template.spec.containers[name=operator].image" in changed.fields


async def test_what_somebody_changed_is_put_right(cluster: FakeCluster) -> None:
    await apply_objects(cluster, TOLD)
    role = ObjectRef("rbac.authorization.k8s.io/v1", "ClusterRole", NAME)
    everything: list[dict[str, Any]] = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    cluster.put({**await cluster.get(role), "rules": everything})
    done = await apply_objects(cluster, TOLD)
    assert verbs(done)[f"ClusterRole/{NAME}"] is Verb.CHANGED
    assert (await cluster.get(role))["rules"] != everything


async def test_rights_in_a_namespace_that_is_no_longer_named_are_taken_away(
    cluster: FakeCluster,
) -> None:
    await apply_objects(cluster, Installation("kindling:1", "tools", ("a", "b")))
    done = await apply_objects(cluster, Installation("kindling:1", "tools", ("a",)))
    gone = {(one.ref.kind, one.ref.namespace) for one in done if one.verb is Verb.DELETED}
    assert gone == {("Role", "b"), ("RoleBinding", "b")}


async def test_an_object_of_somebody_else_is_never_overwritten(cluster: FakeCluster) -> None:
    cluster.put(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": NAME, "labels": {"owner": "somebody"}},
            "rules": [],
        }
    )
    with pytest.raises(ClusterError, match="did not make it"):
        await apply_objects(cluster, TOLD)


async def test_a_namespace_that_was_there_is_used_as_it_is_and_stays(cluster: FakeCluster) -> None:
    cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    done = await apply_objects(cluster, TOLD)
    assert verbs(done)[f"Namespace/{SYSTEM}"] is Verb.KEPT
    await remove_operator(cluster, SYSTEM)
    assert SYSTEM in [one["metadata"]["name"] for one in cluster.objects("Namespace")]


async def test_removal_takes_all_that_was_installed(cluster: FakeCluster) -> None:
    before = cluster.objects()
    await apply_objects(cluster, Installation("kindling:1", "tools", ("a", "b")))
    await remove_operator(cluster, "tools")
    assert cluster.objects() == before


async def test_removal_leaves_environments_and_a_namespace_that_holds_one(
    cluster: FakeCluster,
) -> None:
    await apply_objects(cluster, TOLD)
    cluster.put(
        {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": {"name": "shop", "namespace": SYSTEM},
            "spec": {},
        }
    )
    done = await remove_operator(cluster, SYSTEM)
    [kept] = [one for one in done if one.verb is Verb.KEPT]
    assert (kept.ref.name, kept.why) == (SYSTEM, f"{KIND} `shop` is there")
    assert [ref.name for ref in await declared(cluster)] == ["shop"]


async def test_removal_of_one_installation_leaves_the_other(cluster: FakeCluster) -> None:
    await apply_objects(cluster, TOLD)
    kept = cluster.objects()
    await apply_objects(cluster, Installation("kindling:1", "tools", ("a",)))
    await remove_operator(cluster, "tools")
    assert cluster.objects() == kept


async def test_the_last_of_several_takes_the_namespace_of_leases_with_it(
    cluster: FakeCluster,
) -> None:
    before = cluster.objects()
    for place in ("a", "b"):
        await apply_objects(cluster, Installation("kindling:1", place, (place,)))
    done = await remove_operator(cluster, "a")
    [kept] = [one for one in done if one.verb is Verb.KEPT]
    assert (kept.ref.name, kept.why) == (SYSTEM, "another installation has its Lease there")
    await remove_operator(cluster, "b")
    assert cluster.objects() == before


async def test_removal_names_where_there_is_one(cluster: FakeCluster) -> None:
    await apply_objects(cluster, Installation("kindling:1", "tools", ("a",)))
    with pytest.raises(UsageError) as caught:
        await remove_operator(cluster, SYSTEM)
    assert "[tools]" in caught.value.hint


async def test_an_environment_of_the_operators_name_is_not_taken_for_it(
    cluster: FakeCluster,
) -> None:
    labels = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/managed-by": "kindling"}
    cluster.put(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME, "namespace": "default", "labels": labels},
            "spec": {},
        }
    )
    with pytest.raises(UsageError):
        await remove_operator(cluster, "default")
    assert cluster.objects("Deployment")


def state(cluster: FakeCluster, waiting: dict[str, Any], template: str = "") -> None:
    """A pod of the operator whose container waits."""
    [wanted] = [one for one in operator_objects(TOLD) if one["kind"] == "Deployment"]
    head = wanted["spec"]["template"]["metadata"]
    annotations = dict(head["annotations"])
    if template:
        annotations = dict.fromkeys(annotations, template)
    cluster.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{NAME}-{template or 'new'}",
                "namespace": SYSTEM,
                "labels": head["labels"],
                "annotations": annotations,
            },
            "status": {"containerStatuses": [{"name": "operator", "state": {"waiting": waiting}}]},
        }
    )


async def test_waiting_ends_when_the_operator_is_available(cluster: FakeCluster) -> None:
    await apply_objects(cluster, TOLD)
    waiting = asyncio.create_task(until_running(cluster, TOLD, 30))
    counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), 1)
    cluster.set_status(DEPLOYMENT, {"observedGeneration": 99, **counts})
    await waiting


async def test_an_image_that_cannot_be_had_ends_the_wait_at_once(cluster: FakeCluster) -> None:
    await apply_objects(cluster, TOLD)
    cluster.set_status(DEPLOYMENT, {"observedGeneration": 99})
    state(cluster, {"reason": "ErrImagePull", "message": "no such host"})
    with pytest.raises(ExecutionError, match="no such host") as caught:
        await until_running(cluster, TOLD, 30)
    assert "--image" in caught.value.hint


async def test_an_operator_that_crashes_shows_its_last_lines(cluster: FakeCluster) -> None:
    await apply_objects(cluster, TOLD)
    cluster.set_status(DEPLOYMENT, {"observedGeneration": 99})
    cluster.previous_log_lines[SYSTEM, f"{NAME}-new", "operator"] = ["it cannot be"]
    state(cluster, {"reason": "CrashLoopBackOff"})
    with pytest.raises(ExecutionError) as caught:
        await until_running(cluster, TOLD, 30)
    assert caught.value.details == ("it cannot be",)


async def test_pods_of_the_image_before_do_not_end_the_wait(cluster: FakeCluster) -> None:
    await apply_objects(cluster, TOLD)
    cluster.set_status(DEPLOYMENT, {"observedGeneration": 99})
    state(cluster, {"reason": "ErrImagePull"}, template="before")
    with pytest.raises(ExecutionError, match="did not become ready within 0 s"):
        await until_running(cluster, TOLD, 0.05)
