"""Which fields an object has, and which differ between two states of it.

The rules are those of structured-merge-diff, `typed`. One thing of the API server's is added: its
built-in objects are structures that always have some of their parts (`status` of a new Pod is there
and empty), so that these count as there whether or not they are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from kindling.cluster.model.resource import BUILTIN
from kindling.cluster.model.shape import Shape, Sort
from kindling.cluster.patch.fields import FieldSet, text
from kindling.cluster.patch.items import (
    alike,
    field_of,
    is_associative,
    is_granular,
    is_leaf,
    is_named,
    step_of,
)

__all__ = [
    "Frame",
    "UnfitError",
    "compare",
    "field_set",
    "frame_of",
    "is_builtin",
    "named_too",
    "undeclared",
]

Frame = Mapping[str, Any]
"""The parts that an object has in any case, as a tree of field names; a list is a list."""

_NONE: Frame = MappingProxyType({})
_TEMPLATE: Frame = {"metadata": {}, "spec": {"containers": []}}
_PLAIN: Frame = {"metadata": {}, "spec": {}, "status": {"loadBalancer": {}}}
_FRAMES: Mapping[str, Frame] = MappingProxyType(
    {
        "CronJob": {
            **_PLAIN,
            "spec": {
                "jobTemplate": {"metadata": {}, "spec": {"template": _TEMPLATE}},
            },
        },
        "CustomResourceDefinition": {
            **_PLAIN,
            "spec": {"names": {}},
            "status": {"acceptedNames": {}, "conditions": []},
        },
        "DaemonSet": {**_PLAIN, "spec": {"template": _TEMPLATE, "updateStrategy": {}}},
        "Deployment": {**_PLAIN, "spec": {"template": _TEMPLATE, "strategy": {}}},
        "Event": {"metadata": {}, "involvedObject": {}, "source": {}, "regarding": {}},
        "HorizontalPodAutoscaler": {**_PLAIN, "spec": {"scaleTargetRef": {}}},
        "Job": {**_PLAIN, "spec": {"template": _TEMPLATE}},
        "Node": {
            **_PLAIN,
            "status": {"daemonEndpoints": {"kubeletEndpoint": {}}, "nodeInfo": {}},
        },
        "PersistentVolumeClaim": {**_PLAIN, "spec": {"resources": {}}},
        "Pod": {**_PLAIN, "spec": {"containers": []}},
        "PodTemplate": {"metadata": {}, "template": _TEMPLATE},
        "ReplicaSet": {**_PLAIN, "spec": {"template": _TEMPLATE}},
        "RoleBinding": {"metadata": {}, "roleRef": {}},
        "ClusterRoleBinding": {"metadata": {}, "roleRef": {}},
        "StatefulSet": {**_PLAIN, "spec": {"template": _TEMPLATE, "updateStrategy": {}}},
        "VolumeAttachment": {**_PLAIN, "spec": {"source": {}}},
    }
)
_CUSTOM: Frame = {"metadata": {}}
_KINDS = frozenset((row.api_version, row.kind) for row in BUILTIN.values())


def frame_of(obj: Mapping[str, Any]) -> Frame:
    """What an object of this kind always has."""
    kind = obj.get("kind", "")
    if (obj.get("apiVersion"), kind) in _KINDS:
        return _FRAMES.get(kind, _PLAIN)
    return _CUSTOM


class UnfitError(ValueError):
    """A value that does not fit its shape, with its place as text."""

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"{place}: {why}" if place else why)


@dataclass(frozen=True, slots=True)
class _Differences:
    changed: FieldSet
    removed: FieldSet


def compare(
    before: Mapping[str, Any], after: Mapping[str, Any], shape: Shape, frame: Frame = _NONE
) -> tuple[FieldSet, FieldSet]:
    """The fields that are new or different, and those that are gone. A null counts as absent."""
    found = _Differences({}, {})
    if before is not after:
        _objects(before, after, shape, frame, found)
    return found.changed, found.removed


def _objects(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    shape: Shape,
    frame: Frame,
    found: _Differences,
) -> None:
    for name, new in after.items():
        old = before.get(name)
        if old is not new and (old != new or not alike(old, new)):
            always = frame.get(name)
            if always is None:
                _values(f"f:{name}", old, new, field_of(shape, name), _NONE, found)
                continue
            empty: Any = [] if always == [] else {}
            _values(
                f"f:{name}",
                empty if old is None else old,
                empty if new is None else new,
                field_of(shape, name),
                always or _NONE,
                found,
            )
    for name, old in before.items():
        if old is not None and name not in after:
            always = frame.get(name)
            empty = None if always is None else [] if always == [] else {}
            _values(f"f:{name}", old, empty, field_of(shape, name), always or _NONE, found)


def _values(step: str, old: Any, new: Any, shape: Shape, frame: Frame, found: _Differences) -> None:
    """Compare what is below one step; None is absent."""
    if old is new:
        return
    if old is None or new is None:
        if old is None:
            found.changed[step] = _whole(new, shape)
        else:
            found.removed[step] = _whole(old, shape)
        return
    either = new or old
    if not either or not alike(old, new) or is_leaf(either, shape):
        if old != new or not alike(old, new):
            found.changed[step] = {}
        return
    inner = _Differences({}, {})
    if isinstance(either, dict):
        _objects(old, new, shape, frame, inner)
    else:
        _lists(old, new, shape, inner)
    if inner.changed:
        found.changed[step] = inner.changed
    if inner.removed:
        found.removed[step] = inner.removed


def _whole(value: Any, shape: Shape) -> FieldSet:
    """The node of a value that comes or goes as a whole: it and all that is in it."""
    if not value or not isinstance(value, dict | list) or is_leaf(value, shape):
        return {}
    node: FieldSet = {".": {}}
    if isinstance(value, dict):
        for name, inner in value.items():
            if inner is not None:
                node[f"f:{name}"] = (
                    _whole(inner, field_of(shape, name)) if isinstance(inner, dict | list) else {}
                )
        return node if len(node) > 1 else {}
    items = shape.items
    for step, same in _by_step(value, shape).items():
        node[step] = _whole(same[0], items) if len(same) == 1 else {}
    return node if len(node) > 1 else {}


def _lists(old: list[Any], new: list[Any], shape: Shape, found: _Differences) -> None:
    before, after = _by_step(old, shape), _by_step(new, shape)
    for step, items in after.items():
        were = before.get(step)
        if were == items:
            continue
        if len(items) == 1 and (were is None or len(were) == 1):
            _values(step, None if were is None else were[0], items[0], shape.items, _NONE, found)
        else:
            found.changed[step] = {}
    for step, items in before.items():
        if step in after:
            continue
        if len(items) == 1:
            _values(step, items[0], None, shape.items, _NONE, found)
        else:
            found.removed[step] = {}


def _by_step(items: list[Any], shape: Shape) -> dict[str, list[Any]]:
    """The items by what names them. One that has no name is passed over: what is stored was
    valid."""
    result: dict[str, list[Any]] = {}
    for item in items:
        try:
            step = step_of(item, shape)
        except ValueError:
            continue
        result.setdefault(step, []).append(item)
    return result


def is_builtin(frame: Frame) -> bool:
    return frame is not _CUSTOM


def field_set(
    value: Mapping[str, Any], shape: Shape, *, strict: bool = False, builtin: bool = False
) -> FieldSet:
    """The fields that an object sets. With `strict`, an item that has no name and two that have
    the same raise `UnfitError`; but the keys of a built-in kind's items are empty texts by
    default, and it is for validation to refuse these."""
    return _set_of_object(value, shape, _Rules(strict, builtin), "")


@dataclass(frozen=True, slots=True)
class _Rules:
    strict: bool
    builtin: bool


def undeclared(value: Any, shape: Shape, place: str = "") -> Iterator[str]:
    """Every field in a value that the kind does not have."""
    if isinstance(value, dict) and shape.sort is Sort.OBJECT:
        for name, inner in value.items():
            below_shape = shape.field(name)
            if below_shape is not None:
                if isinstance(inner, dict | list):
                    yield from undeclared(inner, below_shape, f"{place}.{name}")
            elif place or name not in ("apiVersion", "kind", "metadata"):
                yield f"{place}.{name}"
    elif isinstance(value, list) and shape.sort is Sort.LIST:
        for index, item in enumerate(value):
            if isinstance(item, dict | list):
                try:
                    step = text((step_of(item, shape),)) if is_associative(shape) else f"[{index}]"
                except ValueError:
                    step = f"[{index}]"
                yield from undeclared(item, shape.items, place + step)


def _set_of_object(value: Mapping[str, Any], shape: Shape, rules: _Rules, place: str) -> FieldSet:
    result: FieldSet = {}
    for name, inner in value.items():
        below_shape = field_of(shape, name)
        whole = (
            inner is None or (not inner and isinstance(inner, dict)) or not is_named(shape, name)
        )
        node = _set_of(inner, below_shape, whole, rules, f"{place}.{name}")
        if node is not None:
            result[f"f:{name}"] = node
    return result


def _set_of(value: Any, shape: Shape, member: bool, rules: _Rules, place: str) -> FieldSet | None:
    """The node of a value, None when nothing of it is owned."""
    if is_leaf(value, shape):
        return {}
    inner = (
        _set_of_object(value, shape, rules, place)
        if isinstance(value, dict)
        else _set_of_list(value, shape, rules, place)
    )
    if member:
        return {".": {}, **inner} if inner else {}
    return inner or None


def _set_of_list(items: list[Any], shape: Shape, rules: _Rules, place: str) -> FieldSet:
    result: FieldSet = {}
    for index, item in enumerate(items):
        try:
            step = step_of(item, shape)
        except ValueError as error:
            if not rules.strict:
                continue
            if not (rules.builtin and isinstance(item, dict) and shape.list_keys):
                raise UnfitError(place, f"element {index}: {error}") from error
            step = f'k:{{"{shape.list_keys[0]}":""}}'
        if step in result:
            if rules.strict:
                raise UnfitError(place, f"duplicate entries for key {text((step,))}")
            result[step] = {}
            continue
        node = _set_of(item, shape.items, True, rules, place + text((step,)))
        result[step] = node or {}
    return result


def named_too(fields: FieldSet, shape: Shape) -> FieldSet:
    """The set with the kind's own fields in it wherever something below them is: these are not
    written into `managedFields`, but go when all that was in them goes."""
    result: FieldSet = {}
    for step, node in fields.items():
        if step == ".":
            result[step] = node
            continue
        if not node:
            result[step] = node
            continue
        if step.startswith("f:"):
            name = step[2:]
            inner = named_too(node, field_of(shape, name))
            if is_granular(shape) and is_named(shape, name):
                inner = {".": {}, **inner}
        else:
            inner = named_too(node, shape.items if is_associative(shape) else shape)
        result[step] = inner
    return result
