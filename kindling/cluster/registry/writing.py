"""Create, update, patch and delete."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from kindling.cluster.model.api import DeleteOptions, Obj, PatchType, WriteOptions
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.schema import Schemas
from kindling.cluster.model.status import already_exists, bad_request, conflict, not_found
from kindling.cluster.registry.memory import Memory
from kindling.cluster.registry.served import Served
from kindling.cluster.registry.versions import storage_key, to_storage, view
from kindling.cluster.storage.document import Document

__all__ = ["Writer"]

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class Writer:
    def __init__(
        self, memory: Memory, served: Served, schemas: Schemas, clock: Callable[[], float]
    ) -> None:
        self._memory = memory
        self._served = served
        self._schemas = schemas
        self._clock = clock

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def create(
        self, resource: ResourceType, obj: Obj, namespace: str, options: WriteOptions
    ) -> Obj:
        metadata: Obj = dict(obj.get("metadata") or {})
        namespace = (namespace or metadata.get("namespace", "")) if resource.namespaced else ""
        if not metadata.get("name") and metadata.get("generateName"):
            tail = "".join(secrets.choice(_ALPHABET) for _ in range(5))
            metadata["name"] = metadata["generateName"][:58] + tail
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = self._now()
        if "spec" in obj:
            metadata["generation"] = 1
        if namespace:
            metadata["namespace"] = namespace
        metadata.pop("resourceVersion", None)
        schema = self._schemas.of(resource)
        full = schema.default(obj | {"metadata": metadata})
        full = to_storage(resource, full, self._served.storage_version(resource))
        key = (storage_key(resource), namespace, metadata["name"])
        if self._memory.current(key) is not None:
            raise already_exists(resource.plural, metadata["name"], resource.group)
        if options.dry_run:
            return full
        return view(await self._memory.commit(key, full), resource)

    async def update(
        self, resource: ResourceType, obj: Obj, subresource: str, options: WriteOptions
    ) -> Obj:
        metadata = obj["metadata"]
        name = metadata["name"]
        namespace = metadata.get("namespace", "") if resource.namespaced else ""
        key = (storage_key(resource), namespace, name)
        old = self._memory.current(key)
        if old is None:
            raise not_found(resource.plural, name, resource.group)
        return await self._replace(resource, key, old, obj, subresource, options)

    async def _replace(
        self,
        resource: ResourceType,
        key: tuple[str, str, str],
        old: Document,
        obj: Obj,
        subresource: str,
        options: WriteOptions,
    ) -> Obj:
        before = old["metadata"]
        version = obj["metadata"].get("resourceVersion")
        if version and version != before["resourceVersion"]:
            raise conflict(resource.plural, key[2], resource.group)
        new = to_storage(resource, obj, old["apiVersion"])
        metadata = dict(new["metadata"])
        for field in ("uid", "creationTimestamp", "deletionTimestamp", "generation", "name"):
            if field in before:
                metadata[field] = before[field]
        if subresource == "status":
            new = old | {"status": new.get("status"), "metadata": before}
        else:
            if "status" in resource.subresources:
                new = {k: v for k, v in new.items() if k != "status"}
                if "status" in old:
                    new["status"] = old["status"]
            new = self._schemas.of(resource).default(new)
            if new.get("spec") != old.get("spec") and "generation" in before:
                metadata["generation"] = before["generation"] + 1
            metadata["resourceVersion"] = before["resourceVersion"]
            new = new | {"metadata": metadata}
        if new == old:
            await self._memory.settle(key)
            return view(old, resource)
        if options.dry_run:
            return new
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            return view(await self._memory.commit(key, None), resource)
        return view(await self._memory.commit(key, new), resource)

    async def patch(
        self,
        resource: ResourceType,
        name: str,
        patch: Any,
        namespace: str,
        patch_type: PatchType,
        subresource: str,
        options: WriteOptions,
    ) -> Obj:
        if patch_type is not PatchType.MERGE:
            raise bad_request("only merge patches yet")
        key = (storage_key(resource), namespace if resource.namespaced else "", name)
        old = self._memory.current(key)
        if old is None:
            raise not_found(resource.plural, name, resource.group)
        return await self._replace(resource, key, old, _merge(old, patch), subresource, options)

    async def delete(
        self, resource: ResourceType, name: str, namespace: str, options: DeleteOptions
    ) -> tuple[Obj, bool]:
        key = (storage_key(resource), namespace if resource.namespaced else "", name)
        old = self._memory.current(key)
        if old is None:
            raise not_found(resource.plural, name, resource.group)
        if options.dry_run:
            return old, True
        if old["metadata"].get("finalizers"):
            metadata = old["metadata"] | {
                "deletionTimestamp": self._now(),
                "deletionGracePeriodSeconds": 0,
            }
            if "deletionTimestamp" in old["metadata"]:
                return old, False
            return await self._memory.commit(key, old | {"metadata": metadata}), False
        return await self._memory.commit(key, None), True


def _merge(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    new = dict(old) if isinstance(old, dict) else {}
    for field, value in patch.items():
        if value is None:
            new.pop(field, None)
        else:
            new[field] = _merge(new.get(field), value)
    return new
