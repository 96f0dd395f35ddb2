"""Parts of what is declared: whether each is ready, and if not, why, in words for a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Part", "condition", "deployment_part"]

_LONGEST = 32768
"""Characters of a condition's message."""

_ORDINARY = frozenset({"", "ContainerCreating", "PodInitializing"})
"""Why a container waits when nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Part:
    """How one part of an environment stands. `reason` is a word for a condition."""

    ready: bool
    reason: str
    message: str


def condition(sort: str, part: Part, manifest: Mapping[str, Any], now: str) -> dict[str, Any]:
    """The condition that tells of a part; it keeps the time of the live one that says the same."""
    live: Mapping[str, Any] = {}
    for one in (manifest.get("status") or {}).get("conditions", ()):
        if one["type"] == sort:
            live = one
    status = "True" if part.ready else "False"
    return {
        "type": sort,
        "status": status,
        "reason": part.reason,
        "message": part.message[:_LONGEST],
        "lastTransitionTime": live["lastTransitionTime"] if live.get("status") == status else now,
        "observedGeneration": manifest["metadata"].get("generation", 0),
    }


def deployment_part(live: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> Part:
    """Ready is: the controller has seen the latest change, and as many pods of that change as are
    wanted are available, and none of an earlier one is left to serve in their stead."""
    name, status = live["metadata"]["name"], live.get("status") or {}
    wanted = live["spec"].get("replicas", 1)
    if wanted == 0:
        return Part(False, "ScaledToZero", f"`{name}` is scaled to zero")
    if status.get("observedGeneration", 0) < live["metadata"].get("generation", 0):
        return Part(False, "Progressing", f"the change of `{name}` has not been seen yet")
    updated = status.get("updatedReplicas", 0)
    available = status.get("availableReplicas", 0)
    if updated >= wanted and available >= wanted and status.get("replicas", 0) <= updated:
        return Part(True, "Available", f"{available} of {wanted} pods of `{name}` are available")
    for reason, message in _obstacles(pods):
        return Part(False, reason, f"`{name}`: {message}")
    for condition in status.get("conditions", ()):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return Part(False, "ReplicaFailure", f"`{name}`: {condition.get('message', '')}")
        if condition["type"] == "Progressing" and condition["status"] == "False":
            reason = condition.get("reason") or "Progressing"
            return Part(False, reason, f"`{name}`: {condition.get('message', '')}")
    fresh = min(updated, available)
    return Part(False, "Progressing", f"{fresh} of {wanted} pods of `{name}` are available")


def _obstacles(pods: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """What keeps pods from running, containers that cannot start before waits that go on."""
    later: list[tuple[str, str]] = []
    for pod in pods:
        if pod["metadata"].get("deletionTimestamp"):
            continue
        status = pod.get("status") or {}
        for condition in status.get("conditions", ()):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                reason = condition.get("reason") or "Unschedulable"
                yield reason, condition.get("message", "")
        for one in status.get("initContainerStatuses", ()):
            state = one.get("state", {})
            if one["name"].startswith("wait-for-") and "running" in state:
                later.append(("WaitingForDependency", f"{one['name']} is waiting"))
            yield from _waiting(one)
        for one in status.get("containerStatuses", ()):
            yield from _waiting(one)
    yield from later


def _waiting(container: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Why a container waits, with what it said when it last ended."""
    state = container.get("state", {})
    waiting = state.get("waiting", {})
    ended = state.get("terminated") or container.get("lastState", {}).get("terminated") or {}
    reason = waiting.get("reason", "")
    failed = bool(state.get("terminated")) and ended.get("exitCode", 0) != 0
    if reason in _ORDINARY and not failed:
        return
    words = [f"{container['name']}: {reason or ended.get('reason', 'Error')}"]
    if ended:
        words.append(f"exit {ended.get('exitCode', 0)}")
    if told := (ended.get("message") or waiting.get("message") or "").strip():
        words.append(told)
    yield reason or ended.get("reason") or "Error", ", ".join(words)
