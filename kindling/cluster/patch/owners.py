"""Who owns which field after a write that is not an apply.

What the API server's field managers do with a create, an update or a patch (apimachinery,
`managedfields`): the writer comes to own what it changed, and whoever owned it before does not any
more. This runs on every write, so unchanged parts are passed over as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.shape import Shape
from kindling.cluster.model.status import bad_request
from kindling.cluster.patch.compare import compare, frame_of
from kindling.cluster.patch.entries import (
    UPDATE,
    Entry,
    Key,
    Owners,
    bounded,
    read,
    well_formed,
    write,
)
from kindling.cluster.patch.fields import (
    FieldSet,
    difference,
    in_order,
    intersection,
    recursive_difference,
    union,
)

__all__ = ["UNOWNED", "own_changes", "reset_set", "track", "with_owners"]

UNOWNED: FieldSet = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {
        ".": {},
        "f:clusterName": {},
        "f:creationTimestamp": {},
        "f:generation": {},
        "f:managedFields": {},
        "f:name": {},
        "f:namespace": {},
        "f:resourceVersion": {},
        "f:selfLink": {},
        "f:uid": {},
    },
}
"""What is nobody's."""


def track(
    before: Obj | None,
    after: Obj,
    shape: Shape,
    *,
    manager: str,
    now: str,
    api_version: str,
    subresource: str = "",
    reset: Sequence[Sequence[str]] = (),
) -> Obj:
    """`after` with `metadata.managedFields` as this write leaves them.

    `now` is RFC 3339 to the second. `reset` are paths that this endpoint does not let the writer
    set (`status` on the main one), which it therefore never comes to own. Entries in `after` count,
    as a client may edit them, but not on a subresource; an empty list or one empty entry forgets
    them all. An object that once has no entries stays so until it is applied to. Raises `ApiError`
    400 for an object that nests too deep.
    """
    metadata = after.get("metadata") or {}
    owners = _owners_at_first(before, metadata, subresource)
    if not owners and before is not None:
        return with_owners(after, {})
    try:
        changed, removed = compare(before or {}, after, shape, frame_of(after))
    except RecursionError as error:
        raise bad_request("exceeded max depth") from error
    key = Key(manager, UPDATE, api_version, subresource)
    updated = own_changes(owners, changed, removed, key=key, now=now, forbidden=reset_set(reset))
    if updated is owners and before is not None:
        kept = (before.get("metadata") or {}).get("managedFields")
        if kept is not None and metadata.get("managedFields") is kept:
            return after
    return with_owners(after, bounded(updated))


def _owners_at_first(before: Obj | None, metadata: Mapping[str, Any], subresource: str) -> Owners:
    """The owners that the write starts from."""
    stored = read((before or {}).get("metadata") or {}) or {}
    sent = metadata.get("managedFields")
    if subresource or sent is None:
        return stored
    if before is not None and sent is (before.get("metadata") or {}).get("managedFields"):
        return stored
    if sent == [] or sent == [{}]:
        return {}
    owners = read(metadata)
    return owners if owners and well_formed(owners) else stored


def own_changes(
    owners: Owners,
    changed: FieldSet,
    removed: FieldSet,
    *,
    key: Key,
    now: str,
    forbidden: FieldSet,
) -> Owners:
    """The owners after `key` made these changes. Gives `owners` itself when nothing of theirs
    changes."""
    if forbidden:
        changed = recursive_difference(changed, forbidden)
        removed = recursive_difference(removed, forbidden)
    result: Owners | None = None
    for other, entry in owners.items():
        fields = entry.fields
        if changed and (taken := intersection(fields, changed)):
            fields = difference(fields, taken)
        if removed:
            fields = difference(fields, removed)
        if fields is not entry.fields:
            result = dict(owners) if result is None else result
            if fields:
                result[other] = replace(entry, fields=fields)
            else:
                del result[other]
    mine = difference(changed, UNOWNED)
    if mine:
        result = dict(owners) if result is None else result
        previous = result.get(key)
        both = union(previous.fields, mine) if previous else mine
        result[key] = Entry(in_order(both), key.api_version, now)
    return owners if result is None else result


def reset_set(reset: Sequence[Sequence[str]]) -> FieldSet:
    fields: FieldSet = {}
    for path in reset:
        node: FieldSet = {}
        for name in reversed(path):
            node = {f"f:{name}": node}
        fields = union(fields, node)
    return fields


def with_owners(obj: Obj, owners: Owners) -> Obj:
    """The object with these entries; without the field when there are none."""
    metadata = dict(obj.get("metadata") or {})
    if owners:
        metadata["managedFields"] = write(owners)
    elif "managedFields" in metadata:
        del metadata["managedFields"]
    else:
        return obj
    return {**obj, "metadata": metadata}
