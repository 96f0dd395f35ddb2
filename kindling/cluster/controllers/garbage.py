"""The garbage collector: what has lost its owners goes, in the order that was asked for.

The rules are those of `pkg/controller/garbagecollector`: an owner counts by its UID; owners are
looked for in the dependent's own namespace, or in the whole cluster if their kind is not
namespaced; foreground deletion waits for dependents that block it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kindling.cluster.controllers.controller import OPTIONS, Controller, World
from kindling.cluster.controllers.meta import name_of, namespace_of, terminating, uid_of
from kindling.cluster.controllers.work import Key
from kindling.cluster.model.api import Change, ChangeType, DeleteOptions, Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError

__all__ = ["GarbageCollector"]

_FOREGROUND = "foregroundDeletion"
_ORPHAN = "orphan"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Owners:
    """An object's owners: those that keep it, those that are gone, those that wait for it to go,
    and whether there are any that cannot be judged."""

    solid: list[Obj] = field(default_factory=list)
    gone: list[Obj] = field(default_factory=list)
    waiting: list[Obj] = field(default_factory=list)
    unknown: bool = False


class GarbageCollector(Controller):
    name = "garbage-collector"
    kinds = ()
    everything = True

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._resources: dict[str, ResourceType] = {}

    def keys(self, change: Change) -> Iterable[Key]:
        obj = change.object
        self._resources[change.resource.key] = change.resource
        found: list[Key] = []
        references = obj["metadata"].get("ownerReferences") or ()
        if change.type is ChangeType.DELETED:
            for resource, dependent in self.api.by_owner(uid_of(obj)):
                found.append(self._key(resource, dependent))
            for reference in references:
                if (owner := self._find(obj, reference)) is not None and terminating(owner[1]):
                    found.append(self._key(*owner))
            return found
        before = change.before
        if references and (
            before is None or before["metadata"].get("ownerReferences") != references
        ):
            found.append(self._key(change.resource, obj))
        if terminating(obj):
            finalizers = obj["metadata"].get("finalizers") or ()
            if _FOREGROUND in finalizers or _ORPHAN in finalizers:
                found.append(self._key(change.resource, obj))
        if before is not None and before["metadata"].get("ownerReferences"):
            # An owner in the foreground may have waited for what no longer names it.
            for reference in before["metadata"]["ownerReferences"]:
                if reference not in references:
                    owner = self._find(obj, reference)
                    if owner is not None and terminating(owner[1]):
                        found.append(self._key(*owner))
        return found

    def _key(self, resource: ResourceType, obj: Obj) -> Key:
        self._resources[resource.key] = resource
        return (resource.key, namespace_of(obj), name_of(obj))

    async def reconcile(self, key: Key) -> float | None:
        resource = self._resources[key[0]]
        obj = self.api.get(resource, key[2], key[1])
        if obj is None:
            return None
        finalizers = obj["metadata"].get("finalizers") or ()
        if terminating(obj) and _ORPHAN in finalizers:
            await self._orphan(resource, obj)
        elif terminating(obj) and _FOREGROUND in finalizers:
            await self._delete_dependents(resource, obj)
        elif obj["metadata"].get("ownerReferences"):
            await self._collect(resource, obj)
        return None

    # --- dependents ----------------------------------------------------------------------------

    async def _collect(self, resource: ResourceType, obj: Obj) -> None:
        """Delete an object that no owner keeps, and forget owners that are gone otherwise."""
        owners = self._owners(obj)
        if owners.unknown:
            return
        if owners.solid:
            if owners.gone or owners.waiting:
                lost = {reference["uid"] for reference in (*owners.gone, *owners.waiting)}
                await self._forget(resource, obj, lost)
            return
        if terminating(obj):
            return
        finalizers = obj["metadata"].get("finalizers") or ()
        propagation = "Background"
        if (owners.waiting and self.api.by_owner(uid_of(obj))) or _FOREGROUND in finalizers:
            propagation = "Foreground"
        elif _ORPHAN in finalizers:
            propagation = "Orphan"
        await self._delete(resource, obj, propagation)

    def _owners(self, obj: Obj) -> _Owners:
        found = _Owners()
        for reference in obj["metadata"].get("ownerReferences") or ():
            kind = self._kind(reference)
            if kind is None:
                found.unknown = True
                continue
            if kind.namespaced and not namespace_of(obj):
                self.events.warning(
                    obj,
                    "OwnerRefInvalidNamespace",
                    f"ownerRef [{reference.get('apiVersion')}/{reference.get('kind')}, namespace: ,"
                    f" name: {reference.get('name')}, uid: {reference.get('uid')}] does not exist"
                    ' in namespace ""',
                )
                found.unknown = True
                continue
            owner = self._find(obj, reference)
            if owner is None:
                found.gone.append(reference)
            elif terminating(owner[1]) and _FOREGROUND in (
                owner[1]["metadata"].get("finalizers") or ()
            ):
                found.waiting.append(reference)
            else:
                found.solid.append(reference)
        return found

    def _kind(self, reference: Obj) -> ResourceType | None:
        group, _, version = str(reference.get("apiVersion", "")).rpartition("/")
        kind = str(reference.get("kind", ""))
        return self.api.by_kind(group, kind, version) or self.api.by_kind(group, kind)

    def _find(self, obj: Obj, reference: Obj) -> tuple[ResourceType, Obj] | None:
        """The owner that a reference names, if that very one is still there."""
        kind = self._kind(reference)
        if kind is None:
            return None
        place = namespace_of(obj) if kind.namespaced else ""
        owner = self.api.get(kind, str(reference.get("name", "")), place)
        if owner is None or uid_of(owner) != reference.get("uid"):
            return None
        return kind, owner

    # --- owners that are on their way out -------------------------------------------------------

    async def _delete_dependents(self, resource: ResourceType, obj: Obj) -> None:
        """Delete the dependents, and let the owner go when none is left that blocks it."""
        uid = uid_of(obj)
        for kind, dependent in self.api.by_owner(uid):
            if self._real(resource, obj, dependent):
                await self._collect(kind, dependent)
        if any(
            reference.get("uid") == uid and reference.get("blockOwnerDeletion")
            for _, dependent in self.api.by_owner(uid)
            if self._real(resource, obj, dependent)
            for reference in dependent["metadata"]["ownerReferences"]
        ):
            return
        await self._drop_finalizer(resource, obj, _FOREGROUND)

    @staticmethod
    def _real(resource: ResourceType, owner: Obj, dependent: Obj) -> bool:
        """Whether the dependent can be that owner's: it lives in its namespace."""
        return not resource.namespaced or namespace_of(owner) == namespace_of(dependent)

    async def _orphan(self, resource: ResourceType, obj: Obj) -> None:
        for kind, dependent in self.api.by_owner(uid_of(obj)):
            if self._real(resource, obj, dependent):
                await self._forget(kind, dependent, {uid_of(obj)})
        await self._drop_finalizer(resource, obj, _ORPHAN)

    async def _forget(self, resource: ResourceType, obj: Obj, lost: set[str]) -> None:
        """Take owners off an object."""
        current = self.api.get(resource, name_of(obj), namespace_of(obj))
        if current is None or uid_of(current) != uid_of(obj):
            return
        meta = dict(current["metadata"])
        kept: Sequence[Obj] = [
            reference
            for reference in meta.get("ownerReferences") or ()
            if reference.get("uid") not in lost
        ]
        meta.pop("ownerReferences", None)
        if kept:
            meta["ownerReferences"] = kept
        await self._update(resource, {**current, "metadata": meta})

    async def _drop_finalizer(self, resource: ResourceType, obj: Obj, name: str) -> None:
        current = self.api.get(resource, name_of(obj), namespace_of(obj))
        if current is None or uid_of(current) != uid_of(obj):
            return
        meta = dict(current["metadata"])
        meta["finalizers"] = [one for one in meta.get("finalizers") or () if one != name]
        await self._update(resource, {**current, "metadata": meta})

    async def _update(self, resource: ResourceType, obj: Obj) -> None:
        try:
            await self.api.update(resource, obj, options=OPTIONS)
        except ApiError as error:
            if error.code != 404:
                raise

    async def _delete(self, resource: ResourceType, obj: Obj, propagation: str) -> None:
        """With preconditions: if anybody gave it a new owner meanwhile, it is looked at again."""
        options = DeleteOptions(
            propagation=propagation,
            uid=uid_of(obj),
            resource_version=str(obj["metadata"].get("resourceVersion", "")),
        )
        try:
            await self.api.delete(resource, name_of(obj), namespace_of(obj), options)
        except ApiError as error:
            if error.code != 404:
                raise
        _log.debug("collected %s %s/%s", resource.key, namespace_of(obj), name_of(obj))
