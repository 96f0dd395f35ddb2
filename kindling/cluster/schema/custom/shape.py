"""The `Shape` of a custom kind."""

from __future__ import annotations

from kindling.cluster.model.shape import ANY, ListType, Shape, Sort
from kindling.cluster.schema.custom.structural import Node, embedded, extra, free, items, prop
from kindling.cluster.schema.structure import shape_of

__all__ = ["SchemaShape"]

_SORTS = {"object": Sort.OBJECT, "array": Sort.LIST}
_METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_SCALAR_TYPES = ("string", "integer", "number", "boolean")


class SchemaShape:
    """One node of a structural schema. `whole` is an object with a kind and metadata of its own."""

    def __init__(self, node: Node, *, whole: bool = False) -> None:
        self._node = node
        self._whole = whole or embedded(node)

    @property
    def sort(self) -> Sort:
        kind = self._node.get("type")
        if kind in _SORTS:
            return _SORTS[kind]
        if kind in _SCALAR_TYPES or self._node.get("x-kubernetes-int-or-string"):
            return Sort.SCALAR
        return Sort.OBJECT if self._whole or "properties" in self._node else Sort.ANY

    @property
    def atomic(self) -> bool:
        return self._node.get("x-kubernetes-map-type") == "atomic"

    @property
    def list_type(self) -> ListType:
        return ListType(self._node.get("x-kubernetes-list-type", "atomic"))

    @property
    def list_keys(self) -> tuple[str, ...]:
        return tuple(self._node.get("x-kubernetes-list-map-keys", ()))

    @property
    def merge_key(self) -> str:
        return ""

    @property
    def patch_strategies(self) -> frozenset[str]:
        return frozenset()

    def field(self, name: str) -> Shape | None:
        if self._whole and name == "metadata":
            return shape_of(_METADATA)
        found = prop(self._node, name)
        if found is None:
            found = extra(self._node)
        if found is not None:
            return SchemaShape(found)
        if self._whole and name in ("apiVersion", "kind"):
            return SchemaShape({"type": "string"})
        return ANY if free(self._node) or self.sort is Sort.ANY else None

    @property
    def items(self) -> Shape:
        found = items(self._node)
        return ANY if found is None else SchemaShape(found)

    def default_of(self, name: str) -> object:
        found = prop(self._node, name)
        return None if found is None else found.get("default")
