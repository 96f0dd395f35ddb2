"""What the operator must see of a cluster, and the plain way to see it: ask each time.

The running operator reads what it has been told by watches instead (`seen`), and asks for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ForbiddenError, NotFoundError
from kindling.kube.protocol import Cluster
from kindling.operator.controller.planning import owned_by
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.definitions.environment import KIND
from kindling.operator.definitions.pool import POOL_KINDS
from kindling.operator.marks import MANAGER

__all__ = ["CLASSES", "PODS", "SORTS", "Asking", "Reader", "Sort", "belongs", "owner_name"]

Object = Mapping[str, Any]

Kind = tuple[str, str]
"""apiVersion and kind."""

_MANAGED_BY = "app.kubernetes.io/managed-by"
_OWNERS = ("app.kubernetes.io/part-of", "app.kubernetes.io/instance")

PODS: Kind = ("v1", "Pod")
CLASSES: Kind = ("networking.k8s.io/v1", "IngressClass")


@dataclass(frozen=True, slots=True)
class Sort:
    """A kind that the operator serves: the label of its children, and of what kinds they are."""

    api_version: str
    kind: str
    manager: str
    children: tuple[Kind, ...]

    def ref(self, namespace: str, name: str) -> ObjectRef:
        return ObjectRef(self.api_version, self.kind, name, namespace)


_RBAC = "rbac.authorization.k8s.io/v1"
_POOL_CHILDREN = (
    ("apps/v1", "Deployment"),
    ("v1", "ServiceAccount"),
    (_RBAC, "Role"),
    (_RBAC, "RoleBinding"),
)

SORTS: Mapping[str, Sort] = {
    KIND: Sort(
        f"{GROUP}/{VERSION}",
        KIND,
        MANAGER,
        (
            ("apps/v1", "Deployment"),
            ("v1", "Service"),
            ("v1", "Secret"),
            ("v1", "PersistentVolumeClaim"),
            ("networking.k8s.io/v1", "Ingress"),
        ),
    )
} | {
    kind: Sort(f"{GROUP}/{VERSION}", kind, "cirunnerpool-operator", _POOL_CHILDREN)
    for kind in POOL_KINDS
}


class Reader(Protocol):
    """Where the operator reads. What it has written itself it must see at once."""

    async def find(self, ref: ObjectRef) -> Object | None: ...

    async def owned(self, sort: Sort, namespace: str, uid: str) -> tuple[Object, ...]:
        """The children that bear the owner's `uid`."""
        ...

    async def pods(self, sort: Sort, namespace: str, name: str) -> tuple[Object, ...]:
        """The pods of an owner's Deployments."""
        ...

    async def classes(self) -> tuple[Object, ...]:
        """All IngressClasses; none where they may not be read."""
        ...

    def wrote(self, live: Object) -> None:
        """An object is now so."""
        ...

    def deleted(self, ref: ObjectRef, uid: str) -> None: ...


class Asking:
    """A `Reader` that asks the API server each time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def find(self, ref: ObjectRef) -> Object | None:
        try:
            return await self._cluster.get(ref)
        except NotFoundError:
            return None

    async def owned(self, sort: Sort, namespace: str, uid: str) -> tuple[Object, ...]:
        found: list[Object] = []
        labels = ((_MANAGED_BY, sort.manager),)
        for version, kind in sort.children:
            listing = await self._cluster.list(version, kind, namespace=namespace, labels=labels)
            found.extend(one for one in listing.items if owned_by(one, uid))
        return tuple(found)

    async def pods(self, sort: Sort, namespace: str, name: str) -> tuple[Object, ...]:
        labels = ((_MANAGED_BY, sort.manager),)
        listing = await self._cluster.list(*PODS, namespace=namespace, labels=labels)
        return tuple(pod for pod in listing.items if owner_name(pod) == name)

    async def classes(self) -> tuple[Object, ...]:
        try:
            return (await self._cluster.list(*CLASSES)).items
        except ForbiddenError:
            return ()

    def wrote(self, live: Object) -> None:
        del live

    def deleted(self, ref: ObjectRef, uid: str) -> None:
        del ref, uid


def belongs(pod: Object) -> str:
    """The label that says of which sort's owner a pod is; empty for one of somebody else."""
    labels = pod["metadata"].get("labels") or {}
    return str(labels.get(_MANAGED_BY, ""))


def owner_name(pod: Object) -> str:
    """The name of the environment or pool that a pod belongs to."""
    labels = pod["metadata"].get("labels") or {}
    return next((str(labels[key]) for key in _OWNERS if key in labels), "")
