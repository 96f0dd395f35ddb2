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
        raise NotImplementedError

    def openapi_v3(
        self, group: str, version: str, resources: Sequence[ResourceType]
    ) -> dict[str, Any]:
        raise NotImplementedError
