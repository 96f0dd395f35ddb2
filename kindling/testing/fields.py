"""Server-side apply in memory: which manager owns which field of an object.

As much of the API server's rules as decisions of ours depend on: fields are owned one by one, a
changed field of another manager is a conflict, and a field that its only owner no longer applies is
removed. Lists of named items are merged by name; all other lists belong to one owner as a whole.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Fields", "Path", "leaves", "text"]

Path = tuple[str | tuple[str, str], ...]
"""Keys from the root. An item of a list of named items is the pair of its key's field and value."""

_KEYS = {"ports": ("containerPort", "port"), "volumeMounts": ("mountPath",)}
_IDENTITY = frozenset({("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")})


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every field that holds no fields of its own, with its value."""
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from leaves(below, (*path, str(key)))
    elif (key := _key_of(value, path)) is not None:
        for item in value:
            yield from leaves(item, (*path, (key, str(item[key]))))
    elif path not in _IDENTITY:
        yield path, value


def text(path: Path) -> str:
    """A path as the API server spells it, such as `spec.containers[name="api"].image`."""
    parts = [part if isinstance(part, str) else f'[{part[0]}="{part[1]}"]' for part in path]
    return ".".join(parts).replace(".[", "[")


class Fields:
    """The owners of one object's fields."""

    def __init__(self) -> None:
        self._owned: dict[str, set[Path]] = {}

    def copy(self) -> Fields:
        other = Fields()
        other._owned = {manager: set(paths) for manager, paths in self._owned.items()}
        return other

    def conflicts(
        self, manager: str, manifest: Mapping[str, Any], live: Mapping[str, Any]
    ) -> dict[str, list[str]]:
        """Fields by owner, of those that `manager` would take from others."""
        current = dict(leaves(live))
        found: dict[str, list[str]] = {}
        for path, value in leaves(manifest):
            for other, paths in self._owned.items():
                if other != manager and path in paths and current.get(path) != value:
                    found.setdefault(other, []).append(text(path))
        return found

    def apply(
        self, manager: str, manifest: Mapping[str, Any], live: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The object after `manager` applied `manifest`, taking whatever conflicts."""
        result: dict[str, Any] = copy.deepcopy(dict(live))
        wanted = dict(leaves(manifest))
        current = dict(leaves(live))
        others = set().union(*(p for name, p in self._owned.items() if name != manager))
        gone = self._owned.get(manager, set()) - set(wanted) - others
        for path in sorted(gone, key=_order):
            _remove(result, path)
        for path, value in wanted.items():
            _put(result, path, value)
            if current.get(path) != value:
                for name, paths in self._owned.items():
                    if name != manager:
                        paths.discard(path)
        self._owned[manager] = set(wanted)
        return result

    def updated(self, manager: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """`manager` wrote the object another way: what it changed is its own from now on."""
        old, new = dict(leaves(before)), dict(leaves(after))
        for path in {*old, *new}:
            if old.get(path) == new.get(path):
                continue
            for paths in self._owned.values():
                paths.discard(path)
            if path in new:
                self._owned.setdefault(manager, set()).add(path)


def _order(path: Path) -> tuple[bool, int]:
    """What tells an item of a list apart goes after its other fields, which are found by it."""
    padded = ("", "", *path)
    at = padded[-2]
    return isinstance(at, tuple) and at[0] == padded[-1], -len(path)


def _key_of(value: Any, path: Path) -> str | None:
    if not isinstance(value, list) or not value:
        return None
    if not all(isinstance(item, Mapping) for item in value):
        return None
    name = path[-1] if path and isinstance(path[-1], str) else ""
    for key in (*_KEYS.get(name, ()), "name"):
        if all(key in item for item in value):
            return key
    return None


def _put(target: dict[str, Any], path: Path, value: Any) -> None:
    here: Any = target
    for at, part in enumerate(path[:-1]):
        here = _step(here, part, [] if isinstance(path[at + 1], tuple) else {})
    last = path[-1]
    if isinstance(last, tuple):
        _step(here, last, {})
    else:
        here[last] = copy.deepcopy(value)


def _step(here: Any, part: str | tuple[str, str], new: Any) -> Any:
    if isinstance(part, str):
        if not isinstance(here.get(part), type(new)):
            here[part] = new
        return here[part]
    key, wanted = part
    for item in here:
        if str(item.get(key)) == wanted:
            return item
    here.append({key: _typed(key, wanted)})
    return here[-1]


def _typed(key: str, value: str) -> str | int:
    return int(value) if key in ("containerPort", "port") and value.isdigit() else value


def _remove(target: dict[str, Any], path: Path) -> None:
    here: Any = target
    trail: list[tuple[Any, Any]] = []
    for part in path:
        if isinstance(part, str):
            if not isinstance(here, dict) or part not in here:
                return
            trail.append((here, part))
            here = here[part]
        else:
            at = next((n for n, i in enumerate(here) if str(i.get(part[0])) == part[1]), None)
            if at is None:
                return
            trail.append((here, at))
            here = here[at]
    holder, key = trail.pop()
    del holder[key]
    while trail and not holder:
        holder, key = trail.pop()
        del holder[key]
