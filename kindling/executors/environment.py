"""What an environment says of itself: has an operator seen its latest change, what is wrong, and
what is it waiting for. Pure.

The pods of the app are left out: the node that follows the rollout tells of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Object
from kindling.operator.model import Environment, read_environment

__all__ = ["HELD", "Told", "app_refs", "dependency_refs", "environment_of", "told_by"]

HELD = "HeldBySession"
"""The reason that a change is due and waits for the end of a sync session."""

_ORDINARY = frozenset({"AllResourcesReady", "ResourcesNotReady", "Progressing", "Reconciling"})
"""Reasons of `Ready` when nothing is wrong with the environment itself."""

_PARTS = ("Service", "Ingress")


@dataclass(frozen=True, slots=True)
class Told:
    """What a status says. `problem` is what somebody must mend, `waiting` what comes by itself."""

    seen: bool
    """An operator has done what the present generation asks for, or said why it cannot."""
    problem: str = ""
    reason: str = ""
    waiting: str = ""


def told_by(live: Object) -> Told:
    """What the status of an environment says of its present generation."""
    status = live.get("status") or {}
    generation = int(live["metadata"].get("generation") or 0)
    if int(status.get("observedGeneration") or 0) < generation:
        return Told(seen=False)
    conditions: dict[str, Mapping[str, Any]] = {c["type"]: c for c in status.get("conditions", ())}
    ready = conditions.get("Ready")
    if ready is None:
        return Told(seen=False)
    for one in conditions.values():
        if one.get("reason") == HELD:
            return Told(True, _message(one), HELD)
    if ready["status"] != "True" and ready.get("reason") not in _ORDINARY:
        return Told(True, _message(ready), str(ready.get("reason") or ""))
    parts = [conditions[f"{part}Ready"] for part in _PARTS if f"{part}Ready" in conditions]
    waiting = [_message(part) for part in parts if part["status"] != "True"]
    return Told(True, waiting="; ".join(waiting))


def _message(condition: Mapping[str, Any]) -> str:
    return str(condition.get("message") or condition.get("reason") or "it is not ready")


def environment_of(live: Object) -> Environment | None:
    """The environment of a manifest; None for one that is not well formed."""
    found = read_environment(live)
    return found if isinstance(found, Environment) else None


def app_refs(environment: Environment) -> tuple[ObjectRef, ...]:
    """The children that are the app's own."""
    base, space = environment.base, environment.namespace
    refs = [
        ObjectRef("apps/v1", "Deployment", base, space),
        ObjectRef("v1", "Service", base, space),
    ]
    if environment.ingress is not None:
        refs.append(ObjectRef("networking.k8s.io/v1", "Ingress", base, space))
    return tuple(refs)


def dependency_refs(environment: Environment) -> tuple[ObjectRef, ...]:
    """The Deployments of what the app needs."""
    return tuple(
        ObjectRef("apps/v1", "Deployment", environment.child(one), environment.namespace)
        for one in environment.dependencies
    )
