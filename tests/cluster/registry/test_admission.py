"""What the cluster adds to objects, and what it refuses because of others."""

from __future__ import annotations

import asyncio

import pytest

from kindling.cluster.model.resource import builtin
from kindling.cluster.model.status import ApiError
from tests.cluster.registry.bench import NAMESPACES, PODS, Bench

ACCOUNTS = builtin("serviceaccounts")
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"


async def test_a_pod_gets_an_account_and_its_token(cluster: Bench) -> None:
    pod = await cluster.pod()
    spec = pod["spec"]
    assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("default", "default")
    [volume] = spec["volumes"]
    [mount] = spec["containers"][0]["volumeMounts"]
    assert mount == {"name": volume["name"], "readOnly": True, "mountPath": TOKEN}
    assert volume["name"].startswith("kube-api-access-")
    assert volume["projected"] == {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {
                "configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }
            },
            {
                "downwardAPI": {
                    "items": [
                        {
                            "path": "namespace",
                            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                        }
                    ]
                }
            },
        ],
    }


async def test_a_pod_may_do_without_a_token(cluster: Bench) -> None:
    plain = await cluster.pod(automountServiceAccountToken=False)
    assert "volumes" not in plain["spec"]
    await cluster.create(ACCOUNTS, "shy", automountServiceAccountToken=False)
    shy = await cluster.pod("shy", serviceAccountName="shy")
    assert "volumes" not in shy["spec"]
    mine = [{"name": "main", "image": "i", "volumeMounts": [{"name": "x", "mountPath": TOKEN}]}]
    own = await cluster.pod("own", containers=mine, volumes=[{"name": "x", "emptyDir": {}}])
    assert [volume["name"] for volume in own["spec"]["volumes"]] == ["x"]


async def test_an_account_that_is_not_there_is_named(cluster: Bench) -> None:
    with pytest.raises(ApiError) as caught:
        await cluster.pod(serviceAccountName="nobody")
    assert (caught.value.code, caught.value.message) == (
        403,
        'pods "web" is forbidden: error looking up service account default/nobody: serviceaccount'
        ' "nobody" not found',
    )


async def test_a_pod_waits_for_the_account_of_a_new_namespace(cluster: Bench) -> None:
    await cluster.api.create(NAMESPACES, {"metadata": {"name": "new"}})
    body = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    making = asyncio.ensure_future(cluster.api.create(PODS, body, "new"))
    await asyncio.sleep(0)
    await cluster.create(ACCOUNTS, "default", "new")
    assert (await making)["spec"]["serviceAccountName"] == "default"


async def test_a_pod_begins_pending_with_a_quality_and_tolerations(cluster: Bench) -> None:
    pod = await cluster.pod()
    assert pod["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert (pod["spec"]["priority"], pod["spec"]["preemptionPolicy"]) == (0, "PreemptLowerPriority")
    assert [t["key"] for t in pod["spec"]["tolerations"]] == [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ]
    everything = await cluster.pod("t", tolerations=[{"operator": "Exists"}])
    assert everything["spec"]["tolerations"] == [{"operator": "Exists"}]


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
async def test_the_quality_follows_from_limits_and_requests(
    cluster: Bench, resources: dict[str, object], quality: str
) -> None:
    pod = await cluster.pod(containers=[{"name": "c", "image": "i", "resources": resources}])
    assert pod["status"]["qosClass"] == quality


async def test_priority_comes_from_a_class(cluster: Bench) -> None:
    classes = builtin("priorityclasses", "scheduling.k8s.io")
    await cluster.create(classes, "high", value=1000)
    assert (await cluster.pod("a", priorityClassName="high"))["spec"]["priority"] == 1000
    critical = await cluster.pod("b", priorityClassName="system-node-critical")
    assert critical["spec"]["priority"] == 2_000_001_000
    with pytest.raises(ApiError, match="no PriorityClass with name none was found"):
        await cluster.pod("c", priorityClassName="none")


async def test_claims_and_ingresses_get_the_default_class(cluster: Bench) -> None:
    claims = builtin("persistentvolumeclaims")
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    ingresses = builtin("ingresses", "networking.k8s.io")
    rule = {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}
    before = await cluster.create(claims, "before", spec=spec)
    assert "storageClassName" not in before["spec"]
    mark = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    stores = builtin("storageclasses", "storage.k8s.io")
    await cluster.create(stores, "standard", provisioner="p", meta=mark)
    mark = {"annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}
    kinds = builtin("ingressclasses", "networking.k8s.io")
    await cluster.create(kinds, "kindling", spec={"controller": "kindling.dev/x"}, meta=mark)
    assert (await cluster.create(claims, "a", spec=spec))["spec"]["storageClassName"] == "standard"
    none = await cluster.create(claims, "b", spec=spec | {"storageClassName": ""})
    assert none["spec"]["storageClassName"] == ""
    made = await cluster.create(ingresses, "a", spec=rule)
    assert made["spec"]["ingressClassName"] == "kindling"
    named = await cluster.create(ingresses, "b", spec=rule | {"ingressClassName": "x"})
    assert named["spec"]["ingressClassName"] == "x"


async def test_what_the_cluster_adds_is_nobodys(cluster: Bench) -> None:
    pod = await cluster.pod()
    [entry] = pod["metadata"]["managedFields"]
    owned = entry["fieldsV1"]["f:spec"]
    assert "f:containers" in owned
    assert not {"f:volumes", "f:serviceAccountName", "f:tolerations", "f:priority"} & set(owned)


@pytest.mark.parametrize("body", [{"spec": "x"}, {"metadata": {"annotations": 1}}, {"metadata": 1}])
async def test_a_pod_that_is_none_is_refused(cluster: Bench, body: dict[str, object]) -> None:
    with pytest.raises(ApiError) as caught:
        await cluster.api.create(PODS, body, "default")
    assert caught.value.code == 400
