"""What the registry and HTTP need to know of a kind's fields; `schema` implements it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.shape import Shape
from kindling.cluster.model.status import Cause

__all__ = ["Schema", "Schemas"]


class Schema(Protocol):
    """The fields of one kind in one version."""

    @property
    def shape(self) -> Shape: ...

    def prune(self, obj: Obj) -> tuple[Obj, tuple[str, ...]]:
        """The object without fields that the kind does not have, and these as the API words them:
        `unknown field "spec.replica"`. A built-in kind's value of the wrong type raises `ApiError`
        400 in the decoder's words."""
        ...

    def default(self, obj: Obj) -> Obj:
        """The object with every default that the API server fills in for this kind."""
        ...

    def validate(self, obj: Obj, before: Obj | None = None) -> tuple[Cause, ...]:
        """What is wrong with a defaulted object; `before` is the stored one on an update, for
        fields that may not change."""
        ...


class Schemas(Protocol):
    """The fields of every kind that is served. Custom ones come and go with their definitions."""

    def of(self, resource: ResourceType) -> Schema: ...

    def define(self, definition: Obj) -> None:
        """Take up (or replace) the schemas of a valid CustomResourceDefinition."""
        ...

    def forget(self, definition_name: str) -> None: ...

    def openapi_v2(self, resources: Sequence[ResourceType]) -> dict[str, Any]: ...

    def openapi_v3(
        self, group: str, version: str, resources: Sequence[ResourceType]
    ) -> dict[str, Any]:
        """The document of one group and version, with the paths that clients look for parameters in
        (`fieldValidation`, `dryRun`)."""
        ...
