"""Pod logs into a node's log, container by container, while somebody follows its pods."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from kindling.errors import ClusterError
from kindling.executors.protocol import Clock, LogSink
from kindling.kube.errors import ForbiddenError
from kindling.kube.protocol import Cluster, Object
from kindling.objects.pods import container_statuses, pod_name

__all__ = ["PodLogs", "last_lines"]

_SIDECARS = frozenset({"istio-init", "istio-proxy", "linkerd-init", "linkerd-proxy"})
_SLACK = 2.0
_DRAIN = 3.0


class PodLogs:
    """Streams what containers say from `begin` (seconds since the epoch) on.

    `update` is told of the pods whenever they change. Every start of a container is one stream,
    `pod/NAME/CONTAINER`; what one said before `begin` is left out. Of those that the first update
    tells, at most the last `tail` lines.
    """

    def __init__(
        self,
        cluster: Cluster,
        log: LogSink,
        clock: Clock,
        begin: float,
        *,
        tail: int | None = None,
    ) -> None:
        self._cluster = cluster
        self._log = log
        self._clock = clock
        self._begin = begin
        self._tail = tail
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def update(self, pods: Iterable[Object]) -> None:
        """Begin to stream the containers that have started since the last call."""
        for pod in pods:
            for status in container_statuses(pod):
                # What waits for a dependency says every second that it still does.
                name = str(status["name"])
                if name not in _SIDECARS and not name.startswith("wait-for-"):
                    self._consider(pod, status)

    async def drain(self) -> None:
        """Wait a little for the streams of containers that have ended."""
        running = [task for task in self._tasks.values() if not task.done()]
        if running:
            await asyncio.wait(running, timeout=_DRAIN)

    async def close(self) -> None:
        """End all streams."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _consider(self, pod: Object, status: Mapping[str, Any]) -> None:
        state = status.get("state") or {}
        now = state.get("running") or state.get("terminated")
        before = (status.get("lastState") or {}).get("terminated")
        if before:
            self._begin_stream(pod, status, before, previous=True)
        if now:
            self._begin_stream(pod, status, now, previous=False)

    def _begin_stream(
        self, pod: Object, status: Mapping[str, Any], run: Mapping[str, Any], *, previous: bool
    ) -> None:
        key = str(run.get("containerID") or status.get("containerID") or "")
        if not key or key in self._tasks:
            return
        started = str(run.get("startedAt") or "")
        fresh = bool(started) and _seconds(started) >= self._begin - _SLACK
        if previous and not fresh:
            return
        self._tasks[key] = asyncio.create_task(
            self._stream(pod, str(status["name"]), fresh=fresh, previous=previous, tail=self._tail),
            name=f"log of {pod_name(pod)}/{status['name']}",
        )

    async def _stream(
        self, pod: Object, container: str, *, fresh: bool, previous: bool, tail: int | None
    ) -> None:
        name, namespace = pod_name(pod), str(pod["metadata"]["namespace"])
        stream = f"pod/{name}/{container}"
        since = None if fresh else max(1.0, self._clock.time() - self._begin)
        while True:
            last = self._clock.time()
            try:
                lines = self._cluster.logs(
                    namespace,
                    name,
                    container,
                    follow=not previous,
                    previous=previous,
                    since=since,
                    tail=tail,
                )
                async with aclosing(lines) as received:
                    async for line in received:
                        last = self._clock.time()
                        self._log(line, stream)
                return
            except ForbiddenError as error:
                if not previous:
                    self._log("; ".join((error.message, *error.details)), stream)
                return
            except ClusterError as error:
                if previous or not error.transient:
                    return  # the container is gone, and its log with it
            await self._clock.sleep(1.0)
            since, tail = self._clock.time() - last, None


async def last_lines(
    cluster: Cluster, pod: Object, container: str, *, crashed: bool, count: int
) -> tuple[str, ...]:
    """The end of a container's log: of the run that crashed where it has been started anew."""
    namespace = str(pod["metadata"]["namespace"])
    status = next((s for s in container_statuses(pod) if s["name"] == container), {})
    restarted = crashed and not (status.get("state") or {}).get("terminated")
    for previous in (True, False) if restarted else (False,):
        try:
            lines = cluster.logs(
                namespace, pod_name(pod), container, previous=previous, tail=count, timeout=5.0
            )
            async with aclosing(lines) as received:
                found = tuple([line async for line in received])
        except ClusterError:
            continue  # not started yet, or its log is gone: the reason must do without it
        if found:
            return found
    return ()


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC).timestamp()
