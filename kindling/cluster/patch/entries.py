"""The entries of `metadata.managedFields`: reading, ordering and bounding them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kindling.cluster.patch.fields import FieldSet, in_order, readable, union

__all__ = ["APPLY", "UPDATE", "Entry", "Key", "Owners", "bounded", "read", "well_formed", "write"]

UPDATE = "Update"
APPLY = "Apply"
_MOST_UPDATERS = 10
_ANCIENT = "ancient-changes"


@dataclass(frozen=True, slots=True)
class Key:
    """What tells entries apart. For `APPLY` the version is empty: a manager that applies in another
    version is the same one."""

    manager: str
    operation: str
    api_version: str = ""
    subresource: str = ""

    def identifier(self) -> str:
        """The text by which the API server sorts and breaks ties."""
        parts = {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "subresource": self.subresource,
        }
        return json.dumps({k: v for k, v in parts.items() if v}, separators=(",", ":"))

    def told(self) -> str:
        """As a conflict names it: `"kubectl-client-side-apply" using apps/v1`."""
        text = json.dumps(self.manager, ensure_ascii=False)
        if self.subresource:
            text += f" with subresource {json.dumps(self.subresource, ensure_ascii=False)}"
        return f"{text} using {self.api_version}" if self.operation == UPDATE else text


@dataclass(frozen=True, slots=True)
class Entry:
    fields: FieldSet
    api_version: str
    time: str | None = None


Owners = dict[Key, Entry]


def read(metadata: Mapping[str, Any]) -> Owners | None:
    """The owners of an object by its metadata; None when the entries cannot be read."""
    entries = metadata.get("managedFields")
    if not entries:
        return {}
    if not isinstance(entries, list):
        return None
    owners: Owners = {}
    for entry in entries:
        if not isinstance(entry, dict):
            return None
        operation = entry.get("operation")
        version = entry.get("apiVersion")
        fields = entry.get("fieldsV1")
        if (
            operation not in (UPDATE, APPLY)
            or not version
            or not isinstance(version, str)
            or entry.get("fieldsType") != "FieldsV1"
        ):
            return None
        key = Key(
            str(entry.get("manager") or ""),
            operation,
            version if operation == UPDATE else "",
            str(entry.get("subresource") or ""),
        )
        owners[key] = Entry({} if fields is None else fields, version, entry.get("time"))
    return owners


def well_formed(owners: Owners) -> bool:
    """Whether the sets are sets: asked of what a client sends, not of what is stored."""
    return all(readable(entry.fields) for entry in owners.values())


def write(owners: Owners) -> list[dict[str, Any]]:
    """The entries as they are stored: those of applies first, then by time."""
    entries: list[dict[str, Any]] = []
    for key, entry in sorted(
        owners.items(),
        key=lambda item: (
            item[0].operation,
            item[1].time or "",
            item[0].manager,
            item[1].api_version,
            item[0].subresource,
        ),
    ):
        written: dict[str, Any] = {}
        if key.manager:
            written["manager"] = key.manager
        written["operation"] = key.operation
        written["apiVersion"] = entry.api_version
        if entry.time is not None:
            written["time"] = entry.time
        written["fieldsType"] = "FieldsV1"
        written["fieldsV1"] = entry.fields
        if key.subresource:
            written["subresource"] = key.subresource
        entries.append(written)
    return entries


def bounded(owners: Owners) -> Owners:
    """At most ten entries of updates: of each version the oldest beyond that become one, called
    `ancient-changes`."""
    updaters = [key for key in owners if key.operation == UPDATE]
    if len(updaters) <= _MOST_UPDATERS:
        return owners
    updaters.sort(key=lambda key: (owners[key].time or "", key.identifier()))
    kept = dict(owners)
    first: dict[str, Key] = {}
    count = len(updaters)
    for key in updaters:
        if count <= _MOST_UPDATERS:
            break
        entry = kept[key]
        version = entry.api_version
        if version not in first:
            first[version] = key
            continue
        bucket = Key(_ANCIENT, UPDATE, version)
        if bucket not in kept:
            kept[bucket] = kept.pop(first[version])
        kept[bucket] = replace(entry, fields=in_order(union(entry.fields, kept[bucket].fields)))
        if key != bucket:
            del kept[key]
        count -= 1
    return kept
