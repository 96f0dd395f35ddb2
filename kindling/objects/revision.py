"""Whether the new revision of a workload serves: what its objects and pods say, put together. Pure.

Only pods of the revision that was asked for count. That old pods are still there, or still going,
is neither good nor bad.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from kindling.graph.spec import Readiness
from kindling.objects.identity import Manifest as Object
from kindling.objects.pods import is_deleting, is_done, is_ready

__all__ = ["Progress", "Standing", "assess", "label_selector"]

_REVISION = "deployment.kubernetes.io/revision"
_HASH = "controller-revision-hash"
_GENERATION = "pod-template-generation"


class Progress(Enum):
    WAITING = "waiting"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a workload stands. `text` says it in a few words; `revision` is known once it exists.

    `pods` are those of the new revision. `ended`: it needs nothing any more (a Job that completed).
    """

    progress: Progress
    text: str
    revision: str = ""
    pods: tuple[Object, ...] = field(default=(), compare=False)
    ended: bool = False


def label_selector(workload: Object) -> tuple[tuple[str, str], ...]:
    """Labels that all its pods have; empty where the object does not say."""
    selector = (workload.get("spec") or {}).get("selector")
    if not isinstance(selector, Mapping):
        return ()
    labels = selector.get("matchLabels", selector)
    if workload.get("kind") != "ReplicationController" and "matchLabels" not in selector:
        return ()
    return tuple(sorted((str(k), str(v)) for k, v in labels.items()))


def assess(
    workload: Object,
    replica_sets: Sequence[Object],
    pods: Sequence[Object],
    readiness: Readiness,
    serves: Callable[[Object], bool] = is_ready,
) -> Standing:
    """Where `workload` stands. `pods` are all that belong to it, directly or through others;
    `serves` says whether one of them can be relied on."""
    metadata, status = workload["metadata"], workload.get("status") or {}
    judge = _JUDGES.get(str(workload["kind"]))
    if judge is not None and workload["kind"] not in ("Pod", "Job"):
        seen = int(status.get("observedGeneration") or 0)
        if seen < int(metadata.get("generation") or 0):
            return Standing(Progress.WAITING, "its controller has not seen it yet")
    return (judge or _custom)(_Case(workload, status, replica_sets, pods, readiness, serves))


@dataclass(frozen=True, slots=True)
class _Case:
    workload: Object
    status: Mapping[str, Any]
    replica_sets: Sequence[Object]
    pods: Sequence[Object]
    readiness: Readiness
    serves: Callable[[Object], bool]

    @property
    def uid(self) -> str:
        return str(self.workload["metadata"]["uid"])

    @property
    def wanted(self) -> int:
        replicas = self.workload["spec"].get("replicas")
        return 1 if replicas is None else int(replicas)

    def owned(self, uid: str) -> tuple[Object, ...]:
        return tuple(pod for pod in self.pods if _owner(pod) == uid)


def _count(case: _Case, pods: tuple[Object, ...], wanted: int, revision: str) -> Standing:
    ready = sum(case.serves(pod) for pod in pods)
    if ready >= wanted:
        return Standing(Progress.READY, f"{ready} of {wanted} pods ready", revision, pods)
    text = f"{ready} of {wanted} pods ready"
    if len(pods) < wanted:
        text += f", {len(pods)} made"
    return Standing(Progress.WAITING, text, revision, pods)


def _deployment(case: _Case) -> Standing:
    annotations = case.workload["metadata"].get("annotations") or {}
    number = annotations.get(_REVISION)
    newest = next(
        (
            replica_set
            for replica_set in case.replica_sets
            if number is not None
            and _owner(replica_set) == case.uid
            and (replica_set["metadata"].get("annotations") or {}).get(_REVISION) == number
        ),
        None,
    )
    for condition in case.status.get("conditions") or ():
        failed = condition["type"] == "ReplicaFailure" and condition["status"] == "True"
        late = condition.get("reason") == "ProgressDeadlineExceeded"
        if failed or late:
            text = f"{condition.get('reason')}: {condition.get('message')}"
            pods = case.owned(str(newest["metadata"]["uid"])) if newest else ()
            return Standing(Progress.FAILED, text, pods=pods)
    if newest is None:
        return Standing(Progress.WAITING, "its new replica set is not there yet")
    labels = newest["metadata"].get("labels") or {}
    revision = str(labels.get("pod-template-hash") or newest["metadata"]["name"])
    return _count(case, case.owned(str(newest["metadata"]["uid"])), case.wanted, revision)


