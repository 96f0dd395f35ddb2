"""kubectl 1.32 reads, writes and watches here as it does anywhere."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.cluster.apiserver.serve import Cluster

pytestmark = pytest.mark.usefixtures("kubectl")


def config_map(name: str, **data: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default"},
            "data": data,
        }
    )


async def test_an_object_goes_through_its_life(cluster: Cluster) -> None:
    """create (which comes as protobuf), get, label, patch, apply, diff and delete."""
    run = cluster.kubectl
    assert await run("create", "configmap", "a", "--from-literal=x=1") == "configmap/a created\n"
    table = await run("get", "cm")
    assert [line.split()[:2] for line in table.splitlines()] == [["NAME", "DATA"], ["a", "1"]]
    await run("label", "cm", "a", "tier=web")
    await run(
        "patch", "cm", "a", "--type=json", "-p", '[{"op":"add","path":"/data/y","value":"2"}]'
    )
    found = json.loads(await run("get", "cm", "a", "-o", "json"))
    assert found["data"] == {"x": "1", "y": "2"}
    assert found["metadata"]["labels"] == {"tier": "web"}
    assert await run("get", "cm", "-l", "tier=db", "-o", "name") == ""
    again = await run("create", "configmap", "a", code=1)
    assert again == 'error: failed to create configmap: configmaps "a" already exists\n'
    assert await run("delete", "cm", "a") == 'configmap "a" deleted\n'
    gone = await run("get", "cm", "a", code=1)
    assert gone == 'Error from server (NotFound): configmaps "a" not found\n'


async def test_apply_and_diff_see_what_changes(cluster: Cluster) -> None:
    run = cluster.kubectl
    assert await run("apply", "-f", "-", stdin=config_map("b", x="1")) == "configmap/b created\n"
    unchanged = await run("apply", "-f", "-", stdin=config_map("b", x="1"))
    assert unchanged == "configmap/b unchanged\n"
    diff = await run("diff", "-f", "-", stdin=config_map("b", x="2"), code=1)
    assert '-  x: "1"\n+  x: "2"' in diff
    served = await run("apply", "--server-side", "-f", "-", stdin=config_map("c", x="1"))
    assert served == "configmap/c serverside-applied\n"


async def test_a_watch_shows_a_change_when_it_happens(cluster: Cluster) -> None:
    await cluster.kubectl("create", "configmap", "a", "--from-literal=x=1")
    watching = asyncio.create_task(
        cluster.kubectl("wait", "--for=jsonpath={.data.ready}=yes", "configmap/a", "--timeout=20s"),
        name="kubectl-wait",
    )
    await cluster.kubectl("patch", "cm", "a", "-p", '{"data":{"ready":"yes"}}')
    assert await watching == "configmap/a condition met\n"


async def test_discovery_names_what_is_served(cluster: Cluster) -> None:
    kinds, versions = await asyncio.gather(
        cluster.kubectl("api-resources", "--no-headers"), cluster.kubectl("api-versions")
    )
    rows = {line.split()[0]: line.split() for line in kinds.splitlines()}
    assert rows["deployments"] == ["deployments", "deploy", "apps/v1", "true", "Deployment"]
    assert rows["namespaces"] == ["namespaces", "ns", "v1", "false", "Namespace"]
    assert {"v1", "apps/v1", "batch/v1", "networking.k8s.io/v1"} <= set(versions.split())


async def test_questions_are_answered(cluster: Cluster) -> None:
    who, may, token = await asyncio.gather(
        cluster.kubectl("auth", "whoami"),
        cluster.kubectl("auth", "can-i", "create", "pods"),
        cluster.kubectl("create", "token", "nobody", code=1),
    )
    assert "kubernetes-admin" in who
    assert may == "yes\n"
    assert token == 'error: failed to create token: serviceaccounts "nobody" not found\n'


async def test_what_kubectl_makes_itself_arrives_whole(cluster: Cluster) -> None:
    """Its own creations are protobuf: nested messages, maps, lists, quantities, ints or strings."""
    args = ["--image=nginx:1", "--replicas=0", "--port=80"]
    await cluster.kubectl("create", "deployment", "web", *args)
    found = json.loads(await cluster.kubectl("get", "deploy", "web", "-o", "json"))
    assert found["spec"]["replicas"] == 0
    assert found["spec"]["selector"] == {"matchLabels": {"app": "web"}}
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["ports"][0]["containerPort"]) == ("nginx:1", 80)
    await cluster.kubectl("create", "ingress", "i", "--rule=a.localhost/x=web:http")
    ingress = json.loads(await cluster.kubectl("get", "ingress", "i", "-o", "json"))
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"] == {"service": {"name": "web", "port": {"name": "http"}}}
    await cluster.kubectl("scale", "deploy", "web", "--replicas=3")
    scale = json.loads(await cluster.kubectl("get", "deploy", "web", "-o", "json"))
    assert scale["spec"]["replicas"] == 3


async def test_an_autoscaler_is_one_object_in_both_of_its_versions(cluster: Cluster) -> None:
    """kubectl makes it in autoscaling/v1, and everything is stored as v2."""
    run = cluster.kubectl
    await run("create", "deployment", "web", "--image=x")
    made = await run("autoscale", "deployment", "web", "--min=2", "--max=5", "--cpu-percent=50")
    assert made == "horizontalpodautoscaler.autoscaling/web autoscaled\n"
    for name in ("hpa", "horizontalpodautoscalers.v1.autoscaling"):
        table = await run("get", name)
        row = ["web", "Deployment/web", "cpu:", "<unknown>/50%", "2", "5", "0"]
        assert table.splitlines()[1].split()[:7] == row
    second = json.loads(await run("get", "hpa", "web", "-o", "json"))
    assert second["apiVersion"] == "autoscaling/v2"
    target = {"type": "Utilization", "averageUtilization": 50}
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    assert second["spec"]["metrics"] == [metric]
    memory = {"type": "Resource", "resource": {"name": "memory", "target": target}}
    added = json.dumps({"spec": {"metrics": [metric, memory], "behavior": {"scaleDown": {}}}})
    await run("patch", "hpa", "web", "--type=merge", "-p", added)
    whole = json.loads(await run("get", "hpa", "web", "-o", "json"))["spec"]
    first = json.loads(
        await run("get", "horizontalpodautoscalers.v1.autoscaling", "web", "-o", "json")
    )
    assert first["spec"]["targetCPUUtilizationPercentage"] == 50
    assert "metrics" not in first["spec"]
    assert "behavior" not in first["spec"]
    first["spec"]["maxReplicas"] = 7
    await run("replace", "-f", "-", stdin=json.dumps(first))
    changed = json.loads(await run("get", "hpa", "web", "-o", "json"))
    assert changed["spec"] == whole | {"maxReplicas": 7}
    assert "annotations" not in changed["metadata"]
    assert await run("delete", "hpa", "web") == (
        'horizontalpodautoscaler.autoscaling "web" deleted\n'
    )


async def test_a_group_that_is_not_there_is_no_page(cluster: Cluster) -> None:
    status, headers, body = await cluster.request("GET", "/apis/nope.example.com/v1/gizmos")
    assert (status, headers["content-type"]) == (404, "text/plain; charset=utf-8")
    assert body == b"404 page not found\n"
    said = await cluster.kubectl("get", "--raw", "/apis/nope.example.com/v1/gizmos", code=1)
    assert (
        said == "Error from server (NotFound): the server could not find the requested resource\n"
    )


async def test_a_scale_is_shown_as_one(cluster: Cluster) -> None:
    run = cluster.kubectl
    await run("create", "deployment", "web", "--image=x", "--replicas=3")
    table = await run("get", "deployment", "web", "--subresource=scale")
    assert [line.split()[:3] for line in table.splitlines()] == [
        ["NAME", "DESIRED", "AVAILABLE"],
        ["web", "3", "0"],
    ]
