"""Waits until environments are ready, tells what each waits for, and says why one does not become
so: pod, container, reason and the end of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from kindling.engine.environments.overview import condition_of
from kindling.errors import ExecutionError
from kindling.executors.environment import Told, told_by
from kindling.executors.podlogs import last_lines
from kindling.executors.protocol import Clock
from kindling.executors.steadiness import Steadiness
from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Cluster, EventKind, Object, WatchEvent
from kindling.objects.pods import Patience, Trouble, is_deleting, pod_name, troubles
from kindling.operator.controller.preview import preview
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.definitions.environment import KIND
from kindling.operator.marks import MANAGER

__all__ = ["Standing", "await_ready"]

_API = f"{GROUP}/{VERSION}"
_TICK = 1.0
_PERSISTS = 5.0
"""Seconds for which what hinders an environment must have been seen before it counts: what an
earlier pass or earlier pods told may be past."""

_LOG_LINES = 20


async def await_ready(
    cluster: Cluster,
    refs: Sequence[ObjectRef],
    *,
    timeout: float,
    clock: Clock,
    say: Callable[[str], None],
) -> tuple[Object, ...]:
    """Return the environments once all are ready.

    Raises:
        ExecutionError: One cannot become ready, or is not when the time is over.
    """
    standing = Standing(cluster, refs, clock, say)
    tasks = [
        asyncio.create_task(standing.guarded(work))
        for namespace in sorted({ref.namespace for ref in refs})
        for work in (standing.environments(namespace), standing.pods(namespace))
    ]
    try:
        async with asyncio.timeout(timeout):
            return await standing.over()
    except TimeoutError:
        raise await standing.late(timeout) from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Standing:
    """What is known of environments that are waited for."""

    def __init__(
        self, cluster: Cluster, refs: Sequence[ObjectRef], clock: Clock, say: Callable[[str], None]
    ) -> None:
        self._cluster = cluster
        self._refs = refs
        self._clock = clock
        self._say = say
        self._news = asyncio.Event()
        self._error: Exception | None = None
        self._live: dict[ObjectRef, Object] = {}
        self._synced: set[str] = set()
        self._pods: dict[str, Object] = {}
        self._listed: set[str] = set()
        self._said: dict[ObjectRef, str] = {}
        self._since: dict[tuple[ObjectRef, str], float] = {}
        self._done: set[ObjectRef] = set()
        self._steady = Steadiness(clock, Patience())

    async def over(self) -> tuple[Object, ...]:
        """Return when all are ready; raise when one cannot be."""
        while True:
            self._news.clear()
            for ref in self._refs:
                await self._judge(ref)
            if all(ref in self._done for ref in self._refs):
                return tuple(self._live[ref] for ref in self._refs)
            try:
                async with asyncio.timeout(_TICK):
                    await self._news.wait()
            except TimeoutError:
                pass  # what hinders it counts only when it lasts
            if self._error is not None:
                raise self._error

    async def late(self, timeout: float) -> ExecutionError:
        """The error for time that is over."""
        waiting = [ref for ref in self._refs if ref not in self._done]
        ref = next((one for one in waiting if self._troubles(one)), waiting[0])
        others = [f"{one}: {self._words(one)}" for one in waiting if one != ref]
        head = f"{ref} is not ready after {timeout:g} s: {self._words(ref)}"
        return await self._failure(head, ref, others)

    async def _judge(self, ref: ObjectRef) -> None:
        live = self._live.get(ref)
        if live is None:
            if ref.namespace in self._synced and self._lasts(ref, "gone", True):
                raise ExecutionError(f"{ref} is gone: somebody deleted it")
            return
        told = told_by(live)
        ready = told.seen and condition_of(live, "Ready").get("status") == "True"
        if ready and self._serves(ref) and await self._complete(ref, live):
            if ref not in self._done:
                self._done.add(ref)
                self._tell(ref, "ready")
            return
        self._done.discard(ref)
        self._tell(ref, self._words(ref))
        if self._lasts(ref, f"problem {told.problem}", bool(told.seen and told.problem)):
            raise await self._failure(f"{ref} cannot become ready: {told.problem}", ref)
        hopeless = [one for one in self._troubles(ref) if one.hopeless]
        if self._lasts(ref, "hopeless", bool(told.seen and hopeless)):
            raise await self._failure(f"{ref} does not become ready: {hopeless[0].summary}", ref)

    def _serves(self, ref: ObjectRef) -> bool:
        """Whether its pods are more than ready for a moment, as those are that are about to
        crash."""
        if ref in self._done or ref.namespace not in self._listed:
            return ref in self._done
        pods = [pod for pod in self._own_pods(ref) if not is_deleting(pod)]
        return all(self._steady.serves(pod) for pod in pods)

    async def _complete(self, ref: ObjectRef, live: Object) -> bool:
        """Whether nothing is left to be done: a status may be older than what somebody deleted."""
        if ref in self._done:
            return True
        changes = await preview(self._cluster, live)
        return all(change.verb == "hold" for change in changes)

    def _lasts(self, ref: ObjectRef, what: str, holds: bool) -> bool:
        """Whether something has held for a while."""
        key, sort = (ref, what), what.partition(" ")[0]
        for other in [one for one in self._since if one[0] == ref and one != key]:
            if other[1].partition(" ")[0] == sort:
                del self._since[other]
        if not holds:
            self._since.pop(key, None)
            return False
        return (
            self._clock.monotonic() - self._since.setdefault(key, self._clock.monotonic())
            >= _PERSISTS
        )

    def _words(self, ref: ObjectRef) -> str:
        live = self._live.get(ref)
        told: Told = told_by(live) if live is not None else Told(seen=False)
        if live is None or not told.seen:
            return "no operator has seen it yet"
        ready = condition_of(live, "Ready")
        if ready.get("status") == "True":
            return "being completed"
        return str(ready.get("message") or ready.get("reason") or "not ready")

    def _tell(self, ref: ObjectRef, words: str) -> None:
        if self._said.get(ref) != words:
            self._said[ref] = words
            self._say(f"{ref.namespace}/{ref.name}: {words}")

    def _own_pods(self, ref: ObjectRef) -> list[Object]:
        """The pods of the newest template of each of its Deployments."""
        newest: dict[str, Object] = {}
        found: list[tuple[str, Object]] = []
        for pod in self._pods.values():
            labels: Mapping[str, str] = pod["metadata"].get("labels") or {}
            part = labels.get("app.kubernetes.io/part-of") or labels.get(
                "app.kubernetes.io/instance"
            )
            if pod["metadata"]["namespace"] != ref.namespace or part != ref.name:
                continue
            app = labels.get("app.kubernetes.io/name", "")
            found.append((app, pod))
            if app not in newest or _made(pod) > _made(newest[app]):
                newest[app] = pod
        return [pod for app, pod in found if _template(pod) == _template(newest[app])]

    def _troubles(self, ref: ObjectRef) -> list[Trouble]:
        now = datetime.now(UTC)
        pods = [pod for pod in self._own_pods(ref) if not is_deleting(pod)]
        found = [trouble for pod in pods for trouble in troubles(pod, now, Patience())]
        return sorted(found, key=lambda trouble: not trouble.hopeless)

    async def _failure(
        self, head: str, ref: ObjectRef, others: Sequence[str] = ()
    ) -> ExecutionError:
        details: list[str] = []
        found = {(one.pod, one.container): one for one in reversed(self._troubles(ref))}
        for trouble in list(found.values())[::-1][:3]:
            details.append(trouble.summary)
            if trouble.message:
                details.append(f"  {trouble.message}")
            pod = next(p for p in self._pods.values() if pod_name(p) == trouble.pod)
            if trouble.container:
                lines = await last_lines(
                    self._cluster,
                    pod,
                    trouble.container,
                    crashed=trouble.crashed,
                    count=_LOG_LINES,
                )
                details += [f"  | {line}" for line in lines]
        hint = f"`kindling logs {ref.name}` shows what its pods say, `kindling status` the rest."
        return ExecutionError(head, details=[*details, *others], hint=hint)

    async def environments(self, namespace: str) -> None:
        """Follow the environments of a namespace."""
        events = self._cluster.watch(_API, KIND, namespace=namespace)
        async with aclosing(events):
            async for event in events:
                if event.kind is EventKind.SYNCED:
                    for ref in [one for one in self._live if one.namespace == namespace]:
                        del self._live[ref]
                    self._synced.add(namespace)
                for item in _items(event):
                    ref = ObjectRef(_API, KIND, item["metadata"]["name"], namespace)
                    if event.kind is EventKind.DELETED:
                        self._live.pop(ref, None)
                    else:
                        self._live[ref] = item
                self._news.set()

    async def pods(self, namespace: str) -> None:
        """Follow the pods of the environments of a namespace."""
        labels = (("app.kubernetes.io/managed-by", MANAGER),)
        events = self._cluster.watch("v1", "Pod", namespace=namespace, labels=labels)
        async with aclosing(events):
            async for event in events:
                if event.kind is EventKind.SYNCED:
                    for uid, pod in list(self._pods.items()):
                        if pod["metadata"]["namespace"] == namespace:
                            del self._pods[uid]
                    self._listed.add(namespace)
                for item in _items(event):
                    if event.kind is EventKind.DELETED:
                        self._pods.pop(item["metadata"]["uid"], None)
                    else:
                        self._pods[item["metadata"]["uid"]] = item
                self._news.set()

    async def guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it; what ends it ends the waiting."""
        try:
            await work
        except Exception as error:
            self._error = error
            self._news.set()


def _items(event: WatchEvent) -> tuple[Object, ...]:
    if event.kind is EventKind.SYNCED:
        return event.items
    return (event.object,) if event.object else ()


def _made(pod: Object) -> str:
    return str(pod["metadata"]["creationTimestamp"])


def _template(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get("pod-template-hash", ""))
