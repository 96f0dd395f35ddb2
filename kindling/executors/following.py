"""One rollout being followed: its health from moment to moment, and what to say when it is bad."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kindling.executors.podlogs import PodLogs, last_lines
from kindling.executors.protocol import (
    Failed,
    Job,
    Outcome,
    ReadinessReport,
    Succeeded,
)
from kindling.executors.steadiness import Steadiness
from kindling.graph.outcome import Failure, FailureKind, Output
from kindling.graph.spec import ObjectRef, Readiness, RolloutSpec
from kindling.kube.podwatch import PodWatch
from kindling.kube.protocol import Cluster, Object
from kindling.objects.pods import (
    Patience,
    Trouble,
    is_deleting,
    is_done,
    is_ready,
    pod_name,
    troubles,
    waits_for,
)
from kindling.objects.revision import Progress, Standing, assess
from kindling.objects.secretnames import PREFIX, known_as

__all__ = ["Following", "Health"]

_LOG_LINES = 15
_SHOWN = 3
_TICK = 0.25
_ONCE_LIMIT = 300.0
_SHARE = 0.95
"""Of the node's own time limit: what is left is for saying what was not ready."""

_HINTS = (
    ("OOMKilled", "It needs more memory than its limit allows: raise `resources.limits.memory`"),
    ("ErrImageNeverPull", "The image is not on the node, and its pull policy is `Never`"),
    ("Image", "Is the image's name right, and can the cluster pull it?"),
    (
        "CreateContainerConfigError",
        "Does it name a ConfigMap or Secret, or a key, that is missing?",
    ),
    ("Unschedulable", "No node takes it: look at its requests, node selector and volume claims"),
    ("FailedMount", "Does it mount a ConfigMap, Secret or claim that is missing?"),
)


_MISSING_SECRET = re.compile(rf'secret "({re.escape(PREFIX)}[-.a-z0-9]+)" not found')


def _hint(reason: str, message: str) -> str:
    if found := _MISSING_SECRET.search(message):
        name = known_as(found[1], ())
        return f"`kindling secrets set {name.upper().replace('-', '_')}` makes it"
    return next((text for mark, text in _HINTS if mark in reason), "")


@dataclass(frozen=True, slots=True)
class Health:
    """All workloads of a rollout together."""

    progress: Progress
    text: str
    revision: str
    pods: tuple[Object, ...] = ()
    ended: bool = False
    troubles: tuple[tuple[Object, Trouble], ...] = ()


