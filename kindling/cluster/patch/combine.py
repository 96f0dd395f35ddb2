"""Laying an applied configuration over an object, and taking fields out of one.

The rules, the order of merged lists among them, are those of structured-merge-diff, `typed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kindling.cluster.model.shape import Shape
from kindling.cluster.patch.fields import FieldSet, below, is_member
from kindling.cluster.patch.items import alike, field_of, is_leaf, step_of

__all__ = ["laid_over", "without"]


def laid_over(live: Any, applied: Any, shape: Shape) -> Any:
    """The live value with the applied one over it. Empty and null values are values here."""
    if is_leaf(applied, shape) or not alike(live, applied) or not (live or applied):
        return applied
    if isinstance(applied, dict):
        merged = dict(live)
        for name, value in applied.items():
            if name in live:
                merged[name] = laid_over(live[name], value, field_of(shape, name))
            else:
                merged[name] = value
        return merged
    return _merged_list(live, applied, shape)


def _merged_list(live: list[Any], applied: list[Any], shape: Shape) -> list[Any]:
    """The items of both. Those of the configuration stand as it has them; those of the live list
    alone stay behind the item that they stood behind."""
    ours = _indexed(live, shape)
    theirs = _indexed(applied, shape)
    shared = iter([step for step in theirs if step in ours])
    wanted = next(shared, None)
    left, right = list(ours), list(theirs)
    merged: list[Any] = []
    at_left = at_right = 0
    while at_left < len(left) or at_right < len(right):
        if at_left < len(left) and at_right < len(right):
            step = left[at_left]
            if step == right[at_right]:
                merged.append(_item(ours[step], theirs[step], shape))
                at_left += 1
                at_right += 1
                wanted = next(shared, None)
                continue
            if step in theirs and wanted is not None and wanted != step:
                at_left += 1
                continue
        if at_left < len(left) and left[at_left] not in theirs:
            merged.extend(ours[left[at_left]])
            at_left += 1
            continue
        if at_right < len(right):
            step = right[at_right]
            merged.append(_item(ours.get(step, []), theirs[step], shape))
            at_right += 1
            if step == wanted:
                wanted = next(shared, None)
            continue
        at_left += 1
    return merged


def _item(live: list[Any], applied: list[Any], shape: Shape) -> Any:
    """One item; several live ones of the same name give way to the applied one."""
    if len(live) != 1:
        return applied[-1]
    return laid_over(live[0], applied[-1], shape.items)


def _indexed(items: list[Any], shape: Shape) -> dict[str, list[Any]]:
    result: dict[str, list[Any]] = {}
    for position, item in enumerate(items):
        try:
            step = step_of(item, shape)
        except ValueError:
            step = f"i:{position}"
        result.setdefault(step, []).append(item)
    return result


def without(value: Any, fields: FieldSet, shape: Shape) -> Any:
    """The value without the fields of a set. Gives `value` itself when none of them is there. An
    object or list that loses all that was in it goes too: None for the value itself."""
    if not fields or is_leaf(value, shape):
        return value
    if isinstance(value, dict):
        return _object_without(value, fields, shape)
    return _list_without(value, fields, shape)


def _object_without(value: Mapping[str, Any], fields: FieldSet, shape: Shape) -> Any:
    kept: dict[str, Any] | None = None
    for step, node in fields.items():
        if not step.startswith("f:"):
            continue
        name = step[2:]
        if name not in value:
            continue
        if is_member(node):
            kept = dict(value) if kept is None else kept
            del kept[name]
            continue
        inner = without(value[name], below(node), field_of(shape, name))
        if inner is not value[name]:
            kept = dict(value) if kept is None else kept
            if inner is None:
                del kept[name]
            else:
                kept[name] = inner
    if kept is None:
        return value
    return kept or None


def _list_without(value: list[Any], fields: FieldSet, shape: Shape) -> Any:
    kept: list[Any] = []
    changed = False
    for item in value:
        try:
            node = fields.get(step_of(item, shape))
        except ValueError:
            node = None
        if node is None:
            kept.append(item)
            continue
        if is_member(node):
            changed = True
            continue
        inner = without(item, below(node), shape.items)
        changed = changed or inner is not item
        if inner is not None:
            kept.append(inner)
    if not changed:
        return value
    return kept or None
