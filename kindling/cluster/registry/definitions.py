"""CustomResourceDefinitions: names taken or refused, versions served, and the cleaning up.

After k8s.io/apiextensions-apiserver `pkg/controller/{status,establish,finalizer}`. What its
controllers do a moment after a write happens here with the write.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import BUILTIN, ResourceType

__all__ = ["CLEANUP", "DEFINITIONS", "is_established", "rows_of", "settled_definition"]

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""Keeps a definition until its objects are gone."""

_CONTROL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


def is_established(definition: Obj) -> bool:
    return _condition(definition, "Established") == "True"


def _condition(definition: Obj, kind: str) -> str:
    for condition in (definition.get("status") or {}).get("conditions") or ():
        if condition.get("type") == kind:
            return str(condition.get("status"))
    return ""


def rows_of(definition: Obj) -> tuple[ResourceType, ...]:
    """The resources that a definition serves, one a version."""
    spec, names = definition["spec"], definition["status"]["acceptedNames"]
    rows = []
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        subresources = version.get("subresources") or {}
        rows.append(
            ResourceType(
                spec["group"],
                version["name"],
                names["kind"],
                names["plural"],
                namespaced=spec["scope"] == "Namespaced",
                singular=names.get("singular") or names["kind"].lower(),
                short_names=tuple(names.get("shortNames") or ()),
                categories=tuple(names.get("categories") or ()),
                subresources=frozenset({"status", "scale"} & set(subresources)),
                verbs=_CONTROL,
                custom=True,
            )
        )
    return tuple(rows)


def settled_definition(definition: Obj, others: Iterable[Obj], now: str) -> Obj:
    """A new or changed definition with its status, and the finalizer that keeps it while it has
    objects. `others` are all definitions, itself included."""
    spec = dict(definition.get("spec") or {})
    names = dict(spec.get("names") or {})
    names.setdefault("singular", str(names.get("kind", "")).lower())
    names.setdefault("listKind", f"{names.get('kind', '')}List")
    spec["names"] = names
    if not spec.get("conversion"):
        spec["conversion"] = {"strategy": "None"}
    name = definition["metadata"]["name"]
    group = str(spec.get("group", ""))
    problems = _conflicts(names, _taken(group, name, others))
    old = definition.get("status") or {}
    accepted = old.get("acceptedNames") if problems else names
    conditions = [dict(condition) for condition in old.get("conditions") or ()]
    if problems:
        reason, message = problems[-1]
        _set(conditions, "NamesAccepted", "False", reason, message, now)
        if not is_established(definition):
            not_all = "not all names are accepted"
            _set(conditions, "Established", "False", "NotAccepted", not_all, now)
    else:
        said = "no conflicts found"
        _set(conditions, "NamesAccepted", "True", "NoConflicts", said, now)
        said = "the initial names have been accepted"
        _set(conditions, "Established", "True", "InitialNamesAccepted", said, now)
    stored = list(old.get("storedVersions") or ())
    for version in spec.get("versions") or ():
        if version.get("storage") and version.get("name") not in stored:
            stored.append(version["name"])
    metadata = dict(definition["metadata"])
    finalizers = metadata.get("finalizers") or []
    if not metadata.get("deletionTimestamp") and CLEANUP not in finalizers:
        metadata["finalizers"] = [*finalizers, CLEANUP]
    status = {
        "conditions": conditions,
        "acceptedNames": accepted or {"plural": "", "kind": ""},
        "storedVersions": stored,
    }
    return definition | {"metadata": metadata, "spec": spec, "status": status}


def _taken(group: str, name: str, others: Iterable[Obj]) -> tuple[set[str], set[str]]:
    """Resource words (plurals, singulars, short names) and kinds of the group that are in use."""
    words: set[str] = set()
    kinds: set[str] = set()
    for row in BUILTIN.values():
        if row.group == group:
            words |= {row.plural, row.singular, *row.short_names}
            kinds |= {row.kind, row.list_kind}
    for other in others:
        if other["metadata"]["name"] == name or (other.get("spec") or {}).get("group") != group:
            continue
        used: Any = (other.get("status") or {}).get("acceptedNames") or {}
        words |= {used.get("plural", ""), used.get("singular", ""), *(used.get("shortNames") or ())}
        kinds |= {used.get("kind", ""), used.get("listKind", "")}
    return words - {""}, kinds - {""}


def _conflicts(names: Obj, taken: tuple[set[str], set[str]]) -> list[tuple[str, str]]:
    words, kinds = taken
    found = []
    for field, reason in (("plural", "PluralConflict"), ("singular", "SingularConflict")):
        if names.get(field) in words:
            found.append((reason, f'"{names[field]}" is already in use'))
    for short in names.get("shortNames") or ():
        if short in words:
            found.append(("ShortNamesConflict", f'"{short}" is already in use'))
    for field, reason in (("kind", "KindConflict"), ("listKind", "ListKindConflict")):
        if names.get(field) in kinds:
            found.append((reason, f'"{names[field]}" is already in use'))
    return found


def _set(
    conditions: list[Obj], kind: str, status: str, reason: str, message: str, now: str
) -> None:
    for condition in conditions:
        if condition.get("type") == kind:
            if condition.get("status") != status:
                condition["lastTransitionTime"] = now
            condition |= {"status": status, "reason": reason, "message": message}
            return
    conditions.append(
        {
            "type": kind,
            "status": status,
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        }
    )
