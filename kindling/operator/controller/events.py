"""What the operator tells in events on an environment or a pool: that it is well, or what is wrong.

An event's name comes from what it says, so that saying it again counts it up, whoever says it. Most
passes say nothing: only a turn of `Ready` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kindling.graph.spec import ObjectRef
from kindling.kube.errors import AlreadyExistsError, NotFoundError
from kindling.kube.protocol import Cluster
from kindling.operator.rules import Problem

__all__ = ["Told", "due", "post", "timestamp"]

Object = Mapping[str, Any]

_LONGEST = 1024
"""Characters of an event's note."""


class Told(tuple[str, str, str]):
    """Type, reason and message of an event."""

    __slots__ = ()


def timestamp(epoch: float) -> str:
    """RFC 3339 in UTC."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def due(
    before: Mapping[str, Any], after: Mapping[str, Any], wrote: bool, problems: tuple[Problem, ...]
) -> tuple[Told, ...]:
    """What a change of status is worth telling."""
    old, new = _ready(before), _ready(after)
    found = [one for one in problems if one.blocking]
    if found and (new.get("reason"), new.get("message")) != (old.get("reason"), old.get("message")):
        return (Told(("Warning", found[0].reason, "; ".join(map(str, found)))),)
    if new.get("status") == "True" and (wrote or old.get("status") != "True"):
        return (Told(("Normal", "Reconciled", new.get("message", ""))),)
    return ()


async def post(cluster: Cluster, owner: Object, told: Told, now: str, author: str) -> None:
    """Record an event, or count it up where the same has been said before.

    Raises:
        ClusterError: It cannot be recorded.
    """
    sort, reason, message = told
    head = owner["metadata"]
    namespace = head["namespace"]
    digest = hashlib.sha256("\n".join((head["uid"], *told)).encode()).hexdigest()[:16]
    ref = ObjectRef("v1", "Event", f"{head['name']}.{digest}", namespace)
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": ref.name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": head["name"],
            "namespace": namespace,
            "uid": head["uid"],
            "resourceVersion": head.get("resourceVersion", ""),
        },
        "type": sort,
        "reason": reason,
        "message": message[:_LONGEST],
        "source": {"component": author},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        await cluster.create(event, manager=author)
    except AlreadyExistsError:
        try:
            known = await cluster.get(ref)
            count = {"count": known.get("count", 1) + 1, "lastTimestamp": now}
            await cluster.patch(ref, count, manager=author)
        except NotFoundError:
            await cluster.create(event, manager=author)  # it expired in between


def _ready(status: Mapping[str, Any]) -> Mapping[str, Any]:
    for one in status.get("conditions") or ():
        if one["type"] == "Ready":
            found: Mapping[str, Any] = one
            return found
    return {}
