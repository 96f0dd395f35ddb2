"""The way back: from a workload as it is found to the template that it had before the session.

    found                                   answer
    the template as we patched it           `Restore`: the template of before, exactly
    the template of before                  `Restore` of the annotation alone, or `Restored`
    another session's                       `Conflict` that names it; nothing to be done by us
    anything else                           `Conflict`: someone rolled out in between

A conflict says in words what differs, and carries two ways on for the user to choose from: `kept`
leaves the others' change and takes only ours out, `forced` puts the template of before back over
it. Every patch tests the object's version first, so that it applies to what was looked at or not at
all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from kindling.errors import UsageError
from kindling.objects.identity import Manifest
from kindling.sync.template.normal import normal, template_bytes
from kindling.sync.template.patch import chosen, patched, without_ours
from kindling.sync.template.session import SESSION_ANNOTATION, Session, held, refuse_second

__all__ = [
    "Begun",
    "Conflict",
    "JsonPatch",
    "Recorded",
    "Restore",
    "Restored",
    "begin",
    "changes",
    "original",
    "undone",
]

JsonPatch = tuple[Mapping[str, Any], ...]
"""Operations of RFC 6902."""

_KINDS = ("Deployment", "StatefulSet")
_MISSING: Any = object()
_KEYS = ("mountPath", "name", "containerPort", "key")
_SPOKEN = ("image", "command", "args", "imagePullPolicy", "workingDir", "serviceAccountName")
"""Fields whose values a message shows. Others may hold what is secret."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What goes to the journal before the patch is sent, and is all that the way back needs.

    `patched` is what was sent, or better what the server answered.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    before: Mapping[str, Any]
    patched: Mapping[str, Any]
    session: Session

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Recorded:
        data = json.loads(text)
        session = data.pop("session")
        for key in ("argv", "writable", "also"):
            # Of a record of before there was such a field, too.
            session[key] = tuple(session.get(key, ()))
        return cls(**data, session=Session(**session))


@dataclass(frozen=True, slots=True)
class Begun:
    """`record` belongs in the journal before `patch` is sent.

    `follows` False: not all pods follow the template by themselves. Those of a StatefulSet that
    updates on delete must be deleted by whoever patches; those below a partition stay as they are,
    whatever is done to them.
    """

    record: Recorded
    patch: JsonPatch
    follows: bool = True


@dataclass(frozen=True, slots=True)
class Restored:
    """There is nothing to be done."""


@dataclass(frozen=True, slots=True)
class Restore:
    """The patch that leads back. `template` is what the workload has then."""

    patch: JsonPatch
    template: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Conflict:
    """The template is neither ours nor that of before. `differs` says where, in words.

    `kept` is None where nothing of ours is left to be taken out.
    """

    differs: tuple[str, ...]
    kept: Restore | None
    forced: Restore

    def __str__(self) -> str:
        return "Someone changed the workload while the session had it: " + "; ".join(self.differs)


def begin(workload: Manifest, session: Session, *, patch: bool = True) -> Begun:
    """How a session takes a workload. Without `patch` its template stays as it is, for a session
    that needs nothing of it; the annotation alone says who has the workload.

    Raises:
        SecondSessionError: Another session has it.
        UsageError: No Deployment or StatefulSet, a paused one, or no such container.
    """
    kind = str(workload.get("kind", ""))
    metadata = workload.get("metadata") or {}
    spec = workload.get("spec") or {}
    called = f"{kind.lower()}/{metadata.get('name', '')}"
    if kind not in _KINDS:
        raise UsageError(
            f"`{called}` cannot be synced: a session needs a Deployment or a StatefulSet"
        )
    refuse_second(workload, session, f"`{called}`")
    if patch and spec.get("paused"):
        raise UsageError(
            f"`{called}` is paused, so no pod would follow its template",
            hint=f"Resume it: `kubectl rollout resume {called}`.",
        )
    before = spec["template"]
    if not patch:
        for name in session.containers:
            chosen(before, name)
    record = Recorded(
        kind,
        str(metadata.get("namespace", "")),
        str(metadata.get("name", "")),
        str(metadata.get("uid", "")),
        before,
        patched(before, session, f"`{called}`") if patch else before,
        session,
    )
    strategy = spec.get("updateStrategy") or {}
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    steps = _patch(workload, record.patched if patch else None, session.name)
    return Begun(record, steps, strategy.get("type") != "OnDelete" and not partition)


def original(live: Manifest, recorded: Recorded) -> Restore | Restored | Conflict:
    """How the workload, as it is now, gets back the template that was recorded."""
    template = (live.get("spec") or {}).get("template") or {}
    now = template_bytes(template)
    other = held(live)
    ours = other is not None and other.name == recorded.session.name
    if recorded.before == recorded.patched:
        # The template was never ours to change.
        return Restore(_patch(live, None, None), template) if ours else Restored()
    if now == template_bytes(recorded.before):
        # Also where the patch was never sent, or the workload was made anew from its manifest.
        if not ours:
            return Restored()
        return Restore(_patch(live, None, None), template)
    forced = Restore(_patch(live, recorded.before, None), recorded.before)
    if now == template_bytes(recorded.patched):
        return forced
    if other is not None and not ours:
        return Conflict((f"it is held by {other} now",), None, forced)
    differs = list(changes(recorded.patched, template))
    uid = str((live.get("metadata") or {}).get("uid", ""))
    if uid != recorded.uid:
        differs.insert(0, "it was deleted and made anew")
    left = undone(template, recorded.patched, recorded.before)
    kept: Restore | None = None
    if template_bytes(left) != now:
        kept = Restore(_patch(live, left, None), left)
    elif ours:
        kept = Restore(_patch(live, None, None), template)
    return Conflict(tuple(differs), kept, forced)


