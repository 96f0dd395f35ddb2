"""Objects that go at once, wait for finalizers, or end in their own time."""

from __future__ import annotations

import pytest

from kindling.cluster.model.api import DeleteOptions, Obj, Selection
from kindling.cluster.model.resource import builtin
from kindling.cluster.model.status import ApiError
from tests.cluster.registry.bench import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS, Bench


async def test_an_object_without_finalizers_goes_at_once(bench: Bench) -> None:
    await bench.create(CONFIG_MAPS, "a")
    _, gone = await bench.delete(CONFIG_MAPS, "a")
    assert gone
    assert bench.get(CONFIG_MAPS, "a") is None
    with pytest.raises(ApiError, match='configmaps "a" not found'):
        await bench.delete(CONFIG_MAPS, "a")


async def test_a_finalizer_holds_an_object_until_it_is_taken_off(cluster: Bench) -> None:
    await cluster.create(CONFIG_MAPS, "a", meta={"finalizers": ["a.io/x"]})
    held, gone = await cluster.delete(CONFIG_MAPS, "a")
    assert not gone
    assert held["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:20Z"
    assert held["metadata"]["deletionGracePeriodSeconds"] == 0
    revision = cluster.api.revision
    again, gone = await cluster.delete(CONFIG_MAPS, "a")
    assert (again, gone, cluster.api.revision) == (held, False, revision)
    more = held["metadata"] | {"finalizers": ["a.io/x", "a.io/y"]}
    with pytest.raises(ApiError, match="no new finalizers can be added"):
        await cluster.put(CONFIG_MAPS, held, metadata=more)
    await cluster.put(CONFIG_MAPS, held, metadata=held["metadata"] | {"finalizers": []})
    assert cluster.get(CONFIG_MAPS, "a") is None


async def test_deletion_counts_as_a_generation(cluster: Bench) -> None:
    spec: Obj = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        },
    }
    await cluster.create(DEPLOYMENTS, "web", spec=spec, meta={"finalizers": ["a.io/x"]})
    held, _ = await cluster.delete(DEPLOYMENTS, "web")
    assert held["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("propagation", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")]
)
async def test_a_policy_leaves_a_finalizer_for_the_collector(
    bench: Bench, propagation: str, finalizer: str
) -> None:
    await bench.create(CONFIG_MAPS, "a")
    held, gone = await bench.delete(CONFIG_MAPS, "a", propagation=propagation)
    assert not gone
    assert held["metadata"]["finalizers"] == [finalizer]


async def test_a_job_leaves_its_pods_behind_unless_told_otherwise(bench: Bench) -> None:
    """As batch/v1 always did; kubectl says Background by itself."""
    jobs = builtin("jobs", "batch")
    await bench.create(jobs, "a", spec={})
    await bench.create(jobs, "b", spec={})
    held, gone = await bench.delete(jobs, "a")
    assert (held["metadata"]["finalizers"], gone) == (["orphan"], False)
    _, gone = await bench.delete(jobs, "b", propagation="Background")
    assert gone


@pytest.mark.parametrize("options", [{"uid": "other"}, {"resource_version": "99"}])
async def test_preconditions_are_kept(bench: Bench, options: dict[str, str]) -> None:
    await bench.create(CONFIG_MAPS, "a")
    with pytest.raises(ApiError) as caught:
        await bench.delete(CONFIG_MAPS, "a", **options)
    assert caught.value.code == 409
    assert "in the precondition" in caught.value.message
    assert bench.get(CONFIG_MAPS, "a") is not None


async def test_a_running_pod_ends_in_its_own_time(bench: Bench) -> None:
    await bench.pod(node="n", terminationGracePeriodSeconds=20)
    ending, gone = await bench.delete(PODS, "web")
    assert not gone
    assert ending["metadata"]["deletionGracePeriodSeconds"] == 20
    assert ending["metadata"]["deletionTimestamp"] == "2023-11-14T22:13:40Z"
    status = await bench.api.update(PODS, ending | {"status": {"phase": "Failed"}}, "status")
    assert bench.get(PODS, "web") == status
    sooner, gone = await bench.delete(PODS, "web", grace=5)
    assert (sooner["metadata"]["deletionTimestamp"], gone) == ("2023-11-14T22:13:25Z", False)
    same, gone = await bench.delete(PODS, "web", grace=30)
    assert (same, gone) == (sooner, False)
    _, gone = await bench.delete(PODS, "web", grace=0, uid=ending["metadata"]["uid"])
    assert gone
    assert bench.get(PODS, "web") is None


