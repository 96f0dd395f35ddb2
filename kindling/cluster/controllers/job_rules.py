"""What the pods of a Job say about it: which indexes are done, which failures count. Pure.

Rules and texts as in `pkg/controller/job` (indexed_job_utils.go, pod_failure_policy.go,
backoff_utils.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kindling.cluster.controllers.meta import (
    condition,
    int_or,
    name_of,
    namespace_of,
    notes_of,
    parse_time,
)
from kindling.cluster.controllers.pods import phase
from kindling.cluster.model.api import Obj

__all__ = [
    "INDEX",
    "INDEX_FAILURES",
    "Judgement",
    "back_off",
    "failed_with",
    "finish_time",
    "format_indexes",
    "index_failures",
    "index_of",
    "judge",
    "parse_indexes",
    "restarts",
]

INDEX = "batch.kubernetes.io/job-completion-index"
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"
_FIRST_WAIT = 10.0  # seconds after a failed pod, doubled for each further one in a row,
_LONGEST_WAIT = 600.0  # up to this


def index_of(pod: Obj) -> int | None:
    """The completion index of a pod of an Indexed Job."""
    text = notes_of(pod).get(INDEX, "")
    return int(text) if text.isdigit() else None


def index_failures(pod: Obj) -> int:
    """How many pods of its index had failed before this one."""
    text = notes_of(pod).get(INDEX_FAILURES, "0")
    return int(text) if text.isdigit() else 0


def parse_indexes(text: str | None, limit: int) -> set[int]:
    """`0,2-4` as numbers below `limit`."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            end = int(last) if last.isdigit() else int(first)
            found.update(range(int(first), min(end, limit - 1) + 1))
    return found


def format_indexes(indexes: Iterable[int]) -> str:
    """Numbers as `0,2-4`; two neighbours are written apart."""

    def runs() -> Iterator[str]:
        start = end = -2
        for number in [*sorted(indexes), -2]:
            if number == end + 1:
                end = number
                continue
            if start >= 0:
                if end > start + 1:
                    yield f"{start}-{end}"
                else:
                    yield from (str(one) for one in range(start, end + 1))
            start = end = number

    return ",".join(runs())


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a failed pod means: `counts` towards the limit, `fails_job` with a message, or
    `fails_index`."""

    counts: bool = True
    fails_job: str = ""
    fails_index: bool = False


def judge(job: Obj, pod: Obj) -> Judgement:
    """Judge a failed pod by the Job's `podFailurePolicy`; the first rule that matches decides."""
    rules = (job["spec"].get("podFailurePolicy") or {}).get("rules") or ()
    for number, rule in enumerate(rules):
        found = _by_exit_code(rule, pod) or _by_condition(rule, pod)
        if not found:
            continue
        action = rule["action"]
        if action == "Ignore":
            return Judgement(counts=False)
        if action == "FailJob":
            return Judgement(fails_job=f"{found} matching FailJob rule at index {number}")
        if action == "FailIndex":
            return Judgement(fails_index=True)
        return Judgement()
    return Judgement()


def _by_exit_code(rule: Mapping[str, Any], pod: Obj) -> str:
    wanted = rule.get("onExitCodes")
    if wanted is None:
        return ""
    status = pod.get("status") or {}
    for found in [
        *(status.get("containerStatuses") or ()),
        *(status.get("initContainerStatuses") or ()),
    ]:
        if wanted.get("containerName") not in (None, "", found.get("name")):
            continue
        ended = (found.get("state") or {}).get("terminated")
        if not ended or not ended.get("exitCode"):
            continue
        code = int(ended["exitCode"])
        if (code in wanted.get("values", ())) == (wanted.get("operator") == "In"):
            return (
                f"Container {found.get('name')} for pod {namespace_of(pod)}/{name_of(pod)} failed"
                f" with exit code {code}"
            )
    return ""


def _by_condition(rule: Mapping[str, Any], pod: Obj) -> str:
    for wanted in rule.get("onPodConditions") or ():
        found = condition(pod.get("status"), wanted["type"])
        if found is not None and found.get("status") == wanted.get("status", "True"):
            return f"Pod {namespace_of(pod)}/{name_of(pod)} has condition {wanted['type']}"
    return ""


def failed_with(pod: Obj, replaced_when_gone: bool) -> bool:
    """Whether a pod counts as failed: also one that is being deleted, unless the Job replaces pods
    only when they have ended for good."""
    if phase(pod) == "Failed":
        return True
    if replaced_when_gone:
        return False
    return pod["metadata"].get("deletionTimestamp") is not None and phase(pod) != "Succeeded"


def finish_time(pod: Obj) -> float:
    """When its last container ended, or what comes closest."""
    status = pod.get("status") or {}
    times = [
        parse_time(((found.get("state") or {}).get("terminated") or {}).get("finishedAt"))
        for found in status.get("containerStatuses") or ()
    ]
    if times and max(times) > 0:
        return max(times)
    ready = condition(status, "Ready")
    fallback = pod["metadata"].get("deletionTimestamp") or pod["metadata"].get("creationTimestamp")
    return parse_time((ready or {}).get("lastTransitionTime") or fallback)


def back_off(failed: Sequence[Obj], succeeded: Sequence[Obj], now: float) -> float:
    """The seconds to wait before the next pod: 10, 20, 40 ... after failures in a row."""
    last_success = max((finish_time(pod) for pod in succeeded), default=0.0)
    times = [moment for pod in failed if (moment := finish_time(pod)) > last_success]
    if not times:
        return 0.0
    wait = min(_FIRST_WAIT * 2 ** min(len(times) - 1, 10), _LONGEST_WAIT)
    return float(max(0.0, max(times) + wait - now))


def restarts(pods: Iterable[Obj]) -> int:
    """How often containers of running and pending pods were started anew."""
    total = 0
    for pod in pods:
        if phase(pod) in ("Running", "Pending"):
            status = pod.get("status") or {}
            for field in ("containerStatuses", "initContainerStatuses"):
                total += sum(
                    int_or(found.get("restartCount"), 0) for found in status.get(field) or ()
                )
    return total
