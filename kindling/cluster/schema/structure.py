"""Built-in kinds as trees of structs and fields: the `Shape` of them, and what decoding needs.

A `Field` is made on the way down, when somebody asks its struct for it; a struct, like the
definition it comes from, is made once.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cache, cached_property
from typing import Any

from kindling.cluster.model.shape import ANY, ListType, Shape, Sort
from kindling.cluster.schema import definitions, gotypes

__all__ = ["Field", "Holds", "Struct", "shape_of", "struct"]


class Holds(StrEnum):
    """What a field's value looks like in JSON, by the rules that its decoder follows."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    BYTES = "bytes"
    TIME = "time"
    MICRO_TIME = "micro-time"
    QUANTITY = "quantity"
    INT_OR_STRING = "int-or-string"
    STRUCT = "struct"
    MAP = "map"
    LIST = "list"
    ANY = "any"
    SCHEMA = "schema"
    """A JSON schema, or something else in its place (`additionalProperties: true`)."""


_APIEXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": Holds.QUANTITY,
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": Holds.INT_OR_STRING,
    "io.k8s.apimachinery.pkg.runtime.RawExtension": Holds.ANY,
    _META + "Time": Holds.TIME,
    _META + "MicroTime": Holds.MICRO_TIME,
    _META + "FieldsV1": Holds.ANY,
    _META + "Patch": Holds.ANY,
    _APIEXTENSIONS + "JSON": Holds.ANY,
    _APIEXTENSIONS + "JSONSchemaPropsOrArray": Holds.SCHEMA,
    _APIEXTENSIONS + "JSONSchemaPropsOrBool": Holds.SCHEMA,
    _APIEXTENSIONS + "JSONSchemaPropsOrStringArray": Holds.SCHEMA,
}
_PRIMITIVE = {
    "string": Holds.STRING,
    "integer": Holds.INTEGER,
    "number": Holds.NUMBER,
    "boolean": Holds.BOOLEAN,
    "array": Holds.LIST,
    "object": Holds.MAP,
}
_SORTS = {
    Holds.STRUCT: Sort.OBJECT,
    Holds.MAP: Sort.OBJECT,
    Holds.LIST: Sort.LIST,
    Holds.ANY: Sort.ANY,
    Holds.SCHEMA: Sort.ANY,
}
_GO_NAMES = {
    Holds.NUMBER: "float64",
    Holds.BOOLEAN: "bool",
    Holds.BYTES: "[]uint8",
    Holds.TIME: "v1.Time",
    Holds.MICRO_TIME: "v1.MicroTime",
    Holds.QUANTITY: "resource.Quantity",
    Holds.INT_OR_STRING: "intstr.IntOrString",
    Holds.ANY: "runtime.RawExtension",
    Holds.SCHEMA: "v1.JSONSchemaProps",
}


