"""Namespaces: their default account and certificates while they live, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from kindling.cluster.controllers.bootstrap import root_ca
from kindling.cluster.controllers.controller import OPTIONS, Controller
from kindling.cluster.controllers.kinds import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS
from kindling.cluster.controllers.meta import (
    name_of,
    namespace_of,
    terminating,
    with_condition,
)
from kindling.cluster.controllers.work import Key
from kindling.cluster.model.api import Change, ChangeType, DeleteOptions, Obj, Selection
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError

__all__ = ["NamespaceController", "NamespaceDefaultsController"]

_LOOK_AGAIN = 5.0  # seconds, should a deletion have gone unnoticed


class NamespaceController(Controller):
    """Empties a namespace that is being deleted, custom resources included, and lets it go."""

    name = "namespace"
    kinds = (NAMESPACES,)
    everything = True

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.key == NAMESPACES.key:
            return (("", name_of(change.object)),) if terminating(change.object) else ()
        place = namespace_of(change.object)
        if not place or change.type is not ChangeType.DELETED:
            return ()
        namespace = self.api.get(NAMESPACES, place)
        return (("", place),) if namespace is not None and terminating(namespace) else ()

    async def reconcile(self, key: Key) -> float | None:
        name = key[1]
        namespace = self.api.get(NAMESPACES, name)
        if namespace is None or not terminating(namespace):
            return None
        spec = namespace.get("spec") or {}
        if "kubernetes" not in (spec.get("finalizers") or ()):
            return None
        resources = self._resources()
        failures = await self._empty(name, resources)
        left = {
            resource: objects
            for resource in resources
            if (objects := self.api.select(resource, Selection(name)))
        }
        namespace = self.api.get(NAMESPACES, name)
        if namespace is None:
            return None
        conditions = (namespace.get("status") or {}).get("conditions")
        for new in _conditions(left, failures):
            conditions = with_condition(conditions, new, now=self.world.now)
        status = {**(namespace.get("status") or {}), "phase": "Terminating"}
        namespace = await self.write_status(
            NAMESPACES, namespace, {**status, "conditions": conditions}
        )
        if left or failures:
            return _LOOK_AGAIN
        spec = namespace.get("spec") or {}
        kept = [one for one in spec.get("finalizers") or () if one != "kubernetes"]
        await self.api.update(
            NAMESPACES, {**namespace, "spec": {**spec, "finalizers": kept}}, "finalize", OPTIONS
        )
        return None

    def _resources(self) -> list[ResourceType]:
        """Every namespaced resource that is stored, once."""
        found: dict[str, ResourceType] = {}
        for resource in self.api.resources():
            # Events are stored once, whichever of the two groups one asks.
            if (
                resource.namespaced
                and {"delete", "list"} <= set(resource.verbs)
                and resource.group != "events.k8s.io"
            ):
                found.setdefault(resource.key, resource)
        return list(found.values())

    async def _empty(self, name: str, resources: Iterable[ResourceType]) -> list[str]:
        """Delete everything; what could not be."""
        failures: list[str] = []

        async def delete(resource: ResourceType, obj: Obj) -> None:
            try:
                await self.api.delete(
                    resource, name_of(obj), name, DeleteOptions(propagation="Background")
                )
            except ApiError as error:
                if error.code != 404:
                    failures.append(str(error))

        await asyncio.gather(
            *(
                delete(resource, obj)
                for resource in resources
                for obj in self.api.select(resource, Selection(name))
                if not terminating(obj)
            )
        )
        return failures


def _conditions(
    left: dict[ResourceType, list[Obj]], failures: list[str]
) -> Iterable[dict[str, Any]]:
    """Conditions and texts as in `pkg/controller/namespace/deletion/status_condition_utils.go`."""

    def make(type_: str, status: bool, reason: str, message: str) -> dict[str, Any]:
        return {
            "type": type_,
            "status": "True" if status else "False",
            "reason": reason,
            "message": message,
        }

    yield make(
        "NamespaceDeletionDiscoveryFailure",
        False,
        "ResourcesDiscovered",
        "All resources successfully discovered",
    )
    yield make(
        "NamespaceDeletionGroupVersionParsingFailure",
        False,
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    )
    if failures:
        text = f"Failed to delete all resource types, {len(failures)} remaining: "
        yield make(
            "NamespaceDeletionContentFailure",
            True,
            "ContentDeletionFailed",
            text + ", ".join(sorted(failures)),
        )
    else:
        yield make(
            "NamespaceDeletionContentFailure",
            False,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        )
    if left:
        counts = sorted(
            f"{resource.key if resource.group else resource.plural + '.'} has {len(objects)}"
            " resource instances"
            for resource, objects in left.items()
        )
        yield make(
            "NamespaceContentRemaining",
            True,
            "SomeResourcesRemain",
            "Some resources are remaining: " + ", ".join(counts),
        )
    else:
        yield make(
            "NamespaceContentRemaining",
            False,
            "ContentRemoved",
            "All content successfully removed",
        )
    finalizers: dict[str, int] = {}
    for objects in left.values():
        for obj in objects:
            for one in obj["metadata"].get("finalizers") or ():
                finalizers[one] = finalizers.get(one, 0) + 1
    if finalizers:
        told = sorted(
            f"{name} in {number} resource instances" for name, number in finalizers.items()
        )
        yield make(
            "NamespaceFinalizersRemaining",
            True,
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: " + ", ".join(told),
        )
    else:
        yield make(
            "NamespaceFinalizersRemaining",
            False,
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        )


class NamespaceDefaultsController(Controller):
    """Sees that every namespace has its service account `default` and `kube-root-ca.crt`."""

    name = "serviceaccount"
    kinds = (NAMESPACES, SERVICE_ACCOUNTS, CONFIG_MAPS)

    def keys(self, change: Change) -> Iterable[Key]:
        obj = change.object
        if change.resource.key == NAMESPACES.key:
            return (("", name_of(obj)),)
        wanted = "default" if change.resource.key == SERVICE_ACCOUNTS.key else "kube-root-ca.crt"
        if name_of(obj) != wanted or change.type is ChangeType.ADDED:
            return ()
        return (("", namespace_of(obj)),)

    async def reconcile(self, key: Key) -> float | None:
        name = key[1]
        namespace = self.api.get(NAMESPACES, name)
        if namespace is None or terminating(namespace):
            return None
        if self.api.get(SERVICE_ACCOUNTS, "default", name) is None:
            account = {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": name},
            }
            await self._create(SERVICE_ACCOUNTS, account, name)
        if self.world.authority:
            wanted = root_ca(name, self.world.authority)
            there = self.api.get(CONFIG_MAPS, name_of(wanted), name)
            if there is None:
                await self._create(CONFIG_MAPS, wanted, name)
            elif there.get("data") != wanted["data"]:
                await self.api.update(
                    CONFIG_MAPS, {**there, "data": wanted["data"]}, options=OPTIONS
                )
        return None

    async def _create(self, resource: ResourceType, obj: Obj, namespace: str) -> None:
        try:
            await self.api.create(resource, obj, namespace, OPTIONS)
        except ApiError as error:
            if error.reason != "AlreadyExists" and "is being terminated" not in error.message:
                raise
