"""What makes a schema structural, and which parts of JSON schema a definition may use.

After apiextensions-apiserver `pkg/apiserver/schema/validation.go`, `complete.go` and
`pkg/apis/apiextensions/validation`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes
from kindling.cluster.schema.custom import cel
from kindling.cluster.schema.custom.checking import check
from kindling.cluster.schema.custom.structural import (
    Node,
    embedded,
    extra,
    free,
    int_or_string,
    items,
)

__all__ = ["check_schema"]

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_EITHER = [{"type": "integer"}, {"type": "string"}]
_FORBIDDEN = {
    "$ref": "$ref is not supported",
    "additionalItems": "additionalItems is not supported",
    "definitions": "definitions is not supported",
    "dependencies": "dependencies is not supported",
    "deprecated": "deprecated is not supported",
    "discriminator": "discriminator is not supported",
    "id": "id is not supported",
    "patternProperties": "patternProperties is not supported",
    "readOnly": "readOnly is not supported",
    "writeOnly": "writeOnly is not supported",
    "xml": "xml is not supported",
}
_NESTED = {
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "x-kubernetes-preserve-unknown-fields": "must be false to be structural",
    "x-kubernetes-embedded-resource": "must be false to be structural",
    "x-kubernetes-int-or-string": "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
    "x-kubernetes-validations": "must be empty to be structural",
}
_WHERE = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}
_REASONS = (
    "FieldValueRequired",
    "FieldValueInvalid",
    "FieldValueForbidden",
    "FieldValueDuplicate",
)


def check_schema(schema: Node, path: str) -> Iterator[Cause]:
    """All that is wrong with the schema of a version. Only one that keeps to the known parts of
    JSON schema is looked at further, in the order of fields."""
    foreign = list(_foreign(schema, path))
    yield from foreign
    if foreign:
        return
    found = [*_node(schema, path, "root"), *_complete(schema, schema, path)]
    yield from sorted(found, key=lambda cause: f"{cause.field}: {cause.message}")


def _foreign(node: Node, path: str) -> Iterator[Cause]:
    """Parts of JSON schema that definitions may not use, wherever they stand."""
    kind = node.get("type", "")
    for field, text in _FORBIDDEN.items():
        if node.get(field) not in (None, False, "", {}, []):
            yield causes.forbidden(f"{path}.{field}", text)
    if node.get("uniqueItems"):
        text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield causes.forbidden(f"{path}.uniqueItems", text)
    if kind and kind not in _TYPES:
        yield causes.not_supported(f"{path}.type", kind, _TYPES)
    if node.get("properties") and node.get("additionalProperties", True) is not True:
        text = "additionalProperties and properties are mutual exclusive"
        yield causes.forbidden(f"{path}.additionalProperties", text)
    yield from _lists_and_maps(node, path)
    inner = node.get("items")
    if isinstance(inner, list):
        yield causes.forbidden(f"{path}.items", "items must be a schema object and not an array")
    elif inner:
        yield from _foreign(inner, f"{path}.items")
    if isinstance(others := node.get("additionalProperties"), dict):
        yield from _foreign(others, f"{path}.additionalProperties")
    for name, one in (node.get("properties") or {}).items():
        yield from _foreign(one, causes.key(f"{path}.properties", name))
    for field in ("allOf", "anyOf", "oneOf"):
        for index, one in enumerate(node.get(field) or []):
            yield from _foreign(one, causes.at(f"{path}.{field}", index))
    if node.get("not"):
        yield from _foreign(node["not"], f"{path}.not")


def _node(node: Node, path: str, level: str) -> Iterator[Cause]:
    kind = node.get("type", "")
    yield from _type(node, path, level)
    yield from _metadata(node, path, level)
    yield from _extensions(node, path)
    yield from _rules(node, path)
    yield from _default(node, path, level)
    if pattern := node.get("pattern"):
        yield from _pattern(pattern, path)
    yield from _alternatives(node, path)
    for name, one in (node.get("properties") or {}).items():
        yield from _node(one, causes.key(f"{path}.properties", name), "field")
    others = node.get("additionalProperties")
    if isinstance(others, dict):
        yield from _node(others, f"{path}.additionalProperties", "field")
    if (inner := items(node)) is not None:
        yield from _node(inner, f"{path}.items", "item")
    elif kind == "array":
        yield causes.required(f"{path}.items", "must be specified")


def _type(node: Node, path: str, level: str) -> Iterator[Cause]:
    kind = node.get("type", "")
    if level == "root" and "additionalProperties" in node:
        yield causes.forbidden(f"{path}.additionalProperties", "must not be used at the root")
    if embedded(node) and kind != "object":
        text = "must be object if x-kubernetes-embedded-resource is true"
        where = f"{path}.type"
        yield causes.invalid(where, kind, text) if kind else causes.required(where, text)
    elif not kind and not int_or_string(node) and not free(node):
        yield causes.required(f"{path}.type", _WHERE[level])
    if level == "root" and kind and kind != "object":
        yield causes.invalid(f"{path}.type", kind, "must be object at the root")


def _metadata(node: Node, path: str, level: str) -> Iterator[Cause]:
    whole = level == "root" or embedded(node)
    properties = node.get("properties") or {}
    for name in ("kind", "apiVersion"):
        if whole and name in properties and properties[name].get("type") != "string":
            where = f"{path}.properties[{name}].type"
            yield causes.invalid(where, properties[name].get("type", ""), "must be string")
    metadata = properties.get("metadata")
    if whole and metadata is not None:
        where = f"{path}.properties[metadata]"
        if metadata.get("type") != "object":
            yield causes.invalid(f"{where}.type", metadata.get("type", ""), "must be object")
        named = set(metadata.get("properties") or {}) - {"name", "generateName"}
        others = set(metadata) - {"type", "properties", "description"}
        if level == "root" and (named or others):
            text = (
                "must not specify anything other than name and generateName, but metadata is"
                " implicitly specified"
            )
            yield causes.forbidden(where, text)
    if embedded(node) and not free(node) and not properties:
        text = (
            "must not be empty if x-kubernetes-embedded-resource is true without"
            " x-kubernetes-preserve-unknown-fields"
        )
        yield causes.required(f"{path}.properties", text)


def _extensions(node: Node, path: str) -> Iterator[Cause]:
    if int_or_string(node):
        for field in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
            if node.get(field):
                text = "must be false if x-kubernetes-int-or-string is true"
                yield causes.invalid(f"{path}.{field}", True, text)


def _lists_and_maps(node: Node, path: str) -> Iterator[Cause]:
    if node.get("x-kubernetes-preserve-unknown-fields") is False:
        text = "must be true or undefined"
        yield causes.invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, text)
    sort = node.get("x-kubernetes-list-type")
    if sort is not None:
        where = f"{path}.x-kubernetes-list-type"
        if sort not in ("atomic", "set", "map"):
            yield causes.not_supported(where, sort, ("atomic", "set", "map"))
        elif node.get("type") != "array":
            text = "must be array if x-kubernetes-list-type is specified"
            kind = node.get("type", "")
            place = f"{path}.type"
            yield causes.invalid(place, kind, text) if kind else causes.required(place, text)
    yield from _list_keys(node, path)
    shape = node.get("x-kubernetes-map-type")
    if shape is not None and shape not in ("atomic", "granular"):
        where = f"{path}.x-kubernetes-map-type"
        yield causes.not_supported(where, shape, ("atomic", "granular"))


def _list_keys(node: Node, path: str) -> Iterator[Cause]:
    keys = node.get("x-kubernetes-list-map-keys") or []
    sort = node.get("x-kubernetes-list-type")
    if keys and sort != "map":
        text = "must be map if x-kubernetes-list-map-keys is non-empty"
        where = f"{path}.x-kubernetes-list-type"
        yield causes.invalid(where, sort, text) if sort else causes.required(where, text)
    if sort != "map":
        return
    if not keys:
        text = "must not be empty if x-kubernetes-list-type is map"
        yield causes.required(f"{path}.x-kubernetes-list-map-keys", text)
    inner = items(node) or {}
    if inner.get("type") != "object":
        text = "must be object if parent array's x-kubernetes-list-type is map"
        yield causes.invalid(f"{path}.items.type", inner.get("type", ""), text)
    properties, needed = inner.get("properties") or {}, inner.get("required") or []
    for index, name in enumerate(keys):
        told = properties.get(name)
        if told is None:
            text = "entries must all be names of item properties"
            where = causes.at(f"{path}.x-kubernetes-list-map-keys", index)
            yield causes.invalid(where, name, text)
            continue
        where = f"{path}.items.properties[{name}]"
        if told.get("type") in ("object", "array"):
            text = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield causes.invalid(f"{where}.type", told["type"], text)
        if name not in needed and "default" not in told:
            text = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a"
                " required property"
            )
            yield causes.required(f"{where}.default", text)


def _rules(node: Node, path: str) -> Iterator[Cause]:
    for index, told in enumerate(node.get("x-kubernetes-validations") or []):
        where = causes.at(f"{path}.x-kubernetes-validations", index)
        text = told.get("rule", "").strip()
        if not text:
            yield causes.required(f"{where}.rule", "rule is not specified")
            continue
        reason = told.get("reason")
        if reason is not None and reason not in _REASONS:
            yield causes.not_supported(f"{where}.reason", reason, _REASONS)
        try:
            cel.rule(text)
        except cel.RuleError as error:
            shown = causes.Literal(_shown_rule(told))
            yield causes.invalid(f"{where}.rule", shown, f"compilation failed: {error}")


def _shown_rule(told: dict[str, Any]) -> str:
    rule, message = causes.quoted(told.get("rule", "")), causes.quoted(told.get("message", ""))
    return f"apiextensions.ValidationRule{{Rule:{rule}, Message:{message}}}"


def _default(node: Node, path: str, level: str) -> Iterator[Cause]:
    if "default" not in node:
        return
    if level == "root":
        yield causes.forbidden(f"{path}.default", "must not be set")
        return
    yield from check({**node, "default": None}, node["default"], f"{path}.default")


def _pattern(pattern: str, path: str) -> Iterator[Cause]:
    try:
        re.compile(pattern.replace(r"\z", r"\Z"))
    except re.error as error:
        # Go's expressions know a few classes that Python's do not; only plain mistakes are told.
        if "unterminated" in str(error) or "nothing to repeat" in str(error):
            text = f"must be a valid regular expression, but isn't: {error}"
            yield causes.invalid(f"{path}.pattern", pattern, text)


def _alternatives(node: Node, path: str, *, either: bool = True) -> Iterator[Cause]:
    for field in ("allOf", "anyOf", "oneOf"):
        told = node.get(field) or []
        if field == "anyOf" and either and int_or_string(node) and told == _EITHER:
            continue
        for index, one in enumerate(told):
            first = field == "allOf" and index == 0 and int_or_string(node)
            if first and one.get("anyOf") == _EITHER:
                continue
            yield from _nested(one, causes.at(f"{path}.{field}", index))
    if node.get("not"):
        yield from _nested(node["not"], f"{path}.not")


def _nested(node: Node, path: str) -> Iterator[Cause]:
    """A part of an alternative may only restrict what the structure outside it declares."""
    for field, text in _NESTED.items():
        if node.get(field) not in (None, False, "", []):
            yield causes.forbidden(f"{path}.{field}", text)
    if pattern := node.get("pattern"):
        yield from _pattern(pattern, path)
    yield from _alternatives(node, path, either=False)
    if inner := node.get("items"):
        yield from _nested(inner, f"{path}.items")
    for name, one in (node.get("properties") or {}).items():
        where = causes.key(f"{path}.properties", name)
        if name == "metadata":
            yield causes.forbidden(where, "must not be specified in a nested context")
        yield from _nested(one, where)


def _complete(outer: Node, node: Node, path: str) -> Iterator[Cause]:
    """What alternatives name must be declared outside them."""
    for name, one in (node.get("properties") or {}).items():
        yield from _complete(one, one, causes.key(f"{path}.properties", name))
    for field, inner in (("additionalProperties", extra(node)), ("items", items(node))):
        if inner:
            yield from _complete(inner, inner, f"{path}.{field}")
    for field in ("allOf", "anyOf", "oneOf"):
        for index, one in enumerate(node.get(field) or []):
            yield from _declared(outer, one, causes.at(f"{path}.{field}", index), path)
    if node.get("not"):
        yield from _declared(outer, node["not"], f"{path}.not", path)


def _declared(outer: Node, node: Node, path: str, place: str) -> Iterator[Cause]:
    others = extra(outer)
    for name, one in (node.get("properties") or {}).items():
        where = causes.key(f"{place}.properties", name)
        told = (outer.get("properties") or {}).get(name, others)
        if told is None:
            text = f"because it is defined in {causes.key(f'{path}.properties', name)}"
            yield causes.required(where, text)
        else:
            yield from _declared(told, one, causes.key(f"{path}.properties", name), where)
    if inner := node.get("items"):
        told = items(outer)
        if told is None:
            yield causes.required(f"{place}.items", f"because it is defined in {path}.items")
        else:
            yield from _declared(told, inner, f"{path}.items", f"{place}.items")
    for field in ("allOf", "anyOf", "oneOf"):
        for index, one in enumerate(node.get(field) or []):
            yield from _declared(outer, one, causes.at(f"{path}.{field}", index), place)
