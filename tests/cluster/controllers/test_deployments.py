"""Deployments roll from one template to the next within their bounds, and keep the way back."""

from __future__ import annotations

from kindling.cluster.controllers.kinds import DEPLOYMENTS, PODS, REPLICA_SETS
from kindling.cluster.controllers.meta import condition
from kindling.cluster.controllers.revisions import HISTORY, REVISION
from kindling.cluster.model.api import Obj
from tests.cluster.controllers.bed import Bed, deployment


def new_image(image: str) -> Obj:
    return {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}


def sizes(bed: Bed) -> dict[str, int]:
    """Replicas by image."""
    return {
        one["spec"]["template"]["spec"]["containers"][0]["image"]: one["spec"]["replicas"]
        for one in bed.all(REPLICA_SETS)
    }


async def test_a_deployment_becomes_bound_and_ready_pods(bed: Bed) -> None:
    await bed.create(DEPLOYMENTS, deployment(replicas=3))
    pods = bed.pods()
    assert [pod["spec"]["nodeName"] for pod in pods] == ["node"] * 3
    status = bed.get(DEPLOYMENTS, "web")["status"]
    counts = {key: status[key] for key in status if key != "conditions"}
    assert counts == {
        "observedGeneration": 1,
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
    }
    told = {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}
    assert told == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    (replica_set,) = bed.all(REPLICA_SETS)
    name = replica_set["metadata"]["name"]
    digest = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert name == f"web-{digest}"
    assert all(pod["metadata"]["labels"]["pod-template-hash"] == digest for pod in pods)
    assert bed.events("ScalingReplicaSet") == [f"Scaled up replica set {name} from 0 to 3"]
    assert len(bed.events("SuccessfulCreate")) == 3


async def test_a_new_template_rolls_and_the_old_one_stays_as_history(bed: Bed) -> None:
    await bed.create(DEPLOYMENTS, deployment(replicas=4))
    await bed.patch(DEPLOYMENTS, "web", new_image("app:2"))
    assert sizes(bed) == {"app:1": 0, "app:2": 4}
    assert len(bed.pods()) == 4
    live = bed.get(DEPLOYMENTS, "web")
    assert live["metadata"]["annotations"][REVISION] == "2"


async def test_going_back_gives_the_old_revision_a_new_number(bed: Bed) -> None:
    await bed.create(DEPLOYMENTS, deployment())
    await bed.patch(DEPLOYMENTS, "web", new_image("app:2"))
    await bed.patch(DEPLOYMENTS, "web", new_image("app:1"))
    assert sizes(bed) == {"app:1": 3, "app:2": 0}
    notes = {
        one["spec"]["template"]["spec"]["containers"][0]["image"]: one["metadata"]["annotations"]
        for one in bed.all(REPLICA_SETS)
    }
    assert notes["app:1"][REVISION] == "3"
    assert notes["app:1"][HISTORY] == "1"
    assert notes["app:2"][REVISION] == "2"


async def test_history_beyond_the_limit_is_cleaned_up(bed: Bed) -> None:
    await bed.create(DEPLOYMENTS, deployment(revisionHistoryLimit=1))
    for number in range(2, 5):
        await bed.patch(DEPLOYMENTS, "web", new_image(f"app:{number}"))
    assert sizes(bed) == {"app:3": 0, "app:4": 3}


async def test_recreate_ends_every_old_pod_before_the_first_new_one(bed: Bed) -> None:
    await bed.create(DEPLOYMENTS, deployment(strategy={"type": "Recreate"}))
    bed.node.holds_deletions = True
    await bed.patch(DEPLOYMENTS, "web", new_image("app:2"))
    assert sizes(bed) == {"app:1": 0}
    assert all(pod["metadata"].get("deletionTimestamp") for pod in bed.pods())
    bed.node.holds_deletions = False
    await bed.node_looks_again()
    assert sizes(bed) == {"app:1": 0, "app:2": 3}
    assert len(bed.pods()) == 3


