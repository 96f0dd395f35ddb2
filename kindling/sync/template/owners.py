"""Who owns which field of a pod template, as it was before the session.

A session's patch takes fields from their owners (`managedFields`), and putting the old values back
does not give them back. Whoever applies the workload later would then no longer be able to remove
a field that was theirs. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["owners_given_back"]

_TEMPLATE = ("f:spec", "f:template")


def owners_given_back(
    live: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]], manager: str
) -> list[dict[str, Any]] | None:
    """`managedFields` without `manager`, and with all in the template that the others owned
    `before`; what they own since stays theirs. None when that is how it is."""
    result: list[dict[str, Any]] = []
    missing = {_who(entry): entry for entry in before if entry.get("manager") != manager}
    for entry in live:
        if entry.get("manager") == manager:
            continue
        old = missing.pop(_who(entry), None)
        owned = _template(old) if old is not None else None
        result.append(dict(entry) if owned is None else _with(entry, owned))
    for entry in missing.values():
        owned = _template(entry)
        if owned is not None:
            bare = {**entry, "fieldsV1": {}}
            result.append(_with(bare, owned))
    return result if result != [dict(entry) for entry in live] else None


def _who(entry: Mapping[str, Any]) -> tuple[str, ...]:
    names = ("manager", "operation", "apiVersion", "subresource")
    return tuple(str(entry.get(name, "")) for name in names)


def _template(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    value: Any = entry.get("fieldsV1") or {}
    for key in _TEMPLATE:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else None


def _with(entry: Mapping[str, Any], owned: Mapping[str, Any]) -> dict[str, Any]:
    more: Mapping[str, Any] = owned
    for key in reversed(_TEMPLATE):
        more = {key: more}
    return {**entry, "fieldsV1": _union(entry.get("fieldsV1") or {}, more)}


def _union(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(one)
    for key, value in other.items():
        mine = result.get(key)
        if isinstance(mine, Mapping) and isinstance(value, Mapping):
            result[key] = _union(mine, value)
        elif mine is None:
            result[key] = value
    return result
