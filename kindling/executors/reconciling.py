"""An environment being followed: what its status says, and how the pods of its dependencies are.

It is ready when an operator has seen its latest change, nothing is wrong, its Service and Ingress
stand, and what the app needs is up. The reason of the very pod is read from the pod, so that it is
told at once and with the end of its log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from kindling.executors.environment import HELD, Told, dependency_refs, environment_of, told_by
from kindling.executors.following import Following, Health
from kindling.executors.protocol import Job, ReadinessReport
from kindling.graph.outcome import Failure, FailureKind
from kindling.graph.spec import ObjectRef, RolloutSpec
from kindling.kube.protocol import Cluster, EventKind, Object
from kindling.objects.pods import Patience
from kindling.objects.revision import Progress

__all__ = ["Reconciling", "problem_failure"]

_ONCE_LIMIT = 300.0
"""Seconds that a session which ends by itself waits for what an environment needs."""


def problem_failure(ref: ObjectRef, told: Told) -> Failure:
    """What is said of a problem that an operator found."""
    hint = (
        "It is written when that session ends"
        if told.reason == HELD
        else f"`{told.reason}` is what the operator calls it; it tries again after every change"
    )
    return Failure(FailureKind.CLUSTER, f"{ref}: {told.problem}", hint=hint)


class Reconciling:
    """The live part of an environment's node. `live` is the environment as it was last read, `well`
    says whether its node succeeded. `begin` is awaited before it is followed."""

    def __init__(
        self,
        job: Job,
        cluster: Cluster,
        ref: ObjectRef,
        live: Object,
        patience: Patience,
        *,
        well: bool = True,
        begin: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._cluster = cluster
        self._ref = ref
        self._clock = job.world.clock
        self._log = job.log
        self._once = job.once
        self._begin = begin
        self._live: Object | None = live
        self._since = str(live["metadata"].get("resourceVersion") or "")
        self._well = well
        self._late = False
        self._explained: tuple[str, Failure] | None = None
        self._health: Health | None = None
        self._news = asyncio.Event()
        self._error: Exception | None = None
        environment = environment_of(live)
        refs = dependency_refs(environment) if environment is not None else ()
        self._names = [one.name for one in refs]
        self._dependencies = _following(job, cluster, refs, patience) if refs else None

    async def follow(self, report: Callable[[ReadinessReport], None]) -> None:
        if self._begin is not None:
            await self._begin()
        tasks = [asyncio.create_task(self._guarded(self._watch_self()))]
        if self._dependencies is not None:
            tasks.append(asyncio.create_task(self._guarded(self._watch_dependencies())))
        if self._once:
            tasks.append(asyncio.create_task(self._guarded(self._run_out())))
        try:
            await self._report_changes(report)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        if self._dependencies is not None:
            await self._dependencies.close()

    async def _report_changes(self, report: Callable[[ReadinessReport], None]) -> None:
        before = ReadinessReport(ready=self._well)
        while True:
            await self._news.wait()
            self._news.clear()
            if self._error is not None:
                raise self._error
            now = await self._judge()
            if now is not None and self._late and not now.ready:
                now = _ended(now)
            if now is not None and _differ(now, before):
                before = now
                report(now)
                if now.ended:
                    return  # whatever comes of it, the session does not wait for it

    async def _judge(self) -> ReadinessReport | None:
        """How it stands; None while too little is known."""
        if self._live is None:
            failure = Failure(FailureKind.CLUSTER, f"{self._ref} was deleted")
            return ReadinessReport(ready=False, failure=failure, ended=self._once)
        told = told_by(self._live)
        # What the node itself wrote is written; a session that came later holds nothing up.
        if told.problem and not (self._well and told.reason == HELD):
            return ReadinessReport(
                ready=False, failure=problem_failure(self._ref, told), ended=self._once
            )
        if self._dependencies is not None:
            if self._health is None:
                return None
            if self._health.progress is Progress.FAILED:
                return ReadinessReport(
                    ready=False, failure=await self._failure(self._health), ended=self._once
                )
            if self._health.progress is Progress.WAITING:
                return _waiting(self._named(self._health))
        if not told.seen:
            return _waiting("no operator has seen its latest change yet")
        return _waiting(told.waiting) if told.waiting else ReadinessReport(ready=True)

    def _named(self, health: Health) -> str:
        """What is said of the dependencies. Of several it tells which; of one it does not."""
        name = self._names[0]
        told = len(self._names) > 1 or name in health.text
        return health.text if told else f"{name}: {health.text}"

    async def _failure(self, health: Health) -> Failure:
        assert self._dependencies is not None
        if self._explained is None or self._explained[0] != health.text:
            self._explained = (health.text, await self._dependencies.failure(health))
        return self._explained[1]

    async def _watch_self(self) -> None:
        ref, fields = self._ref, (("metadata.name", self._ref.name),)
        events = self._cluster.follow(
            ref.api_version,
            ref.kind,
            namespace=ref.namespace,
            fields=fields,
            since=self._since,
        )
        async with aclosing(events):
            async for event in events:
                match event.kind:
                    case EventKind.AWAY:
                        continue
                    case EventKind.SYNCED:
                        self._live = event.items[0] if event.items else None
                    case EventKind.DELETED:
                        self._live = None
                    case _:
                        self._live = event.object
                self._news.set()

    async def _watch_dependencies(self) -> None:
        assert self._dependencies is not None
        said = ""
        async with aclosing(self._dependencies.healths()) as healths:
            async for health in healths:
                self._health = health
                text = self._named(health)
                if text != said and (said or health.progress is not Progress.READY):
                    self._log(text, "kindling")
                    said = text
                self._news.set()

    async def _run_out(self) -> None:
        await self._clock.sleep(_ONCE_LIMIT)
        self._late = True
        self._news.set()

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self._error = error
            self._news.set()


def _following(
    job: Job, cluster: Cluster, refs: tuple[ObjectRef, ...], patience: Patience
) -> Following:
    """What follows the pods of dependencies: as a rollout of them, without their logs."""
    spec = RolloutSpec(apply=job.node.id, objects=refs)
    return Following(
        replace(job, node=replace(job.node, spec=spec)), cluster, refs, patience, logs=False
    )


def _waiting(text: str) -> ReadinessReport:
    return ReadinessReport(ready=False, failure=Failure(FailureKind.ROLLOUT, text))


def _ended(report: ReadinessReport) -> ReadinessReport:
    text = report.failure.summary if report.failure else "it is not ready"
    summary = f"not ready within {_ONCE_LIMIT:.0f} s: {text}"
    return ReadinessReport(ready=False, failure=Failure(FailureKind.TIMEOUT, summary), ended=True)


def _differ(now: ReadinessReport, before: ReadinessReport) -> bool:
    if now.ready or before.ready:
        return now.ready != before.ready
    return now != before
