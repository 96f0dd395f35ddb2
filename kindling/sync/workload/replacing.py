"""Pods made fresh one by one, where no change of a template does it.

Those of a session that only put files into them, and those of a StatefulSet that updates on delete.
A pod that serves is deleted only while all the others do that served before, so that the workload
never has more than one pod less.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.podwatch import PodWatch
from kindling.kube.protocol import Cluster, Object
from kindling.objects.pods import is_deleting, is_done, is_ready, pod_name
from kindling.sync.protocol import Clock

__all__ = ["changed_within", "next_to_delete", "replace_pods"]


async def replace_pods(
    cluster: Cluster,
    ref: ObjectRef,
    stale: Callable[[Object], bool],
    *,
    clock: Clock,
    patience: float = 120.0,
    serving: bool = True,
) -> tuple[Object, ...]:
    """Delete the pods of `ref` that are `stale`; those that are left when nothing moves for
    `patience` seconds are returned. Without `serving`, only those that do not serve, which
    stand in the way of a StatefulSet's own roll-out.

    Returns as soon as the last one is being deleted.
    """
    watch = PodWatch(cluster, (ref,), ())
    target: int | None = None
    try:
        await watch.start()
        while True:
            watch.changed.clear()
            if watch.error is not None:
                raise watch.error
            workload = watch.workloads.get(ref)
            if workload is None:
                return ()
            pods = _owned(workload, watch.replica_sets(), watch.pods(ref))
            if watch.complete and _seen(workload):
                left = [pod for pod in pods if not is_deleting(pod) and stale(pod)]
                if not serving:
                    left = [pod for pod in left if not is_ready(pod)]
                if target is None:
                    target = sum(is_ready(pod) for pod in pods)
                doomed = next_to_delete(pods, left, target)
                for pod in doomed:
                    await _delete(cluster, pod)
                if len(doomed) == len(left):
                    return ()
            if not await changed_within(watch.changed, clock, patience):
                return tuple(pod for pod in pods if stale(pod) and not is_deleting(pod))
    finally:
        await watch.close()


def next_to_delete(pods: list[Object], stale: list[Object], serving: int) -> list[Object]:
    """Which of the stale pods may go now: all that do not serve, else one of the others as long as
    `serving` pods serve. The newest of a StatefulSet first, as its own roll-outs do it."""
    idle = [pod for pod in stale if not is_ready(pod)]
    if idle:
        return idle
    if stale and sum(is_ready(pod) for pod in pods) >= serving:
        return [max(stale, key=_order)]
    return []


async def changed_within(changed: asyncio.Event, clock: Clock, seconds: float) -> bool:
    """Wait until `changed` is set, for `seconds` at most; whether it is."""
    tasks = [
        asyncio.create_task(changed.wait(), name="wait for a change"),
        asyncio.create_task(clock.sleep(seconds), name="wait no longer"),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return changed.is_set()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _delete(cluster: Cluster, pod: Object) -> None:
    metadata = pod["metadata"]
    ref = ObjectRef("v1", "Pod", str(metadata["name"]), str(metadata["namespace"]))
    try:
        await cluster.delete(ref, uid=str(metadata["uid"]))
    except ClusterError as error:
        error.details = (*error.details, "A pod of the session could not be made fresh.")
        raise


def _seen(workload: Object) -> bool:
    """Whether its controller knows the template as it is: before, it would make pods from the old
    one."""
    seen = int((workload.get("status") or {}).get("observedGeneration") or 0)
    return seen >= int(workload["metadata"].get("generation") or 0)


def _owned(workload: Object, replica_sets: list[Object], pods: list[Object]) -> list[Object]:
    uid = workload["metadata"]["uid"]
    uids = {uid} | {item["metadata"]["uid"] for item in replica_sets if _owner(item) == uid}
    return [pod for pod in pods if _owner(pod) in uids and not is_done(pod)]


def _owner(item: Object) -> str:
    references = item["metadata"].get("ownerReferences") or ()
    owner = next((one for one in references if one.get("controller")), None)
    return str(owner["uid"]) if owner else ""


def _order(pod: Object) -> tuple[int, str]:
    number = pod_name(pod).rpartition("-")[2]
    return (int(number) if number.isdigit() else -1, pod_name(pod))
