"""Job: pods that run to an end, as often as it takes.

A pod carries a finalizer until it has been counted, so that none is forgotten: first its UID is
noted in the status, then the finalizer goes, then the number grows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kindling.cluster.controllers.controller import OPTIONS, Controller, key_of, owner_keys
from kindling.cluster.controllers.job_pods import TRACKING, job_pod, missing_indexes
from kindling.cluster.controllers.job_rules import (
    back_off,
    failed_with,
    format_indexes,
    index_failures,
    index_of,
    judge,
    parse_indexes,
    restarts,
)
from kindling.cluster.controllers.kinds import JOBS, PODS
from kindling.cluster.controllers.meta import (
    condition,
    controller_of,
    int_or,
    name_of,
    namespace_of,
    parse_time,
    terminating,
    uid_of,
    with_condition,
)
from kindling.cluster.controllers.ownership import owned
from kindling.cluster.controllers.pods import (
    create_pod,
    delete_pod,
    finished,
    phase,
    ready,
    slow_start,
)
from kindling.cluster.controllers.ranking import pods_to_delete
from kindling.cluster.controllers.work import Key
from kindling.cluster.model.api import Change, DeleteOptions, Obj, Selection
from kindling.cluster.model.status import ApiError

__all__ = ["JobController", "job_ended"]

_FOREVER = float("inf")


def job_ended(job: Obj) -> str:
    """`Complete` or `Failed` for a Job that is over, else empty."""
    for type_ in ("Complete", "Failed"):
        found = condition(job.get("status"), type_)
        if found is not None and found.get("status") == "True":
            return type_
    return ""


@dataclass(slots=True)
class _Tally:
    """One pass over a Job: its pods, and the status as it will be."""

    job: Obj
    pods: list[Obj]
    status: Obj
    now: float
    indexed: bool
    completions: int | None
    done: set[int] = field(default_factory=set)
    failed_indexes: set[int] = field(default_factory=set)
    succeeded_pods: list[Obj] = field(default_factory=list)
    failed_pods: list[Obj] = field(default_factory=list)
    succeeded: int = 0
    failed: int = 0
    fails_job: str = ""
    later: float = _FOREVER

    @property
    def active(self) -> list[Obj]:
        return [pod for pod in self.pods if not finished(pod) and not terminating(pod)]

    @property
    def leaving(self) -> list[Obj]:
        return [pod for pod in self.pods if terminating(pod) and not finished(pod)]

    def wait(self, seconds: float) -> None:
        self.later = min(self.later, max(seconds, 0.0))


class JobController(Controller):
    name = "job"
    kinds = (JOBS, PODS)

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.key == JOBS.key:
            return (key_of(change.object),)
        return owner_keys(change, JOBS)

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        job = self.api.get(JOBS, name, namespace)
        await self._let_go_of_strangers(job, namespace, name)
        if job is None or terminating(job):
            return None
        if job_ended(job):
            await self._uncount_all(owned(self.api, PODS, job))
            return await self._expire(job)
        tally = self._count(job)
        verdict = self._verdict(tally)
        error: ApiError | None = None
        try:
            if verdict is None:
                await self._manage(tally)
            else:
                await self._wind_up(tally)
        except ApiError as refused:
            error = refused
        await self._report(tally, verdict)
        if error is not None:
            raise error
        return None if tally.later == _FOREVER else tally.later

    # --- counting ------------------------------------------------------------------------------

    def _count(self, job: Obj) -> _Tally:
        spec = job["spec"]
        status = dict(job.get("status") or {})
        completions = spec.get("completions")
        tally = _Tally(
            job,
            owned(self.api, PODS, job),
            status,
            self.world.clock.time(),
            spec.get("completionMode") == "Indexed",
            None if completions is None else int(completions),
        )
        if tally.indexed:
            limit = tally.completions or 0
            tally.done = parse_indexes(status.get("completedIndexes"), limit)
            tally.failed_indexes = parse_indexes(status.get("failedIndexes"), limit)
        noted = status.get("uncountedTerminatedPods") or {}
        waiting: dict[str, list[str]] = {
            "succeeded": list(noted.get("succeeded") or ()),
            "failed": list(noted.get("failed") or ()),
        }
        tracked = {uid_of(pod) for pod in tally.pods if _tracked(pod)}
        # Those whose finalizer is gone can be counted, for they cannot be noted again.
        for kind, uids in waiting.items():
            counted = [uid for uid in uids if uid not in tracked]
            number = int_or(status.get(kind), 0) + len(counted)
            if number:
                status[kind] = number
            waiting[kind] = [uid for uid in uids if uid in tracked]
        replaced_when_gone = self._replaces_when_gone(job)
        for pod in tally.pods:
            if phase(pod) == "Succeeded":
                self._note_success(tally, pod, waiting["succeeded"])
            elif failed_with(pod, replaced_when_gone):
                self._note_failure(tally, pod, waiting)
        tally.failed = int_or(status.get("failed"), 0) + len(waiting["failed"])
        if tally.indexed:
            tally.succeeded = len(tally.done)
            # An index counts once, however many pods of it succeeded.
            waiting["succeeded"] = []
        else:
            tally.succeeded = int_or(status.get("succeeded"), 0) + len(waiting["succeeded"])
        status["uncountedTerminatedPods"] = {key: uids for key, uids in waiting.items() if uids}
        return tally

    @staticmethod
    def _replaces_when_gone(job: Obj) -> bool:
        policy = job["spec"].get("podReplacementPolicy")
        return policy == "Failed" or (
            policy is None and job["spec"].get("podFailurePolicy") is not None
        )

    @staticmethod
    def _note_success(tally: _Tally, pod: Obj, waiting: list[str]) -> None:
        tally.succeeded_pods.append(pod)
        if tally.indexed:
            index = index_of(pod)
            if index is not None and index < (tally.completions or 0):
                tally.done.add(index)
        if _tracked(pod) and uid_of(pod) not in waiting:
            waiting.append(uid_of(pod))

    @staticmethod
    def _note_failure(tally: _Tally, pod: Obj, waiting: dict[str, list[str]]) -> None:
        judgement = judge(tally.job, pod) if phase(pod) == "Failed" else None
        if judgement is not None and judgement.fails_job and not tally.fails_job:
            tally.fails_job = judgement.fails_job
        if judgement is not None and not judgement.counts:
            return
        tally.failed_pods.append(pod)
        limit = tally.job["spec"].get("backoffLimitPerIndex")
        index = index_of(pod)
        if (
            index is not None
            and limit is not None
            and (
                index_failures(pod) >= int(limit)
                or (judgement is not None and judgement.fails_index)
            )
        ):
            tally.failed_indexes.add(index)
        if _tracked(pod) and uid_of(pod) not in waiting["failed"]:
            waiting["failed"].append(uid_of(pod))

    # --- deciding ------------------------------------------------------------------------------

    def _verdict(self, tally: _Tally) -> tuple[str, str, str] | None:
        """How the Job ends, if it does: type, reason and message of the condition."""
        job, spec = tally.job, tally.job["spec"]
        for type_, end in (("FailureTarget", "Failed"), ("SuccessCriteriaMet", "Complete")):
            found = condition(job.get("status"), type_)
            if found is not None and found.get("status") == "True":
                return (end, found.get("reason", ""), found.get("message", ""))
        if tally.fails_job:
            return ("Failed", "PodFailurePolicy", tally.fails_job)
        limit = int_or(spec.get("backoffLimit"), 6)
        per_index = spec.get("backoffLimitPerIndex") is not None
        if per_index and "backoffLimit" not in spec:
            limit = 2**31 - 1
        over = tally.failed > limit
        if (spec["template"]["spec"].get("restartPolicy")) == "OnFailure":
            again = restarts(tally.pods)
            over = over or (again > 0 if limit == 0 else again >= limit)
        if over:
            return (
                "Failed",
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            )
        started = parse_time(tally.status.get("startTime"))
        deadline = spec.get("activeDeadlineSeconds")
        if deadline is not None and started and not spec.get("suspend"):
            left = started + int(deadline) - tally.now
            if left <= 0:
                return (
                    "Failed",
                    "DeadlineExceeded",
                    "Job was active longer than specified deadline",
                )
            tally.wait(left)
        if (decided := self._success_policy(tally)) is not None:
            return decided
        if per_index and tally.indexed:
            most = spec.get("maxFailedIndexes")
            if most is not None and len(tally.failed_indexes) > int(most):
                return (
                    "Failed",
                    "MaxFailedIndexesExceeded",
                    "Job has exceeded the specified maximal number of failed indexes",
                )
            total = len(tally.failed_indexes) + len(tally.done)
            if tally.failed_indexes and total >= (tally.completions or 0):
                return ("Failed", "FailedIndexes", "Job has failed indexes")
        if tally.completions is None:
            complete = tally.succeeded > 0 and not tally.active
        else:
            complete = tally.succeeded >= tally.completions
        if complete:
            return ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        return None

    @staticmethod
    def _success_policy(tally: _Tally) -> tuple[str, str, str] | None:
        rules = (tally.job["spec"].get("successPolicy") or {}).get("rules") or ()
        for number, rule in enumerate(rules):
            wanted = tally.done
            if rule.get("succeededIndexes") is not None:
                named = parse_indexes(rule["succeededIndexes"], tally.completions or 0)
                wanted = tally.done & named
                needed = int_or(rule.get("succeededCount"), len(named))
            else:
                needed = int_or(rule.get("succeededCount"), 2**31 - 1)
            if len(wanted) >= needed:
                return ("Complete", "SuccessPolicy", f"Matched rules at index {number}")
        return None

    # --- doing ---------------------------------------------------------------------------------

    async def _manage(self, tally: _Tally) -> None:
        """Have as many pods at work as are wanted."""
        job, spec = tally.job, tally.job["spec"]
        if spec.get("suspend"):
            await self._remove(tally, tally.active)
            self._suspended(tally)
            return
        self._resumed(tally)
        parallel = int_or(spec.get("parallelism"), 1)
        active = tally.active
        if tally.completions is None:
            wanted = len(active) if tally.succeeded else parallel
        else:
            left = tally.completions - tally.succeeded - len(tally.failed_indexes)
            wanted = min(left, parallel)
        if len(active) > wanted:
            surplus = pods_to_delete(active, len(active) - max(wanted, 0), now=tally.now)
            await self._remove(tally, surplus)
            return
        occupied = len(active)
        if self._replaces_when_gone(job):
            occupied += len(tally.leaving)
        missing = min(wanted - occupied, 500)
        if missing <= 0:
            return
        wait = back_off(tally.failed_pods, tally.succeeded_pods, tally.now)
        if wait > 0:
            tally.wait(wait)
            return
        indexes: Sequence[int | None] = [None] * missing
        if tally.indexed:
            taken = [*active, *(tally.leaving if self._replaces_when_gone(job) else ())]
            indexes = missing_indexes(
                missing, tally.completions or 0, tally.done | tally.failed_indexes, taken
            )

        async def make(number: int) -> None:
            index = indexes[number]
            before = 0
            if index is not None and spec.get("backoffLimitPerIndex") is not None:
                same = [pod for pod in tally.failed_pods if index_of(pod) == index]
                before = max((index_failures(pod) + 1 for pod in same), default=0)
            pod = job_pod(job, index, before)
            tally.pods.append(await create_pod(self.world, self.events, job, pod))

        await slow_start(len(indexes), make)

    def _suspended(self, tally: _Tally) -> None:
        found = condition(tally.status, "Suspended")
        if found is None or found.get("status") != "True":
            self._set(tally, "Suspended", "True", "JobSuspended", "Job suspended")
            self.events.normal(tally.job, "Suspended", "Job suspended")
        tally.status.pop("startTime", None)

    def _resumed(self, tally: _Tally) -> None:
        found = condition(tally.status, "Suspended")
        if found is not None and found.get("status") == "True":
            self._set(tally, "Suspended", "False", "JobResumed", "Job resumed")
            self.events.normal(tally.job, "Resumed", "Job resumed")
        if not tally.status.get("startTime"):
            tally.status["startTime"] = self.world.now
            if (limit := tally.job["spec"].get("activeDeadlineSeconds")) is not None:
                tally.wait(float(limit))

    async def _wind_up(self, tally: _Tally) -> None:
        """End the pods that still run, since the Job is decided."""
        await asyncio.gather(
            *(delete_pod(self.world, self.events, tally.job, pod) for pod in tally.active)
        )
        tally.pods = owned(self.api, PODS, tally.job)
        if not tally.status.get("startTime"):
            tally.status["startTime"] = self.world.now

    async def _remove(self, tally: _Tally, pods: Sequence[Obj]) -> None:
        """End pods that are not wanted; without their finalizer they are not counted as failed."""
        for pod in pods:
            await self._uncount(pod)
            await delete_pod(self.world, self.events, tally.job, pod)
        if pods:
            tally.pods = owned(self.api, PODS, tally.job)

    # --- telling -------------------------------------------------------------------------------

    def _set(self, tally: _Tally, type_: str, status: str, reason: str, message: str) -> None:
        now = self.world.now
        new: dict[str, Any] = {
            "type": type_,
            "status": status,
            "lastProbeTime": now,
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        }
        tally.status["conditions"] = with_condition(tally.status.get("conditions"), new)

    async def _report(self, tally: _Tally, verdict: tuple[str, str, str] | None) -> None:
        status = tally.status
        for name, number in (
            ("active", len(tally.active)),
            ("succeeded", len(tally.done) if tally.indexed else int_or(status.get("succeeded"), 0)),
        ):
            status.pop(name, None)
            if number:
                status[name] = number
        status["ready"] = sum(ready(pod) for pod in tally.active)
        status["terminating"] = len(tally.leaving)
        if tally.done:
            status["completedIndexes"] = format_indexes(tally.done)
        if tally.job["spec"].get("backoffLimitPerIndex") is not None:
            status["failedIndexes"] = format_indexes(tally.failed_indexes)
        if verdict is not None:
            self._decide(tally, verdict)
        job = await self.write_status(JOBS, tally.job, status)
        if self._is_over(job) and not job_ended(tally.job):
            self._announce(job)
        # What was noted in the status need not be held on to any longer.
        noted = status.get("uncountedTerminatedPods") or {}
        written = {*(noted.get("succeeded") or ()), *(noted.get("failed") or ())}
        for pod in tally.pods:
            ignored = phase(pod) == "Failed" and not judge(tally.job, pod).counts
            if _tracked(pod) and (
                uid_of(pod) in written or ignored or (tally.indexed and phase(pod) == "Succeeded")
            ):
                await self._uncount(pod)

    def _decide(self, tally: _Tally, verdict: tuple[str, str, str]) -> None:
        """Say how it ends, and once no pod is left on its way and all are counted, that it has."""
        end, reason, message = verdict
        first = "FailureTarget" if end == "Failed" else "SuccessCriteriaMet"
        if condition(tally.status, first) is None:
            self._set(tally, first, "True", reason, message)
        if tally.active or tally.leaving or tally.status.get("uncountedTerminatedPods"):
            return
        self._set(tally, end, "True", reason, message)
        if end == "Complete":
            tally.status["completionTime"] = self.world.now

    @staticmethod
    def _is_over(job: Obj) -> bool:
        return bool(job_ended(job))

    def _announce(self, job: Obj) -> None:
        end = job_ended(job)
        if end == "Complete":
            self.events.normal(job, "Completed", "Job completed")
            return
        found = condition(job.get("status"), end) or {}
        self.events.warning(job, found.get("reason", "Failed"), found.get("message", ""))

    # --- letting go ----------------------------------------------------------------------------

    async def _uncount(self, pod: Obj) -> None:
        """Take our finalizer off a pod."""
        if not _tracked(pod):
            return
        kept = [name for name in pod["metadata"]["finalizers"] if name != TRACKING]
        change = {"metadata": {"uid": uid_of(pod), "finalizers": kept or None}}
        try:
            await self.api.patch(PODS, name_of(pod), change, namespace_of(pod), options=OPTIONS)
        except ApiError as error:
            if error.code not in (404, 422):
                raise

    async def _uncount_all(self, pods: Sequence[Obj]) -> None:
        for pod in pods:
            if finished(pod) or terminating(pod):
                await self._uncount(pod)

    async def _let_go_of_strangers(self, job: Obj | None, namespace: str, name: str) -> None:
        """Pods of a Job that is gone, or going, are held by nobody."""
        if job is not None and not terminating(job):
            return
        for pod in self.api.select(PODS, Selection(namespace)):
            reference = controller_of(pod)
            if (
                _tracked(pod)
                and reference is not None
                and reference.get("kind") == "Job"
                and reference.get("name") == name
            ):
                await self._uncount(pod)

    async def _expire(self, job: Obj) -> float | None:
        """Delete a Job that is over when its time to live has passed."""
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is None:
            return None
        found = condition(job.get("status"), job_ended(job)) or {}
        left = parse_time(found.get("lastTransitionTime")) + int(ttl) - self.world.clock.time()
        if left > 0:
            return left
        options = DeleteOptions(uid=uid_of(job), propagation="Foreground")
        try:
            await self.api.delete(JOBS, name_of(job), namespace_of(job), options)
        except ApiError as error:
            if error.code != 404:
                raise
        return None


def _tracked(pod: Obj) -> bool:
    return TRACKING in (pod["metadata"].get("finalizers") or ())