class Field:
    """One field, or the items of a list, or the values of a map. Implements `Shape`."""

    def __init__(
        self, node: Mapping[str, Any], owner: Struct | None = None, name: str = ""
    ) -> None:
        self._node = node
        self._owner = owner
        self._name = name
        self._target: str = node.get("$ref", "")

    @cached_property
    def holds(self) -> Holds:
        if self._target:
            return _SPECIAL.get(self._target, Holds.STRUCT)
        if self._node.get("format") == "byte":
            return Holds.BYTES
        if self._node.get("type") == "object" and "additionalProperties" not in self._node:
            return Holds.ANY
        return _PRIMITIVE.get(self._node.get("type", ""), Holds.ANY)

    @cached_property
    def struct(self) -> Struct:
        """Only for `Holds.STRUCT` and `Holds.SCHEMA`."""
        if self.holds is Holds.SCHEMA:
            return struct(_APIEXTENSIONS + "JSONSchemaProps")
        return struct(self._target)

    @property
    def wide(self) -> bool:
        """An integer of 64 bits."""
        return self._node.get("format") == "int64"

    @cached_property
    def go_type(self) -> str:
        """The name of the Go type, as the decoder's complaints give it."""
        match self.holds:
            case Holds.STRING:
                if self._owner is None:
                    return "string"
                return gotypes.named_string(self._owner.package, self._owner.name, self._name)
            case Holds.INTEGER:
                return "int64" if self.wide else "int32"
            case Holds.STRUCT:
                return f"{self.struct.package}.{self.struct.name}"
            case Holds.LIST:
                return f"[]{self.items.go_type}"
            case Holds.MAP:
                if self.values.holds is Holds.QUANTITY:
                    return "v1.ResourceList"
                return f"map[string]{self.values.go_type}"
            case _:
                return _GO_NAMES[self.holds]

    @cached_property
    def drops_zero(self) -> bool:
        """Whether the zero value of this field is not stored."""
        owner = self._owner
        if owner is None or self._name in owner.required:
            return False
        if self.holds in (Holds.LIST, Holds.MAP, Holds.BYTES):
            return True
        return gotypes.drops_zero(owner.name, self._name, self.holds)

    # Shape

    @property
    def sort(self) -> Sort:
        return _SORTS.get(self.holds, Sort.SCALAR)

    @property
    def atomic(self) -> bool:
        if self._node.get("x-kubernetes-map-type") == "atomic":
            return True
        return self.holds is Holds.STRUCT and self.struct.atomic

    @property
    def list_type(self) -> ListType:
        return ListType(self._node.get("x-kubernetes-list-type", "atomic"))

    @property
    def list_keys(self) -> tuple[str, ...]:
        return tuple(self._node.get("x-kubernetes-list-map-keys", ()))

    @property
    def merge_key(self) -> str:
        return str(self._node.get("x-kubernetes-patch-merge-key", ""))

    @property
    def patch_strategies(self) -> frozenset[str]:
        told = self._node.get("x-kubernetes-patch-strategy", "")
        return frozenset(told.split(",")) if told else frozenset()

    def field(self, name: str) -> Shape | None:
        if self.holds is Holds.STRUCT:
            return self.struct.field(name)
        if self.holds is Holds.MAP:
            return self.values
        return ANY if self.sort is Sort.ANY else None

    @cached_property
    def values(self) -> Field:
        """The values of a map."""
        return Field(self._node["additionalProperties"])

    @property
    def items(self) -> Field:
        return self._items

    @cached_property
    def _items(self) -> Field:
        told = self._node.get("items")
        return Field(told, self._owner, self._name) if told else _ANYTHING

    def default_of(self, name: str) -> object:
        if self.holds is not Holds.STRUCT:
            return None
        told = definitions.definition(self._target).get("properties", {}).get(name, {})
        return told.get("default")


class Struct:
    """A Go struct of the API: `v1.PodSpec`."""

    def __init__(self, definition: str) -> None:
        self.definition = definition
        self.package, self.name = gotypes.struct_name(definition)
        self._node = definitions.definition(definition)
        self._fields: dict[str, Field] = {}
        self.required = frozenset(self._node.get("required", ()))

    @property
    def names(self) -> Mapping[str, object]:
        """The names of the fields, in their order."""
        properties: Mapping[str, object] = self._node.get("properties", {})
        return properties

    @property
    def atomic(self) -> bool:
        return self._node.get("x-kubernetes-map-type") == "atomic"

    def field(self, name: str) -> Field | None:
        found = self._fields.get(name)
        if found is None and name in self.names:
            found = self._fields[name] = Field(self._node["properties"][name], self, name)
        return found


_ANYTHING = Field({})


@cache
def struct(definition: str) -> Struct:
    """The struct of a definition. Raises `KeyError`."""
    return Struct(definition)


def shape_of(definition: str) -> Field:
    """A whole object of a definition as a `Shape`."""
    return Field({"$ref": definition})
