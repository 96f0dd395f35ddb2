"""CronJob: Jobs by the clock."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

from kindling.cluster.controllers.controller import OPTIONS, Controller, key_of, owner_keys
from kindling.cluster.controllers.cron import Schedule, ScheduleError, parse_schedule
from kindling.cluster.controllers.job import job_ended
from kindling.cluster.controllers.kinds import CRON_JOBS, JOBS
from kindling.cluster.controllers.meta import (
    int_or,
    name_of,
    namespace_of,
    owner_reference,
    parse_time,
    stamp,
    terminating,
    uid_of,
)
from kindling.cluster.controllers.ownership import owned
from kindling.cluster.controllers.work import Key
from kindling.cluster.model.api import Change, DeleteOptions, Obj
from kindling.cluster.model.status import ApiError

__all__ = ["CronJobController"]

_TOO_MANY = 100
_SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"


class CronJobController(Controller):
    name = "cronjob"
    kinds = (CRON_JOBS, JOBS)

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.key == CRON_JOBS.key:
            return (key_of(change.object),)
        return owner_keys(change, CRON_JOBS)

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        cron = self.api.get(CRON_JOBS, name, namespace)
        if cron is None or terminating(cron):
            return None
        jobs = owned(self.api, JOBS, cron)
        status = self._followed(cron, jobs)
        await self._clean_up(cron, jobs)
        again: float | None = None
        if not cron["spec"].get("suspend"):
            try:
                schedule = parse_schedule(
                    cron["spec"]["schedule"], cron["spec"].get("timeZone") or ""
                )
            except ScheduleError as error:
                self.events.warning(cron, "UnparseableSchedule", f"unparseable schedule: {error}")
            else:
                again = await self._tick(cron, jobs, schedule, status)
        await self.write_status(CRON_JOBS, cron, status)
        return again

    def _followed(self, cron: Obj, jobs: list[Obj]) -> Obj:
        """The status with those Jobs that run now; ended ones are told of."""
        status = dict(cron.get("status") or {})
        active = {one.get("uid"): one for one in status.get("active") or ()}
        known = {uid_of(job): job for job in jobs}
        for uid, job in known.items():
            ended = job_ended(job)
            if uid in active and ended:
                self.events.normal(
                    cron,
                    "SawCompletedJob",
                    f"Saw completed job: {name_of(job)}, condition: {ended}",
                )
                del active[uid]
                finished = (job.get("status") or {}).get("completionTime")
                if ended == "Complete" and finished:
                    before = parse_time(status.get("lastSuccessfulTime"))
                    if parse_time(finished) > before:
                        status["lastSuccessfulTime"] = finished
            elif uid not in active and not ended:
                self.events.warning(
                    cron,
                    "UnexpectedJob",
                    f"Saw a job that the controller did not create or forgot: {name_of(job)}",
                )
        for uid, reference in list(active.items()):
            if uid not in known:
                self.events.normal(
                    cron, "MissingJob", f"Active job went missing: {reference.get('name')}"
                )
                del active[uid]
        status.pop("active", None)
        if active:
            status["active"] = list(active.values())
        return status

    async def _clean_up(self, cron: Obj, jobs: list[Obj]) -> None:
        """Delete ended Jobs beyond the history limits, the oldest first."""
        for end, field, default in (
            ("Complete", "successfulJobsHistoryLimit", 3),
            ("Failed", "failedJobsHistoryLimit", 1),
        ):
            limit = int_or(cron["spec"].get(field), default)
            ended = [job for job in jobs if job_ended(job) == end and not terminating(job)]
            ended.sort(
                key=lambda job: ((job.get("status") or {}).get("startTime") or "", name_of(job))
            )
            for job in ended[: max(len(ended) - limit, 0)]:
                await self._delete(cron, job)

    async def _delete(self, cron: Obj, job: Obj) -> None:
        options = DeleteOptions(uid=uid_of(job), propagation="Background")
        try:
            await self.api.delete(JOBS, name_of(job), namespace_of(job), options)
        except ApiError as error:
            if error.code == 404:
                return
            self.events.warning(cron, "FailedDelete", f"Deleted job: {error}")
            raise
        self.events.normal(cron, "SuccessfulDelete", f"Deleted job {name_of(job)}")

    async def _tick(
        self, cron: Obj, jobs: list[Obj], schedule: Schedule, status: Obj
    ) -> float | None:
        """Start what is due; the seconds until the next time."""
        now = self.world.clock.time()
        due = self._last_due(cron, schedule, now)
        following = schedule.after(now)
        again = None if following is None else following - now
        if due is None:
            return again
        deadline = cron["spec"].get("startingDeadlineSeconds")
        if deadline is not None and due + int(deadline) < now:
            self.events.warning(
                cron,
                "MissSchedule",
                "Missed scheduled time to start a job: "
                f"{stamp(due).replace('T', ' ').replace('Z', ' +0000 UTC')}",
            )
            return again
        name = f"{name_of(cron)}-{int(due) // 60}"
        active: list[Obj] = list(status.get("active") or ())
        if any(one.get("name") == name for one in active):
            return again
        if any(name_of(job) == name for job in jobs):
            return again
        policy = cron["spec"].get("concurrencyPolicy") or "Allow"
        if policy == "Forbid" and active:
            self.events.normal(
                cron,
                "JobAlreadyActive",
                "Not starting job because prior execution is running and concurrency policy is"
                " Forbid",
            )
            return again
        if policy == "Replace":
            for reference in active:
                for job in jobs:
                    if uid_of(job) == reference.get("uid"):
                        await self._delete(cron, job)
            active = []
        made = await self._start(cron, name, due)
        if made is not None:
            active.append(_reference(made))
        status["lastScheduleTime"] = stamp(due)
        status.pop("active", None)
        if active:
            status["active"] = active
        return again

    def _last_due(self, cron: Obj, schedule: Schedule, now: float) -> float | None:
        """The newest time that is due and not yet served; those before it are skipped."""
        created = parse_time(cron["metadata"].get("creationTimestamp"))
        since = parse_time((cron.get("status") or {}).get("lastScheduleTime"), created)
        deadline = cron["spec"].get("startingDeadlineSeconds")
        if deadline is not None:
            since = max(since, now - int(deadline))
        latest: float | None = None
        missed = 0
        # Going through years of minutes would hold everything up.
        start = max(since, now - 8 * 86400) if schedule.every or len(schedule.hours) > 4 else since
        for moment in schedule.due(start, now):
            latest = moment
            missed += 1
        if missed > _TOO_MANY:
            self.events.warning(
                cron,
                "TooManyMissedTimes",
                f"too many missed start times: {missed}. Set or decrease"
                " .spec.startingDeadlineSeconds or check clock skew",
            )
        return latest

    async def _start(self, cron: Obj, name: str, due: float) -> Obj | None:
        template = cron["spec"]["jobTemplate"]
        found = template.get("metadata") or {}
        zone = cron["spec"].get("timeZone")
        local = stamp(due)
        if zone:
            from datetime import datetime
            from zoneinfo import ZoneInfo

            local = datetime.fromtimestamp(due, ZoneInfo(zone)).isoformat(timespec="seconds")
        meta: Obj = {
            "name": name,
            "namespace": namespace_of(cron),
            "annotations": {**(found.get("annotations") or {}), _SCHEDULED: local},
            "ownerReferences": [owner_reference(CRON_JOBS, cron)],
        }
        if found.get("labels"):
            meta["labels"] = dict(found["labels"])
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": meta,
            "spec": deepcopy(template["spec"]),
        }
        try:
            made = await self.api.create(JOBS, job, namespace_of(cron), OPTIONS)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                return None
            self.events.warning(cron, "FailedCreate", f"Error creating job: {error}")
            raise
        self.events.normal(cron, "SuccessfulCreate", f"Created job {name}")
        return made


def _reference(job: Obj) -> Obj:
    return {
        "kind": "Job",
        "namespace": namespace_of(job),
        "name": name_of(job),
        "uid": uid_of(job),
        "apiVersion": "batch/v1",
        "resourceVersion": job["metadata"].get("resourceVersion", ""),
    }
