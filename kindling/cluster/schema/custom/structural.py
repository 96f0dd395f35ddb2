"""Reading one node of a structural schema.

A schema is the JSON of `openAPIV3Schema`, as it was stored. These functions answer what the walkers
(shape, pruning, defaults, validation) ask of a node, so that they agree about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "Node",
    "embedded",
    "extra",
    "free",
    "int_or_string",
    "items",
    "nullable",
    "prop",
    "typed",
]

Node = Mapping[str, Any]


def prop(node: Node, name: str) -> Node | None:
    """The schema of a named property."""
    found: Node | None = (node.get("properties") or {}).get(name)
    return found


def extra(node: Node) -> Node | None:
    """The schema of a map's values; an empty one where anything may be (`true`)."""
    told = node.get("additionalProperties")
    if isinstance(told, Mapping):
        return told
    return {} if told is True else None


def items(node: Node) -> Node | None:
    found: Node | None = node.get("items")
    return found


def free(node: Node) -> bool:
    """Fields that the schema does not name are kept."""
    return node.get("x-kubernetes-preserve-unknown-fields") is True


def embedded(node: Node) -> bool:
    """A whole object of its own, with kind and metadata."""
    return node.get("x-kubernetes-embedded-resource") is True


def int_or_string(node: Node) -> bool:
    return node.get("x-kubernetes-int-or-string") is True


def nullable(node: Node) -> bool:
    return node.get("nullable") is True


def typed(node: Node) -> str:
    """The type as rules and complaints name it; empty where there is none."""
    return str(node.get("type") or "")