def _replica_set(case: _Case) -> Standing:
    for condition in case.status.get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return Standing(Progress.FAILED, f"{condition.get('reason')}: {condition['message']}")
    return _count(case, case.owned(case.uid), case.wanted, f"{case.uid}")


def _stateful_set(case: _Case) -> Standing:
    revision = str(case.status.get("updateRevision") or "")
    pods = case.owned(case.uid)
    strategy = case.workload["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        # Its pods change only as somebody deletes them.
        return _count(case, pods, case.wanted, revision)
    kept = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    new = tuple(pod for pod in pods if _label(pod, _HASH) == revision)
    return _count(case, new, max(0, case.wanted - kept), revision)


def _daemon_set(case: _Case) -> Standing:
    annotations = case.workload["metadata"].get("annotations") or {}
    generation = annotations.get("deprecated.daemonset.template.generation")
    pods = tuple(
        pod
        for pod in case.owned(case.uid)
        if generation is None or _label(pod, _GENERATION) in ("", generation)
    )
    wanted = int(case.status.get("desiredNumberScheduled") or 0)
    updated = int(case.status.get("updatedNumberScheduled") or 0)
    revision = next((_label(pod, _HASH) for pod in pods if _label(pod, _HASH)), "")
    standing = _count(case, pods, wanted, revision or str(generation or ""))
    if standing.progress is Progress.READY and updated < wanted:
        return Standing(Progress.WAITING, f"{updated} of {wanted} pods updated", revision, pods)
    return standing


def _job(case: _Case) -> Standing:
    pods = case.owned(case.uid)
    revision = case.uid
    for condition in case.status.get("conditions") or ():
        if condition["status"] != "True":
            continue
        if condition["type"] == "Complete":
            return Standing(Progress.READY, "completed", revision, pods, ended=True)
        if condition["type"] == "Failed":
            text = f"{condition.get('reason')}: {condition.get('message')}"
            return Standing(Progress.FAILED, text, revision, pods)
    if (
        case.readiness is Readiness.WAIT
        and pods
        and all(case.serves(p) or is_done(p) for p in pods)
    ):
        return Standing(Progress.READY, "its pods are ready", revision, pods)
    failed = int(case.status.get("failed") or 0)
    text = f"running, {failed} failed so far" if failed else "running"
    return Standing(Progress.WAITING, text if pods else "no pod yet", revision, pods)


def _pod(case: _Case) -> Standing:
    pods = (case.workload,)
    if is_done(case.workload):
        return Standing(Progress.READY, "completed", case.uid, pods, ended=True)
    if case.readiness is not Readiness.SUCCEEDED and case.serves(case.workload):
        return Standing(Progress.READY, "ready", case.uid, pods)
    phase = str(case.status.get("phase") or "Pending")
    return Standing(Progress.WAITING, phase.lower(), case.uid, pods)


def _custom(case: _Case) -> Standing:
    """A kind that we do not know: its pods, as far as its controller has made any."""
    revision = str(case.workload["metadata"].get("generation") or "1")
    pods = tuple(pod for pod in case.pods if not is_deleting(pod))
    if not pods:
        return Standing(Progress.WAITING, "no pod yet", revision)
    good = sum(
        is_done(pod) or (case.readiness is not Readiness.SUCCEEDED and case.serves(pod))
        for pod in pods
    )
    progress = Progress.READY if good == len(pods) else Progress.WAITING
    return Standing(progress, f"{good} of {len(pods)} pods ready", revision, pods)


_JUDGES: Mapping[str, Callable[[_Case], Standing]] = {
    "DaemonSet": _daemon_set,
    "Deployment": _deployment,
    "Job": _job,
    "Pod": _pod,
    "ReplicaSet": _replica_set,
    "ReplicationController": _replica_set,
    "StatefulSet": _stateful_set,
}


def _owner(item: Object) -> str:
    references = item["metadata"].get("ownerReferences") or ()
    owner = next((r for r in references if r.get("controller")), None)
    return str(owner["uid"]) if owner else ""


def _label(item: Object, name: str) -> str:
    return str((item["metadata"].get("labels") or {}).get(name) or "")