class Following:
    """Follows the pods of `refs`, during `run` and after it as the node's live part."""

    def __init__(
        self,
        job: Job,
        cluster: Cluster,
        refs: tuple[ObjectRef, ...],
        patience: Patience,
        *,
        logs: bool = True,
    ) -> None:
        spec = job.node.spec
        assert isinstance(spec, RolloutSpec)
        self._cluster = cluster
        self._clock = job.world.clock
        self._refs = refs
        self._selectors = spec.selectors
        self._readiness = spec.readiness
        self._patience = patience
        self._watch = PodWatch(cluster, refs, spec.selectors)
        self._logs = (
            PodLogs(cluster, job.log, job.world.clock, job.world.clock.time()) if logs else None
        )
        self._ended: dict[ObjectRef, str] = {}
        self._known: frozenset[str] = frozenset()
        self._steady = Steadiness(job.world.clock, patience)
        self._told: tuple[Progress, str] | None = None
        self._say = job.log

    async def look(self, recorded: Output) -> Health:
        """How things stand now, read once."""
        self.recall(recorded)
        await self._watch.look()
        return self._health()

    def recall(self, recorded: Output) -> None:
        """What an earlier run saw: pods that served, and Jobs that had completed, which may have
        removed themselves since."""
        self._known = frozenset(recorded.data.get("pods") or ())
        ended = recorded.data.get("ended") or {}
        self._ended = {ref: str(ended[str(ref)]) for ref in self._refs if str(ref) in ended}

    async def until_settled(self, job: Job) -> Outcome:
        if not self._refs:  # a command deployed nothing that has pods
            return Succeeded(self._output("", ()))
        await self._watch.start()
        if self._readiness is Readiness.IGNORE:
            return Succeeded(self._output("", ()), live=self)
        limit = job.node.timeout * _SHARE or (_ONCE_LIMIT if job.once else 0.0)
        deadline = self._clock.monotonic() + limit if limit else float("inf")
        said = ""
        while True:
            health = await self._next(deadline)
            if health.text != said:
                said = health.text
                self._say(said, "kindling")
            if health.progress is Progress.READY:
                return await self._succeed(health)
            if health.progress is Progress.FAILED:
                self._told = (health.progress, health.text)
                return Failed(await self.failure(health), live=self)
            if self._clock.monotonic() >= deadline:
                failure = await self.failure(health, FailureKind.TIMEOUT, limit)
                return Failed(failure, live=self)

    async def healths(self) -> AsyncGenerator[Health, None]:
        """The health now, and again after every change, for who follows pods as a part of
        something else."""
        if not self._watch.started:
            await self._watch.start()
        while True:
            yield await self._next(float("inf"))

    async def follow(self, report: Callable[[ReadinessReport], None]) -> None:
        if not self._watch.started:
            await self._watch.start()
        if self._readiness is Readiness.IGNORE:
            while True:
                self._watch.changed.clear()
                self._health_and_logs()
                await self._watch.changed.wait()
        while True:
            health = await self._next(float("inf"))
            now = (health.progress, health.text)
            if self._told is None and health.progress is Progress.READY:
                self._told = now
            if self._told is not None and now[0] is self._told[0] is Progress.READY:
                continue
            if now == self._told:
                continue
            self._told = now
            if health.progress is Progress.READY:
                report(ReadinessReport(ready=True))
            elif health.progress is Progress.FAILED:
                report(ReadinessReport(ready=False, failure=await self.failure(health)))
            else:
                failure = Failure(FailureKind.ROLLOUT, health.text)
                report(ReadinessReport(ready=False, failure=failure))

    async def close(self) -> None:
        await self._watch.close()
        if self._logs is not None:
            await self._logs.close()

    async def _succeed(self, health: Health) -> Outcome:
        await self._watch.ease()
        self._told = (health.progress, health.text)
        output = self._output(health.revision, health.pods)
        if not health.ended:
            return Succeeded(output, live=self)
        if self._logs is not None:
            await self._logs.drain()
        await self.close()
        return Succeeded(output)

    async def _next(self, deadline: float) -> Health:
        """The health after the next change; also after a moment, while patience may run out."""
        while True:
            if self._watch.error is not None:
                raise self._watch.error
            if self._watch.complete and self._watch.changed.is_set():
                self._watch.changed.clear()
                await self._watch.settle()
                return self._health_and_logs()
            waiting = asyncio.ensure_future(self._watch.changed.wait())
            pending = self._pending() or deadline < float("inf")
            tick = asyncio.ensure_future(self._clock.sleep(_TICK)) if pending else None
            tasks: list[asyncio.Future[Any]] = [waiting, *([tick] if tick else [])]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            if not self._watch.changed.is_set() and self._watch.complete:
                return self._health_and_logs()
            if not self._watch.complete and self._watch.error is None:
                self._watch.changed.clear()

    def _pending(self) -> bool:
        """Whether time alone may turn what there is into a failure."""
        if not self._watch.complete:
            return False
        health = self._health()
        unsteady = any(is_ready(pod) and not self._serves(pod) for pod in health.pods)
        return bool(health.troubles) or unsteady

    def _health_and_logs(self) -> Health:
        health = self._health()
        if self._logs is not None:
            self._logs.update(self._all_pods(health))
        return health

    def _all_pods(self, health: Health) -> list[Object]:
        return [*health.pods, *self._watch.extra_pods()]

    def _health(self) -> Health:
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        standings = {ref: self._standing(ref) for ref in self._refs}
        extra = [pod for pod in self._watch.extra_pods() if not is_deleting(pod)]
        pods = tuple(pod for standing in standings.values() for pod in standing.pods)
        found: list[tuple[Object, Trouble]] = []
        for ref, standing in standings.items():
            if standing.progress is not Progress.READY:
                found += self._troubles(ref, standing, now)
        found += [
            (pod, trouble)
            for pod in extra
            if not self._serves(pod)
            for trouble in troubles(pod, now, self._patience, self._watch.warnings(pod))
        ]
        found.sort(key=lambda item: not item[1].hopeless)
        lagging = [pod for pod in extra if not self._serves(pod) and not is_done(pod)]
        progress, text = _together(standings, found, lagging)
        if progress is Progress.WAITING and not found:
            waited = dict.fromkeys(awaited for pod in pods if (awaited := waits_for(pod)))
            text += f" (waiting for {', '.join(waited)})" if waited else ""
        return Health(
            progress,
            text,
            ", ".join(f"{ref.kind}/{ref.name}@{s.revision}" for ref, s in standings.items()),
            (*pods, *extra),
            all(s.ended for s in standings.values()) and not extra,
            tuple(found),
        )

    def _standing(self, ref: ObjectRef) -> Standing:
        workload = self._watch.workloads.get(ref)
        if workload is not None:
            return self._assess(ref, workload)
        if last := self._watch.last.get(ref):
            # A Job may have completed and removed itself before anybody looked.
            self._assess(ref, last)
        if ref in self._ended:
            text = "completed and gone"
            return Standing(Progress.READY, text, self._ended[ref], ended=True)
        return Standing(Progress.FAILED, f"{ref} was deleted")

    def _assess(self, ref: ObjectRef, workload: Object) -> Standing:
        if ref.kind == "Job":
            self._ended.pop(ref, None)
        standing = assess(
            workload,
            self._watch.replica_sets(),
            self._watch.pods(ref),
            self._readiness,
            self._serves,
        )
        if standing.ended and ref.kind == "Job":
            self._ended[ref] = standing.revision
        return standing

    def _serves(self, pod: Object) -> bool:
        return self._steady.serves(pod, known=pod_name(pod) in self._known)

    def _troubles(
        self, ref: ObjectRef, standing: Standing, now: datetime
    ) -> list[tuple[Object, Trouble]]:
        found = [
            (pod, trouble)
            for pod in standing.pods
            for trouble in troubles(pod, now, self._patience, self._watch.warnings(pod))
        ]
        workload = self._watch.workloads.get(ref)
        if ref.kind != "Job" or workload is None or standing.progress is Progress.FAILED:
            return found
        # A job makes another pod after one that failed: one failure says little, several do.
        failed = int((workload.get("status") or {}).get("failed") or 0)
        if failed >= self._patience.crashes:
            return found
        return [(pod, _hopeful(trouble) if trouble.crashed else trouble) for pod, trouble in found]

    async def failure(
        self, health: Health, kind: FailureKind = FailureKind.ROLLOUT, limit: float = 0.0
    ) -> Failure:
        """What is to be said of a health that is not good, with the ends of logs."""
        summary, details, hint = health.text, [], ""
        if kind is FailureKind.TIMEOUT:
            summary = f"not ready within {limit:.0f} s: {health.text}"
        shown = health.troubles[:_SHOWN]
        if shown and health.progress is Progress.FAILED:
            summary = shown[0][1].summary
            if health.text not in (summary, ""):
                details.append(health.text)
            hint = _hint(shown[0][1].reason, shown[0][1].message)
        for number, (pod, trouble) in enumerate(shown):
            if number or trouble.summary != summary:
                details.append(trouble.summary)
            if trouble.message:
                details.append(trouble.message)
            if trouble.container:
                details += await self._log_end(pod, trouble)
        if len(health.troubles) > _SHOWN:
            others = len(health.troubles) - _SHOWN
            details.append(f"and {others} more trouble{'s' if others > 1 else ''}")
        return Failure(kind, summary, tuple(details), hint)

    def _output(self, revision: str, pods: tuple[Object, ...]) -> Output:
        digest = "sha256:" + hashlib.sha256(revision.encode()).hexdigest()
        return Output(
            digest,
            {
                "revision": revision,
                "pods": sorted(pod_name(pod) for pod in pods),
                "ended": {str(ref): revision for ref, revision in self._ended.items()},
                "objects": [
                    {
                        "apiVersion": ref.api_version,
                        "kind": ref.kind,
                        "name": ref.name,
                        "namespace": ref.namespace,
                    }
                    for ref in self._refs
                ],
                "selectors": [[list(pair) for pair in s] for s in self._selectors],
            },
        )

    async def _log_end(self, pod: Object, trouble: Trouble) -> list[str]:
        lines = await last_lines(
            self._cluster, pod, trouble.container, crashed=trouble.crashed, count=_LOG_LINES
        )
        if not lines:
            return []
        head = f"the end of the log of {trouble.pod}/{trouble.container}:"
        return [head, *(f"  {line}" for line in lines)]


