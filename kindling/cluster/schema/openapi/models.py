"""The definitions that a document holds, in the form of its version of OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kindling.cluster.schema import definitions
from kindling.cluster.schema.openapi.enums import enum_of

__all__ = ["META", "closure", "custom_name", "definition_v2", "definition_v3", "expand_v3"]

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_TIMES = (META + "Time", META + "MicroTime")
_EITHER: Mapping[str, list[dict[str, Any]]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": [{"type": "string"}, {"type": "number"}],
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": [{"type": "integer"}, {"type": "string"}],
}
_V3_PREFIX = "#/components/schemas/"
_V2_PREFIX = "#/definitions/"


def closure(names: Iterable[str]) -> list[str]:
    """The definitions of these names and all that they refer to, sorted."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += definitions.references(definitions.definition(name))
    return sorted(found)


def custom_name(group: str, version: str, kind: str) -> str:
    """The definition of a custom kind: the labels of its group backwards, `com.example.v1.Foo`."""
    return ".".join([*reversed(group.split(".")), version, kind])


def definition_v2(name: str) -> dict[str, Any]:
    """A built-in definition with its prose, as OpenAPI v2 has it."""
    return _described(name, _refer_v2)


def definition_v3(name: str) -> dict[str, Any]:
    """A built-in definition with its prose, as OpenAPI v3 has it."""
    if name in _EITHER:
        prose = definitions.descriptions(name).get("")
        return ({"description": prose} if prose else {}) | {"oneOf": _EITHER[name]}
    out = _described(name, _refer_v3)
    for field, node in (out.get("properties") or {}).items():
        if values := enum_of(name, field):
            node["enum"] = values
    return out


def _described(name: str, refer: Callable[[Any, str], Any]) -> dict[str, Any]:
    prose = definitions.descriptions(name)
    out: dict[str, Any] = {"description": prose[""]} if "" in prose else {}
    for key, value in definitions.definition(name).items():
        if key == "properties":
            out[key] = {field: refer(node, prose.get(field, "")) for field, node in value.items()}
        else:
            out[key] = value
    return out


def _refer_v2(node: Any, prose: str = "") -> Any:
    out: dict[str, Any] = {"description": prose} if prose else {}
    for key, value in node.items():
        if key == "$ref":
            out[key] = _V2_PREFIX + value
        elif key in ("items", "additionalProperties"):
            out[key] = _refer_v2(value)
        else:
            out[key] = value
    return out


def _refer_v3(node: Any, prose: str = "") -> Any:
    """In version 3 a reference stands alone, so a field with prose wraps it."""
    if "$ref" in node:
        reference = {"$ref": _V3_PREFIX + node["$ref"]}
        if not prose:
            return reference
        out: dict[str, Any] = {"description": prose, "allOf": [reference]}
        if node["$ref"] not in _TIMES and node["$ref"] not in _EITHER:
            out["default"] = {}
        return out
    out = {"description": prose} if prose else {}
    for key, value in node.items():
        out[key] = _refer_v3(value) if key in ("items", "additionalProperties") else value
    return out


_V3_REFERENCE = re.compile(re.escape(_V3_PREFIX))


def expand_v3(node: Any) -> Any:
    """A node with bare references in the form of version 3, at any depth."""
    if isinstance(node, list):
        return [expand_v3(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _V3_PREFIX + value
        if key == "$ref" and isinstance(value, str) and not _V3_REFERENCE.match(value)
        else expand_v3(value)
        for key, value in node.items()
    }
