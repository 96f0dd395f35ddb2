"""Takes runner pools away, with the Secrets of their tokens and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from kindling.graph.spec import ObjectRef
from kindling.kube.errors import NotFoundError, TimeLimitError, UnknownKindError
from kindling.kube.protocol import Cluster, EventKind, Object
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.definitions.pool import POOL_KINDS
from kindling.operator.pools.desired import MANAGER

__all__ = ["PoolFound", "clear", "find_pools"]

_API = f"{GROUP}/{VERSION}"


@dataclass(frozen=True, slots=True)
class PoolFound:
    """A pool, and the Secret of its token where there is one."""

    ref: ObjectRef
    uid: str
    user: str
    repository: str
    secret: ObjectRef | None


async def find_pools(cluster: Cluster, namespace: str) -> tuple[PoolFound, ...]:
    """The pools of a namespace, of both kinds; of all namespaces when it is empty."""
    found: list[PoolFound] = []
    for kind in POOL_KINDS:
        try:
            listing = await cluster.list(_API, kind, namespace=namespace)
        except UnknownKindError:
            continue
        for one in listing.items:
            found.append(await _found(cluster, kind, one))
    return tuple(found)


async def _found(cluster: Cluster, kind: str, pool: Object) -> PoolFound:
    metadata, spec = pool["metadata"], pool.get("spec") or {}
    place, user = metadata["namespace"], str(spec.get("githubUsername", ""))
    name = str((spec.get("tokenSecretRef") or {}).get("name", ""))
    secret = ObjectRef("v1", "Secret", name, place) if name else None
    if secret is not None:
        try:
            await cluster.get(secret)
        except NotFoundError:
            secret = None
    return PoolFound(
        ObjectRef(_API, kind, metadata["name"], place),
        metadata["uid"],
        user,
        str(spec.get("repository", "")),
        secret,
    )


async def clear(
    cluster: Cluster,
    pools: Sequence[PoolFound],
    say: Callable[[str], None],
    *,
    timeout: float = 60.0,
) -> None:
    """Delete the pools, wait until their runners are gone, then delete the Secrets: a runner signs
    off with its token. What the pools own goes with them, by the cluster's own garbage collection.

    Raises:
        ClusterError: Something is still there when the time is over.
    """
    for pool in pools:
        await cluster.delete(pool.ref, uid=pool.uid)
        say(f"{pool.ref} deleted")
    until = asyncio.get_running_loop().time() + timeout
    for pool in pools:
        await _gone(cluster, pool, until, timeout)
    for secret in dict.fromkeys(pool.secret for pool in pools if pool.secret is not None):
        if await cluster.delete(secret):
            say(f"{secret} deleted")


async def _gone(cluster: Cluster, pool: PoolFound, until: float, timeout: float) -> None:
    """Wait until no pod of a runner is left. Their labels tell them, since their Deployment may be
    gone already."""
    left: dict[str, Object] = {}
    labels = (
        ("app.kubernetes.io/instance", pool.ref.name),
        ("app.kubernetes.io/managed-by", MANAGER),
    )
    try:
        async with (
            asyncio.timeout_at(until),
            aclosing(
                cluster.watch("v1", "Pod", namespace=pool.ref.namespace, labels=labels)
            ) as events,
        ):
            async for event in events:
                if event.kind is EventKind.AWAY:
                    continue
                if event.kind is EventKind.SYNCED:
                    left = {one["metadata"]["uid"]: one for one in event.items}
                elif event.kind is EventKind.DELETED:
                    left.pop(event.object["metadata"]["uid"], None)
                else:
                    left[event.object["metadata"]["uid"]] = event.object
                if not left:
                    return
    except TimeoutError:
        names = ", ".join(str(pod["metadata"]["name"]) for pod in left.values())
        raise TimeLimitError(
            f"runners of {pool.ref} are still there after {timeout:.0f} s: [{names}]",
            hint="Their pods are being deleted; `kindling status` shows whether they are gone.",
        ) from None