def _together(
    standings: dict[ObjectRef, Standing],
    found: list[tuple[Object, Trouble]],
    lagging: list[Object],
) -> tuple[Progress, str]:
    several = len(standings) > 1

    def say(ref: ObjectRef, standing: Standing) -> str:
        return f"{ref.kind}/{ref.name}: {standing.text}" if several else standing.text

    failed = [(r, s) for r, s in standings.items() if s.progress is Progress.FAILED]
    if failed:
        return Progress.FAILED, "; ".join(say(*item) for item in failed)
    hopeless = [trouble for _, trouble in found if trouble.hopeless]
    if hopeless:
        return Progress.FAILED, hopeless[0].summary
    waiting = [(r, s) for r, s in standings.items() if s.progress is Progress.WAITING]
    if waiting:
        text = "; ".join(say(*item) for item in waiting)
        return Progress.WAITING, f"{text} ({found[0][1].summary})" if found else text
    if lagging:
        return Progress.WAITING, f"pod {pod_name(lagging[0])} is not ready"
    return Progress.READY, "; ".join(say(*item) for item in standings.items())


def _hopeful(trouble: Trouble) -> Trouble:
    return Trouble(
        trouble.pod,
        trouble.container,
        trouble.reason,
        trouble.message,
        trouble.exit_code,
        trouble.restarts,
        hopeless=False,
        crashed=trouble.crashed,
    )
