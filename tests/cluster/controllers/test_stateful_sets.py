"""StatefulSets: names, order, claims, partitions and history."""

from __future__ import annotations

from typing import Any

from kindling.cluster.controllers.bootstrap import bootstrap
from kindling.cluster.controllers.kinds import (
    CLAIMS,
    CONTROLLER_REVISIONS,
    PODS,
    STATEFUL_SETS,
    VOLUMES,
)
from kindling.cluster.model.api import Obj
from tests.cluster.controllers.bed import Bed, template


def stateful_set(replicas: int = 3, **spec: Any) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": template(app="db"),
            **spec,
        },
    }


def new_image(image: str) -> Obj:
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}


def images(bed: Bed) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in bed.pods()}


async def test_pods_come_one_after_another_under_stable_names(bed: Bed) -> None:
    bed.node.verdict = lambda pod: "running" if pod["metadata"]["name"] == "db-1" else "ready"
    await bed.create(STATEFUL_SETS, stateful_set())
    assert list(images(bed)) == ["db-0", "db-1"]
    bed.node.verdict = lambda _: "ready"
    await bed.node_looks_again()
    assert list(images(bed)) == ["db-0", "db-1", "db-2"]
    pod = bed.get(PODS, "db-2")
    assert pod["spec"]["hostname"] == "db-2"
    assert pod["spec"]["subdomain"] == "db"
    found = pod["metadata"]["labels"]
    assert found["apps.kubernetes.io/pod-index"] == "2"
    assert found["statefulset.kubernetes.io/pod-name"] == "db-2"
    status = bed.get(STATEFUL_SETS, "db")["status"]
    (revision,) = bed.all(CONTROLLER_REVISIONS)
    assert status == {
        "observedGeneration": 1,
        "replicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "currentReplicas": 3,
        "updatedReplicas": 3,
        "currentRevision": revision["metadata"]["name"],
        "updateRevision": revision["metadata"]["name"],
        "collisionCount": 0,
    }
    assert "create Pod db-0 in StatefulSet db successful" in bed.events("SuccessfulCreate")


async def test_in_parallel_nobody_waits(bed: Bed) -> None:
    bed.node.verdict = lambda _: "running"
    await bed.create(STATEFUL_SETS, stateful_set(podManagementPolicy="Parallel"))
    assert list(images(bed)) == ["db-0", "db-1", "db-2"]


async def test_scaling_down_ends_the_highest_first(bed: Bed) -> None:
    await bed.create(STATEFUL_SETS, stateful_set())
    bed.node.holds_deletions = True
    await bed.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 1}})
    leaving = [p["metadata"]["name"] for p in bed.pods() if p["metadata"].get("deletionTimestamp")]
    assert leaving == ["db-2"]
    bed.node.holds_deletions = False
    await bed.node_looks_again()
    assert list(images(bed)) == ["db-0"]


async def test_an_update_goes_from_the_last_to_the_first_and_stops_at_a_broken_pod(
    bed: Bed,
) -> None:
    await bed.create(STATEFUL_SETS, stateful_set())
    bed.node.verdict = lambda pod: (
        "running" if pod["spec"]["containers"][0]["image"] == "broken" else "ready"
    )
    await bed.patch(STATEFUL_SETS, "db", new_image("broken"))
    assert images(bed) == {"db-0": "app:1", "db-1": "app:1", "db-2": "broken"}
    status = bed.get(STATEFUL_SETS, "db")["status"]
    assert status["currentRevision"] != status["updateRevision"]
    assert status["updatedReplicas"] == 1
    bed.node.verdict = lambda _: "ready"
    await bed.node_looks_again()
    assert set(images(bed).values()) == {"broken"}
    status = bed.get(STATEFUL_SETS, "db")["status"]
    assert status["currentRevision"] == status["updateRevision"]


async def test_a_partition_keeps_the_lower_ordinals_at_their_revision(bed: Bed) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    await bed.create(STATEFUL_SETS, stateful_set(updateStrategy=strategy))
    await bed.patch(STATEFUL_SETS, "db", new_image("app:2"))
    wanted = {"db-0": "app:1", "db-1": "app:1", "db-2": "app:2"}
    assert images(bed) == wanted
    await bed.delete(PODS, "db-0")
    assert images(bed) == wanted


async def test_on_delete_waits_for_the_user(bed: Bed) -> None:
    await bed.create(STATEFUL_SETS, stateful_set(updateStrategy={"type": "OnDelete"}))
    await bed.patch(STATEFUL_SETS, "db", new_image("app:2"))
    assert set(images(bed).values()) == {"app:1"}
    await bed.delete(PODS, "db-1")
    assert images(bed)["db-1"] == "app:2"


async def test_going_back_brings_the_old_revision_to_the_front(bed: Bed) -> None:
    await bed.create(STATEFUL_SETS, stateful_set(1))
    await bed.patch(STATEFUL_SETS, "db", new_image("app:2"))
    await bed.patch(STATEFUL_SETS, "db", new_image("app:1"))
    revisions = sorted(one["revision"] for one in bed.all(CONTROLLER_REVISIONS))
    assert revisions == [2, 3]
    assert images(bed) == {"db-0": "app:1"}


def claim_template(name: str = "data") -> Obj:
    return {
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "standard",
            "resources": {"requests": {"storage": "1Mi"}},
        },
    }


async def test_claims_outlive_pods_unless_the_policy_says_otherwise(bed: Bed) -> None:
    await bootstrap(bed.api)
    await bed.create(STATEFUL_SETS, stateful_set(2, volumeClaimTemplates=[claim_template()]))
    names = [claim["metadata"]["name"] for claim in bed.all(CLAIMS)]
    assert names == ["data-db-0", "data-db-1"]
    assert {claim["status"]["phase"] for claim in bed.all(CLAIMS)} == {"Bound"}
    assert all(pod["spec"]["nodeName"] for pod in bed.pods())
    await bed.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 1}})
    assert len(bed.all(CLAIMS)) == 2
    policy = {"whenScaled": "Delete", "whenDeleted": "Delete"}
    await bed.patch(STATEFUL_SETS, "db", {"spec": {"persistentVolumeClaimRetentionPolicy": policy}})
    await bed.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 2}})
    await bed.patch(STATEFUL_SETS, "db", {"spec": {"replicas": 1}})
    assert [claim["metadata"]["name"] for claim in bed.all(CLAIMS)] == ["data-db-0"]
    await bed.delete(STATEFUL_SETS, "db")
    assert bed.pods() == []
    assert bed.all(CLAIMS) == []
    assert bed.all(VOLUMES, None) == []
