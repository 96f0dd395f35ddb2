"""Server-side apply: laying a configuration over an object, field by field.

The rules are those of structured-merge-diff, `merge`, and of apimachinery, `managedfields`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.shape import Shape
from kindling.cluster.model.status import ApiError, Cause, bad_request, internal_error
from kindling.cluster.patch.combine import laid_over, without
from kindling.cluster.patch.compare import (
    Frame,
    UnfitError,
    compare,
    field_set,
    frame_of,
    is_builtin,
    named_too,
    undeclared,
)
from kindling.cluster.patch.entries import APPLY, UPDATE, Entry, Key, Owners, read
from kindling.cluster.patch.fields import (
    FieldSet,
    difference,
    in_order,
    intersection,
    paths,
    recursive_difference,
    text,
    union,
)
from kindling.cluster.patch.gotext import go_kind
from kindling.cluster.patch.owners import UNOWNED, own_changes, reset_set, with_owners

__all__ = ["ApplyConflict", "apply"]

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_BEFORE = "before-first-apply"
_Conflicts = list[tuple[Key, tuple[str, ...]]]


class ApplyConflict(ApiError):  # noqa: N818 - a name between rooms
    """An apply without force that would change fields which others own."""

    def __init__(self, causes: Sequence[Cause], message: str = "") -> None:
        if not message:
            count = len(causes)
            message = f"Apply failed with {count} conflict{'' if count == 1 else 's'}"
        super().__init__(409, "Conflict", message, causes=causes)


def apply(
    live: Obj | None,
    applied: Obj | None,
    shape: Shape,
    *,
    manager: str,
    force: bool,
    now: str,
    api_version: str,
    subresource: str = "",
    reset: Sequence[Sequence[str]] = (),
) -> Obj:
    """The object as an apply leaves it, with its owners. Gives `live` itself when nothing changes.

    `live` None creates it; then the result has what was applied, and nothing is defaulted yet.
    `reset` are paths that this endpoint does not let the writer own (`status` on the main one).
    Raises `ApplyConflict`, and `ApiError` for a configuration that is not sound.
    """
    applied = {} if applied is None else applied
    _check(applied, api_version)
    if live is None:
        live_obj: Obj = {"apiVersion": api_version, "kind": applied.get("kind", "")}
        metadata = applied.get("metadata") or {}
        identity = {name: metadata[name] for name in ("name", "namespace") if name in metadata}
        live_obj["metadata"] = identity
    else:
        live_obj = live
    owners = read(live_obj.get("metadata") or {})
    if owners is None:
        raise internal_error("failed to decode managed fields")
    bare = _without_entries(live_obj)
    frame = frame_of(applied)
    if live is not None and not owners:
        owners = _before_first(bare, shape, frame, now, api_version, applied)
    forbidden = reset_set(reset)
    turn = _Turn(bare, applied, shape, frame, forbidden, Key(manager, APPLY, "", subresource))
    try:
        result, after, conflicts = turn.run(owners, api_version)
    except RecursionError as error:
        raise bad_request("exceeded max depth") from error
    if conflicts and not force:
        if manager == "kubectl":
            conflicts = _not_from_last_applied(conflicts, bare, shape, frame, api_version)
        if conflicts:
            raise _conflict(conflicts)
    same = result == bare and live is not None
    if same and after == owners and live is not None and live_obj is live:
        return _synced(live, applied) if manager == "kubectl" else live
    mine = after.get(turn.key)
    if mine is not None:
        after[turn.key] = replace(mine, time=now)
    obj = with_owners(live_obj if same else result, after)
    return _synced(obj, applied) if manager == "kubectl" else obj


def _check(applied: Obj, api_version: str) -> None:
    if not isinstance(applied, dict):
        raise bad_request(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot"
            f" unmarshal {go_kind(applied)} into Go value of type map[string]interface {{}}"
        )
    metadata = applied.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    if (metadata or {}).get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    version = applied.get("apiVersion", "")
    if version != api_version:
        raise bad_request(
            "Incorrect version specified in apply patch. Specified patch version:"
            f" {version}, expected: {api_version}"
        )


class _Turn:
    """One apply by one manager."""

    def __init__(
        self,
        live: Obj,
        applied: Obj,
        shape: Shape,
        frame: Frame,
        forbidden: FieldSet,
        key: Key,
    ) -> None:
        self.live = live
        self.applied = applied
        self.shape = shape
        self.frame = frame
        self.forbidden = forbidden
        self.key = key

    def run(self, owners: Owners, api_version: str) -> tuple[Obj, Owners, _Conflicts]:
        """The merged object, the owners, and the conflicts that stand against both. The fields in
        conflict are already given to the applier."""
        wanted = self._wanted()
        last = owners.get(self.key)
        if self.forbidden:
            wanted = recursive_difference(wanted, self.forbidden)
        merged: Obj = laid_over(self.live, self.applied, self.shape)
        after = dict(owners)
        after[self.key] = Entry(
            in_order(difference(wanted, UNOWNED)), api_version, last.time if last else None
        )
        if last is not None and last.fields:
            everyone: FieldSet = wanted
            for key, entry in owners.items():
                if key != self.key:
                    everyone = union(everyone, entry.fields)
            merged = self._pruned(merged, last.fields, everyone)
        changed, removed = compare(self.live, merged, self.shape, self.frame)
        if self.forbidden:
            changed = recursive_difference(changed, self.forbidden)
            removed = recursive_difference(removed, self.forbidden)
        conflicts: _Conflicts = []
        for key, entry in owners.items():
            if key == self.key:
                continue
            fields = entry.fields
            if changed and (taken := intersection(fields, changed)):
                conflicts.extend((key, path) for path in paths(taken))
                fields = difference(fields, taken)
            if removed:
                fields = difference(fields, removed)
            if fields is not entry.fields:
                if fields:
                    after[key] = replace(entry, fields=fields)
                else:
                    del after[key]
        if not after[self.key].fields:
            del after[self.key]
        return merged, after, conflicts

    def _pruned(self, merged: Obj, last: FieldSet, everyone: FieldSet) -> Obj:
        """Without what the manager applied last time, does not any more, and nobody else owns."""
        last = named_too(last, self.shape)
        pruned = without(merged, last, self.shape) or {}
        there = named_too(field_set(merged, self.shape), self.shape)
        left = named_too(field_set(pruned, self.shape), self.shape)
        unclaimed = difference(there, union(left, named_too(everyone, self.shape)))
        pruned = without(merged, unclaimed, self.shape) or {}
        left = named_too(field_set(pruned, self.shape), self.shape)
        gone = intersection(difference(there, left), last)
        result: Obj = without(merged, gone, self.shape) or {}
        return result

    def _wanted(self) -> FieldSet:
        """What the configuration sets. Raises for one that does not fit the kind."""
        unknown = list(undeclared(self.applied, self.shape))
        try:
            if unknown:
                lines = [f"{place}: field not declared in schema" for place in unknown]
                if len(lines) > 1:
                    lines = ["errors:", *(f"  {line}" for line in lines)]
                raise UnfitError("", "\n".join(lines))
            return field_set(self.applied, self.shape, strict=True, builtin=is_builtin(self.frame))
        except UnfitError as error:
            metadata = self.applied.get("metadata") or {}
            group, _, version = self.applied["apiVersion"].rpartition("/")
            raise ApiError(
                500,
                "",
                "failed to create typed patch object"
                f" ({metadata.get('namespace', '')}/{metadata.get('name', '')};"
                f" {group}/{version}, Kind={self.applied.get('kind', '')}): {error}",
            ) from error


def _before_first(
    live: Obj, shape: Shape, frame: Frame, now: str, api_version: str, applied: Obj
) -> Owners:
    """What is there before the first apply belongs to a manager of its own."""
    empty = {"apiVersion": api_version, "kind": applied.get("kind", "")}
    changed, removed = compare(empty, live, shape, frame)
    return own_changes(
        {}, changed, removed, key=Key(_BEFORE, UPDATE, api_version), now=now, forbidden={}
    )


def _without_entries(obj: Obj) -> Obj:
    metadata = obj.get("metadata")
    if not metadata or "managedFields" not in metadata:
        return obj
    bare = {name: value for name, value in metadata.items() if name != "managedFields"}
    return {**obj, "metadata": bare}


def _conflict(conflicts: _Conflicts) -> ApplyConflict:
    conflicts = sorted(conflicts, key=lambda conflict: conflict[0].identifier())
    causes = [
        Cause("FieldManagerConflict", f"conflict with {key.told()}", text(path))
        for key, path in conflicts
    ]
    if len(conflicts) == 1:
        ((key, path),) = conflicts
        told = f"Apply failed with 1 conflict: conflict with {key.told()}: {text(path)}"
        return ApplyConflict(causes, told)
    lines: list[str] = []
    current: Key | None = None
    for key, path in conflicts:
        if key != current:
            lines.append(f"conflicts with {key.told()}:")
            current = key
        lines.append(f"- {text(path)}")
    told = f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)
    return ApplyConflict(causes, told)


def _last_applied(obj: Mapping[str, Any]) -> str:
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    value = annotations.get(_LAST_APPLIED)
    return value if isinstance(value, str) else ""


def _not_from_last_applied(
    conflicts: _Conflicts, live: Obj, shape: Shape, frame: Frame, api_version: str
) -> _Conflicts:
    """The conflicts that stay when kubectl takes over an object that it has applied client-side:
    what its annotation holds, and is still so, was its own."""
    try:
        last = json.loads(_last_applied(live))
    except (ValueError, RecursionError):
        return conflicts
    if not isinstance(last, dict) or last.get("apiVersion") != api_version:
        return conflicts
    changed, removed = compare(last, live, shape, frame)
    allowed = difference(difference(field_set(last, shape), changed), removed)
    return [(key, path) for key, path in conflicts if not _holds(allowed, path)]


def _holds(fields: FieldSet, path: Sequence[str]) -> bool:
    for step in path:
        node = fields.get(step)
        if node is None:
            return False
        fields = node
    return not fields or "." in fields


def _synced(obj: Obj, applied: Obj) -> Obj:
    """The object with kubectl's annotation of client-side apply, where there is one, brought up to
    what was applied now."""
    if not _last_applied(obj):
        return obj
    metadata = dict(applied.get("metadata") or {})
    annotations = dict(metadata.get("annotations") or {})
    annotations.pop(_LAST_APPLIED, None)
    if annotations:
        metadata["annotations"] = annotations
    else:
        metadata.pop("annotations", None)
    value = _like_go({**applied, "metadata": metadata}) + "\n"
    if value == _last_applied(obj):
        return obj
    live = dict(obj["metadata"])
    live["annotations"] = {**live["annotations"], _LAST_APPLIED: value}
    return {**obj, "metadata": live}


def _like_go(value: Any) -> str:
    told = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return told.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
