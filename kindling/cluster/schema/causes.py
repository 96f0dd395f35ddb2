"""The ways in which a field can be wrong, worded as apimachinery `pkg/util/validation/field` does.

Paths are plain texts, made with `child` and `at`; a fault of the object as a whole has the path
`NOWHERE`, as the server prints it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from kindling.cluster.model.status import Cause

__all__ = [
    "NOWHERE",
    "Literal",
    "at",
    "child",
    "duplicate",
    "forbidden",
    "go_syntax",
    "immutable",
    "invalid",
    "key",
    "not_found",
    "not_supported",
    "quoted",
    "required",
    "too_long",
    "too_many",
    "type_invalid",
]

NOWHERE = "<nil>"
_IMMUTABLE = "field is immutable"


def child(path: str, *names: str) -> str:
    """The path of a field below another."""
    return ".".join([path, *names] if path and path != NOWHERE else names)


def at(path: str, index: int) -> str:
    """The path of a list's item."""
    return f"{path}[{index}]"


def key(path: str, name: str) -> str:
    """The path of a map's value."""
    return f"{path}[{name}]"


def quoted(text: str) -> str:
    """A text in the quotes of Go, which are those of JSON but for some control signs."""
    return json.dumps(text, ensure_ascii=False)


def go_syntax(value: Any) -> str:
    """A value as Go's `%#v` prints it: what the server shows of a value that is no scalar."""
    if value is None:
        return "interface {}(nil)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        plain = bool(value) and all(isinstance(one, str) for one in value.values())
        inner = ", ".join(f"{quoted(name)}:{go_syntax(value[name])}" for name in sorted(value))
        return f"map[string]{'string' if plain else 'interface {}'}{{{inner}}}"
    if isinstance(value, list):
        plain = bool(value) and all(isinstance(one, str) for one in value)
        inner = ", ".join(go_syntax(one) for one in value)
        return f"[]{'string' if plain else 'interface {}'}{{{inner}}}"
    return str(value)


class Literal(str):
    """A value that is already in the form in which it is to be shown."""

    __slots__ = ()


def _shown(value: Any) -> str:
    if value is None:
        return '"null"'
    if isinstance(value, Literal):
        return str(value)
    return go_syntax(value)


def _told(word: str, detail: str) -> str:
    return f"{word}: {detail}" if detail else word


def required(path: str, detail: str = "") -> Cause:
    return Cause("FieldValueRequired", _told("Required value", detail), path)


def invalid(path: str, value: Any, detail: str) -> Cause:
    return Cause("FieldValueInvalid", _told(f"Invalid value: {_shown(value)}", detail), path)


def type_invalid(path: str, value: Any, detail: str) -> Cause:
    return Cause("FieldValueTypeInvalid", _told(f"Invalid value: {_shown(value)}", detail), path)


def immutable(path: str, value: Any) -> Cause:
    return invalid(path, value, _IMMUTABLE)


def forbidden(path: str, detail: str) -> Cause:
    return Cause("FieldValueForbidden", _told("Forbidden", detail), path)


def duplicate(path: str, value: Any) -> Cause:
    return Cause("FieldValueDuplicate", f"Duplicate value: {_shown(value)}", path)


def not_found(path: str, value: Any) -> Cause:
    return Cause("FieldValueNotFound", f"Not found: {_shown(value)}", path)


def not_supported(path: str, value: Any, supported: Iterable[str]) -> Cause:
    known: Sequence[str] = [quoted(one) for one in supported]
    detail = f"supported values: {', '.join(known)}" if known else ""
    return Cause(
        "FieldValueNotSupported", _told(f"Unsupported value: {_shown(value)}", detail), path
    )


def too_long(path: str, limit: int) -> Cause:
    unit = "byte" if limit == 1 else "bytes"
    detail = f"may not be more than {limit} {unit}" if limit >= 0 else "value is too long"
    return Cause("FieldValueTooLong", f"Too long: {detail}", path)


def too_many(path: str, actual: int, limit: int) -> Cause:
    unit = "item" if limit == 1 else "items"
    detail = f"must have at most {limit} {unit}" if limit >= 0 else "has too many items"
    return Cause("FieldValueTooMany", f"Too many: {actual}: {detail}", path)
