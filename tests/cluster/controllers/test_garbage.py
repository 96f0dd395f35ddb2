"""Owners and dependents; namespaces and what is in them."""

from __future__ import annotations

from typing import Any

from kindling.cluster.controllers.kinds import (
    CONFIG_MAPS,
    DEFINITIONS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
)
from kindling.cluster.model.api import Obj
from tests.cluster.controllers.bed import Bed, deployment, namespace_obj


def config_map(name: str, owner: Obj | None = None, namespace: str = "default", **ref: Any) -> Obj:
    meta: Obj = {"name": name, "namespace": namespace}
    if owner is not None:
        reference = {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
        }
        meta["ownerReferences"] = [reference | ref]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


def names(bed: Bed) -> set[str]:
    found = {one["metadata"]["name"] for one in bed.all(CONFIG_MAPS)}
    return found - {"kube-root-ca.crt"}


async def test_background_takes_the_whole_tree(bed: Bed) -> None:
    await bed.create(DEPLOYMENTS, deployment())
    await bed.delete(DEPLOYMENTS, "web", propagation="Background")
    assert bed.all(REPLICA_SETS) == []
    assert bed.pods() == []


async def test_foreground_keeps_the_owner_until_the_last_pod_is_gone(bed: Bed) -> None:
    await bed.create(DEPLOYMENTS, deployment())
    bed.node.holds_deletions = True
    await bed.delete(DEPLOYMENTS, "web", propagation="Foreground")
    assert bed.get(DEPLOYMENTS, "web")["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert len(bed.all(REPLICA_SETS)) == 1
    assert all(pod["metadata"].get("deletionTimestamp") for pod in bed.pods())
    bed.node.holds_deletions = False
    await bed.node_looks_again()
    assert bed.all(DEPLOYMENTS) == []
    assert bed.all(REPLICA_SETS) == []
    assert bed.pods() == []


async def test_orphans_stay_and_are_taken_in_by_the_next_owner(bed: Bed) -> None:
    await bed.create(DEPLOYMENTS, deployment())
    await bed.delete(DEPLOYMENTS, "web", propagation="Orphan")
    (replica_set,) = bed.all(REPLICA_SETS)
    assert "ownerReferences" not in replica_set["metadata"]
    uids = {pod["metadata"]["uid"] for pod in bed.pods()}
    assert len(uids) == 3
    made = await bed.create(DEPLOYMENTS, deployment())
    (replica_set,) = bed.all(REPLICA_SETS)
    assert replica_set["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    assert {pod["metadata"]["uid"] for pod in bed.pods()} == uids


async def test_an_owner_of_that_name_but_another_uid_is_no_owner(bed: Bed) -> None:
    owner = await bed.create(CONFIG_MAPS, config_map("owner"))
    await bed.create(CONFIG_MAPS, config_map("mine", owner))
    await bed.create(CONFIG_MAPS, config_map("stray", owner, uid="no-such-uid"))
    assert names(bed) == {"owner", "mine"}


async def test_one_owner_that_is_left_is_enough(bed: Bed) -> None:
    first = await bed.create(CONFIG_MAPS, config_map("first"))
    second = await bed.create(CONFIG_MAPS, config_map("second"))
    both = config_map("both", first)
    both["metadata"]["ownerReferences"] += config_map("x", second)["metadata"]["ownerReferences"]
    await bed.create(CONFIG_MAPS, both)
    await bed.delete(CONFIG_MAPS, "first")
    (reference,) = bed.get(CONFIG_MAPS, "both")["metadata"]["ownerReferences"]
    assert reference["name"] == "second"
    await bed.delete(CONFIG_MAPS, "second")
    assert names(bed) == set()


async def test_an_owner_in_another_namespace_is_not_there(bed: Bed) -> None:
    await bed.create(NAMESPACES, namespace_obj("other"))
    owner = await bed.create(CONFIG_MAPS, config_map("owner", namespace="other"))
    await bed.create(CONFIG_MAPS, config_map("mine", owner))
    assert names(bed) == set()


async def test_a_namespace_may_own_what_is_in_it(bed: Bed) -> None:
    owner = bed.get(NAMESPACES, "default")
    await bed.create(CONFIG_MAPS, config_map("mine", owner))
    assert names(bed) == {"mine"}


def definition() -> Obj:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things", "singular": "thing"},
            "versions": [version],
        },
    }


