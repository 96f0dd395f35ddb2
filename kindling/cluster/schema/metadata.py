"""What is checked of every object's metadata (apimachinery `pkg/api/validation/objectmeta.go`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes, names

__all__ = [
    "check_labels",
    "check_metadata",
    "check_metadata_annotations",
    "check_metadata_change",
]

_ANNOTATIONS_LIMIT = 256 * 1024
_BUILTIN_FINALIZERS = frozenset(("orphan", "foregroundDeletion", "kubernetes"))
_FIXED = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


def check_metadata(
    metadata: Mapping[str, Any],
    *,
    name_rule: Callable[[str], list[str]],
    namespaced: bool,
    core: bool = False,
    path: str = "metadata",
) -> Iterator[Cause]:
    """Name, namespace, labels, annotations, owners, finalizers. Kinds of the `core` server, which
    are all but custom ones, definitions and API services, want finalizers with a prefix."""
    prefix, name = metadata.get("generateName", ""), metadata.get("name", "")
    if prefix:
        # What comes after a prefix makes up for a dash at its end.
        stem = prefix[:-1] + "a" if prefix.endswith("-") else prefix
        for text in name_rule(stem):
            yield causes.invalid(f"{path}.generateName", prefix, text)
    if not name:
        yield causes.required(f"{path}.name", "name or generateName is required")
    else:
        for text in name_rule(name):
            yield causes.invalid(f"{path}.name", name, text)
    namespace = metadata.get("namespace", "")
    if namespaced:
        if not namespace:
            yield causes.required(f"{path}.namespace")
        else:
            for text in names.dns_label(namespace):
                yield causes.invalid(f"{path}.namespace", namespace, text)
    elif namespace:
        yield causes.forbidden(f"{path}.namespace", "not allowed on this type")
    if metadata.get("generation", 0) < 0:
        text = "must be greater than or equal to 0"
        yield causes.invalid(f"{path}.generation", metadata["generation"], text)
    yield from check_labels(metadata.get("labels") or {}, f"{path}.labels")
    yield from check_metadata_annotations(metadata.get("annotations") or {}, f"{path}.annotations")
    yield from _owners(metadata.get("ownerReferences") or [], f"{path}.ownerReferences")
    for index, finalizer in enumerate(metadata.get("finalizers") or []):
        where = causes.at(f"{path}.finalizers", index)
        for text in names.qualified_name(finalizer):
            yield causes.invalid(where, finalizer, text)
        if core and "/" not in finalizer and finalizer not in _BUILTIN_FINALIZERS:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            yield causes.invalid(where, finalizer, text)


def check_labels(labels: Mapping[str, str], path: str) -> Iterator[Cause]:
    for key, value in labels.items():
        for text in names.qualified_name(key):
            yield causes.invalid(path, key, text)
        for text in names.label_value(value):
            yield causes.invalid(path, value, text)


def check_metadata_annotations(annotations: Mapping[str, str], path: str) -> Iterator[Cause]:
    size = 0
    for key, value in annotations.items():
        # Capital letters were once let through, and so they stay.
        for text in names.qualified_name(key.lower()):
            yield causes.invalid(path, key, text)
        size += len(key.encode()) + len(value.encode())
    if size > _ANNOTATIONS_LIMIT:
        yield causes.too_long(path, _ANNOTATIONS_LIMIT)


def _owners(owners: list[Mapping[str, Any]], path: str) -> Iterator[Cause]:
    controller = ""
    for index, owner in enumerate(owners):
        where = causes.at(path, index)
        group, _, version = owner.get("apiVersion", "").rpartition("/")
        if not version:
            text = "version must not be empty"
            yield causes.invalid(f"{where}.apiVersion", owner.get("apiVersion", ""), text)
        for field in ("kind", "name", "uid"):
            if not owner.get(field):
                value = owner.get(field, "")
                yield causes.invalid(f"{where}.{field}", value, "must not be empty")
        if not group and version == "v1" and owner.get("kind") == "Event":
            shown = causes.Literal("/v1, Kind=Event")
            yield causes.invalid(where, shown, f"{shown} is disallowed from being an owner")
        if owner.get("controller"):
            if controller:
                text = (
                    'Only one reference can have Controller set to true. Found "true" in'
                    f" references for {controller} and {owner.get('name', '')}"
                )
                yield causes.invalid(path, causes.Literal(_owner_list(owners)), text)
            else:
                controller = owner.get("name", "")


def _owner_list(owners: list[Mapping[str, Any]]) -> str:
    inner = ", ".join(causes.go_syntax(dict(one)) for one in owners)
    return f"[]v1.OwnerReference{{{inner}}}"


def check_metadata_change(
    metadata: Mapping[str, Any], before: Mapping[str, Any], path: str = "metadata"
) -> Iterator[Cause]:
    """What an update may not do to metadata."""
    if before.get("deletionTimestamp"):
        added = set(metadata.get("finalizers") or ()) - set(before.get("finalizers") or ())
        if added:
            shown = causes.Literal(f"[]string{{{', '.join(map(causes.quoted, sorted(added)))}}}")
            text = (
                "no new finalizers can be added if the object is being deleted, found new"
                f" finalizers {shown}"
            )
            yield causes.forbidden(f"{path}.finalizers", text)
    for field in _FIXED:
        if metadata.get(field) != before.get(field):
            yield causes.immutable(f"{path}.{field}", metadata.get(field))
