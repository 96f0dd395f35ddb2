"""JSON merge patch (RFC 7396)."""

from __future__ import annotations

from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.status import bad_request
from kindling.cluster.patch.gotext import go_kind

__all__ = ["merge"]

_DEEPEST = 400
"""Levels of a patch. A request's JSON may nest deeper than Python's stack allows."""


def merge(obj: Obj, patch: Any) -> Obj:
    """The object with a merge patch in it: null takes a field away, an object is merged into, all
    else replaces. Raises `ApiError` 400 for a patch that is not an object."""
    if not isinstance(patch, dict):
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {go_kind(patch)} into Go value of type"
            " map[string]interface {}"
        )
    return _merged(obj, patch, 0)


def _merged(target: Any, patch: dict[str, Any], depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        raise bad_request("error decoding patch: exceeded max depth")
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merged(merged.get(key), value, depth + 1)
        else:
            merged[key] = value
    return merged
