"""Which pods go first when there are too many (`ActivePodsWithRanks` of the real controller)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kindling.cluster.controllers.meta import condition, name_of, notes_of, parse_time
from kindling.cluster.controllers.pods import phase, ready
from kindling.cluster.model.api import Obj

__all__ = ["pods_to_delete"]

_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def pods_to_delete(
    pods: Sequence[Obj], count: int, *, now: float, doubled: Mapping[str, int] | None = None
) -> list[Obj]:
    """The `count` pods that are missed least: not bound, pending, not ready, cheap by annotation,
    doubled up on a node (`doubled` counts related pods by node), ready for a short time, often
    restarted, young. Ages count by powers of two, so that no order among near equals is implied."""
    on_node = doubled or {}

    def rank(pod: Obj) -> tuple[float | str, ...]:
        node = (pod.get("spec") or {}).get("nodeName") or ""
        is_ready = ready(pod)
        ready_for = 0.0
        if is_ready and (found := condition(pod.get("status"), "Ready")) is not None:
            ready_for = now - parse_time(found.get("lastTransitionTime"), now)
        age = now - parse_time(pod["metadata"].get("creationTimestamp"), now)
        return (
            1 if node else 0,
            _PHASES.get(phase(pod), 2),
            1 if is_ready else 0,
            _cost(pod),
            -on_node.get(node, 0),
            _power(ready_for),
            -_restarts(pod),
            _power(age),
            name_of(pod),
        )

    return sorted(pods, key=rank)[: max(count, 0)]


def _power(seconds: float) -> int:
    return int(math.log2(seconds)) + 1 if seconds >= 1 else 0


def _cost(pod: Obj) -> int:
    try:
        return int(notes_of(pod).get(_COST, "0"))
    except ValueError:
        return 0


def _restarts(pod: Obj) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return max((int(status.get("restartCount") or 0) for status in statuses), default=0)
