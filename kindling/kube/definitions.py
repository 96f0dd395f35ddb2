"""When a custom kind can be used: its definition is established, and discovery names it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from kindling.graph.spec import ObjectRef
from kindling.kube.errors import TimeLimitError, UnknownKindError
from kindling.kube.protocol import Cluster, EventKind

__all__ = ["is_established", "wait_served"]

_AGAIN = 0.1


def is_established(definition: Mapping[str, Any]) -> bool:
    """Whether a CustomResourceDefinition says that its kind is served."""
    told = (definition.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Established" and one["status"] == "True" for one in told)


async def wait_served(cluster: Cluster, ref: ObjectRef, *, limit: float) -> None:
    """Return once objects of the kind that the definition `ref` defines can be written.

    Discovery of Kubernetes 1.20 follows the condition by up to some seconds, and has no watch.

    Raises:
        TimeLimitError: It is not served after `limit` seconds.
    """
    try:
        async with asyncio.timeout(limit):
            definition = await _established(cluster, ref)
            spec = definition.get("spec") or {}
            for version in spec.get("versions") or ():
                if version.get("served"):
                    api_version = f"{spec['group']}/{version['name']}"
                    await _discovered(cluster, api_version, spec["names"]["kind"])
    except TimeoutError as error:
        raise TimeLimitError(
            f"The cluster `{cluster.context}` does not serve {ref} after {limit:.0f} s",
            hint=f"`kubectl describe crd {ref.name}` says what it waits for",
            transient=True,
        ) from error


async def _established(cluster: Cluster, ref: ObjectRef) -> Mapping[str, Any]:
    events = cluster.watch(ref.api_version, ref.kind, fields=(("metadata.name", ref.name),))
    async with aclosing(events):
        async for event in events:
            found = event.items if event.kind is EventKind.SYNCED else (event.object,)
            for one in found:
                if is_established(one):
                    return one
    raise AssertionError("a watch never ends by itself")


async def _discovered(cluster: Cluster, api_version: str, kind: str) -> None:
    while True:
        try:
            await cluster.resource(api_version, kind)
            return
        except UnknownKindError:
            await asyncio.sleep(_AGAIN)
