"""Verbs for tests of the registry: a store on disk, a clock in hand, objects in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kindling.cluster.model.api import Change, ChangeType, DeleteOptions, Obj, WriteOptions
from kindling.cluster.model.resource import ResourceType, builtin
from kindling.cluster.model.schema import Schemas
from kindling.cluster.registry.permissive import PermissiveSchemas
from kindling.cluster.registry.registry import Registry
from kindling.cluster.registry.watching import Watch
from kindling.cluster.storage.database import ObjectStore

CONFIG_MAPS = builtin("configmaps")
NAMESPACES = builtin("namespaces")
PODS = builtin("pods")
SERVICES = builtin("services")
DEPLOYMENTS = builtin("deployments", "apps")
DEFINITIONS = builtin("customresourcedefinitions", "apiextensions.k8s.io")


class Bench:
    """A registry in a folder, which can be closed and opened again."""

    def __init__(self, folder: Path, schemas: Schemas | None = None, **options: Any) -> None:
        self.path = folder / "objects.db"
        self.now = 1_700_000_000.0
        self._schemas = schemas
        self._options = options
        self.api = self._registry()

    def _registry(self) -> Registry:
        schemas = self._schemas or PermissiveSchemas()
        return Registry(ObjectStore(self.path), schemas, clock=lambda: self.now, **self._options)

    async def open(self) -> Bench:
        await self.api.start()
        return self

    async def close(self) -> None:
        await self.api.close()

    async def reopen(self) -> None:
        await self.api.close()
        self.api = self._registry()
        await self.api.start()

    async def furnish(self, namespace: str = "default") -> None:
        """A namespace with its service account."""
        await self.api.create(NAMESPACES, {"metadata": {"name": namespace}})
        await self.create(builtin("serviceaccounts"), "default", namespace)

    async def create(
        self, resource: ResourceType, name: str, namespace: str = "default", **fields: Any
    ) -> Obj:
        meta = fields.pop("meta", {})
        obj = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, **meta},
            **fields,
        }
        return await self.api.create(resource, obj, namespace if resource.namespaced else "")

    async def pod(self, name: str = "web", node: str = "", **spec: Any) -> Obj:
        spec = {"containers": [{"name": "main", "image": "app"}], **spec}
        if node:
            spec["nodeName"] = node
        return await self.create(PODS, name, spec=spec)

    async def put(self, resource: ResourceType, obj: Obj, **changes: Any) -> Obj:
        return await self.api.update(resource, obj | changes)

    async def delete(
        self, resource: ResourceType, name: str, namespace: str = "default", **options: Any
    ) -> tuple[Obj, bool]:
        return await self.api.delete(resource, name, namespace, DeleteOptions(**options))

    def get(self, resource: ResourceType, name: str, namespace: str = "default") -> Obj | None:
        return self.api.get(resource, name, namespace)

    def the(self, resource: ResourceType, name: str, namespace: str = "default") -> Obj:
        found = self.get(resource, name, namespace)
        assert found is not None
        return found


async def take(watch: Watch, count: int) -> list[tuple[str, str]]:
    """The next `count` changes as (type, name)."""
    return [told(await anext(watch)) for _ in range(count)]


def told(change: Change) -> tuple[str, str]:
    if change.type is ChangeType.BOOKMARK:
        return ("BOOKMARK", change.object["metadata"]["resourceVersion"])
    return (str(change.type), change.object["metadata"]["name"])


DRY = WriteOptions(dry_run=True)
