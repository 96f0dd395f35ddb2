"""Schemas that know nothing and let everything pass: for tests of what needs no fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.schema import Schema
from kindling.cluster.model.shape import ANY, Shape
from kindling.cluster.model.status import Cause

__all__ = ["PermissiveSchemas"]


class _Anything:
    @property
    def shape(self) -> Shape:
        return ANY

    def prune(self, obj: Obj) -> tuple[Obj, tuple[str, ...]]:
        return obj, ()

    def default(self, obj: Obj) -> Obj:
        return obj

    def validate(self, obj: Obj, before: Obj | None = None) -> tuple[Cause, ...]:  # noqa: ARG002
        return ()


class PermissiveSchemas:
    """`Schemas` without any field."""

    def of(self, resource: ResourceType) -> Schema:  # noqa: ARG002
        return _Anything()

    def define(self, definition: Obj) -> None:
        pass

    def forget(self, definition_name: str) -> None:
        pass

    def openapi_v2(self, resources: Sequence[ResourceType]) -> dict[str, Any]:  # noqa: ARG002
        return {"swagger": "2.0", "paths": {}, "definitions": {}}

    def openapi_v3(
        self,
        group: str,  # noqa: ARG002
        version: str,  # noqa: ARG002
        resources: Sequence[ResourceType],  # noqa: ARG002
    ) -> dict[str, Any]:
        return {"openapi": "3.0.0", "paths": {}, "components": {"schemas": {}}}
