"""Sets of fields, in the form in which `managedFields` writes them (`FieldsV1`).

A set is a tree of plain dicts. A key is a step: `f:NAME` a field, `k:{"name":"web"}` an item of a
list by its keys, `v:"x"` an item of a set, `i:0` a place in a list. A field is in the set when its
node is empty, or holds `.` beside the fields below it. Read with it: structured-merge-diff,
`fieldpath`. Sets are values here: no function changes one that it was given.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = [
    "FieldSet",
    "below",
    "difference",
    "in_order",
    "intersection",
    "is_member",
    "paths",
    "readable",
    "recursive_difference",
    "text",
    "union",
]

FieldSet = dict[str, Any]

_RANK = {"f": 0, "k": 1, "v": 2, "i": 3}


def is_member(node: FieldSet) -> bool:
    return not node or "." in node


def below(node: FieldSet) -> FieldSet:
    """The set of what lies below a step, the step itself aside."""
    if "." not in node:
        return node
    return {step: child for step, child in node.items() if step != "."}


def _node(member: bool, children: FieldSet) -> FieldSet | None:
    if member:
        return {".": {}, **children} if children else {}
    return children or None


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    if not one or one is other:
        return other
    if not other:
        return one
    result = dict(one)
    for step, node in other.items():
        mine = result.get(step)
        if mine is None:
            result[step] = node
        elif mine is not node and mine != node:
            member = is_member(mine) or is_member(node)
            both = _node(member, union(below(mine), below(node)))
            if both is not None:
                result[step] = both
    return result


def intersection(one: FieldSet, other: FieldSet) -> FieldSet:
    result: FieldSet = {}
    for step, node in one.items():
        theirs = other.get(step)
        if theirs is None or step == ".":
            continue
        member = is_member(node) and is_member(theirs)
        both = _node(member, intersection(below(node), below(theirs)))
        if both is not None:
            result[step] = both
    return result


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """What is in one and not in the other, field by field: taking away a field leaves those below
    it. Gives `one` itself when nothing goes."""
    return _without(one, other, deep=False)


def recursive_difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """As `difference`, but a field takes all that lies below it along."""
    return _without(one, other, deep=True)


def _without(one: FieldSet, other: FieldSet, *, deep: bool) -> FieldSet:
    result: FieldSet | None = None
    for step, theirs in other.items():
        node = one.get(step)
        if node is None or step == ".":
            continue
        gone = is_member(theirs)
        if gone and deep:
            left = None
        else:
            kept = below(node)
            less = _without(kept, below(theirs), deep=deep) if kept else kept
            if less is kept and not (gone and is_member(node)):
                continue
            left = _node(is_member(node) and not gone, less)
        if result is None:
            result = dict(one)
        if left is None:
            del result[step]
        else:
            result[step] = left
    return one if result is None else result


def paths(fields: FieldSet, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every field of a set as its steps, in the order in which the API server names them: at each
    level first what is in the set, then what lies deeper."""
    steps = sorted((step for step in fields if step != "."), key=_order)
    for step in steps:
        if is_member(fields[step]):
            yield (*prefix, step)
    for step in steps:
        if deeper := below(fields[step]):
            yield from paths(deeper, (*prefix, step))


def text(path: Sequence[str]) -> str:
    """A path for people: `.spec.template.spec.containers[name="web"].image`."""
    parts: list[str] = []
    for step in path:
        kind, _, value = step.partition(":")
        if kind == "f":
            parts.append(f".{value}")
        elif kind == "k":
            keys = ",".join(f"{name}={_shown(key)}" for name, key in json.loads(value).items())
            parts.append(f"[{keys}]")
        elif kind == "v":
            parts.append(f"[={_shown(json.loads(value))}]")
        else:
            parts.append(f"[{value}]")
    return "".join(parts)


def in_order(fields: FieldSet) -> FieldSet:
    """The same set with its steps in the order in which they are written."""
    if len(fields) < 2:
        return {step: in_order(node) if node else node for step, node in fields.items()}
    return {
        step: in_order(node) if node else node
        for step, node in sorted(fields.items(), key=lambda item: _order(item[0]))
    }


def readable(fields: object) -> bool:
    """Whether a client's `fieldsV1` is a set."""
    if not isinstance(fields, dict):
        return False
    for step, node in fields.items():
        if step == ".":
            continue
        kind, colon, value = step.partition(":")
        if kind not in _RANK or not colon or not readable(node):
            return False
        try:
            if kind == "k" and not isinstance(json.loads(value), dict):
                return False
            if kind == "v":
                json.loads(value)
            if kind == "i":
                int(value)
        except ValueError:
            return False
    return True


def _order(step: str) -> tuple[int, str]:
    return (-1, "") if step == "." else (_RANK[step[0]], step)


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
