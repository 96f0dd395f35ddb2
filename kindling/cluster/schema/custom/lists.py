"""Lists that are sets or maps hold each item once (`pkg/apiserver/schema/listtype`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes
from kindling.cluster.schema.custom.structural import Node, extra, items

__all__ = ["check_lists"]


def check_lists(node: Node, value: Any, path: str) -> Iterator[Cause]:
    """Every second item of a set, or of a map by its keys."""
    if isinstance(value, list):
        inner = items(node) or {}
        yield from _unique(node, inner, value, path)
        for index, one in enumerate(value):
            yield from check_lists(inner, one, causes.at(path, index))
    elif isinstance(value, dict):
        properties, others = node.get("properties") or {}, extra(node)
        for name, one in value.items():
            told = properties.get(name, others)
            if told:
                yield from check_lists(told, one, causes.child(path, name))


def _unique(node: Node, inner: Node, value: list[Any], path: str) -> Iterator[Cause]:
    sort = node.get("x-kubernetes-list-type")
    if sort not in ("set", "map"):
        return
    keys = node.get("x-kubernetes-list-map-keys", ())
    seen: set[bytes] = set()
    for index, one in enumerate(value):
        told: Any = one
        if sort == "map" and isinstance(one, dict):
            told = {}
            for name in keys:
                default = ((inner.get("properties") or {}).get(name) or {}).get("default")
                if (found := one.get(name, default)) is not None:
                    told[name] = found
        mark = orjson.dumps(told, option=orjson.OPT_SORT_KEYS)
        if mark in seen:
            shown: Any = told
            if isinstance(told, dict):
                pairs = (f"{causes.quoted(k)}:{causes.go_syntax(told[k])}" for k in sorted(told))
                shown = causes.Literal(f"map[string]interface {{}}{{{', '.join(pairs)}}}")
            yield causes.duplicate(causes.at(path, index), shown)
        seen.add(mark)
