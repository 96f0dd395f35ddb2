"""The run state of every node, as one value, and the questions asked of it.

Who changes it: `kindling.graph.schedule.step` alone. Why a due node waits: `kindling.graph.hold`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from kindling.graph.node import NodeId
from kindling.graph.outcome import Verdict
from kindling.graph.persistent import Queue, Row
from kindling.graph.shape import EMPTY_SHAPE, GATES, Shape

__all__ = [
    "Leaving",
    "Record",
    "RunState",
    "State",
    "changed",
    "due",
    "failed",
    "idle",
    "initial",
    "ready",
    "record",
    "running",
]


class RunState(Enum):
    """Where a node stands in this session."""

    IDLE = "idle"
    """Never settled, and nobody asked for it: it does not start with the session, or the session
    ends.
    """
    PENDING = "pending"
    """It has changes, and its trigger mode wants it to be asked for. Its last result still
    stands.
    """
    DUE = "due"
    """It is to be settled as soon as nothing holds it. No dependent starts before that."""
    RUNNING = "running"
    """One attempt is under way."""
    RUNNING_STALE = "running-stale"
    """One attempt is under way, and something changed since it began: it becomes due once more."""
    CANCELLING = "cancelling"
    """One attempt was cut off and has not ended yet."""
    DONE = "done"
    """Its last attempt succeeded and nothing it reads has changed since."""
    FAILED = "failed"
    """Its last attempt failed and nothing it reads has changed since."""


class Record(NamedTuple):
    """One node's part of the state.

    `attempt` counts its starts. `result` is the verdict of its last attempt that was not cut off,
    `ready` whether its part of the world is healthy, `digest` that of its last output. `since` is
    when it became due, `asked` its place in the queue of what users asked for (0: nobody asked).
    `consumed` are the digests of its content predecessors at its last start.
    """

    state: RunState = RunState.IDLE
    attempt: int = 0
    result: Verdict | None = None
    ready: bool = False
    digest: str = ""
    since: float = 0.0
    asked: int = 0
    forced: bool = False
    consumed: Mapping[NodeId, str] = {}

    @property
    def is_running(self) -> bool:
        """An attempt of it has not ended."""
        return self.state in _RUNNING

    @property
    def in_motion(self) -> bool:
        """Due or running: what comes of it is not known yet."""
        return self.state in _IN_MOTION

    @property
    def is_met(self) -> bool:
        """It succeeded last time and is healthy: what dependents want of it."""
        return self.ready and self.result is not None and self.result is not Verdict.FAILED


_RUNNING = frozenset({RunState.RUNNING, RunState.RUNNING_STALE, RunState.CANCELLING})
_IN_MOTION = _RUNNING | {RunState.DUE}


class Leaving(NamedTuple):
    """A node that left the graph while it ran; its attempt was cut off and has not ended."""

    attempt: int
    counts: bool
    exclusive: bool


@dataclass(frozen=True, slots=True)
class State:
    """Everything `step` decides by. Make one with `initial`, read it with the functions beside it.

    Rows hold one item per node, at its number in `shape`. `upstream` counts the direct content and
    ready predecessors that are in motion or have such a predecessor themselves; `blocks` counts the
    direct predecessors that hold the node, for whatever reason. A due node with no blocks is in
    the queue of its gate. `busy` are the running nodes that count against `max_parallel`.
    """

    shape: Shape = EMPTY_SHAPE
    records: Row[Record] = field(default_factory=Row[Record])
    upstream: Row[int] = field(default_factory=Row[int])
    blocks: Row[int] = field(default_factory=Row[int])
    queues: tuple[Queue, ...] = (Queue(),) * len(GATES)
    busy: tuple[int, ...] = ()
    console: int = 0
    active: int = 0
    """How many nodes are running, whatever their pool, those that are leaving included."""
    unreachable: int = 0
    """How many selected cluster nodes are not reachable."""
    asked: int = 0
    """The last place given out in the queue of what users asked for."""
    leaving: Mapping[NodeId, Leaving] = field(default_factory=dict)
    retired: Mapping[NodeId, int] = field(default_factory=dict)
    """The last attempt of nodes that left the graph, so that numbers never come back."""
    max_parallel: int = 3
    loaded: bool = False
    reloading: bool = False
    stopping: bool = False


def initial() -> State:
    """The state before the first graph is loaded."""
    return State()


def record(state: State, id_: NodeId) -> Record:
    """One node's part of the state; of an unknown node, that of one which never ran."""
    at = state.shape.number.get(id_)
    return Record() if at is None else state.records[at]


def running(state: State) -> tuple[NodeId, ...]:
    """The nodes with an attempt under way, those that are being cut off included."""
    ids = state.shape.ids
    here = [ids[at] for at, rec in enumerate(state.records) if rec.is_running]
    return (*here, *(id_ for id_ in state.leaving if id_ not in state.shape.number))


def due(state: State) -> tuple[NodeId, ...]:
    """The selected nodes that have something to do and are not running. Each has a hold."""
    shape = state.shape
    return tuple(
        shape.ids[at]
        for at, rec in enumerate(state.records)
        if shape.selected[at] and rec.state in (RunState.DUE, RunState.PENDING)
    )


def failed(state: State) -> tuple[NodeId, ...]:
    """The selected nodes whose last attempt failed and that nothing made due since."""
    shape = state.shape
    return tuple(
        shape.ids[at]
        for at, rec in enumerate(state.records)
        if shape.selected[at] and rec.state is RunState.FAILED
    )


def ready(state: State, id_: NodeId) -> bool:
    """It is settled successfully and its part of the world is healthy."""
    return record(state, id_).is_met


def idle(state: State) -> bool:
    """Nothing runs and nothing can start by itself: where a session that ends by itself ends.

    Nodes may still be due: below a failure, without a cluster, or waiting to be asked for.
    """
    return state.loaded and state.active == 0 and not state.reloading


def changed(before: State, after: State) -> tuple[NodeId, ...]:
    """The nodes whose record differs between two states, cheaply when little happened between them.

    A node's hold may change without its record; ask for that separately.
    """
    if before.shape is after.shape:
        ids = after.shape.ids
        return tuple(ids[at] for at in before.records.differing(after.records))
    return tuple(id_ for id_ in after.shape.ids if record(before, id_) != record(after, id_))
