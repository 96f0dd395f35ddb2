"""Dropping what a structural schema does not name (`pkg/apiserver/schema/pruning`)."""

from __future__ import annotations

from typing import Any

from kindling.cluster.schema.custom.structural import Node, embedded, extra, free, items, prop

__all__ = ["prune"]

_OWN = ("apiVersion", "kind", "metadata")
_NOTHING: Node = {}


def prune(node: Node, value: Any, path: str, dropped: list[str], *, whole: bool = False) -> Any:
    """A copy of the value with what the schema knows. The paths of what is left out go to
    `dropped`. A `whole` object keeps its kind and metadata, whatever the schema says of them."""
    if isinstance(value, list):
        inner = items(node)
        if inner is None:
            if free(node):
                return value
            inner = _NOTHING
        return [prune(inner, one, f"{path}[{i}]", dropped) for i, one in enumerate(value)]
    if not isinstance(value, dict):
        return value
    whole = whole or embedded(node)
    keeps, others = free(node), extra(node)
    out: dict[str, Any] = {}
    for name, one in value.items():
        where = f"{path}.{name}" if path else name
        told = prop(node, name)
        if whole and name in _OWN:
            out[name] = one
        elif told is not None:
            out[name] = prune(told, one, where, dropped)
        elif others is not None:
            out[name] = one if not others else prune(others, one, where, dropped)
        elif keeps:
            out[name] = one
        else:
            dropped.append(where)
    return out