async def test_a_pod_that_nobody_runs_goes_at_once(bench: Bench) -> None:
    await bench.pod()
    _, gone = await bench.delete(PODS, "web")
    assert gone


async def test_a_pod_with_a_finalizer_outlives_its_containers(bench: Bench) -> None:
    await bench.create(
        PODS,
        "web",
        spec={"nodeName": "n"},
        meta={"finalizers": ["batch.kubernetes.io/job-tracking"]},
    )
    await bench.delete(PODS, "web")
    held, gone = await bench.delete(PODS, "web", grace=0)
    assert (gone, held["metadata"]["deletionGracePeriodSeconds"]) == (False, 0)
    await bench.put(PODS, held, metadata=held["metadata"] | {"finalizers": []})
    assert bench.get(PODS, "web") is None


async def test_a_namespace_takes_nothing_new_while_it_goes(cluster: Bench) -> None:
    await cluster.furnish("t")
    held, gone = await cluster.delete(NAMESPACES, "t", "")
    assert (held["status"]["phase"], gone) == ("Terminating", False)
    with pytest.raises(ApiError) as caught:
        await cluster.create(CONFIG_MAPS, "late", "t")
    assert caught.value.message == (
        'configmaps "late" is forbidden: unable to create new content in namespace t because it is'
        " being terminated"
    )
    assert [cause.reason for cause in caught.value.causes] == ["NamespaceTerminating"]
    held, _ = await cluster.delete(NAMESPACES, "t", "")
    await cluster.api.update(NAMESPACES, held | {"spec": {}}, "finalize")
    assert cluster.get(NAMESPACES, "t", "") is None


async def test_the_systems_namespaces_stay(cluster: Bench) -> None:
    with pytest.raises(ApiError, match="this namespace may not be deleted"):
        await cluster.delete(NAMESPACES, "default", "")


async def test_an_eviction_respects_a_disruption_budget(cluster: Bench) -> None:
    budgets = builtin("poddisruptionbudgets", "policy")
    await cluster.create(
        PODS,
        "web",
        meta={"labels": {"a": "b"}},
        spec={"containers": [{"name": "c", "image": "i"}], "nodeName": "n"},
    )
    pod = cluster.the(PODS, "web")
    await cluster.api.update(PODS, pod | {"status": {"phase": "Running"}}, "status")
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}
    budget = await cluster.create(budgets, "b", spec=spec)
    eviction = {"metadata": {"name": "web", "namespace": "default"}}
    with pytest.raises(ApiError) as caught:
        await cluster.api.update(PODS, eviction, "eviction")
    assert caught.value.code == 429
    status = budget["status"] | {"disruptionsAllowed": 1}
    await cluster.api.update(budgets, budget | {"status": status}, "status")
    await cluster.api.update(PODS, eviction, "eviction")
    assert cluster.the(PODS, "web")["metadata"]["deletionTimestamp"]
    assert cluster.the(budgets, "b")["status"]["disruptionsAllowed"] == 0


async def test_a_collection_goes_by_selection(bench: Bench) -> None:
    await bench.create(CONFIG_MAPS, "a", meta={"labels": {"x": "1"}})
    await bench.create(CONFIG_MAPS, "b", meta={"labels": {"x": "1"}, "finalizers": ["a.io/x"]})
    await bench.create(CONFIG_MAPS, "c")
    found = await bench.api.delete_collection(
        CONFIG_MAPS, Selection("default", labels="x=1"), DeleteOptions()
    )
    assert [obj["metadata"]["name"] for obj in found] == ["a", "b"]
    left = [obj["metadata"]["name"] for obj in bench.api.select(CONFIG_MAPS)]
    assert left == ["b", "c"]


async def test_owners_are_found_by_uid(bench: Bench) -> None:
    owner = await bench.create(CONFIG_MAPS, "owner")
    uid = owner["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    child = await bench.create(CONFIG_MAPS, "child", meta={"ownerReferences": [reference]})
    assert bench.api.by_owner(uid) == [(CONFIG_MAPS, child)]
    freed = child["metadata"] | {"ownerReferences": []}
    await bench.put(CONFIG_MAPS, child, metadata=freed)
    assert bench.api.by_owner(uid) == []
