"""The schemas of everything that is served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.schema import Schema
from kindling.cluster.schema.builtin import BuiltinSchema

__all__ = ["Catalog"]


class Catalog:
    """Implements `Schemas`. A schema is made when it is first asked for."""

    def __init__(self) -> None:
        self._builtin: dict[tuple[str, str, str], BuiltinSchema] = {}
        self._custom: dict[tuple[str, str, str], Schema] = {}

    def of(self, resource: ResourceType) -> Schema:
        key = (resource.group, resource.version, resource.kind)
        if resource.custom:
            return self._custom[key]
        found = self._builtin.get(key)
        if found is None:
            found = self._builtin[key] = BuiltinSchema(resource)
        return found

    def define(self, definition: Obj) -> None:
        raise NotImplementedError

    def forget(self, definition_name: str) -> None:
        raise NotImplementedError

    def openapi_v2(self, resources: Sequence[ResourceType]) -> dict[str, Any]:
        from kindling.cluster.schema.openapi.documents import document_v2

        return document_v2(resources, self._published(resources))

    def openapi_v3(
        self, group: str, version: str, resources: Sequence[ResourceType]
    ) -> dict[str, Any]:
        from kindling.cluster.schema.openapi.documents import document_v3

        rows = [row for row in resources if (row.group, row.version) == (group, version)]
        return document_v3(rows, self._published(rows))

    def _published(self, resources: Sequence[ResourceType]) -> dict[str, dict[str, Any]]:
        """The definitions of the custom kinds among these, for documents."""
        return {}
