"""Of a workload's pods a session has those that run, of the newest template, and no others."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

from kindling.sync.workload.choosing import Chosen, Wanted, choose, still
from kindling.testing.cluster import FakeCluster
from tests.sync.workload.playing import Controller, deployment, stateful_set

NOW = datetime(2026, 1, 2, 3, 5, tzinfo=UTC)


def world(manifest: dict[str, Any]) -> FakeCluster:
    cluster = FakeCluster()
    cluster.put(manifest)
    Controller(cluster).settle()
    return cluster


def chosen(
    cluster: FakeCluster, pods: list[dict[str, Any]] | None = None, name: str = "app"
) -> Chosen:
    (live,) = (*cluster.objects("Deployment"), *cluster.objects("StatefulSet"))
    found = list(cluster.objects("Pod")) if pods is None else pods
    return choose(live, cluster.objects("ReplicaSet"), found, Wanted("", name), NOW)


def pods_of(cluster: FakeCluster) -> list[dict[str, Any]]:
    return [copy.deepcopy(dict(pod)) for pod in cluster.objects("Pod")]


def test_all_that_run_are_chosen_by_name() -> None:
    found = chosen(world(deployment(replicas=3)))
    assert [one.pod for one in found.containers] == sorted(one.pod for one in found.containers)
    assert len({one.pod_uid for one in found.containers}) == 3
    assert {(one.name, one.node, one.mounted) for one in found.containers} == {
        ("app", "node-1", False)
    }
    assert found.complete
    assert found.waiting == ()


def test_several_containers_of_each_pod_are_complete_once_all_of_them_run() -> None:
    manifest = deployment(replicas=2)
    containers = manifest["spec"]["template"]["spec"]["containers"]
    containers += [{**containers[0], "name": name} for name in ("aside", "worker")]
    cluster = world(manifest)
    (live,) = cluster.objects("Deployment")
    wanted = Wanted("", "worker", also=("app",))

    def found(pods: list[dict[str, Any]]) -> Chosen:
        return choose(live, cluster.objects("ReplicaSet"), pods, wanted, NOW)

    pods = pods_of(cluster)
    names = [pod["metadata"]["name"] for pod in pods]
    everything = found(pods)
    assert everything.complete
    assert [(one.pod, one.name) for one in everything.containers] == [
        (pod, name) for pod in sorted(names) for name in ("worker", "app")
    ]
    pods[0]["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "Creating"}}
    some = found(pods)
    assert not some.complete
    assert len(some.containers) == 3
    assert some.waiting == (f"pod {names[0]}: Creating",)


def test_what_a_controller_has_not_seen_yet_is_told_apart_from_a_loss() -> None:
    cluster = FakeCluster()
    cluster.put(deployment(replicas=2))
    controller = Controller(cluster)
    controller.settle()
    before = chosen(cluster)
    assert not before.unseen
    (live,) = cluster.objects("Deployment")
    cluster.put({**live, "spec": {**live["spec"], "replicas": 3}})
    between = chosen(cluster)
    assert between.unseen
    assert not between.lost
    assert still(before, between)
    assert not still(None, between)
    controller.settle()
    after = chosen(cluster)
    assert not still(before, after)
    assert set(before.containers) < set(after.containers)


def test_a_pod_on_its_way_out_is_neither_chosen_nor_waited_for() -> None:
    cluster = world(deployment(replicas=2))
    first, second = pods_of(cluster)
    first["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:06Z"
    found = chosen(cluster, [first, second])
    assert [one.pod for one in found.containers] == [second["metadata"]["name"]]
    assert not found.complete
    assert found.waiting == ("1 of 2 pods ready",)


def test_a_pod_that_runs_is_chosen_ready_or_not_and_is_not_waited_for() -> None:
    cluster = world(deployment())
    (pod,) = pods_of(cluster)
    pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    pod["status"]["containerStatuses"][0]["started"] = False
    found = chosen(cluster, [pod])
    assert len(found.containers) == 1
    assert found.waiting == ()
    assert found.complete


def test_a_pod_whose_other_container_crashes_is_chosen_without_a_complaint() -> None:
    cluster = world(deployment())
    (pod,) = pods_of(cluster)
    crash = {"waiting": {"reason": "CrashLoopBackOff"}}
    pod["status"]["containerStatuses"].append(
        {"name": "side", "state": crash, "restartCount": 5, "lastState": {}}
    )
    found = chosen(cluster, [pod])
    assert (len(found.containers), found.waiting, found.troubles) == (1, (), ())
    other = chosen(cluster, [pod], "side")
    assert other.containers == ()
    assert "CrashLoopBackOff" in other.waiting[0]
    assert other.troubles[0].hopeless


def test_a_pod_that_is_still_to_start_is_waited_for_by_its_phase() -> None:
    cluster = world(deployment())
    (pod,) = pods_of(cluster)
    status: dict[str, Any] = {"phase": "Pending"}
    pod["status"] = status
    name = pod["metadata"]["name"]
    assert chosen(cluster, [pod]).waiting == (f"pod {name}: pending",)
    state = {"waiting": {"reason": "ContainerCreating"}}
    status["containerStatuses"] = [{"name": "app", "state": state}]
    assert chosen(cluster, [pod]).waiting == (f"pod {name}: ContainerCreating",)
    assert chosen(cluster, []).waiting == ("0 of 1 pods ready, 0 made",)


def test_pods_of_an_older_template_and_of_others_are_left_alone() -> None:
    cluster = world(stateful_set(replicas=2))
    first, second = pods_of(cluster)
    first["metadata"]["labels"]["controller-revision-hash"] = "older"
    stranger = copy.deepcopy(second)
    stranger["metadata"]["ownerReferences"] = []
    found = chosen(cluster, [first, second, stranger])
    assert [one.pod for one in found.containers] == [second["metadata"]["name"]]


def test_a_controller_that_has_not_seen_the_template_yet_is_waited_for() -> None:
    """Its pods may be of the template before."""
    cluster = FakeCluster()
    cluster.put(deployment())
    found = chosen(cluster)
    assert found.containers == ()
    assert found.waiting == ("its controller has not seen it yet",)


def test_a_roll_out_that_failed_says_so() -> None:
    cluster = world(deployment())
    (live,) = cluster.objects("Deployment")
    condition = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": "exceeded quota",
    }
    failed = {**live, "status": {**live["status"], "conditions": [condition]}}
    found = choose(failed, cluster.objects("ReplicaSet"), [], Wanted("", "app"), NOW)
    assert found.failed == "FailedCreate: exceeded quota"


def test_a_workload_that_is_gone_or_anothers_gives_nothing() -> None:
    gone = choose(None, [], [], Wanted("s1", "app"), NOW)
    assert (gone.containers, gone.lost, gone.gone) == ((), True, True)
    cluster = world(deployment())
    (live,) = cluster.objects("Deployment")
    found = choose(
        live, cluster.objects("ReplicaSet"), cluster.objects("Pod"), Wanted("s1", "app"), NOW
    )
    assert (found.containers, found.lost, found.gone) == ((), True, False)
