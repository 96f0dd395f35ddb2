"""The schemas of everything that is served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.schema import Schema
from kindling.cluster.schema.builtin import BuiltinSchema

__all__ = ["Catalog", "validate_definition"]

_Key = tuple[str, str, str]


class Catalog:
    """Implements `Schemas`. A schema is made when it is first asked for."""

    def __init__(self) -> None:
        self._builtin: dict[_Key, BuiltinSchema] = {}
        self._custom: dict[_Key, Schema] = {}
        self._nodes: dict[_Key, dict[str, Any]] = {}
        self._defined: dict[str, list[_Key]] = {}

    def of(self, resource: ResourceType) -> Schema:
        key = (resource.group, resource.version, resource.kind)
        if resource.custom:
            return self._custom[key]
        found = self._builtin.get(key)
        if found is None:
            found = self._builtin[key] = BuiltinSchema(resource)
        return found

    def define(self, definition: Obj) -> None:
        from kindling.cluster.schema.custom.schema import CustomSchema

        name = definition["metadata"]["name"]
        self.forget(name)
        spec = definition["spec"]
        kind = spec["names"]["kind"]
        for version in spec["versions"]:
            node = (version.get("schema") or {}).get("openAPIV3Schema") or {}
            key = (spec["group"], version["name"], kind)
            self._nodes[key] = node
            self._custom[key] = CustomSchema(node, namespaced=spec["scope"] == "Namespaced")
            self._defined.setdefault(name, []).append(key)

    def forget(self, definition_name: str) -> None:
        for key in self._defined.pop(definition_name, ()):
            self._custom.pop(key, None)
            self._nodes.pop(key, None)

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
        from kindling.cluster.schema.openapi.custom import definitions_of

        found: dict[str, dict[str, Any]] = {}
        for row in resources:
            if row.custom:
                node = self._nodes.get((row.group, row.version, row.kind), {})
                found |= definitions_of(row, node)
        return found


def validate_definition(crd: Obj) -> tuple[Any, ...]:
    """What is wrong with a CustomResourceDefinition; empty when it can be served."""
    from kindling.cluster.schema.custom import definition

    return definition.validate_definition(crd)
