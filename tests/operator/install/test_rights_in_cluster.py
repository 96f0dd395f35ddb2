"""The rights of an installed operator, on a real cluster: enough to do its work, and no more.

The embedded cluster lets everybody who is known do everything, so there only the work is looked at.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing

import pytest

from kindling.graph.spec import ObjectRef
from kindling.kube.client import connect
from kindling.kube.contexts import read_kubeconfig
from kindling.kube.protocol import Cluster
from kindling.operator.controller.run import holder
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.definitions.environment import KIND
from kindling.operator.install.rights import LEASE, lease_rules, operator_rules
from tests.operator.install.conftest import LIMIT, environment, kindling, ready, until
from tests.target import embedded

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

Right = tuple[str, str, str, str]
"""API group, resource with its subresource, verb, namespace."""


async def may(client: Cluster, right: Right, name: str = "") -> bool:
    """What the server says to an account that asks about itself."""
    group, resource, verb, namespace = right
    plain, _, sub = resource.partition("/")
    attributes = {
        "group": group,
        "resource": plain,
        "subresource": sub,
        "verb": verb,
        "namespace": namespace,
        "name": name,
    }
    answer = await client.create(
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "metadata": {"name": ""},
            "spec": {"resourceAttributes": attributes},
        }
    )
    return bool(answer["status"]["allowed"])


async def test_the_account_has_these_rights_and_no_others(account: str, ns: str) -> None:
    if embedded() is not None:
        pytest.skip("the embedded cluster has no RBAC")
    context = read_kubeconfig({"KUBECONFIG": account}).current
    assert context is not None
    client = await connect(context, {**os.environ, "KUBECONFIG": account})
    try:
        for rule in [*operator_rules(), *lease_rules()]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    [group] = rule["apiGroups"]
                    [name] = rule.get("resourceNames", [""])
                    assert await may(client, (group, resource, verb, ns), name), (resource, verb)
        rbac, custom = "rbac.authorization.k8s.io", GROUP
        denied: list[Right] = [
            ("", "pods/exec", "create", ns),
            ("", "pods/portforward", "create", ns),
            ("", "pods", "patch", ns),
            ("", "configmaps", "list", ns),
            ("", "serviceaccounts/token", "create", ns),
            ("", "serviceaccounts", "impersonate", ns),
            ("", "persistentvolumeclaims", "delete", ns),
            (custom, "devstagingenvironments", "delete", ns),
            (rbac, "roles", "bind", ns),
            (rbac, "roles", "escalate", ns),
            (rbac, "clusterroles", "create", ""),
            (rbac, "clusterrolebindings", "create", ""),
            ("apiextensions.k8s.io", "customresourcedefinitions", "patch", ""),
            ("", "nodes", "get", ""),
            ("", "nodes/proxy", "get", ""),
            ("", "namespaces", "create", ""),
            ("", "namespaces", "delete", ns),
            # In namespaces that it is not for, it has none of its rights.
            ("", "secrets", "get", "default"),
            ("", "pods", "create", "default"),
            ("apps", "deployments", "create", "default"),
            (custom, "devstagingenvironments", "list", ""),
            ("coordination.k8s.io", "leases", "patch", "kindling-system"),
        ]
        for right in denied:
            assert not await may(client, right), right
        assert not await may(client, ("coordination.k8s.io", "leases", "patch", ns), "another")
        assert await may(client, ("coordination.k8s.io", "leases", "patch", ns), LEASE)
    finally:
        await client.close()


async def reconciled(cluster: Cluster, namespace: str) -> None:
    """Return once the event that says so is recorded on an environment, after its status."""
    events = cluster.watch(
        "v1", "Event", namespace=namespace, fields=(("involvedObject.kind", KIND),)
    )
    async with asyncio.timeout(LIMIT), aclosing(events):
        async for event in events:
            for one in event.items or (event.object,):
                if one and one["reason"] == "Reconciled":
                    return


async def test_with_its_rights_alone_an_operator_does_all_its_work(
    cluster: Cluster, account: str, ns: str
) -> None:
    """An environment with all sorts of children, an event on it, a status, its end; and a pool,
    whose build agent is given rights."""
    args = ("operator", "run", "--namespace", ns, "--identity", "the-account")
    async with kindling(*args, kubeconfig=account) as program:
        shop = environment(ns)
        shop["spec"]["ingress"] = {"enabled": True, "host": f"{ns}.localhost"}
        shop["spec"]["dependencies"] = [
            {
                "type": "redis",
                "image": "busybox:1.36",
                "storageSize": "1Mi",
                "resources": {"requests": {"cpu": "1m"}},
            }
        ]
        await cluster.create(shop)
        ref = ObjectRef(f"{GROUP}/{VERSION}", KIND, "shop", ns)
        await until(cluster, ref, lambda one: bool((one.get("status") or {}).get("conditions")))
        for api_version, kind, name in (
            ("apps/v1", "Deployment", "shop"),
            ("v1", "Service", "shop-redis"),
            ("v1", "PersistentVolumeClaim", "shop-redis-data"),
            ("networking.k8s.io/v1", "Ingress", "shop"),
        ):
            await until(cluster, ObjectRef(api_version, kind, name, ns), lambda _: True)
        # Without what cannot be ready here, it becomes so: children go, and an event is recorded.
        await cluster.patch(ref, {"spec": {"dependencies": None, "ingress": None}})
        await until(cluster, ref, ready)
        await cluster.wait_deleted(ObjectRef("networking.k8s.io/v1", "Ingress", "shop", ns))
        await reconciled(cluster, ns)
        await cluster.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "github-runner-token", "namespace": ns},
                "stringData": {"github-token": "of-nobody"},
            }
        )
        await cluster.create(
            {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": "GithubActionRunnerPool",
                "metadata": {"name": "runners", "namespace": ns},
                "spec": {
                    "githubUsername": "dev",
                    "repository": "dev/shop",
                    "runnerImage": "busybox:1.36",
                    "tokenSecretRef": {"name": "github-runner-token", "key": "github-token"},
                },
            }
        )
        for api_version, kind in (
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            ("apps/v1", "Deployment"),
        ):
            await until(cluster, ObjectRef(api_version, kind, "dev-runner", ns), lambda _: True)
        assert await holder(cluster, ns) == "the-account"
        assert await program.stop() == 0
        assert [line for line in program.lines if "forbidden" in line.lower()] == []
    assert await holder(cluster, ns) == ""
