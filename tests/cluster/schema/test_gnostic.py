"""The protobuf form of OpenAPI v2 holds what the JSON form holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kindling.cluster.model.resource import BUILTIN
from kindling.cluster.schema.catalog import Catalog
from kindling.cluster.schema.openapi.gnostic import openapi_v2_protobuf


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message: numbers as numbers, all else as bytes."""
    place = 0

    def varint() -> int:
        nonlocal place
        number = shift = 0
        while True:
            sign = message[place]
            place += 1
            number |= (sign & 0x7F) << shift
            shift += 7
            if sign < 0x80:
                return number

    while place < len(message):
        tag = varint()
        match tag & 7:
            case 0:
                yield tag >> 3, varint()
            case 1:
                place += 8
                yield tag >> 3, message[place - 8 : place]
            case 2:
                length = varint()
                place += length
                yield tag >> 3, message[place - length : place]
            case other:
                raise AssertionError(other)


def only(message: bytes, field: int) -> Any:
    found = [value for number, value in fields(message) if number == field]
    return found[0] if found else None


def pairs(message: bytes, field: int = 1) -> dict[str, bytes]:
    """A map, which is written as a list of names and values."""
    found = (value for number, value in fields(message) if number == field)
    return {only(one, 1).decode(): only(one, 2) for one in found}


def schema(message: bytes) -> dict[str, Any]:
    """A schema as JSON again, as far as built-in definitions go."""
    out: dict[str, Any] = {}
    for number, value in fields(message):
        match number:
            case 1 | 2 | 4:
                out[{1: "$ref", 2: "format", 4: "description"}[number]] = value.decode()
            case 5:
                out["default"] = json.loads(only(value, 2))
            case 19:
                out.setdefault("required", []).append(value.decode())
            case 21:
                out["additionalProperties"] = schema(only(value, 1))
            case 22:
                out["type"] = only(value, 1).decode()
            case 23:
                out["items"] = schema(only(value, 1))
            case 25:
                out["properties"] = {name: schema(one) for name, one in pairs(value).items()}
            case 31:
                out[only(value, 1).decode()] = json.loads(only(only(value, 2), 2))
            case other:
                raise AssertionError(other)
    return out


def test_definitions_and_operations_survive(catalog: Catalog) -> None:
    document = catalog.openapi_v2(list(BUILTIN.values()))
    message = openapi_v2_protobuf(document)
    definitions = pairs(only(message, 9))
    assert {name: schema(one) for name, one in definitions.items()} == document["definitions"]
    paths = pairs(only(message, 8), 2)
    assert paths.keys() == document["paths"].keys()
    patch = only(paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"], 8)
    names = {
        only(only(only(only(one, 1), 2), 3), 4)
        for number, one in fields(patch)
        if number == 8 and only(only(only(one, 1), 2) or b"", 3)
    }
    assert b"fieldValidation" in names
    extensions = {
        only(one, 1): only(only(one, 2), 2) for number, one in fields(patch) if number == 13
    }
    kind = json.loads(extensions[b"x-kubernetes-group-version-kind"])
    assert kind == {"group": "apps", "version": "v1", "kind": "Deployment"}


@given(st.text(), st.lists(st.text(min_size=1), max_size=3), st.integers(1, 2**40))
def test_any_text_and_number_survives(text: str, required: list[str], most: int) -> None:
    node = {"description": text, "required": required, "maxLength": most}
    message = openapi_v2_protobuf(
        {
            "swagger": "2.0",
            "info": {"title": "", "version": ""},
            "paths": {},
            "definitions": {"a": node},
        }
    )
    told = pairs(only(message, 9))["a"]
    assert (only(told, 4) or b"").decode() == text
    assert [one.decode() for number, one in fields(told) if number == 19] == required
    assert only(told, 11) == most
