"""The schema of a built-in kind: its table, and the rules of its group."""

from __future__ import annotations

from functools import cached_property

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.shape import Shape
from kindling.cluster.model.status import ApiError, Cause, bad_request
from kindling.cluster.schema import definitions
from kindling.cluster.schema.decode import DecodeError, decode
from kindling.cluster.schema.defaulting import fill
from kindling.cluster.schema.structure import Struct, shape_of, struct
from kindling.cluster.schema.validating import check

__all__ = ["BuiltinSchema"]


class BuiltinSchema:
    """Implements `Schema` for one built-in kind."""

    def __init__(self, resource: ResourceType) -> None:
        self._resource = resource

    @cached_property
    def _definition(self) -> str:
        resource = self._resource
        name = definitions.definition_name(resource.group, resource.version, resource.kind)
        if name is None:
            raise KeyError(f"{resource.api_version} {resource.kind}")
        return name

    @cached_property
    def _struct(self) -> Struct:
        return struct(self._definition)

    @property
    def shape(self) -> Shape:
        return self._shape

    @cached_property
    def _shape(self) -> Shape:
        return shape_of(self._definition)

    def prune(self, obj: Obj) -> tuple[Obj, tuple[str, ...]]:
        try:
            return decode(self._struct, obj)
        except DecodeError as error:
            raise _cannot_be_handled(self._resource, error) from None

    def default(self, obj: Obj) -> Obj:
        return fill(self._resource, obj)

    def validate(self, obj: Obj, before: Obj | None = None) -> tuple[Cause, ...]:
        return tuple(dict.fromkeys(check(self._resource, obj, before)))


def _cannot_be_handled(resource: ResourceType, error: DecodeError) -> ApiError:
    kind = resource.kind
    return bad_request(
        f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {error}'
    )
