"""Shapes read from an API server's own OpenAPI document, for tests beside that server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kindling.cluster.model.resource import BUILTIN
from kindling.cluster.model.shape import ANY, ListType, Shape, Sort
from kindling.cluster.schema.catalog import Catalog

_DEFAULTS = {"protocol": "TCP"}
"""List keys that an item may leave out; the document does not say so."""


@dataclass(frozen=True)
class DocumentShape:
    """One schema of a document, `$ref` followed as it is asked for."""

    schema: dict[str, Any]
    definitions: dict[str, Any]

    def _inner(self, schema: dict[str, Any]) -> Shape:
        reference = schema.get("$ref")
        if reference is None:
            return DocumentShape(schema, self.definitions)
        target = self.definitions[reference.rpartition("/")[2]]
        return DocumentShape(
            {**target, **{key: value for key, value in schema.items() if key != "$ref"}},
            self.definitions,
        )

    @property
    def sort(self) -> Sort:
        kind = self.schema.get("type")
        if kind == "array":
            return Sort.LIST
        if kind == "object" and (
            "properties" in self.schema or "additionalProperties" in self.schema
        ):
            return Sort.OBJECT
        if kind == "object":
            return (
                Sort.ANY if self.schema.get("x-kubernetes-preserve-unknown-fields") else Sort.OBJECT
            )
        return Sort.SCALAR if kind else Sort.ANY

    @property
    def atomic(self) -> bool:
        return self.schema.get("x-kubernetes-map-type") == "atomic"

    @property
    def list_type(self) -> ListType:
        if told := self.schema.get("x-kubernetes-list-type"):
            return ListType(told)
        if "merge" in self.patch_strategies:
            return ListType.MAP if self.merge_key else ListType.SET
        return ListType.ATOMIC

    @property
    def list_keys(self) -> tuple[str, ...]:
        keys = self.schema.get("x-kubernetes-list-map-keys")
        return tuple(keys) if keys else (self.merge_key,)

    @property
    def merge_key(self) -> str:
        return str(self.schema.get("x-kubernetes-patch-merge-key", ""))

    @property
    def patch_strategies(self) -> frozenset[str]:
        told = self.schema.get("x-kubernetes-patch-strategy", "")
        return frozenset(told.split(",")) if told else frozenset()

    def field(self, name: str) -> Shape | None:
        properties = self.schema.get("properties") or {}
        if name in properties:
            return self._inner(properties[name])
        values = self.schema.get("additionalProperties")
        return self._inner(values) if isinstance(values, dict) else None

    @property
    def items(self) -> Shape:
        items = self.schema.get("items")
        return self._inner(items) if items else ANY

    def default_of(self, name: str) -> object:
        return _DEFAULTS.get(name)


def own_shape(api_version: str, kind: str) -> Shape:
    """The shape that the embedded cluster has of a built-in kind."""
    for row in BUILTIN.values():
        if (row.api_version, row.kind) == (api_version, kind):
            return Catalog().of(row).shape
    raise KeyError(kind)


def shape_of(document: dict[str, Any], api_version: str, kind: str) -> Shape:
    """The shape of a kind."""
    group, _, version = api_version.rpartition("/")
    definitions = document["definitions"]
    for schema in definitions.values():
        for row in schema.get("x-kubernetes-group-version-kind", ()):
            if (row["group"], row["version"], row["kind"]) == (group, version, kind):
                return DocumentShape(schema, definitions)
    raise KeyError(kind)
