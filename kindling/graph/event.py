"""What the scheduler is told and what it asks for.

`step(state, event) -> (state, commands)` is the whole scheduler. A session's journal is these
values in the order they happened, which is why they are plain, small and convertible to JSON. Times
are seconds since the session began.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from kindling.graph.node import NodeId
from kindling.graph.outcome import Verdict

if TYPE_CHECKING:
    # networkx behind it is slow to import, and faces need the words of this module alone.
    from kindling.graph.dag import Graph

__all__ = [
    "Cancel",
    "Command",
    "Event",
    "FilesChanged",
    "Finished",
    "GraphLoaded",
    "Hold",
    "HoldReason",
    "ReadinessChanged",
    "ReloadEnded",
    "ReloadStarted",
    "SlotsChanged",
    "Start",
    "Stopping",
    "Triggered",
    "Undo",
]


class HoldReason(Enum):
    """Why a node that is due has not started."""

    DEPENDENCY = "waiting-for-dependency"
    """A predecessor is due, running or not ready."""
    DEPENDENCY_FAILED = "dependency-failed"
    """A predecessor failed; nothing happens until it succeeds."""
    LOCAL = "waiting-for-local"
    """A command that must run alone is running."""
    EXCLUSIVE = "waiting-to-run-alone"
    """It must run alone, and something is running."""
    SLOT = "waiting-for-slot"
    """Its pool, or `max_parallel_updates`, is full."""
    RELOAD = "waiting-for-reload"
    """The Kindlingfile is being evaluated."""
    CLUSTER = "waiting-for-cluster"
    """The cluster is not reachable."""
    UNCATEGORIZED = "waiting-for-uncategorized"
    """Objects that belong to no resource are applied before any other."""
    TRIGGER = "waiting-for-trigger"
    """It has changes and its trigger mode is manual."""
    EARLIER = "waiting-for-earlier"
    """Others that were never built, or that the user asked for, go first."""
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a due node has not started, and the ids it waits for."""

    reason: HoldReason
    waiting_for: tuple[NodeId, ...] = ()


# Events ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GraphLoaded:
    """A graph takes the place of the one before (of none, at the start).

    `selected` are the nodes that take part: those asked for, with all they depend on. `changed` are
    nodes of both graphs whose definition differs. Nodes that left the graph are undone.
    """

    at: float
    graph: Graph
    selected: frozenset[NodeId]
    changed: frozenset[NodeId] = frozenset()
    max_parallel: int = 3


@dataclass(frozen=True, slots=True)
class ReloadStarted:
    """The Kindlingfile is being evaluated: nothing new starts, what runs goes on."""

    at: float


@dataclass(frozen=True, slots=True)
class ReloadEnded:
    """The evaluation is over. When it succeeded, `GraphLoaded` came before this."""

    at: float


@dataclass(frozen=True, slots=True)
class FilesChanged:
    """Files that these nodes read have (perhaps) changed. Content decides, once they are due."""

    at: float
    nodes: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Triggered:
    """A user asked for these nodes by name. `force`: run even when nothing changed."""

    at: float
    nodes: tuple[NodeId, ...]
    force: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """The `attempt`-th start of a node is over. `digest` is its output's; empty when it has
    none."""

    at: float
    node: NodeId
    attempt: int
    verdict: Verdict
    digest: str = ""
    transient: bool = False
    """A failure that is worth another try by itself after a while."""


@dataclass(frozen=True, slots=True)
class ReadinessChanged:
    """A settled node's part of the world became healthy or ceased to be."""

    at: float
    node: NodeId
    ready: bool


@dataclass(frozen=True, slots=True)
class SlotsChanged:
    """`max_parallel_updates` is now another. What runs goes on."""

    at: float
    max_parallel: int


@dataclass(frozen=True, slots=True)
class Stopping:
    """The session ends: nothing starts any more. `cancel`: what runs is cut off."""

    at: float
    cancel: bool = True


Event = (
    FilesChanged
    | Finished
    | GraphLoaded
    | ReadinessChanged
    | ReloadEnded
    | ReloadStarted
    | SlotsChanged
    | Stopping
    | Triggered
)


# Commands ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Settle this node: compute its key, compare, observe, restore or run; answer with
    `Finished`."""

    node: NodeId
    attempt: int
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cut off this attempt; answer with `Finished(CANCELLED)`."""

    node: NodeId
    attempt: int


@dataclass(frozen=True, slots=True)
class Undo:
    """These nodes left the graph: undo what they did, later ones first."""

    nodes: tuple[NodeId, ...]


Command = Cancel | Start | Undo
