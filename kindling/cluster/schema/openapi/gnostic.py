"""A document of OpenAPI v2 as protobuf, the form that client-go and helm ask for.

The messages are those of gnostic (google/gnostic `openapiv2/OpenAPIv2.proto`). Only what our
documents hold is written. Extensions and defaults are texts in YAML there; JSON, being YAML, does.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import orjson

__all__ = ["MEDIA_TYPE", "openapi_v2_protobuf"]

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

_LENGTH = 2
_DOUBLE = 1
_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}


def openapi_v2_protobuf(document: Mapping[str, Any]) -> bytes:
    """The bytes of `openapi.v2.Document`."""
    info = document["info"]
    paths = b"".join(
        _bytes(2, _named(path, item, _path)) for path, item in document["paths"].items()
    )
    return b"".join(
        (
            _text(1, document["swagger"]),
            _bytes(2, _text(1, info["title"]) + _text(2, info["version"])),
            _bytes(8, paths),
            _bytes(9, _properties(document["definitions"])),
            *(_bytes(12, _requirement(one)) for one in document.get("security", ())),
            _bytes(13, _security(document.get("securityDefinitions", {}))),
        )
    )


@lru_cache(8192)
def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | _LENGTH) + _varint(len(value)) + value


def _text(field: int, value: str | None) -> bytes:
    """Proto3 leaves out what is empty."""
    return _bytes(field, value.encode()) if value else b""


def _texts(field: int, values: Iterable[str]) -> bytes:
    return b"".join(_bytes(field, value.encode()) for value in values)


def _number(field: int, value: int | None) -> bytes:
    return _varint(field << 3) + _varint(int(value)) if value else b""


def _double(field: int, value: float | None) -> bytes:
    return _varint(field << 3 | _DOUBLE) + struct.pack("<d", value) if value else b""


def _named(name: str, value: Any, encode: Callable[[Any], bytes]) -> bytes:
    """One pair of a map, which gnostic writes as a list."""
    return _text(1, name) + _bytes(2, encode(value))


def _any(value: Any) -> bytes:
    return _bytes(2, orjson.dumps(value) + b"\n")


def _extensions(field: int, node: Mapping[str, Any]) -> bytes:
    return b"".join(
        _bytes(field, _named(name, value, _any))
        for name, value in node.items()
        if name.startswith("x-")
    )


def _properties(properties: Mapping[str, Any]) -> bytes:
    return b"".join(_bytes(1, _named(name, one, _schema)) for name, one in properties.items())


def _schema(node: Mapping[str, Any]) -> bytes:
    get = node.get
    parts = [
        _text(1, get("$ref")),
        _text(2, get("format")),
        _text(3, get("title")),
        _text(4, get("description")),
        _bytes(5, _any(node["default"])) if "default" in node else b"",
        _double(6, get("multipleOf")),
        _double(7, get("maximum")),
        _number(8, get("exclusiveMaximum")),
        _double(9, get("minimum")),
        _number(10, get("exclusiveMinimum")),
        _number(11, get("maxLength")),
        _number(12, get("minLength")),
        _text(13, get("pattern")),
        _number(14, get("maxItems")),
        _number(15, get("minItems")),
        _number(16, get("uniqueItems")),
        _number(17, get("maxProperties")),
        _number(18, get("minProperties")),
        _texts(19, get("required") or ()),
        *(_bytes(20, _any(one)) for one in get("enum") or ()),
    ]
    others = get("additionalProperties")
    if isinstance(others, Mapping):
        parts.append(_bytes(21, _bytes(1, _schema(others))))
    elif others is not None:
        parts.append(_bytes(21, _varint(2 << 3) + _varint(bool(others))))
    if kind := get("type"):
        parts.append(_bytes(22, _texts(1, (kind,))))
    if "items" in node:
        parts.append(_bytes(23, _bytes(1, _schema(node["items"]))))
    if properties := get("properties"):
        parts.append(_bytes(25, _properties(properties)))
    parts.append(_extensions(31, node))
    return b"".join(parts)


def _path(item: Mapping[str, Any]) -> bytes:
    parts = [
        _bytes(number, _operation(item[method]))
        for method, number in _METHODS.items()
        if method in item
    ]
    parts += [_bytes(9, _bytes(1, _parameter(one))) for one in item.get("parameters", ())]
    return b"".join(parts)


def _operation(node: Mapping[str, Any]) -> bytes:
    responses = b"".join(
        _bytes(1, _named(code, one, _response)) for code, one in node["responses"].items()
    )
    return b"".join(
        (
            _texts(1, node.get("tags", ())),
            _text(3, node.get("description")),
            _text(5, node.get("operationId")),
            _texts(6, node.get("produces", ())),
            _texts(7, node.get("consumes", ())),
            *(_bytes(8, _bytes(1, _parameter(one))) for one in node.get("parameters", ())),
            _bytes(9, responses),
            _texts(10, node.get("schemes", ())),
            _extensions(13, node),
        )
    )


def _response(node: Mapping[str, Any]) -> bytes:
    told = _text(1, node.get("description"))
    if "schema" in node:
        told += _bytes(2, _bytes(1, _schema(node["schema"])))
    return _bytes(1, told)


def _parameter(node: Mapping[str, Any]) -> bytes:
    if node["in"] == "body":
        body = (
            _text(1, node.get("description")),
            _text(2, node["name"]),
            _text(3, "body"),
            _number(4, node.get("required")),
            _bytes(5, _schema(node["schema"])),
        )
        return _bytes(1, b"".join(body))
    # The two kinds differ in one field that stands before the type.
    query = node["in"] == "query"
    told = (
        _number(1, node.get("required")),
        _text(2, node["in"]),
        _text(3, node.get("description")),
        _text(4, node["name"]),
        _text(6 if query else 5, node.get("type")),
        _number(20 if query else 19, node.get("uniqueItems")),
    )
    return _bytes(2, _bytes(3 if query else 4, b"".join(told)))


def _requirement(node: Mapping[str, Any]) -> bytes:
    return b"".join(
        _bytes(1, _named(name, scopes, lambda values: _texts(1, values)))
        for name, scopes in node.items()
    )


def _security(node: Mapping[str, Any]) -> bytes:
    def key(one: Mapping[str, Any]) -> bytes:
        told = (
            _text(1, one["type"]),
            _text(2, one["name"]),
            _text(3, one["in"]),
            _text(4, one.get("description")),
        )
        return _bytes(2, b"".join(told))

    return b"".join(_bytes(1, _named(name, one, key)) for name, one in node.items())
