"""What of a live object is not as it should be: the fields that we want, one by one.

Fields that we do not name belong to others and are not looked at. A server stores some values in
another spelling, and leaves out those that mean nothing; such are no differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kindling.operator.marks import HASH_ANNOTATION
from kindling.operator.pools.desired import POOL_HASH_ANNOTATION
from kindling.operator.quantity import amount

__all__ = ["HASHES", "differences", "reordering", "spec_hash"]

HASHES = (HASH_ANNOTATION, POOL_HASH_ANNOTATION)

_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "env": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port"),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
"""Lists to which others may add items, by their own names, and what tells items apart."""

_ORDERED = frozenset({"env", "initContainers"})
"""Of these, lists whose order means something: a later item refers to, or waits for, an earlier
one."""

_AMOUNTS = frozenset({"divisor", "limits", "requests", "sizeLimit"})
"""Fields that hold quantities, or mappings of them."""


def spec_hash(item: Mapping[str, Any]) -> str:
    """The hash of what an object was made from, empty where it bears none."""
    annotations = item.get("metadata", {}).get("annotations") or {}
    return next((annotations[name] for name in HASHES if name in annotations), "")


def differences(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths of the fields of `wanted` that `live` has not, or has otherwise.

    The hash among them stands for what is no longer wanted: it is told only where nothing else is.
    """
    paths = tuple(_differences(wanted, live, (), False))
    hashes = {f"metadata.annotations.{name}" for name in HASHES}
    return tuple(path for path in paths if path not in hashes) or paths


def reordering(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any] | None:
    """The merge patch that brings a live workload's lists into the order that is wanted, None where
    they are in it. Servers keep the old order of a list to which an apply adds, so that a variable
    could come to stand after those that refer to it. Items of others go to the end."""
    pod = wanted.get("spec", {}).get("template", {}).get("spec", {})
    now = live.get("spec", {}).get("template", {}).get("spec", {})
    result: dict[str, Any] = {}
    for sort in ("initContainers", "containers"):
        if sort not in pod or sort not in now:
            continue
        asked = {one["name"]: one for one in pod[sort]}
        ordered = [_in_order(asked.get(one["name"], {}), one, "env") for one in now[sort]]
        if sort in _ORDERED:
            ordered = _in_order(pod, {sort: ordered}, sort)[sort]
        if ordered != now[sort]:
            result[sort] = ordered
    return {"spec": {"template": {"spec": result}}} if result else None


def _in_order(wanted: Mapping[str, Any], live: Mapping[str, Any], key: str) -> dict[str, Any]:
    places = {one["name"]: place for place, one in enumerate(wanted.get(key) or ())}
    items = live.get(key)
    if not items or not places:
        return dict(live)
    return {**live, key: sorted(items, key=lambda one: places.get(one["name"], len(places)))}


def _differences(wanted: Any, live: Any, path: tuple[str, ...], quantity: bool) -> Iterator[str]:
    if not wanted and not live and not isinstance(wanted, bool):
        return  # a server stores neither
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            yield _text(path)
            return
        for key, value in wanted.items():
            below = quantity or key in _AMOUNTS
            yield from _differences(value, live.get(key), (*path, key), below)
    elif isinstance(wanted, Sequence) and not isinstance(wanted, str):
        yield from _items(wanted, live, path, quantity)
    elif not _same(wanted, live, quantity):
        yield _text(path)


def _items(
    wanted: Sequence[Any], live: Any, path: tuple[str, ...], quantity: bool
) -> Iterator[str]:
    if not isinstance(live, Sequence) or isinstance(live, str):
        yield _text(path)
        return
    key = _key_of(wanted, path[-1])
    if key is None:
        if len(wanted) != len(live):
            yield _text(path)
            return
        for index, (one, other) in enumerate(zip(wanted, live, strict=True)):
            yield from _differences(one, other, (*path, f"[{index}]"), quantity)
        return
    found = {one.get(key): one for one in live if isinstance(one, Mapping)}
    for one in wanted:
        place = (*path, f"[{key}={one[key]}]")
        if one[key] in found:
            yield from _differences(one, found[one[key]], place, quantity)
        else:
            yield _text(place)
    order = [one.get(key) for one in live if isinstance(one, Mapping)]
    names = [one[key] for one in wanted]
    if path[-1] in _ORDERED and [one for one in order if one in set(names)] not in ([], names):
        yield _text(path)


def _key_of(wanted: Sequence[Any], name: str) -> str | None:
    for key in _KEYS.get(name, ()):
        if all(isinstance(one, Mapping) and key in one for one in wanted):
            return key
    return None


def _same(wanted: Any, live: Any, quantity: bool) -> bool:
    if wanted == live:
        return True
    if wanted in (False, None) and live in (False, None):
        return True
    if quantity and wanted is not None and live is not None:
        size = amount(wanted)
        return size is not None and size == amount(live)
    return False


def _text(path: tuple[str, ...]) -> str:
    return ".".join(path).replace(".[", "[")
