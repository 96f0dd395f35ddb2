"""Claims that pods use, and volumes that claims use, are not deleted under their hands."""

from __future__ import annotations

from collections.abc import Iterable

from kindling.cluster.controllers.claims import claims_of
from kindling.cluster.controllers.controller import OPTIONS, Controller, key_of
from kindling.cluster.controllers.kinds import CLAIMS, PODS, VOLUMES
from kindling.cluster.controllers.meta import (
    name_of,
    namespace_of,
    owner_reference,
    terminating,
)
from kindling.cluster.controllers.work import Key
from kindling.cluster.model.api import Change, ChangeType, Obj, Selection
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError

__all__ = ["ClaimProtection", "EphemeralVolumes", "VolumeProtection"]


class _Protection(Controller):
    resource: ResourceType
    finalizer: str

    def keys(self, change: Change) -> Iterable[Key]:
        return (key_of(change.object),)

    def in_use(self, obj: Obj) -> bool:
        raise NotImplementedError

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        obj = self.api.get(self.resource, name, namespace)
        if obj is None:
            return None
        finalizers: list[str] = list(obj["metadata"].get("finalizers") or ())
        if not terminating(obj):
            if self.finalizer in finalizers:
                return None
            finalizers.append(self.finalizer)
        elif self.finalizer not in finalizers or self.in_use(obj):
            return None
        else:
            finalizers.remove(self.finalizer)
        meta = {**obj["metadata"], "finalizers": finalizers}
        try:
            await self.api.update(self.resource, {**obj, "metadata": meta}, options=OPTIONS)
        except ApiError as error:
            if error.code != 404:
                raise
        return None


class ClaimProtection(_Protection):
    name = "pvc-protection"
    kinds = (CLAIMS, PODS)
    resource = CLAIMS
    finalizer = "kubernetes.io/pvc-protection"

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.key == CLAIMS.key:
            return (key_of(change.object),)
        if change.type is not ChangeType.DELETED:
            return ()
        place = namespace_of(change.object)
        return [(place, name) for name, _ in claims_of(change.object)]

    def in_use(self, obj: Obj) -> bool:
        """A pod that has ended uses its claims until it is deleted; one that was never bound does
        not."""
        return any(
            pod["spec"].get("nodeName") and any(name == name_of(obj) for name, _ in claims_of(pod))
            for pod in self.api.select(PODS, Selection(namespace_of(obj)))
        )


class VolumeProtection(_Protection):
    name = "pv-protection"
    kinds = (VOLUMES,)
    resource = VOLUMES
    finalizer = "kubernetes.io/pv-protection"

    def in_use(self, obj: Obj) -> bool:
        return bool((obj.get("status") or {}).get("phase") == "Bound")


class EphemeralVolumes(Controller):
    """Makes the claims that live and die with a pod (`volumes[].ephemeral`)."""

    name = "ephemeral-volume"
    kinds = (PODS,)

    def keys(self, change: Change) -> Iterable[Key]:
        if change.type is ChangeType.DELETED:
            return ()
        if not any(
            volume.get("ephemeral") for volume in change.object["spec"].get("volumes") or ()
        ):
            return ()
        return (key_of(change.object),)

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        pod = self.api.get(PODS, name, namespace)
        if pod is None or terminating(pod):
            return None
        for volume in pod["spec"].get("volumes") or ():
            template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
            claim = f"{name}-{volume['name']}"
            if template is None or self.api.get(CLAIMS, claim, namespace) is not None:
                continue
            meta = {
                key: value
                for key, value in (template.get("metadata") or {}).items()
                if key in ("labels", "annotations")
            }
            meta.update(
                name=claim, namespace=namespace, ownerReferences=[owner_reference(PODS, pod)]
            )
            obj = {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": meta,
                "spec": template["spec"],
            }
            await self.api.create(CLAIMS, obj, namespace, OPTIONS)
        return None
