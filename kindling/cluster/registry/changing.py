"""One object's way from a request to its next state: the part that waits for nothing.

Everything here works in the version of the request; the registry stores the result in its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from kindling.cluster.model.api import Obj, PatchType, WriteOptions
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.schema import Schemas
from kindling.cluster.model.status import (
    ApiError,
    Cause,
    invalid,
    method_not_allowed,
)
from kindling.cluster.registry.admission.defaults import admit_claim, admit_ingress
from kindling.cluster.registry.admission.pods import admit_pod
from kindling.cluster.registry.admission.services import allocate, families, kept
from kindling.cluster.registry.definitions import DEFINITIONS, settled_definition
from kindling.cluster.registry.deletion import timestamp
from kindling.cluster.registry.incoming import (
    check_identity,
    check_namespace,
    namespace_of,
    understood,
    warn_of_name,
)
from kindling.cluster.registry.memory import Key, Memory
from kindling.cluster.registry.names import generated_name
from kindling.cluster.registry.served import Served
from kindling.cluster.registry.strategies import (
    counted,
    created,
    generation_after,
    replaced,
    status_replaced,
)
from kindling.cluster.registry.versions import storage_key

__all__ = ["Changing"]

_OURS = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
)
"""Fields of the metadata that requests have no say in."""

_LEFT_OUT_WHEN_EMPTY = ("labels", "annotations", "finalizers", "ownerReferences", "managedFields")


class Changing:
    """Decides what a create, an update or a patch makes of an object."""

    def __init__(
        self,
        memory: Memory,
        served: Served,
        schemas: Schemas,
        clock: Callable[[], float],
        *,
        admission: bool,
    ) -> None:
        self._memory = memory
        self._served = served
        self._schemas = schemas
        self._clock = clock
        self._admission = admission

    @property
    def now(self) -> str:
        return timestamp(self._clock())

    def new(
        self,
        resource: ResourceType,
        obj: Obj,
        namespace: str,
        options: WriteOptions,
        *,
        owned: bool = False,
    ) -> tuple[Key, Obj]:
        """A new object, ready to be stored, and its place. `owned`: its field owners are written
        down already. Raises `ApiError`."""
        obj = understood(self._schemas, resource, obj, options)
        metadata = {k: v for k, v in (obj.get("metadata") or {}).items() if v is not None}
        namespace = namespace_of(resource, metadata, namespace)
        if metadata.get("resourceVersion"):
            said = "resourceVersion should not be set on objects to be created"
            raise ApiError(500, "InternalError", said)
        for field in (*_OURS, "selfLink"):
            metadata.pop(field, None)
        obj = obj | {"metadata": metadata}
        if resource.namespaced and self._admission:
            check_namespace(self._memory, resource, obj, namespace)
        obj = counted(resource, self._schemas.of(resource).default(obj), None)
        if not owned:
            # Before admission: what the cluster adds is nobody's.
            obj = self._owned(resource, None, obj, "", options)
        obj = self._admitted(resource, obj, namespace)
        metadata = dict(obj["metadata"])
        if not metadata.get("name") and metadata.get("generateName"):
            for _ in range(8):
                metadata["name"] = generated_name(metadata["generateName"])
                if self._memory.current(self.place(resource, metadata["name"], namespace)) is None:
                    break
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = self.now
        obj = created(resource, obj | {"metadata": metadata})
        if resource.key == DEFINITIONS and metadata.get("name"):
            _warn_of_rules(obj, options)
            others = self._memory.current_all(DEFINITIONS)
            obj = settled_definition(obj, others, self.now)
        obj = _trimmed(obj)
        self._validate(resource, obj, None)
        warn_of_name(resource, obj["metadata"]["name"], options)
        key = self.place(resource, obj["metadata"]["name"], namespace)
        if resource.key == "services":
            obj = allocate(self._memory, key, obj)
        return key, obj

    def next(
        self,
        resource: ResourceType,
        old: Obj,
        asked: Obj,
        subresource: str,
        options: WriteOptions,
        *,
        owned: bool = False,
        patch: Any = None,
    ) -> Obj:
        """The next state of `old`, or `old` itself when nothing changes. `patch` is what made
        `asked`, if anything did. Raises `ApiError`."""
        asked = understood(self._schemas, resource, asked, options, patch)
        before = old["metadata"]
        check_identity(resource, before, asked)
        metadata = dict(asked["metadata"])
        for field in _OURS:
            metadata.pop(field, None)
            if field in before:
                metadata[field] = before[field]
        metadata.pop("selfLink", None)
        metadata.setdefault("namespace", before.get("namespace"))
        if metadata["namespace"] is None:
            del metadata["namespace"]
        if "generateName" in before:
            metadata["generateName"] = before["generateName"]
        new = asked | {"metadata": metadata}
        if subresource == "status":
            new = status_replaced(resource, new, old)
        elif subresource == "finalize":
            spec = dict(old.get("spec") or {})
            spec.pop("finalizers", None)
            if finalizers := (new.get("spec") or {}).get("finalizers"):
                spec["finalizers"] = finalizers
            new = old | {"spec": spec, "metadata": metadata}
        elif subresource == "":
            new = replaced(resource, new, old)
        new = _trimmed(counted(resource, self._schemas.of(resource).default(new), old))
        if same(new, old):
            return old
        if not owned:
            new = self._owned(resource, old, new, subresource, options)
        if resource.key == "services" and subresource == "":
            new = families(kept(new, old))
        if resource.key == DEFINITIONS and subresource == "":
            _warn_of_rules(new, options)
            new = settled_definition(new, self._memory.current_all(DEFINITIONS), self.now)
        new = _trimmed(new)
        if subresource != "status":
            generation = generation_after(resource, new, old)
            if generation is not None:
                new["metadata"]["generation"] = generation
        if new == old:
            # Owners that are gone now were taken off by this request, so they count.
            return old
        self._validate(resource, new, old)
        if resource.key == "services" and subresource == "":
            key = self.place(resource, before["name"], before["namespace"])
            new = allocate(self._memory, key, new)
        return new

    def patched(
        self,
        resource: ResourceType,
        old: Obj,
        patch: Any,
        patch_type: PatchType,
        subresource: str,
        options: WriteOptions,
    ) -> Obj:
        """What a patch makes of an object. Raises `ApiError`."""
        match patch_type:
            case PatchType.JSON:
                from kindling.cluster.patch.json_patch import json_patch

                return json_patch(old, patch)
            case PatchType.MERGE:
                from kindling.cluster.patch.merge import merge

                return merge(old, patch)
            case PatchType.STRATEGIC:
                if resource.custom:
                    raise ApiError(
                        415,
                        "UnsupportedMediaType",
                        "the body of the request was in an unknown format - accepted media types"
                        " include: application/json-patch+json, application/merge-patch+json,"
                        " application/apply-patch+yaml",
                    )
                from kindling.cluster.patch.strategic import strategic_merge

                return strategic_merge(old, patch, self._schemas.of(resource).shape)
            case PatchType.APPLY:
                return self.applied(resource, old, patch, subresource, options)

    def applied(
        self,
        resource: ResourceType,
        old: Obj | None,
        patch: Any,
        subresource: str,
        options: WriteOptions,
    ) -> Obj:
        """What an apply makes of an object, with the owners it has then."""
        from kindling.cluster.patch.apply import apply

        if not options.field_manager:
            cause = Cause(
                "FieldValueRequired", "Required value: is required for apply patch", "fieldManager"
            )
            raise invalid("PatchOptions", "", [cause], "meta.k8s.io")
        return apply(
            old,
            patch,
            self._schemas.of(resource).shape,
            manager=options.field_manager,
            force=options.force,
            now=self.now,
            api_version=resource.api_version,
            subresource=subresource,
            reset=_reset(resource, subresource),
        )

    def read(self, resource: ResourceType, obj: Obj, options: WriteOptions) -> Obj:
        """What a request brings, with the fields of its kind alone. Raises `ApiError` 400."""
        return understood(self._schemas, resource, obj, options)

    def place(self, resource: ResourceType, name: str, namespace: str) -> Key:
        return (storage_key(resource), namespace if resource.namespaced else "", name)

    def _admitted(self, resource: ResourceType, obj: Obj, namespace: str) -> Obj:
        match resource.key:
            case "pods" if self._admission:
                return admit_pod(self._memory, obj, namespace)
            case "persistentvolumeclaims":
                return admit_claim(self._memory, obj)
            case "ingresses.networking.k8s.io":
                return admit_ingress(self._memory, obj)
            case "services":
                return families(obj)
        if resource.custom:
            definition = self._memory.current((DEFINITIONS, "", resource.key))
            if definition is None:
                raise ApiError(404, "NotFound", "the server could not find the requested resource")
            if definition["metadata"].get("deletionTimestamp"):
                raise method_not_allowed(
                    "create not allowed while custom resource definition is terminating"
                )
        return obj

    def _validate(self, resource: ResourceType, new: Obj, old: Obj | None) -> None:
        causes = self._schemas.of(resource).validate(new, old)
        name = new["metadata"].get("name", "")
        if not causes and not name:
            said = "Required value: name or generateName is required"
            causes = (Cause("FieldValueRequired", said, "metadata.name"),)
        if causes:
            raise invalid(resource.kind, name, causes, resource.group)

    def _owned(
        self,
        resource: ResourceType,
        old: Obj | None,
        new: Obj,
        subresource: str,
        options: WriteOptions,
    ) -> Obj:
        from kindling.cluster.patch.owners import track

        return track(
            old,
            new,
            self._schemas.of(resource).shape,
            manager=options.field_manager,
            now=self.now,
            api_version=resource.api_version,
            subresource=subresource,
            reset=_reset(resource, subresource),
        )


def _warn_of_rules(definition: Obj, options: WriteOptions) -> None:
    """Say which rules of a definition are stored and not asked here."""
    if options.warn is None or "x-kubernetes-validations" not in str(definition.get("spec")):
        return
    from kindling.cluster.schema.custom.rules import unenforced_rules

    for told in unenforced_rules(definition):
        options.warn(told)


def same(new: Obj, old: Obj) -> bool:
    """Whether an update changes nothing. A client that left the field owners out, or sent them as
    they were, has not touched them."""
    if new == old:
        return True
    if new["metadata"].get("managedFields") is not None:
        return False
    owners = old["metadata"].get("managedFields")
    if owners is None:
        return False
    return new | {"metadata": new["metadata"] | {"managedFields": owners}} == old


def _reset(resource: ResourceType, subresource: str) -> list[list[str]]:
    """The paths that an endpoint does not let anybody own."""
    if subresource == "status":
        return [["spec"], ["metadata"]] if resource.custom else [["spec"]]
    return [["status"]] if "status" in resource.subresources and not subresource else []


def _trimmed(obj: Obj) -> Obj:
    """Empty labels and the like are left out, as they are in the API server's own encoding."""
    metadata = dict(obj["metadata"])
    for field in _LEFT_OUT_WHEN_EMPTY:
        if field in metadata and not metadata[field] and field != "managedFields":
            del metadata[field]
    return obj | {"metadata": metadata}