def undone(live: Manifest, ours: Manifest, before: Manifest) -> dict[str, Any]:
    """`live` without the difference that `ours` made to `before`; what others changed stays.

    Where both changed one value, theirs stays. The result is normal (`normal`).
    """
    # What bears our name goes whole, whatever a webhook or a person has written into it.
    now, mine = (normal(_bare(template)) for template in (live, ours))
    result: dict[str, Any] = _undone(now, mine, normal(before))
    return result


def _bare(template: Manifest) -> dict[str, Any]:
    return {**template, "spec": without_ours(template.get("spec") or {})}


def _undone(live: Any, ours: Any, before: Any) -> Any:
    if live == ours:
        return before
    if ours == before:
        return live
    maps = [value for value in (live, ours, before) if isinstance(value, dict)]
    present = [value for value in (live, ours, before) if value is not _MISSING]
    if len(maps) == len(present) and isinstance(live, dict):
        mine, old = _as(ours, {}), _as(before, {})
        keys = dict.fromkeys((*live, *old))
        merged = {
            key: _undone(live.get(key, _MISSING), mine.get(key, _MISSING), old.get(key, _MISSING))
            for key in keys
        }
        merged = {key: value for key, value in merged.items() if value is not _MISSING}
        # A map that is there only since we put something into it goes with it.
        return merged if merged or before is not _MISSING else _MISSING
    lists = [value for value in (live, ours, before) if isinstance(value, list)]
    if len(lists) == len(present) and isinstance(live, list):
        key = _key_of(*lists)
        if key:
            return _undone_list(live, _as(ours, []), _as(before, []), key, before is _MISSING)
    return live


def _undone_list(
    live: list[Any], ours: list[Any], before: list[Any], key: str, was_missing: bool
) -> Any:
    now, mine, old = ({item[key]: item for item in items} for items in (live, ours, before))
    merged = [
        _undone(now.get(name, _MISSING), mine.get(name, _MISSING), old.get(name, _MISSING))
        for name in dict.fromkeys((*now, *old))
    ]
    merged = [item for item in merged if item is not _MISSING]
    return merged if merged or not was_missing else _MISSING


def _as(value: Any, empty: Any) -> Any:
    return empty if value is _MISSING else value


def _key_of(*lists: list[Any]) -> str:
    """The field that tells the items of all these lists apart; empty when there is none."""
    for key in _KEYS:
        if all(
            all(isinstance(item, dict) and isinstance(item.get(key), str | int) for item in items)
            and len({item[key] for item in items}) == len(items)
            for items in lists
        ):
            return key
    return ""


# In words -----------------------------------------------------------------------------------------


def changes(old: Manifest, new: Manifest) -> Iterator[str]:
    """What differs between two templates, one phrase for each field."""
    yield from _changes(normal(old), normal(new), "")


def _changes(old: Any, new: Any, path: str) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            inner = f"{path}.{key}" if path else key
            yield from _changes(
                old.get(key, _MISSING), new.get(key, _MISSING), inner.removeprefix("spec.")
            )
    elif isinstance(old, list) and isinstance(new, list) and (key := _key_of(old, new)):
        before, after = ({str(item[key]): item for item in items} for items in (old, new))
        if sorted(before) == sorted(after) and before == after:
            yield f"`{path}` is in another order"
        for name in sorted({*before, *after}):
            yield from _changes(
                before.get(name, _MISSING), after.get(name, _MISSING), f"{path}[{name}]"
            )
    elif old is _MISSING:
        yield f"`{path}` was added"
    elif new is _MISSING:
        yield f"`{path}` was removed"
    elif path.rpartition(".")[2] in _SPOKEN:
        yield f"`{path}` was `{_said(old)}` and is `{_said(new)}`"
    else:
        yield f"`{path}` was changed"


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# Patches ------------------------------------------------------------------------------------------


def _patch(workload: Manifest, template: Manifest | None, name: str | None) -> JsonPatch:
    """To another template (None: the same) and another session on the workload (None: none)."""
    metadata = workload.get("metadata") or {}
    steps: list[Mapping[str, Any]] = []
    if version := metadata.get("resourceVersion"):
        steps.append({"op": "test", "path": "/metadata/resourceVersion", "value": version})
    place = "/metadata/annotations/" + SESSION_ANNOTATION.replace("~", "~0").replace("/", "~1")
    annotations = metadata.get("annotations")
    if name is not None:
        if not annotations:
            steps.append({"op": "add", "path": "/metadata/annotations", "value": {}})
        steps.append({"op": "add", "path": place, "value": name})
    elif SESSION_ANNOTATION in (annotations or {}):
        steps.append({"op": "remove", "path": place})
    if template is not None:
        steps.append({"op": "replace", "path": "/spec/template", "value": template})
    return tuple(steps)
