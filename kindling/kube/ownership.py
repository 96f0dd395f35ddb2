"""Pods of a resource: found upwards through owner references, and by selectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ForbiddenError, NotFoundError
from kindling.kube.protocol import Cluster, Object, PodSource

__all__ = ["find_pods"]

_DEPTH = 8


async def find_pods(cluster: Cluster, source: PodSource, timeout: float) -> tuple[Object, ...]:
    """The pods of `source`, oldest first. See `Cluster.pods_of`.

    Walks from each pod to its owner, the owner's owner and so on, so that any operator's kinds are
    followed without being known. What may not be read ends the walk there.
    """
    uids = set()
    for ref in source.owners:
        try:
            uids.add((await cluster.get(ref, timeout=timeout))["metadata"]["uid"])
        except NotFoundError:
            continue  # deleted, perhaps by its own time limit: then only selectors can find pods
    namespaces = {source.namespace} if source.namespace else {r.namespace for r in source.owners}
    found: dict[str, Object] = {}
    owners: dict[str, Object | None] = {}
    for namespace in sorted(namespaces):
        listing = await cluster.list("v1", "Pod", namespace=namespace, timeout=timeout)
        for pod in listing.items:
            uid = pod["metadata"]["uid"]
            if (
                uid in uids
                or _selected(pod, source)
                or await _owned(cluster, pod, uids, owners, timeout)
            ):
                found[uid] = pod
    return tuple(sorted(found.values(), key=lambda pod: pod["metadata"]["creationTimestamp"]))


def _selected(pod: Object, source: PodSource) -> bool:
    labels: Mapping[str, Any] = pod["metadata"].get("labels") or {}
    return any(
        selector and all(labels.get(key) == value for key, value in selector)
        for selector in source.selectors
    )


async def _owned(
    cluster: Cluster,
    pod: Object,
    uids: set[str],
    owners: dict[str, Object | None],
    timeout: float,
) -> bool:
    todo = list(_references(pod))
    namespace = pod["metadata"].get("namespace", "")
    for _ in range(_DEPTH):
        following: list[Mapping[str, Any]] = []
        for reference in todo:
            uid = reference["uid"]
            if uid in uids:
                return True
            if uid not in owners:
                owners[uid] = await _owner(cluster, reference, namespace, timeout)
            owner = owners[uid]
            if owner is not None:
                following += _references(owner)
        if not following:
            return False
        todo = following
    return False


async def _owner(
    cluster: Cluster, reference: Mapping[str, Any], namespace: str, timeout: float
) -> Object | None:
    ref = ObjectRef(reference["apiVersion"], reference["kind"], reference["name"], namespace)
    try:
        found = await cluster.get(ref, timeout=timeout)
    except (NotFoundError, ForbiddenError):
        return None
    return found if found["metadata"]["uid"] == reference["uid"] else None


def _references(item: Object) -> Iterable[Mapping[str, Any]]:
    references: Iterable[Mapping[str, Any]] = item["metadata"].get("ownerReferences") or ()
    return references
