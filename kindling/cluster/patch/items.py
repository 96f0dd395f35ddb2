"""How the fields of an object and the items of a list are named in a set of fields.

What the API server calls an associative list (a set, or a map by keys) has its items told apart by
what is in them; all other lists are one value.
"""

from __future__ import annotations

import json
import re
from typing import Any

from kindling.cluster.model.shape import ANY, ListType, Shape, Sort

__all__ = ["alike", "field_of", "is_associative", "is_granular", "is_leaf", "is_named", "step_of"]

_PLAIN = re.compile(r"[A-Za-z0-9._/:@+=, -]*").fullmatch
"""Texts that stand in JSON as they are; nearly all keys are."""


def alike(one: object, other: object) -> bool:
    """Whether two values are of one JSON type; objects may come as kinds of dict."""
    if isinstance(one, dict):
        return isinstance(other, dict)
    return type(one) is type(other)


def field_of(shape: Shape, name: str) -> Shape:
    """The shape below a field; one that the kind does not know holds anything."""
    return (shape.field(name) if shape.sort is Sort.OBJECT else None) or ANY


def is_named(shape: Shape, name: str) -> bool:
    """Whether a field is one of the kind's own, and not a key of a map or an unknown field. It is
    these that nobody owns as such, only what is in them."""
    if shape.sort is not Sort.OBJECT:
        return False
    free = shape.field("")
    if free is None:
        return True
    # A kind with names of its own may keep unknown fields beside them; a map has no names.
    return free is ANY and shape.field(name) not in (None, ANY)


def is_granular(shape: Shape) -> bool:
    """Whether an object's fields are owned one by one."""
    return shape.sort is Sort.ANY or (shape.sort is Sort.OBJECT and not shape.atomic)


def is_associative(shape: Shape) -> bool:
    return shape.sort is Sort.LIST and shape.list_type is not ListType.ATOMIC


def is_leaf(value: object, shape: Shape) -> bool:
    """Whether a value is owned as a whole, an empty object or list aside."""
    if isinstance(value, dict):
        return not is_granular(shape)
    return not (isinstance(value, list) and is_associative(shape))


def step_of(item: Any, shape: Shape) -> str:
    """What names an item of an associative list. Raises `ValueError` for an item that has
    no name."""
    if shape.list_type is ListType.SET:
        if item is None:
            raise ValueError("associative list without keys has an element that's an explicit null")
        if isinstance(item, dict):
            raise ValueError("associative list without keys has an element that's a map type")
        if isinstance(item, list):
            raise ValueError("not supported: associative list with lists as elements")
        return f"v:{_json(item)}"
    if item is None:
        raise ValueError("associative list with keys may not have a null element")
    if not isinstance(item, dict):
        raise ValueError("associative list with keys may not have non-map elements")
    keys: dict[str, Any] = {}
    names = shape.list_keys
    for name in sorted(names) if len(names) > 1 else names:
        value = item.get(name)
        if value is None:
            value = shape.items.default_of(name)
            if value is None:
                value = shape.default_of(name)
        if value is not None:
            keys[name] = value
    if not keys:
        told = ", ".join(f'"{name}"' for name in names)
        raise ValueError(
            f"associative list with keys has an element that omits all key fields [{told}] (and"
            " doesn't have default values for any key fields)"
        )
    if len(keys) == 1:
        ((name, value),) = keys.items()
        if isinstance(value, str) and _PLAIN(value):
            return f'k:{{"{name}":"{value}"}}'
    return f"k:{_json(keys)}"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
