"""Which resources are served: the built-in table, and what the definitions add."""

from __future__ import annotations

from collections.abc import Sequence

from kindling.cluster.model.resource import BUILTIN, ResourceType
from kindling.cluster.model.schema import Schemas
from kindling.cluster.registry.memory import Memory
from kindling.cluster.registry.versions import storage_key

__all__ = ["Served"]


class Served:
    """The table of resources, which changes with the CustomResourceDefinitions."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._table = dict(BUILTIN)
        self._rows: tuple[ResourceType, ...] | None = None

    def load(self, memory: Memory) -> None:
        """Take up the definitions that are stored."""

    def all(self) -> Sequence[ResourceType]:
        if self._rows is None:
            self._rows = tuple(self._table.values())
        return self._rows

    def resource(self, group: str, version: str, plural: str) -> ResourceType | None:
        return self._table.get((group, version, plural))

    def by_kind(self, group: str, kind: str, version: str = "") -> ResourceType | None:
        for row in self.all():
            if row.group == group and row.kind == kind and version in ("", row.version):
                return row
        return None

    def stored_as(self, key: str, api_version: str) -> ResourceType | None:
        """The resource of a storage key in the version that its objects are stored in."""
        for row in self.all():
            if storage_key(row) == key and row.api_version == api_version:
                return row
        return None

    def storage_version(self, resource: ResourceType) -> str:
        """The apiVersion in which its objects are stored."""
        return resource.api_version