def thing(name: str = "one", namespace: str = "default") -> Obj:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": name, "namespace": namespace},
    }


async def test_custom_resources_own_too(bed: Bed) -> None:
    await bed.create(DEFINITIONS, definition())
    resource = bed.api.resource("example.com", "v1", "things")
    assert resource is not None
    owner = await bed.create(resource, thing())
    await bed.create(CONFIG_MAPS, config_map("mine", owner))
    assert names(bed) == {"mine"}
    await bed.delete(resource, "one")
    assert names(bed) == set()


async def test_a_namespace_goes_with_everything_in_it(bed: Bed) -> None:
    await bed.create(DEFINITIONS, definition())
    resource = bed.api.resource("example.com", "v1", "things")
    assert resource is not None
    await bed.create(NAMESPACES, namespace_obj("other"))
    await bed.create(resource, thing(namespace="other"))
    web = deployment()
    web["metadata"]["namespace"] = "other"
    await bed.create(DEPLOYMENTS, web)
    bed.node.holds_deletions = True
    await bed.delete(NAMESPACES, "other")
    live = bed.get(NAMESPACES, "other")
    assert live["status"]["phase"] == "Terminating"
    told = {one["type"]: (one["status"], one["message"]) for one in live["status"]["conditions"]}
    assert told["NamespaceContentRemaining"] == (
        "True",
        "Some resources are remaining: pods. has 3 resource instances",
    )
    bed.node.holds_deletions = False
    await bed.node_looks_again()
    assert bed.api.get(NAMESPACES, "other") is None
    for kind in bed.api.resources():
        if kind.namespaced and "list" in kind.verbs:
            assert bed.all(kind, "other") == []


async def test_a_namespace_has_an_account_and_the_certificates(bed: Bed) -> None:
    await bed.create(NAMESPACES, namespace_obj("other"))
    assert bed.get(SERVICE_ACCOUNTS, "default", "other")
    assert bed.get(CONFIG_MAPS, "kube-root-ca.crt", "other")["data"] == {"ca.crt": "PEM"}
    await bed.delete(SERVICE_ACCOUNTS, "default", "other")
    assert bed.get(SERVICE_ACCOUNTS, "default", "other")
    await bed.patch(CONFIG_MAPS, "kube-root-ca.crt", {"data": {"ca.crt": "evil"}}, "other")
    assert bed.get(CONFIG_MAPS, "kube-root-ca.crt", "other")["data"] == {"ca.crt": "PEM"}


async def test_a_finalizer_of_others_is_waited_for(bed: Bed) -> None:
    owner = config_map("owner")
    owner["metadata"]["finalizers"] = ["example.com/held"]
    made = await bed.create(CONFIG_MAPS, owner)
    await bed.create(CONFIG_MAPS, config_map("mine", made))
    await bed.delete(CONFIG_MAPS, "owner", propagation="Background")
    assert names(bed) == {"owner", "mine"}
    await bed.patch(CONFIG_MAPS, "owner", {"metadata": {"finalizers": None}})
    assert names(bed) == set()


async def test_pods_whose_node_is_gone_are_removed_after_a_while(bed: Bed) -> None:
    from kindling.cluster.controllers.kinds import NODES

    await bed.create(DEPLOYMENTS, deployment(replicas=1))
    bed.node.holds_deletions = True
    await bed.delete(NODES, "node")
    await bed.advance(30)
    assert len(bed.all(PODS)) == 1
    await bed.advance(15)
    (pod,) = bed.pods()
    assert "nodeName" not in pod["spec"]
