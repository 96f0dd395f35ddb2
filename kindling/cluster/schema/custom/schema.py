"""The schema of one version of a custom kind."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.shape import Shape
from kindling.cluster.model.status import Cause, bad_request
from kindling.cluster.schema import causes, names
from kindling.cluster.schema.custom import filling, pruning
from kindling.cluster.schema.custom.checking import MISSING, check
from kindling.cluster.schema.custom.lists import check_lists
from kindling.cluster.schema.custom.shape import SchemaShape
from kindling.cluster.schema.custom.structural import Node
from kindling.cluster.schema.decode import DecodeError, decode
from kindling.cluster.schema.metadata import check_metadata, check_metadata_change
from kindling.cluster.schema.structure import struct

__all__ = ["CustomSchema"]

_METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_BLOCKING = (
    "FieldValueNotSupported",
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
)
_SKIPPED = (
    "some validation rules were not checked because the object was invalid; correct the existing"
    " errors to complete validation"
)


class CustomSchema:
    """Implements `Schema` for one version of a CustomResourceDefinition."""

    def __init__(self, node: Node, *, namespaced: bool) -> None:
        self.node = node
        self._namespaced = namespaced

    @property
    def shape(self) -> Shape:
        return self._shape

    @cached_property
    def _shape(self) -> Shape:
        return SchemaShape(self.node, whole=True)

    @cached_property
    def _has_rules(self) -> bool:
        from kindling.cluster.schema.custom.rules import has_rules

        return has_rules(self.node)

    def prune(self, obj: Obj) -> tuple[Obj, tuple[str, ...]]:
        dropped: list[str] = []
        pruned: Obj = pruning.prune(self.node, obj, "", dropped, whole=True)
        unknown = [f'unknown field "{path}"' for path in sorted(dropped)]
        metadata = pruned.get("metadata")
        if isinstance(metadata, dict):
            try:
                told = decode(struct(_METADATA), metadata)
            except DecodeError as error:
                raise bad_request(f"unable to decode object metadata: {error}") from None
            pruned = pruned | {"metadata": told[0]}
            unknown += [one.replace('field "', 'field "metadata.', 1) for one in told[1]]
        return pruned, tuple(unknown)

    def default(self, obj: Obj) -> Obj:
        filled: Obj = filling.fill(self.node, obj)
        return filled

    def validate(self, obj: Obj, before: Obj | None = None) -> tuple[Cause, ...]:
        found = [*self._metadata(obj, before), *self._fields(obj, before)]
        return tuple(dict.fromkeys(found))

    def _metadata(self, obj: Obj, before: Obj | None) -> Iterator[Cause]:
        metadata: dict[str, Any] = obj.get("metadata") or {}
        yield from check_metadata(
            metadata, name_rule=names.dns_subdomain, namespaced=self._namespaced
        )
        if before is not None:
            yield from check_metadata_change(metadata, before.get("metadata") or {})

    def _fields(self, obj: Obj, before: Obj | None) -> Iterator[Cause]:
        old: Any = MISSING if before is None else before
        found = list(check(self.node, obj, "", old, whole=True))
        if before is None or obj != before:
            found += check_lists(self.node, obj, "")
        yield from found
        if not self._has_rules:
            return
        if any(cause.reason in _BLOCKING for cause in found):
            yield causes.invalid(causes.NOWHERE, None, _SKIPPED)
            return
        from kindling.cluster.schema.custom.rules import check_rules

        yield from check_rules(self.node, obj, "", old, whole=True)
