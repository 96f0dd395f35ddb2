"""What is to be done so that the children of one owner are as they should be: a pure decision.

The controller does it, and `preview` shows it. A child that is as it should be gives no step, so
an unchanged owner costs no write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kindling.graph.spec import ObjectRef
from kindling.operator.controller.comparing import differences
from kindling.operator.desired import Desired, foreign
from kindling.operator.rules import Problem

__all__ = ["SESSION_ANNOTATION", "Plan", "Step", "Verb", "owned_by", "plan", "reference"]

Object = Mapping[str, Any]

SESSION_ANNOTATION = "kindling.dev/session"
"""On a child that a running session has changed, and will put back when it ends."""

_CLAIM, _CREDENTIALS = "-data", "-credentials"


class Verb(Enum):
    """What a step does to an object."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"
    HOLD = "hold"
    """Nothing, since a session holds it; it is due when the session ends."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `manifest` is None for what is to go, `uid` that of the live object;
    `fields` are those that change."""

    verb: Verb
    ref: ObjectRef
    manifest: Object | None = None
    uid: str = ""
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in their order, and what keeps others from being done."""

    steps: tuple[Step, ...] = ()
    problems: tuple[Problem, ...] = ()


def reference(item: Object) -> ObjectRef:
    head = item["metadata"]
    return ObjectRef(item["apiVersion"], item["kind"], head["name"], head.get("namespace", ""))


def owned_by(item: Object, uid: str) -> bool:
    """Whether the owner that controls an object is the one of `uid`."""
    owners = item["metadata"].get("ownerReferences") or ()
    return any(one.get("controller") and one.get("uid") == uid for one in owners)


def plan(
    owner: Object,
    wanted: Desired,
    find: Callable[[ObjectRef], Object | None],
    owned: Iterable[Object],
) -> Plan:
    """`find` gives the live object of a name, whoever it belongs to; `owned` are those of this
    owner."""
    if wanted.blocked:
        return Plan()
    steps: list[Step] = []
    problems: list[Problem] = []
    for manifest in wanted.objects:
        ref = reference(manifest)
        live = find(ref)
        if live is None:
            steps.append(Step(Verb.CREATE, ref, manifest))
        elif problem := foreign(owner, live):
            problems.append(problem)
        elif live["metadata"].get("deletionTimestamp"):
            continue  # nothing can be written to it; the next look makes it anew
        elif changed := differences(manifest, live):
            verb = Verb.HOLD if _held(live) else Verb.CHANGE
            steps.append(Step(verb, ref, manifest, live["metadata"].get("uid", ""), changed))
    steps.extend(_pruning(wanted, tuple(owned)))
    return Plan(tuple(steps), tuple(problems))


def _pruning(wanted: Desired, owned: tuple[Object, ...]) -> Iterable[Step]:
    """A claim is kept, for its data, and with it the credentials that its data was made with."""
    names = {reference(one) for one in wanted.objects}
    kept = {one["metadata"]["name"] for one in owned if one["kind"] == "PersistentVolumeClaim"}
    for live in owned:
        ref, head = reference(live), live["metadata"]
        if ref in names or head.get("deletionTimestamp") or ref.kind == "PersistentVolumeClaim":
            continue
        stem = ref.name.removesuffix(_CREDENTIALS)
        if ref.kind == "Secret" and stem != ref.name and stem + _CLAIM in kept:
            continue
        verb = Verb.HOLD if _held(live) else Verb.DELETE
        yield Step(verb, ref, None, head.get("uid", ""))


def _held(live: Object) -> bool:
    return bool((live["metadata"].get("annotations") or {}).get(SESSION_ANNOTATION))
