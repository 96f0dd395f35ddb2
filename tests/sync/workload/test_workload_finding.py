"""A word on the command line means one workload, or is refused with the right one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from kindling.errors import UsageError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ForbiddenError
from kindling.sync.workload.finding import find
from kindling.testing.cluster import FakeCluster
from tests.sync.workload.playing import Controller, deployment, stateful_set


def world(*manifests: Mapping[str, Any]) -> FakeCluster:
    cluster = FakeCluster()
    for manifest in manifests:
        cluster.put(manifest)
    Controller(cluster).settle()
    return cluster


@pytest.mark.parametrize(
    "word",
    [
        "web",
        "deployment/web",
        "deploy/web",
        "deployments/web",
        "Deployment/web",
        "deployment.apps/web",
        "deployments.v1.apps/web",
    ],
)
async def test_a_deployment_is_named_as_kubectl_has_it(word: str) -> None:
    found = await find(world(deployment()), word)
    assert found == ObjectRef("apps/v1", "Deployment", "web", "default")


@pytest.mark.parametrize("word", ["db", "sts/db", "statefulset/db", "statefulsets.apps/db"])
async def test_so_is_a_stateful_set(word: str) -> None:
    found = await find(world(deployment(), stateful_set()), word)
    assert found == ObjectRef("apps/v1", "StatefulSet", "db", "default")


async def test_a_name_that_means_two_is_refused_with_both() -> None:
    cluster = world(deployment("web"), stateful_set("web"))
    with pytest.raises(UsageError) as caught:
        await find(cluster, "web")
    assert "`deployment/web` and `statefulset/web`" in caught.value.message
    assert (await find(cluster, "sts/web")).kind == "StatefulSet"


async def refusal(cluster: FakeCluster, word: str) -> str:
    with pytest.raises(UsageError) as caught:
        await find(cluster, word)
    return caught.value.render()


async def test_a_name_that_is_not_there_gets_the_nearest() -> None:
    cluster = world(deployment("checkout"), stateful_set("db"))
    assert "Did you mean `checkout`?" in await refusal(cluster, "chekout")
    assert "There are: checkout, db." in await refusal(cluster, "zzz")
    assert "Did you mean `deployment/checkout`?" in await refusal(cluster, "sts/checkout")
    assert "There is none at all" in await refusal(world(), "web")


async def test_what_belongs_to_a_workload_is_refused_with_its_name() -> None:
    cluster = world(deployment())
    (pod,) = cluster.objects("Pod")
    (replica_set,) = cluster.objects("ReplicaSet")
    for word in (
        f"pod/{pod['metadata']['name']}",
        f"rs/{replica_set['metadata']['name']}",
        pod["metadata"]["name"],
    ):
        text = await refusal(cluster, word)
        assert "a session needs a Deployment or a StatefulSet" in text
        assert "It belongs to `deployment/web`" in text


async def test_what_no_session_can_have_is_refused_by_its_kind() -> None:
    daemon = {**deployment("logs"), "kind": "DaemonSet"}
    assert "`daemonset/logs` cannot be synced" in await refusal(world(daemon), "ds/logs")
    assert "`daemonset/logs` cannot be synced" in await refusal(world(daemon), "logs")
    assert "there is no kind `service`" in await refusal(world(), "service/web")
    assert "there is no kind `deployment.batch`" in await refusal(world(), "deployment.batch/web")
    assert "names no workload" in await refusal(world(), "deployment/a/b")
    assert "No workload is named" in await refusal(world(), "")


async def test_jobs_are_refused_by_their_plain_name_too() -> None:
    job = {**deployment("nightly"), "apiVersion": "batch/v1", "kind": "Job"}
    for cluster, asked in (
        (world(job), "nightly"),
        (world(job), "job/nightly"),
        (world(), "cj/nightly"),
    ):
        text = await refusal(cluster, asked)
        assert "job/nightly` cannot be synced" in text
        assert "put its pod template into a Deployment" in text


async def test_a_name_that_is_in_another_namespace_is_shown_the_way_there() -> None:
    there = deployment("web")
    there["metadata"]["namespace"] = "shop"
    shop = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    cluster = FakeCluster()
    cluster.put(shop)
    cluster.put(there)
    for word in ("web", "deploy/web"):
        assert "There is one in namespace `shop`: `-n shop`" in await refusal(cluster, word)


async def test_who_may_not_look_into_other_namespaces_gets_the_plain_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = world()
    listed = cluster.list

    async def here_alone(*args: Any, namespace: str = "", **more: Any) -> Any:
        if not namespace:
            raise ForbiddenError("Cannot list deployments: it is forbidden")
        return await listed(*args, namespace=namespace, **more)

    monkeypatch.setattr(cluster, "list", here_alone)
    assert "There is none at all" in await refusal(cluster, "web")
