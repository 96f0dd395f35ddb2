"""Defaults of a structural schema (`pkg/apiserver/schema/defaulting`)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from kindling.cluster.schema.custom.structural import Node, extra, items, nullable, prop

__all__ = ["fill"]


def fill(node: Node, value: Any) -> Any:
    """A copy of the value with defaults. A `null` where none is allowed counts as absent, so it
    goes, and the default comes in its place."""
    if isinstance(value, list):
        inner = items(node)
        return value if inner is None else [fill(inner, one) for one in value]
    if not isinstance(value, dict):
        return value
    others = extra(node)
    out: dict[str, Any] = {}
    for name, one in value.items():
        told = prop(node, name)
        told = others if told is None else told
        if told is None:
            out[name] = one
        elif one is not None or nullable(told) or not (told.get("type") or "default" in told):
            out[name] = fill(told, one)
    for name, told in (node.get("properties") or {}).items():
        if name not in out and told.get("default") is not None:
            # A default may itself lack fields that have defaults.
            out[name] = fill(told, deepcopy(told["default"]))
    return out