async def test_pods_that_never_get_ready_exceed_the_deadline(bed: Bed) -> None:
    bed.node.verdict = lambda _: "running"
    await bed.create(DEPLOYMENTS, deployment(progressDeadlineSeconds=60))
    await bed.advance(30)
    found = condition(bed.get(DEPLOYMENTS, "web")["status"], "Progressing")
    assert found is not None
    assert found["reason"] == "ReplicaSetUpdated"
    await bed.advance(60)
    found = condition(bed.get(DEPLOYMENTS, "web")["status"], "Progressing")
    assert found is not None
    (name,) = (one["metadata"]["name"] for one in bed.all(REPLICA_SETS))
    assert (found["status"], found["reason"], found["message"]) == (
        "False",
        "ProgressDeadlineExceeded",
        f'ReplicaSet "{name}" has timed out progressing.',
    )


async def test_a_broken_update_leaves_the_old_pods_serving(bed: Bed) -> None:
    await bed.create(DEPLOYMENTS, deployment(replicas=4))
    bed.node.verdict = lambda pod: (
        "running" if pod["spec"]["containers"][0]["image"] == "broken" else "ready"
    )
    await bed.patch(DEPLOYMENTS, "web", new_image("broken"))
    assert sizes(bed) == {"app:1": 3, "broken": 2}  # 25% of 4: one more, one fewer
    await bed.patch(DEPLOYMENTS, "web", new_image("app:1"))
    assert sizes(bed) == {"app:1": 4, "broken": 0}


async def test_a_paused_deployment_scales_and_does_not_roll(bed: Bed) -> None:
    await bed.create(DEPLOYMENTS, deployment())
    await bed.patch(DEPLOYMENTS, "web", {"spec": {"paused": True}})
    found = condition(bed.get(DEPLOYMENTS, "web")["status"], "Progressing")
    assert found is not None
    assert found["reason"] == "DeploymentPaused"
    await bed.patch(DEPLOYMENTS, "web", new_image("app:2") | {})
    await bed.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 5}})
    assert sizes(bed) == {"app:1": 5}
    await bed.patch(DEPLOYMENTS, "web", {"spec": {"paused": False}})
    assert sizes(bed) == {"app:1": 0, "app:2": 5}


async def test_scaling_in_the_middle_of_a_rollout_is_proportional(bed: Bed) -> None:
    strategy = {"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    await bed.create(DEPLOYMENTS, deployment(replicas=10, strategy=strategy))
    bed.node.verdict = lambda pod: (
        "running" if pod["spec"]["containers"][0]["image"] == "broken" else "ready"
    )
    await bed.patch(DEPLOYMENTS, "web", new_image("broken"))
    assert sizes(bed) == {"app:1": 8, "broken": 5}
    await bed.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 15}})
    assert sizes(bed) == {"app:1": 11, "broken": 7}  # the example of the Kubernetes documentation


async def test_replica_sets_are_adopted_and_let_go_by_their_labels(bed: Bed) -> None:
    await bed.create(DEPLOYMENTS, deployment(replicas=1))
    (replica_set,) = bed.all(REPLICA_SETS)
    name = replica_set["metadata"]["name"]
    await bed.patch(REPLICA_SETS, name, {"metadata": {"labels": {"app": "other"}}})
    assert "ownerReferences" not in bed.get(REPLICA_SETS, name)["metadata"]
    live = bed.get(DEPLOYMENTS, "web")
    assert live["status"]["collisionCount"] == 1  # its name is taken
    await bed.patch(REPLICA_SETS, name, {"metadata": {"labels": {"app": "web"}}})
    owner = bed.get(REPLICA_SETS, name)["metadata"]["ownerReferences"][0]
    assert owner["uid"] == live["metadata"]["uid"]


async def test_a_pod_is_replaced_when_it_fails_or_goes(bed: Bed) -> None:
    await bed.create(DEPLOYMENTS, deployment(replicas=2))
    first, second = (pod["metadata"]["name"] for pod in bed.pods())
    await bed.delete(PODS, first)
    await bed.set_pod(second, "failed")
    names = {pod["metadata"]["name"] for pod in bed.pods()}
    assert first not in names
    assert len(names - {second}) == 2


async def test_an_idle_cluster_writes_nothing(bed: Bed) -> None:
    await bed.create(DEPLOYMENTS, deployment())
    before = bed.api.revision
    await bed.advance(700)
    assert bed.api.revision == before
