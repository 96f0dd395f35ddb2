"""Reading objects, which are plain JSON: metadata, owners, conditions, moments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import ResourceType

__all__ = [
    "condition",
    "controlled_by",
    "controller_of",
    "int_or",
    "labels",
    "matches",
    "name_of",
    "namespace_of",
    "notes_of",
    "owner_reference",
    "parse_time",
    "selects_nothing",
    "stamp",
    "stamp_micro",
    "terminating",
    "uid_of",
    "with_condition",
    "without_condition",
]


def name_of(obj: Obj) -> str:
    return str(obj["metadata"]["name"])


def namespace_of(obj: Obj) -> str:
    """Empty for an object of the whole cluster."""
    return str(obj["metadata"].get("namespace") or "")


def uid_of(obj: Obj) -> str:
    return str(obj["metadata"].get("uid") or "")


def labels(obj: Obj) -> dict[str, str]:
    return obj.get("metadata", {}).get("labels") or {}


def notes_of(obj: Obj) -> dict[str, str]:
    return obj.get("metadata", {}).get("annotations") or {}


def terminating(obj: Obj) -> bool:
    """Whether its deletion has begun."""
    return obj["metadata"].get("deletionTimestamp") is not None


def stamp(at: float) -> str:
    """A moment as the API writes it, in whole seconds."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp_micro(at: float) -> str:
    """A `MicroTime`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str | None, default: float = 0.0) -> float:
    """Seconds since the epoch; `default` for nothing, or for what is no moment."""
    if not text:
        return default
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return default


def int_or(value: Any, default: int) -> int:
    """An integer field that may be missing or null."""
    return default if value is None else int(value)


def owner_reference(resource: ResourceType, owner: Obj) -> Obj:
    """How a dependent names its controller."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Obj) -> Obj | None:
    """The owner that manages it, if it has one."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            found: Obj = reference
            return found
    return None


def controlled_by(obj: Obj, owner: Obj) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == uid_of(owner)


def selects_nothing(selector: Mapping[str, Any] | None) -> bool:
    """A selector without any term; it would select everything where it is not refused."""
    return not selector or not (selector.get("matchLabels") or selector.get("matchExpressions"))


def matches(selector: Mapping[str, Any] | None, found: Mapping[str, str]) -> bool:
    """Whether labels satisfy a LabelSelector. None matches nothing, an empty one everything."""
    if selector is None:
        return False
    for key, value in (selector.get("matchLabels") or {}).items():
        if found.get(key) != value:
            return False
    return all(
        _term(term, term.get("key", ""), found) for term in selector.get("matchExpressions") or ()
    )


def _term(term: Mapping[str, Any], key: str, found: Mapping[str, str]) -> bool:
    values: Sequence[str] = term.get("values") or []
    match term.get("operator"):
        case "In":
            return key in found and found[key] in values
        case "NotIn":
            return key not in found or found[key] not in values
        case "Exists":
            return key in found
        case "DoesNotExist":
            return key not in found
        case "Gt":
            return bool(values) and _number(found.get(key)) > _number(values[0], high=True)
        case "Lt":
            return (
                key in found
                and bool(values)
                and _number(found[key], high=True) < _number(values[0])
            )
    return False


def _number(text: str | None, *, high: bool = False) -> float:
    """A text that is no number compares as never true on its side."""
    try:
        return int(text or "")
    except ValueError:
        return float("inf") if high else float("-inf")


def condition(status: Mapping[str, Any] | None, type_: str) -> Obj | None:
    """The condition of that type."""
    for found in (status or {}).get("conditions") or ():
        if found.get("type") == type_:
            result: Obj = found
            return result
    return None


def with_condition(conditions: Iterable[Obj] | None, new: Obj, *, now: str = "") -> list[Obj]:
    """The conditions with `new` in the place of the one of its type. With `now`, its
    `lastTransitionTime` is kept from the old one as long as the status stays, and an equal
    condition stays as it is."""
    result: list[Obj] = []
    placed = False
    for old in conditions or ():
        if old.get("type") != new["type"]:
            result.append(old)
            continue
        placed = True
        result.append(_merged(old, new, now))
    if not placed:
        result.append(new | {"lastTransitionTime": now} if now else new)
    return result


def _merged(old: Obj, new: Obj, now: str) -> Obj:
    if not now:
        return new
    if all(old.get(key) == value for key, value in new.items()):
        return old
    same = old.get("status") == new["status"]
    return new | {"lastTransitionTime": old.get("lastTransitionTime") if same else now}


def without_condition(conditions: Sequence[Obj] | None, type_: str) -> list[Obj]:
    return [found for found in conditions or () if found.get("type") != type_]
