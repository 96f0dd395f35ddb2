"""Pods as controllers see them: are they ready, do they count, and how one is made or ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from typing import Any

from kindling.cluster.controllers.controller import OPTIONS, World
from kindling.cluster.controllers.kinds import PODS
from kindling.cluster.controllers.meta import (
    condition,
    name_of,
    namespace_of,
    owner_reference,
    parse_time,
    terminating,
    uid_of,
)
from kindling.cluster.events import EventRecorder
from kindling.cluster.model.api import DeleteOptions, Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError

__all__ = [
    "available",
    "available_in",
    "create_pod",
    "delete_pod",
    "finished",
    "is_active",
    "oldest_first",
    "phase",
    "pod_of_template",
    "ready",
    "slow_start",
    "standing",
]


def phase(pod: Obj) -> str:
    return str((pod.get("status") or {}).get("phase") or "Pending")


def finished(pod: Obj) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Obj) -> bool:
    """Whether it counts towards the wanted number: neither ended nor being deleted."""
    return not finished(pod) and not terminating(pod)


def ready(pod: Obj) -> bool:
    found = condition(pod.get("status"), "Ready")
    return found is not None and found.get("status") == "True"


def available_in(pod: Obj, min_ready: int, now: float) -> float | None:
    """The seconds until it has been ready for `min_ready` seconds: 0 for an available pod, None for
    one that is not ready."""
    found = condition(pod.get("status"), "Ready")
    if found is None or found.get("status") != "True":
        return None
    if not min_ready:
        return 0.0
    since = parse_time(found.get("lastTransitionTime"), now)
    return max(0.0, since + min_ready - now)


def available(pod: Obj, min_ready: int, now: float) -> bool:
    return available_in(pod, min_ready, now) == 0.0


def standing(pod: Obj) -> tuple[Any, ...]:
    """What of a pod matters to those who count it; where it runs does not."""
    meta = pod["metadata"]
    found = condition(pod.get("status"), "Ready") or {}
    return (
        meta.get("labels"),
        meta.get("ownerReferences"),
        meta.get("deletionTimestamp"),
        phase(pod),
        found.get("status"),
        found.get("lastTransitionTime"),
    )


def pod_of_template(
    template: Obj, resource: ResourceType, owner: Obj, *, name: str = "", prefix: str = ""
) -> Obj:
    """A pod from a template, under its owner. `name`, or `prefix` for the server to complete."""
    meta: dict[str, Any] = {}
    found = template.get("metadata") or {}
    for key in ("labels", "annotations", "finalizers"):
        if found.get(key):
            meta[key] = deepcopy(found[key])
    if name:
        meta["name"] = name
    else:
        # A name that is too long would be refused; the real controllers cut it too.
        meta["generateName"] = prefix or f"{name_of(owner)}-"
    meta["namespace"] = namespace_of(owner)
    meta["ownerReferences"] = [owner_reference(resource, owner)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": deepcopy(template.get("spec") or {}),
    }


async def create_pod(world: World, events: EventRecorder, owner: Obj, pod: Obj) -> Obj:
    """Create a pod and say so; a refusal is an event of the owner, and goes on to the caller."""
    try:
        made = await world.api.create(PODS, pod, namespace_of(owner), OPTIONS)
    except ApiError as error:
        # A namespace that is on its way out refuses everything; nothing to tell anyone about.
        if "is being terminated" not in error.message:
            events.warning(owner, "FailedCreate", f"Error creating: {error}")
        raise
    events.normal(owner, "SuccessfulCreate", f"Created pod: {name_of(made)}")
    return made


async def delete_pod(world: World, events: EventRecorder, owner: Obj, pod: Obj) -> None:
    """Begin to delete this very pod; fine if it is gone already."""
    try:
        await world.api.delete(
            PODS, name_of(pod), namespace_of(pod), DeleteOptions(uid=uid_of(pod))
        )
    except ApiError as error:
        if error.code in (404, 409):
            return
        events.warning(owner, "FailedDelete", f"Error deleting: {error}")
        raise
    events.normal(owner, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")


async def slow_start(count: int, make: Callable[[int], Awaitable[object]]) -> int:
    """Do `count` things in batches of 1, 2, 4 ..., so that a quota that refuses them all is asked
    once and not a thousand times. Returns how many worked; raises the first failure of the batch
    that had one, noted with `done`."""
    done = 0
    batch = 1
    while done < count:
        size = min(batch, count - done)
        results = await asyncio.gather(
            *(make(done + index) for index in range(size)), return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        done += size - len(failures)
        if failures:
            raise failures[0]
        batch *= 2
    return done


def oldest_first(objects: Sequence[Obj]) -> list[Obj]:
    """By age, then by name."""
    return sorted(
        objects, key=lambda obj: (obj["metadata"].get("creationTimestamp") or "", name_of(obj))
    )
