"""Reading JSON into a built-in kind, as the server's decoder does.

What the kind does not have is dropped and named; what has the wrong type is refused in the words of
Go's `encoding/json` (the server uses a branch of it, sigs.k8s.io/json, that tells upper from lower
case). Values come out as the server stores them: `null` is absent, an optional field without a Go
pointer loses its zero value, times are in UTC.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from kindling.cluster.schema.quantity import FORMAT_WRONG, canonical
from kindling.cluster.schema.structure import Field, Holds, Struct
from kindling.cluster.schema.times import canonical_time

__all__ = ["DecodeError", "decode"]

_ZEROS: dict[Holds, Any] = {
    Holds.STRING: "",
    Holds.BYTES: None,
    Holds.INTEGER: 0,
    Holds.NUMBER: 0,
    Holds.BOOLEAN: False,
    Holds.QUANTITY: "0",
    Holds.INT_OR_STRING: 0,
    Holds.LIST: None,
    Holds.MAP: None,
}
_LEAVES = frozenset(
    {
        Holds.STRING,
        Holds.INTEGER,
        Holds.NUMBER,
        Holds.BOOLEAN,
        Holds.BYTES,
        Holds.TIME,
        Holds.MICRO_TIME,
        Holds.QUANTITY,
        Holds.INT_OR_STRING,
    }
)


class DecodeError(ValueError):
    """A value of the wrong type or form, in the decoder's words."""


def decode(struct: Struct, obj: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The object as it is stored, and `unknown field "spec.x"` for each field that was dropped.
    Raises `DecodeError`."""
    decoder = _Decoder()
    return decoder.struct(struct, obj, "", ()), tuple(decoder.unknown)


def _sort_of(value: object) -> str:
    """What Go's decoder calls a JSON value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


class _Decoder:
    def __init__(self) -> None:
        self.unknown: list[str] = []

    def struct(
        self, struct: Struct, value: dict[str, Any], path: str, stack: tuple[str, ...]
    ) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, one in value.items():
            where = f"{path}.{name}" if path else name
            field = struct.field(name)
            if field is None:
                self.unknown.append(f'unknown field "{where}"')
            elif one is not None:
                read = self.value(field, one, where, struct, (*stack, name))
                if not (field.drops_zero and read in ("", 0, [], {})):
                    out[name] = read
        return out

    def value(
        self, field: Field, value: Any, path: str, owner: Struct, stack: tuple[str, ...]
    ) -> Any:
        holds = field.holds
        if holds in _LEAVES:
            return _leaf(field, value, owner, stack)
        if holds is Holds.STRUCT:
            if not isinstance(value, dict):
                raise _mismatch(_sort_of(value), field, owner, stack)
            return self.struct(field.struct, value, path, stack)
        if holds is Holds.LIST:
            if not isinstance(value, list):
                raise _mismatch(_sort_of(value), field, owner, stack)
            return [
                self.item(field.items, one, f"{path}[{index}]", owner, stack)
                for index, one in enumerate(value)
            ]
        if holds is Holds.MAP:
            if not isinstance(value, dict):
                raise _mismatch(_sort_of(value), field, owner, stack)
            return {
                key: self.item(field.values, one, f"{path}.{key}", owner, stack)
                for key, one in value.items()
            }
        if holds is Holds.SCHEMA:
            return self.schema(field, value, path, stack)
        return value

    def item(
        self, field: Field, value: Any, path: str, owner: Struct, stack: tuple[str, ...]
    ) -> Any:
        if value is None:
            return {} if field.holds is Holds.STRUCT else _ZEROS.get(field.holds)
        return self.value(field, value, path, owner, stack)

    def schema(self, field: Field, value: Any, path: str, stack: tuple[str, ...]) -> Any:
        """A schema, a list of them, or `true`. Its own decoder loses sight of strictness, so
        unknown fields below it are dropped without a word."""
        if isinstance(value, list):
            return [self.schema(field, one, path, stack) for one in value]
        if not isinstance(value, dict):
            return value
        told = len(self.unknown)
        read = self.struct(field.struct, value, path, stack)
        del self.unknown[told:]
        return read


def _mismatch(found: str, field: Field, owner: Struct, stack: tuple[str, ...]) -> DecodeError:
    return DecodeError(
        f"json: cannot unmarshal {found} into Go struct field"
        f" {owner.name}.{'.'.join(stack)} of type {field.go_type}"
    )


def _inner(found: str, wanted: str) -> DecodeError:
    """What a type that decodes itself complains of, without knowing in which field it is."""
    return DecodeError(f"json: cannot unmarshal {found} into Go value of type {wanted}")


def _leaf(field: Field, value: Any, owner: Struct, stack: tuple[str, ...]) -> Any:
    match field.holds:
        case Holds.STRING:
            if isinstance(value, str):
                return value
        case Holds.BOOLEAN:
            if isinstance(value, bool):
                return value
        case Holds.INTEGER:
            if isinstance(value, int) and not isinstance(value, bool):
                limit = 1 << (63 if field.wide else 31)
                if -limit <= value < limit:
                    return value
            if isinstance(value, int | float) and not isinstance(value, bool):
                raise _mismatch(f"number {value}", field, owner, stack)
        case Holds.NUMBER:
            if isinstance(value, int | float) and not isinstance(value, bool):
                return value
        case Holds.BYTES:
            if isinstance(value, str):
                return _bytes(value)
        case Holds.TIME | Holds.MICRO_TIME:
            return _time(value, micro=field.holds is Holds.MICRO_TIME)
        case Holds.QUANTITY:
            return _quantity(value)
        case _:
            return _int_or_string(value)
    raise _mismatch(_sort_of(value), field, owner, stack)


def _bytes(value: str) -> str:
    # Go's decoder skips line ends, and reports where the first wrong byte is.
    text = value.replace("\n", "").replace("\r", "")
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        body = text.rstrip("=")
        place = next((i for i, sign in enumerate(body) if sign not in alphabet), None)
        if place is None:
            place = len(body) if len(text) % 4 == 0 else len(text) - len(text) % 4 + 4
            place = min(place, len(text))
        raise DecodeError(f"illegal base64 data at input byte {place}") from None
    return text


def _time(value: Any, *, micro: bool) -> str:
    if not isinstance(value, str):
        raise _inner(_sort_of(value), "string")
    try:
        return canonical_time(value, micro=micro)
    except ValueError as error:
        raise DecodeError(str(error)) from None


def _quantity(value: Any) -> str:
    if isinstance(value, bool | dict | list):
        raise DecodeError(FORMAT_WRONG)
    try:
        return canonical(value)
    except ValueError as error:
        raise DecodeError(str(error)) from None


def _int_or_string(value: Any) -> int | str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        if -(1 << 31) <= value < 1 << 31:
            return value
        raise _inner(f"number {value}", "int32")
    found = f"number {value}" if isinstance(value, float) else _sort_of(value)
    raise _inner(found, "int32")
