"""When a session that ends by itself (`ci`, `up --once`) is over, and how. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from kindling.engine.notices import NodeStatus, NodeView
from kindling.graph.event import HoldReason
from kindling.graph.hold import holds
from kindling.graph.node import NodeId
from kindling.graph.state import State, idle

__all__ = ["Ending", "ending"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a session ends. `error` is the one reason for an exit code other than 0."""

    exit_code: int
    error: str = ""
    interrupted: bool = False


def ending(
    state: State,
    views: Mapping[NodeId, NodeView],
    failures: Sequence[NodeView],
    *,
    fails_fast: bool,
    patient: Collection[NodeId] = (),
    waiting: bool = False,
) -> Ending | None:
    """The ending that is due, or None while there is something to wait for.

    `failures` are those of `views` that failed. Success means that every node that was to run has
    settled and is healthy now. A failure counts unless its node is in `patient` (within its grace
    period, or about to be tried again). `waiting`: an evaluation or an undo is under way. Nodes
    that only a user's word would start are no obstacle.
    """
    failed = [view for view in failures if view.id not in patient]
    if failed and fails_fast:
        return _failure(failed)
    forgiven = len(failed) < len(failures)
    if waiting or forgiven or not idle(state):
        return None
    if failed:
        return _failure(failed)
    if any(v.status in (NodeStatus.UNREADY, NodeStatus.RUNNING) for v in views.values()):
        return None
    if any(hold.reason is not HoldReason.TRIGGER for hold in holds(state).values()):
        return None
    return Ending(0)


def _failure(failed: list[NodeView]) -> Ending:
    first = failed[0]
    why = first.failure.summary if first.failure else "it failed"
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return Ending(1, f"`{first.id}`: {why}{more}")
