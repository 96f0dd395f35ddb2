"""What a field may hold, as far as merging and applying need to know it.

A `Shape` tree is made from the built-in kinds' tables or from a CustomResourceDefinition's schema
(by `schema`) and read by `patch`. It may be cyclic (JSONSchemaProps), so it is walked along with an
object, never on its own.
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import Protocol

__all__ = ["ANY", "ListType", "Shape", "Sort", "ValueShape"]


class Sort(StrEnum):
    """The sort of value that a field holds."""

    SCALAR = "scalar"
    OBJECT = "object"
    LIST = "list"
    ANY = "any"
    """Anything, with no knowledge of what is inside: owned and replaced as a whole by apply if it
    is a list, field by field if it is an object (`x-kubernetes-preserve-unknown-fields`)."""


class ListType(StrEnum):
    """How the items of a list are told apart (`x-kubernetes-list-type`)."""

    ATOMIC = "atomic"
    SET = "set"
    MAP = "map"


class Shape(Protocol):
    """One field's shape."""

    @property
    def sort(self) -> Sort: ...

    @property
    def atomic(self) -> bool:
        """An object that apply owns and replaces as a whole (`x-kubernetes-map-type: atomic`)."""
        ...

    @property
    def list_type(self) -> ListType: ...

    @property
    def list_keys(self) -> tuple[str, ...]:
        """For `ListType.MAP`, the fields that name an item."""
        ...

    @property
    def merge_key(self) -> str:
        """`x-kubernetes-patch-merge-key`; empty where a strategic merge has none."""
        ...

    @property
    def patch_strategies(self) -> frozenset[str]:
        """`x-kubernetes-patch-strategy`: of `merge`, `replace`, `retainKeys`."""
        ...

    def field(self, name: str) -> Shape | None:
        """The shape of an object's field, or of a map's values; None for an unknown field."""
        ...

    @property
    def items(self) -> Shape:
        """The shape of a list's items."""
        ...

    def default_of(self, name: str) -> object:
        """The default of a list key that an item may leave out (`protocol` of a Service port is
        `TCP`); None where there is none."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class ValueShape:
    """A `Shape` written down as values, for tests and small tables."""

    sort: Sort = Sort.SCALAR
    fields: dict[str, Shape] = dataclasses.field(default_factory=dict)
    values: Shape | None = None
    """The shape of a map's values, where the names of the fields are free."""
    item: Shape | None = None
    atomic: bool = False
    list_type: ListType = ListType.ATOMIC
    list_keys: tuple[str, ...] = ()
    merge_key: str = ""
    patch_strategies: frozenset[str] = frozenset()
    defaults: dict[str, object] = dataclasses.field(default_factory=dict)

    def field(self, name: str) -> Shape | None:
        return self.fields.get(name, self.values)

    @property
    def items(self) -> Shape:
        return self.item or ANY

    def default_of(self, name: str) -> object:
        return self.defaults.get(name)


ANY: Shape = ValueShape(Sort.ANY)
