"""Waiting for an operator that was installed: until it is ready, or plainly will not be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager

from kindling.errors import ClusterError, ExecutionError
from kindling.kube.protocol import Cluster, EventKind, Object
from kindling.operator.install.manifests import (
    INSTALLATION_LABEL,
    NAME,
    TEMPLATE_ANNOTATION,
    Installation,
    operator_objects,
)
from kindling.operator.parts import Part, deployment_part

__all__ = ["until_running"]

_State = tuple[Part, tuple[Object, ...]]

_HOPELESS = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ReplicaFailure",
    }
)
"""Reasons that waiting does not mend."""

_LAST_LINES = 12


async def until_running(cluster: Cluster, told: Installation, limit: float) -> None:
    """Return when the operator runs and is ready: it acts, or stands by for another.

    Raises:
        ExecutionError: It cannot start, or did not in time; the message says what ails it.
    """
    last = Part(False, "Missing", f"the Deployment `{NAME}` is not there")
    try:
        async with asyncio.timeout(limit), _states(cluster, told) as states:
            async for last, pods in states:
                if last.ready:
                    return
                if last.reason in _HOPELESS:
                    raise await _failure(cluster, last, pods)
    except TimeoutError:
        raise ExecutionError(
            f"The operator did not become ready within {limit:.0f} s: {last.message}",
            hint=f"`kubectl -n {told.namespace} logs deployment/{NAME}` says what it does.",
        ) from None


async def _failure(cluster: Cluster, part: Part, pods: Iterable[Object]) -> ExecutionError:
    lines: list[str] = []
    if part.reason == "CrashLoopBackOff":
        for pod in pods:
            head = pod["metadata"]
            logs = cluster.logs(
                head["namespace"], head["name"], "operator", previous=True, tail=_LAST_LINES
            )
            async with aclosing(logs):
                lines = [line async for line in logs]
    hint = "Is it a rightful image of kindling? `scripts/image` builds one."
    if "Image" in part.reason:
        hint = (
            "The cluster has no such image and cannot pull it. `scripts/image` builds one; load or "
            "push it, and name it with `--image`."
        )
    return ExecutionError(f"The operator does not start: {part.message}", details=lines, hint=hint)


@asynccontextmanager
async def _states(
    cluster: Cluster, told: Installation
) -> AsyncIterator[AsyncGenerator[_State, None]]:
    """How the Deployment stands, with the pods of its latest change, after each event."""
    queue: asyncio.Queue[Exception | None] = asyncio.Queue()
    deployments: dict[str, Object] = {}
    pods: dict[str, Object] = {}
    [wanted] = [one for one in operator_objects(told) if one["kind"] == "Deployment"]
    template = wanted["spec"]["template"]["metadata"]["annotations"][TEMPLATE_ANNOTATION]

    async def follow(api_version: str, kind: str, table: dict[str, Object]) -> None:
        labels = ((INSTALLATION_LABEL, told.namespace),)
        events = cluster.watch(api_version, kind, namespace=told.namespace, labels=labels)
        try:
            async with aclosing(events):
                async for event in events:
                    if event.kind is EventKind.SYNCED:
                        table.clear()
                        table.update({one["metadata"]["uid"]: one for one in event.items})
                    elif event.kind is EventKind.DELETED:
                        table.pop(event.object["metadata"]["uid"], None)
                    elif event.kind is not EventKind.AWAY:
                        table[event.object["metadata"]["uid"]] = event.object
                    queue.put_nowait(None)
        except ClusterError as error:
            queue.put_nowait(error)

    async def states() -> AsyncGenerator[_State, None]:
        while True:
            problem = await queue.get()
            if problem is not None:
                raise problem
            latest = tuple(
                pod
                for pod in pods.values()
                if (pod["metadata"].get("annotations") or {}).get(TEMPLATE_ANNOTATION) == template
            )
            for live in deployments.values():
                yield deployment_part(live, latest), latest

    tasks = [
        asyncio.create_task(follow("apps/v1", "Deployment", deployments), name="watch operator"),
        asyncio.create_task(follow("v1", "Pod", pods), name="watch operator pods"),
    ]
    try:
        async with aclosing(states()) as found:
            yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
