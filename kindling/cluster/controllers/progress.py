"""The status of a Deployment: counts, and whether it gets anywhere. Pure.

Types, reasons and messages are those of `pkg/controller/deployment`, which `kubectl rollout status`
and people's scripts read.
"""

from __future__ import annotations

from collections.abc import Sequence

from kindling.cluster.controllers.meta import (
    condition,
    int_or,
    name_of,
    parse_time,
    stamp,
    without_condition,
)
from kindling.cluster.controllers.rolling import bounds_of
from kindling.cluster.model.api import Obj

__all__ = ["complete", "counted", "has_deadline", "progressed", "put", "timed_out", "timed_out_in"]

_NO_DEADLINE = 2**31 - 1


def put(conditions: Sequence[Obj] | None, new: Obj, at: float) -> list[Obj]:
    """The conditions with `new` among them; one of the same status and reason stays as it is, and
    `lastTransitionTime` is kept as long as the status is."""
    now = stamp(at)
    old = condition({"conditions": conditions}, new["type"])
    if old is not None and (old.get("status"), old.get("reason")) == (new["status"], new["reason"]):
        return list(conditions or ())
    made = {
        "type": new["type"],
        "status": new["status"],
        "lastUpdateTime": now,
        "lastTransitionTime": now,
        "reason": new["reason"],
        "message": new["message"],
    }
    if old is not None and old.get("status") == new["status"]:
        made["lastTransitionTime"] = old.get("lastTransitionTime", now)
    return [*without_condition(conditions, new["type"]), made]


def _state(type_: str, status: str, reason: str, message: str) -> Obj:
    return {"type": type_, "status": status, "reason": reason, "message": message}


def counted(deployment: Obj, replica_sets: Sequence[Obj], new: Obj | None, at: float) -> Obj:
    """The status by the ReplicaSets' own counts, with the condition `Available`."""
    old = deployment.get("status") or {}

    def total(field: str) -> int:
        return sum(int_or((one.get("status") or {}).get(field), 0) for one in replica_sets)

    replicas, available = total("replicas"), total("availableReplicas")
    counts = {
        "replicas": replicas,
        "updatedReplicas": int_or(((new or {}).get("status") or {}).get("replicas"), 0),
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(replicas - available, 0),
    }
    status: Obj = {"observedGeneration": int_or(deployment["metadata"].get("generation"), 0)}
    status.update((field, number) for field, number in counts.items() if number)
    if old.get("collisionCount"):
        status["collisionCount"] = old["collisionCount"]
    if available >= bounds_of(deployment["spec"]).least:
        state = _state(
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    else:
        state = _state(
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    status["conditions"] = put(old.get("conditions"), state, at)
    return status


def complete(deployment: Obj, status: Obj) -> bool:
    """Whether everything is new, there and available."""
    wanted = int_or(deployment["spec"].get("replicas"), 1)
    return all(
        int_or(status.get(field), 0) == wanted
        for field in ("updatedReplicas", "replicas", "availableReplicas")
    ) and int_or(status.get("observedGeneration"), 0) >= int_or(
        deployment["metadata"].get("generation"), 0
    )


def has_deadline(deployment: Obj) -> bool:
    found = deployment["spec"].get("progressDeadlineSeconds")
    return found is not None and found != _NO_DEADLINE


def progressed(
    deployment: Obj, status: Obj, replica_sets: Sequence[Obj], new: Obj | None, at: float
) -> Obj:
    """The counted status with the conditions `Progressing` and `ReplicaFailure`."""
    conditions = list(status["conditions"])
    old = deployment.get("status") or {}
    current = condition(old, "Progressing")
    if not has_deadline(deployment):
        conditions = without_condition(conditions, "Progressing")
    done_before = (
        int_or(status.get("replicas"), 0) == int_or(status.get("updatedReplicas"), 0)
        and current is not None
        and current.get("reason") == "NewReplicaSetAvailable"
    )
    if has_deadline(deployment) and not done_before:
        if new is not None:
            what = f'ReplicaSet "{name_of(new)}"'
        else:
            what = f'Deployment "{name_of(deployment)}"'
        if complete(deployment, status):
            state = _state(
                "Progressing",
                "True",
                "NewReplicaSetAvailable",
                f"{what} has successfully progressed.",
            )
            conditions = put(conditions, state, at)
        elif _moving(old, status):
            state = _state("Progressing", "True", "ReplicaSetUpdated", f"{what} is progressing.")
            # Every step counts as an update, which is what the deadline is measured from.
            kept = current.get("lastTransitionTime") if current else None
            same = current is not None and current.get("status") == "True"
            conditions = put(without_condition(conditions, "Progressing"), state, at)
            if same and kept:
                conditions[-1]["lastTransitionTime"] = kept
        elif timed_out(deployment, at):
            state = _state(
                "Progressing",
                "False",
                "ProgressDeadlineExceeded",
                f"{what} has timed out progressing.",
            )
            conditions = put(conditions, state, at)
    failure = _failure(replica_sets, new)
    if failure is None:
        conditions = without_condition(conditions, "ReplicaFailure")
    else:
        conditions = put(conditions, failure, at)
    return {**status, "conditions": conditions}


def _moving(old: Obj, new: Obj) -> bool:
    def number(status: Obj, field: str) -> int:
        return int_or(status.get(field), 0)

    def outdated(status: Obj) -> int:
        return number(status, "replicas") - number(status, "updatedReplicas")

    return outdated(new) < outdated(old) or any(
        number(new, field) > number(old, field)
        for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )


def timed_out_in(deployment: Obj, status: Obj, at: float) -> float | None:
    """The seconds until the deadline of progress passes; None when there is nothing to wait for."""
    current = condition(status, "Progressing")
    if not has_deadline(deployment) or current is None or deployment["spec"].get("paused"):
        return None
    if current.get("reason") in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
        return None
    if current.get("status") == "Unknown":  # paused, or not yet taken up again
        return None
    deadline = int(deployment["spec"]["progressDeadlineSeconds"])
    return max(parse_time(current.get("lastUpdateTime"), at) + deadline - at, 0.0)


def timed_out(deployment: Obj, at: float) -> bool:
    current = condition(deployment.get("status"), "Progressing")
    if current is None or current.get("reason") == "NewReplicaSetAvailable":
        return False
    if current.get("reason") == "ProgressDeadlineExceeded":
        return True
    deadline = int(deployment["spec"]["progressDeadlineSeconds"])
    return parse_time(current.get("lastUpdateTime"), at) + deadline < at


def _failure(replica_sets: Sequence[Obj], new: Obj | None) -> Obj | None:
    """What a ReplicaSet says about pods it cannot make; the newest is asked first."""
    order = ([new] if new else []) + [one for one in replica_sets if one is not new]
    for one in order:
        found = condition(one.get("status"), "ReplicaFailure")
        if found is not None and found.get("status") == "True":
            return _state(
                "ReplicaFailure", "True", found.get("reason", ""), found.get("message", "")
            )
    return None
