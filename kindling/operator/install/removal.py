"""Taking an operator out of a cluster, and with it, where that is asked for, all that it made."""

from __future__ import annotations

from collections.abc import Iterable

from kindling.errors import UsageError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ForbiddenError, NotFoundError
from kindling.kube.protocol import Cluster, Object
from kindling.operator.controller.definitions import definitions
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.definitions.environment import KIND
from kindling.operator.definitions.pool import POOL_KINDS
from kindling.operator.install.applying import Done, Verb, belonging, reference
from kindling.operator.install.manifests import INSTALLATION_LABEL, SYSTEM
from kindling.operator.install.rights import LEASE

__all__ = ["declared", "remove_definitions", "remove_operator"]

_CONTENTS = (
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Service"),
    ("v1", "Pod"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
)
"""What keeps a namespace from being deleted: somebody uses it."""


async def remove_operator(cluster: Cluster, namespace: str) -> tuple[Done, ...]:
    """Delete what was installed into a namespace. What the operator made stays as it is, and any
    other operator goes on with it.

    The namespaces that were made for it go too, unless something else stands there.

    Raises:
        UsageError: There is no operator in that namespace.
    """
    found = await belonging(cluster, namespace)
    if not found:
        places = sorted({_home(item) for item in await belonging(cluster)} - {""})
        raise UsageError(
            f"No operator is installed in the namespace `{namespace}`",
            hint=f"There is one in [{', '.join(places)}]: name it with `--namespace`."
            if places
            else "`kindling operator status` says who acts.",
        )
    done: list[Done] = []
    all_there = await belonging(cluster)
    others = any(
        _home(item) != namespace and reference(item).kind != "Namespace" for item in all_there
    )
    if not others:
        # Whoever made it may have left it to us.
        found += [item for item in all_there if _left_behind(item) and _home(item) != namespace]
    for item in found:
        ref = reference(item)
        if ref.kind == "Namespace" and (why := await _used(cluster, ref.name, others)):
            done.append(Done(Verb.KEPT, ref, why=why))
            continue
        await cluster.delete(ref, uid=item["metadata"]["uid"])
        done.append(Done(Verb.DELETED, ref))
        if ref.kind == "Deployment":
            await _until_gone(cluster, item)
        elif ref.kind == "Namespace":
            await cluster.wait_deleted(ref, uid=item["metadata"]["uid"], timeout=120.0)
    return tuple(done)


def _left_behind(item: Object) -> bool:
    ref = reference(item)
    return (ref.kind, ref.name) == ("Namespace", SYSTEM)


def _home(item: Object) -> str:
    return str((item["metadata"].get("labels") or {}).get(INSTALLATION_LABEL) or "")


async def _until_gone(cluster: Cluster, deployment: Object) -> None:
    """The operator gives its Lease back while its rights and its namespace still are there."""
    head = deployment["metadata"]
    labels = tuple(sorted(deployment["spec"]["selector"]["matchLabels"].items()))
    await cluster.wait_deleted(reference(deployment))
    listing = await cluster.list("v1", "Pod", namespace=head["namespace"], labels=labels)
    for pod in listing.items:
        ref = ObjectRef("v1", "Pod", pod["metadata"]["name"], head["namespace"])
        # The garbage collector would do it, some moments later.
        await cluster.delete(ref, uid=pod["metadata"]["uid"])
        await cluster.wait_deleted(ref, uid=pod["metadata"]["uid"])


async def _used(cluster: Cluster, namespace: str, others: bool) -> str:
    """Why a namespace has to stay, empty when nothing is left there."""
    if namespace == SYSTEM and others:
        return "another installation has its Lease there"
    kinds = [*_CONTENTS, *((f"{GROUP}/{VERSION}", kind) for kind in (KIND, *POOL_KINDS))]
    for api_version, kind in kinds:
        try:
            items = await _all(cluster, api_version, kind, namespace)
        except ForbiddenError:
            return f"it cannot be seen whether a {kind} is there"
        for item in items:
            if not _by_cluster(kind, item):
                return f"{kind} `{item['metadata']['name']}` is there"
    await cluster.delete(ObjectRef("coordination.k8s.io/v1", "Lease", LEASE, namespace))
    return ""


def _by_cluster(kind: str, item: Object) -> bool:
    """Whether every namespace has it."""
    if kind == "ConfigMap":
        return bool(item["metadata"]["name"] == "kube-root-ca.crt")
    return kind == "Secret" and item.get("type") == "kubernetes.io/service-account-token"


async def declared(cluster: Cluster) -> tuple[ObjectRef, ...]:
    """All environments and pools there are, in every namespace: what goes with the definitions."""
    found: list[ObjectRef] = []
    for kind in (KIND, *POOL_KINDS):
        api_version = f"{GROUP}/{VERSION}"
        for item in await _all(cluster, api_version, kind, ""):
            head = item["metadata"]
            found.append(ObjectRef(api_version, kind, head["name"], head["namespace"]))
    return tuple(found)


async def remove_definitions(cluster: Cluster) -> tuple[Done, ...]:
    """Delete the custom kinds, with every environment and pool, and with those all that stands for
    them: pods, addresses, credentials and data."""
    done: list[Done] = []
    for manifest in definitions():
        ref = reference(manifest)
        if await cluster.delete(ref):
            done.append(Done(Verb.DELETED, ref))
            await cluster.wait_deleted(ref, timeout=120.0)
    return tuple(done)


async def _all(cluster: Cluster, api_version: str, kind: str, namespace: str) -> Iterable[Object]:
    try:
        return (await cluster.list(api_version, kind, namespace=namespace)).items
    except NotFoundError:
        return ()
