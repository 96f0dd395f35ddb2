"""Waits until the runners of a pool are ready, and says why they are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kindling.errors import ClusterError
from kindling.kube.errors import TimeLimitError
from kindling.kube.protocol import Cluster, EventKind, Object, Selector
from kindling.objects.pods import Patience, troubles
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.parts import deployment_part
from kindling.operator.pools.desired import MANAGER
from kindling.operator.pools.model import Pool

__all__ = ["APPEARS", "ROLLS", "Seen", "wait_ready", "why_not"]

APPEARS = 60.0
"""Seconds for the operator to make the runners' Deployment."""
ROLLS = 120.0
"""Seconds for the Deployment to be ready."""

_API = f"{GROUP}/{VERSION}"
_STAYS = "The pool stays and goes on trying: `kindling runners list` shows it."

_See = Callable[[EventKind, Sequence[Object]], None]


@dataclass(slots=True)
class Seen:
    """What is known of a pool while it is waited for."""

    pool: Object | None = None
    deployment: Object | None = None
    pods: dict[str, Object] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at every change."""


async def wait_ready(
    cluster: Cluster,
    pool: Pool,
    say: Callable[[str], None],
    *,
    appears: float = APPEARS,
    rolls: float = ROLLS,
) -> None:
    """Return when the pool's runners are ready. `say` is told each reason why they are not yet.

    Raises:
        TimeLimitError: They are not in time; the message says why.
        ClusterError: They cannot become ready as things are.
    """
    seen = Seen()
    try:
        async with asyncio.timeout(appears) as limit, _watched(cluster, pool, seen):
            hopeless = await _settled(seen, limit, rolls, say)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None  # what ended one of the watches
    except TimeoutError:
        made = seen.deployment is not None
        took = f"is not ready after {rolls:.0f} s" if made else f"was not made in {appears:.0f} s"
        raise TimeLimitError(
            f"Deployment/{pool.base} of the pool `{pool.name}` {took}",
            details=[why_not(seen)],
            hint=_STAYS if made else "`kindling operator status` tells whether an operator acts.",
        ) from None
    if hopeless:
        raise ClusterError(f"The runners of `{pool.name}` cannot start: {hopeless}", hint=_STAYS)


async def _settled(
    seen: Seen, limit: asyncio.Timeout, rolls: float, say: Callable[[str], None]
) -> str:
    """Wait until the runners are ready, or plainly will not be, and return why then."""
    told, rolling = "", False
    while True:
        await seen.changed.wait()
        seen.changed.clear()
        why = why_not(seen)
        if not why:
            return ""
        if why != told:
            told = why
            say(f"waiting: {why}")
        if seen.deployment is not None and not rolling:
            rolling = True
            limit.reschedule(asyncio.get_running_loop().time() + rolls)
        if hopeless := _hopeless(seen):
            return hopeless


def why_not(seen: Seen) -> str:
    """Why the runners are not ready, empty when they are."""
    if seen.deployment is not None and _is_current(seen):
        part = deployment_part(seen.deployment, seen.pods.values())
        return "" if part.ready else f"{part.reason}: {part.message}"
    for condition in ((seen.pool or {}).get("status") or {}).get("conditions") or ():
        told = f"{condition.get('reason', '')}: {condition.get('message', '')}"
        if condition["type"] == "Ready" and condition["status"] == "False" and _is_current(seen):
            return told
    return "NotReconciled: no operator has seen to the pool as it is now"


def _is_current(seen: Seen) -> bool:
    """Whether the operator has worked in the latest change of the pool: before, what stands there
    is of an older one."""
    if seen.pool is None:
        return False
    status = seen.pool.get("status") or {}
    generation = int(seen.pool["metadata"].get("generation", 0))
    return int(status.get("observedGeneration", 0)) >= generation


def _hopeless(seen: Seen) -> str:
    """What keeps the newest pods from ever running; pods of earlier changes are on their way
    out."""
    if seen.deployment is None or not _is_current(seen) or not seen.pods:
        return ""
    live = seen.deployment.get("status") or {}
    if live.get("observedGeneration", 0) < seen.deployment["metadata"].get("generation", 0):
        return ""
    newest = max(seen.pods.values(), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    for trouble in troubles(newest, datetime.now(UTC), Patience()):
        if trouble.hopeless and live.get("updatedReplicas", 0):
            told = f": {trouble.message}" if trouble.message else ""
            return f"{trouble.summary}{told}"
    return ""


@asynccontextmanager
async def _watched(cluster: Cluster, pool: Pool, seen: Seen) -> AsyncIterator[None]:
    """Keep `seen` up to date for as long as the context is open."""

    async def follow(
        api_version: str, kind: str, see: _See, labels: Selector = (), fields: Selector = ()
    ) -> None:
        events = cluster.watch(
            api_version, kind, namespace=pool.namespace, labels=labels, fields=fields
        )
        async with aclosing(events):
            async for event in events:
                if event.kind is not EventKind.AWAY:
                    synced = event.kind is EventKind.SYNCED
                    see(event.kind, event.items if synced else (event.object,))
                    seen.changed.set()

    def see_pool(kind: EventKind, found: Sequence[Object]) -> None:
        seen.pool = found[0] if found and kind is not EventKind.DELETED else None

    def see_deployment(kind: EventKind, found: Sequence[Object]) -> None:
        seen.deployment = found[0] if found and kind is not EventKind.DELETED else None

    def see_pods(kind: EventKind, found: Sequence[Object]) -> None:
        if kind is EventKind.SYNCED:
            seen.pods.clear()
        for pod in found:
            if kind is EventKind.DELETED:
                seen.pods.pop(pod["metadata"]["uid"], None)
            else:
                seen.pods[pod["metadata"]["uid"]] = pod

    labels: Selector = (
        ("app.kubernetes.io/instance", pool.name),
        ("app.kubernetes.io/managed-by", MANAGER),
    )
    named = (("metadata.name", pool.base),)
    async with asyncio.TaskGroup() as tasks:
        following = [
            tasks.create_task(
                follow(_API, pool.kind, see_pool, fields=(("metadata.name", pool.name),)),
                name="follow the pool",
            ),
            tasks.create_task(
                follow("apps/v1", "Deployment", see_deployment, fields=named),
                name="follow the runners",
            ),
            tasks.create_task(follow("v1", "Pod", see_pods, labels=labels), name="follow the pods"),
        ]
        try:
            yield
        finally:
            for task in following:
                task.cancel()
