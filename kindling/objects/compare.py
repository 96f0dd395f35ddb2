"""What of a live object is ours: the fields we applied, as the server holds them now.

The server adds defaults, status and what other controllers write. To see whether somebody changed
what we wrote, only the fields that we wrote count. Its answer to our write, projected, is the
record; later answers are compared with that, so that a quantity spelled another way (`1000m`, `1`)
is no difference.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from kindling.objects.identity import Manifest, canonical

__all__ = ["differences", "digest_of", "project"]

_MERGE_KEYS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "conditions": (("type",),),
    "containers": (("name",),),
    "env": (("name",),),
    "ephemeralContainers": (("name",),),
    "hostAliases": (("ip",),),
    "imagePullSecrets": (("name",),),
    "initContainers": (("name",),),
    "ownerReferences": (("uid",),),
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
    "resourceClaims": (("name",),),
    "secrets": (("name",),),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "volumeDevices": (("devicePath",),),
    "volumeMounts": (("mountPath",),),
    "volumes": (("name",),),
    "webhooks": (("name",),),
}
"""By which fields the API server tells the items of a list apart, by the name of the list (core/v1,
apps/v1 and admissionregistration/v1). Other lists are told apart by `name` or `key` where every
item has one."""

_GUESSED = (("name",), ("key",))
_DEFAULTS = {"protocol": "TCP"}
_SETS = frozenset({"finalizers"})
"""Lists of which others may own items: only ours count, in our order."""

_OURS_NEVER = ("status",)


def project(live: Manifest, applied: Manifest) -> dict[str, Any]:
    """The part of `live` that covers exactly the fields of `applied`.

    Fields that are gone from `live` are left out; items of a list that is matched by position are
    all taken, since such a list belongs wholly to who wrote it. Projecting the result again changes
    nothing.
    """
    wanted = {key: value for key, value in _as_stored(applied).items() if key not in _OURS_NEVER}
    result: dict[str, Any] = _project(live, wanted, "")
    return result


def _as_stored(applied: Manifest) -> Manifest:
    """`stringData` of a Secret is for writing only: the server keeps it in `data`."""
    plain = applied.get("stringData")
    if applied.get("kind") != "Secret" or not isinstance(plain, Mapping):
        return applied
    data = dict(applied.get("data") or {})
    data.update({k: base64.b64encode(str(v).encode()).decode() for k, v in plain.items()})
    return {**{k: v for k, v in applied.items() if k != "stringData"}, "data": data}


def _project(live: Any, applied: Any, name: str) -> Any:
    if isinstance(applied, Mapping) and isinstance(live, Mapping):
        return {
            key: _project(live[key], value, key)
            for key, value in applied.items()
            if value is not None and key in live
        }
    if _is_list(applied) and _is_list(live):
        return _project_list(live, applied, name)
    return live


def _project_list(live: Sequence[Any], applied: Sequence[Any], name: str) -> list[Any]:
    if name in _SETS:
        return [item for item in applied if item in live]
    keys = _merge_key(applied, live, name)
    if keys is None:
        return [
            _project(item, applied[at], "") if at < len(applied) else item
            for at, item in enumerate(live)
        ]
    by_key = {_identity(item, keys): item for item in live}
    return [
        _project(by_key[identity], item, "")
        for item in applied
        if (identity := _identity(item, keys)) in by_key
    ]


def _merge_key(applied: Sequence[Any], live: Sequence[Any], name: str) -> tuple[str, ...] | None:
    if not applied or not all(isinstance(item, Mapping) for item in (*applied, *live)):
        return None
    for keys in (*_MERGE_KEYS.get(name, ()), *_GUESSED):
        if _tells_apart(applied, keys) and _tells_apart(live, keys):
            return keys
    return None


def _tells_apart(items: Sequence[Mapping[str, Any]], keys: tuple[str, ...]) -> bool:
    if not all(isinstance(item.get(keys[0]), str | int) for item in items):
        return False
    return len({_identity(item, keys) for item in items}) == len(items)


def _identity(item: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(item.get(key, _DEFAULTS.get(key, ""))) for key in keys)


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def digest_of(live: Manifest, applied: Manifest) -> str:
    """A digest of what the server holds for the fields that we applied."""
    return "sha256:" + hashlib.sha256(canonical(project(live, applied)).encode()).hexdigest()


def differences(expected: Manifest, live: Manifest, limit: int = 20) -> tuple[str, ...]:
    """The paths of fields that `live` does not hold as `expected` does, such as `spec.replicas`.

    Only fields of `expected` count. Items of a list are named by their key:
    `containers[api].image`. At most `limit` paths are given. Values are not shown: they may be
    secret.
    """
    wanted = _as_stored(expected)
    found: list[str] = []
    for path in _differences(wanted, project(live, expected), "", ""):
        if path.split(".")[0] not in _OURS_NEVER:
            found.append(path)
        if len(found) == limit:
            break
    return tuple(found)


def _differences(expected: Any, live: Any, path: str, name: str) -> Iterator[str]:
    if isinstance(expected, Mapping) and isinstance(live, Mapping):
        for key, value in expected.items():
            if value is None:
                continue
            below = f"{path}.{key}" if path else str(key)
            if key in live:
                yield from _differences(value, live[key], below, key)
            else:
                yield below
    elif _is_list(expected) and _is_list(live):
        keys = _merge_key(expected, live, name) if name not in _SETS else None
        if keys is None:
            if len(expected) != len(live):
                yield path
                return
            for at, (one, other) in enumerate(zip(expected, live, strict=True)):
                yield from _differences(one, other, f"{path}[{at}]", "")
            return
        by_key = {_identity(item, keys): item for item in live}
        for item in expected:
            identity = _identity(item, keys)
            below = f"{path}[{'/'.join(identity)}]"
            if identity in by_key:
                yield from _differences(item, by_key[identity], below, "")
            else:
                yield below
    elif expected != live or type(expected) is not type(live):
        yield path
