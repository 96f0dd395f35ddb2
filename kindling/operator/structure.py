"""Defaults and checks by a structural schema, as the API server does them for a custom kind.

Used where no server has seen a manifest yet: at the door of a command, in a plan, in tests. Just
the words that our own definitions use are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Fault", "defaulted", "faults", "unknown_fields"]

_INT32 = 2**31


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field: `spec.dependencies[0].type`."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def defaulted(value: Any, schema: Mapping[str, Any]) -> Any:
    """A copy of the value with every default filled in; a null where there is a default is none."""
    if isinstance(value, Mapping):
        properties = schema.get("properties", {})
        result: dict[str, Any] = {}
        for key, inner in value.items():
            node = properties.get(key, schema.get("additionalProperties", {}))
            if inner is not None or "default" not in node:
                result[key] = defaulted(inner, node if isinstance(node, Mapping) else {})
        for key, node in properties.items():
            if key not in result and "default" in node:
                result[key] = defaulted(node["default"], node)
        return result
    if isinstance(value, list | tuple):
        return [defaulted(one, schema.get("items", {})) for one in value]
    return value


def faults(value: Any, schema: Mapping[str, Any], path: str = "") -> Iterator[Fault]:
    """What a server would refuse in a defaulted value; a field that it does not know is no fault.
    Rules in the expression language are not looked at."""
    if wrong := _wrong_type(value, schema):
        yield Fault(path, wrong)
        return
    if isinstance(value, Mapping):
        for key in schema.get("required", ()):
            if key not in value:
                yield Fault(_join(path, key), "is required")
        properties = schema.get("properties", {})
        for key, inner in value.items():
            node = properties.get(key, schema.get("additionalProperties"))
            if isinstance(node, Mapping):
                yield from faults(inner, node, _join(path, key))
    elif isinstance(value, list | tuple):
        if len(value) > schema.get("maxItems", len(value)):
            yield Fault(path, f"has {len(value)} items, {schema['maxItems']} are allowed")
        for index, inner in enumerate(value):
            yield from faults(inner, schema.get("items", {}), f"{path}[{index}]")
    else:
        yield from (Fault(path, message) for message in _wrong_scalar(value, schema))


def unknown_fields(value: Any, schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The fields that the schema does not have, and that a server would drop in silence."""
    if isinstance(value, Mapping):
        properties = schema.get("properties")
        if properties is None or schema.get("x-kubernetes-preserve-unknown-fields"):
            return
        for key, inner in value.items():
            if key not in properties:
                yield _join(path, str(key))
            else:
                yield from unknown_fields(inner, properties[key], _join(path, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from unknown_fields(inner, schema.get("items", {}), f"{path}[{index}]")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _wrong_type(value: Any, schema: Mapping[str, Any]) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        fits = isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))
        if isinstance(value, float):
            return f'must be a whole number or text; write "{value}", in quotes'
        return "" if fits else "must be a whole number or text"
    match schema.get("type"):
        case "object":
            return "" if isinstance(value, Mapping) else "must be an object"
        case "array":
            return "" if isinstance(value, list | tuple) else "must be a list"
        case "string":
            return "" if isinstance(value, str) else "must be text"
        case "boolean":
            return "" if isinstance(value, bool) else "must be true or false"
        case "integer":
            whole = isinstance(value, int) and not isinstance(value, bool)
            return "" if whole else "must be a whole number"
    return ""


def _wrong_scalar(value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        known = ", ".join(str(one) or '""' for one in schema["enum"])
        yield f"`{value}` is none of [{known}]"
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            yield "must not be empty" if not value else f"`{value}` is too short"
        if len(value) > schema.get("maxLength", len(value)):
            yield f"has {len(value)} characters, {schema['maxLength']} are allowed"
        # `$` of the servers' engine is the very end, not also the place before a last line break.
        pattern = schema.get("pattern", "").removesuffix("$")
        if pattern and not re.compile(f"(?:{pattern})\\Z").match(value):
            yield f"`{value}` does not match {schema['pattern']}"
    elif isinstance(value, int) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            yield f"{value} is less than {schema['minimum']}"
        if value > schema.get("maximum", value):
            yield f"{value} is more than {schema['maximum']}"
        if schema.get("format") == "int32" and not -_INT32 <= value < _INT32:
            yield f"{value} does not fit into 32 bits"
