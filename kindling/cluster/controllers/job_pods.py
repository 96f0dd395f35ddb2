"""The pods of a Job: labels, finalizer and, for an Indexed one, what tells it its index. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from kindling.cluster.controllers.job_rules import INDEX, INDEX_FAILURES, index_of
from kindling.cluster.controllers.kinds import JOBS
from kindling.cluster.controllers.meta import name_of, uid_of
from kindling.cluster.controllers.pods import pod_of_template
from kindling.cluster.model.api import Obj

__all__ = ["TRACKING", "job_pod", "missing_indexes"]

TRACKING = "batch.kubernetes.io/job-tracking"
"""The finalizer that a pod keeps until it has been counted."""


def job_pod(job: Obj, index: int | None, failures: int) -> Obj:
    """A pod of the Job; `failures` is how many of its index failed before."""
    prefix = f"{name_of(job)}-" if index is None else f"{name_of(job)[:40]}-{index}-"
    pod = pod_of_template(job["spec"]["template"], JOBS, job, prefix=prefix)
    meta, spec = pod["metadata"], pod["spec"]
    found = meta.setdefault("labels", {})
    # The API server writes these into the template, unless the selector is the user's own.
    if not job["spec"].get("manualSelector"):
        for prefix in ("", "batch.kubernetes.io/"):
            found[f"{prefix}controller-uid"] = uid_of(job)
            found[f"{prefix}job-name"] = name_of(job)
    meta["finalizers"] = [*meta.get("finalizers", ()), TRACKING]
    if index is None:
        return pod
    found[INDEX] = str(index)
    notes = meta.setdefault("annotations", {})
    notes[INDEX] = str(index)
    if job["spec"].get("backoffLimitPerIndex") is not None:
        notes[INDEX_FAILURES] = str(failures)
    spec["hostname"] = f"{name_of(job)}-{index}"[:63]
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{INDEX}']"}}
    for container in [*spec.get("initContainers", ()), *spec.get("containers", ())]:
        env = container.get("env") or []
        if not any(one.get("name") == "JOB_COMPLETION_INDEX" for one in env):
            container["env"] = [*env, {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}]
    return pod


def missing_indexes(
    count: int, completions: int, settled: Collection[int], there: Iterable[Obj]
) -> list[int]:
    """The lowest `count` indexes that are neither settled nor at work."""
    busy = {index_of(pod) for pod in there}
    free = (index for index in range(completions) if index not in settled and index not in busy)
    return [index for index, _ in zip(free, range(count), strict=False)]
