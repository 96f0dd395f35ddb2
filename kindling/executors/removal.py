"""Objects out of the cluster: in reverse install order, and only what is ours to remove."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any

from kindling.errors import ClusterError, KindlingError, WorldError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import NotFoundError
from kindling.kube.protocol import Cluster, Object
from kindling.objects.identity import install_rank, removal_order
from kindling.objects.inject import OWNER_LABEL, owner_of

__all__ = ["KEEP_ANNOTATIONS", "remove"]

KEEP_ANNOTATIONS = ("kindling.dev/down-policy", "tilt.dev/down-policy")
"""With the value `keep`, an object stays on `down`."""

_GONE_LIMIT = 60.0


async def remove(
    cluster: Cluster, refs: Iterable[ObjectRef], project: str, say: Callable[[str], None]
) -> tuple[str, ...]:
    """Delete these objects and wait until they are gone; a line for each that was kept, and why.

    A namespace is kept, since it may hold what others made; it loses our label, so that another
    project may use it. What cannot be deleted does not keep the rest from it.

    Raises:
        ClusterError: The first thing that could not be deleted; others are in its details.
    """
    kept: list[str] = []
    errors: list[KindlingError] = []
    for _, group in groupby(removal_order(refs), key=lambda ref: install_rank(ref.kind)):
        results = await asyncio.gather(
            *(_remove(cluster, ref, project, say) for ref in group), return_exceptions=True
        )
        for result in results:
            if isinstance(result, KindlingError):
                errors.append(result)
            elif isinstance(result, BaseException):
                raise result
            elif result:
                kept.append(result)
    if errors:
        first = errors[0]
        raise ClusterError(
            first.message,
            details=[*first.details, *(f"also: {error.message}" for error in errors[1:])],
            hint=first.hint,
            transient=all(isinstance(e, WorldError) and e.transient for e in errors),
        ) from first
    return tuple(kept)


async def _remove(
    cluster: Cluster, ref: ObjectRef, project: str, say: Callable[[str], None]
) -> str:
    try:
        live = await cluster.get(ref)
    except NotFoundError:
        return ""
    owner = owner_of(live)
    if owner != project:
        whose = f"belongs to the project `{owner}`" if owner else "carries no project's label"
        return f"{ref} was kept: it {whose}"
    if ref.kind == "Namespace":
        await cluster.patch(ref, {"metadata": {"labels": {OWNER_LABEL: None}}})
        return f"{ref} was kept: namespaces are never deleted"
    if annotation := _keeps(live):
        return f"{ref} was kept: its annotation `{annotation}: keep` says so"
    uid: str = live["metadata"]["uid"]
    if await cluster.delete(ref, uid=uid):
        await cluster.wait_deleted(ref, uid=uid, timeout=_GONE_LIMIT)
        say(f"{ref}: deleted")
    return ""


def _keeps(live: Object) -> str:
    annotations: Mapping[str, Any] = live["metadata"].get("annotations") or {}
    return next((name for name in KEEP_ANNOTATIONS if annotations.get(name) == "keep"), "")
