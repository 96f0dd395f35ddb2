"""What a session tells its listeners: one stream of plain values, the same for every face of
kindling.

The engine never prints. The live terminal, plain lines, JSON lines, JUnit and tests are listeners
behind one Protocol, `Reporter`. Times are seconds since the epoch. Text is already free of secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from kindling.graph.event import Hold
from kindling.graph.node import Kind, NodeId
from kindling.graph.outcome import Failure, Verdict

__all__ = [
    "ChangesSeen",
    "KindlingfileFailed",
    "KindlingfileLoaded",
    "Level",
    "LogLine",
    "Message",
    "NodeChanged",
    "NodeStatus",
    "NodeView",
    "Notice",
    "Reporter",
    "SessionEnded",
    "SessionStarted",
]


class NodeStatus(Enum):
    """Where a node stands, as a user sees it."""

    IDLE = "idle"
    """Not due: its trigger mode wants it to be asked for, or it is not selected."""
    HELD = "held"
    """Due, and waiting for the reason its hold gives."""
    RUNNING = "running"
    DONE = "done"
    """Settled and healthy."""
    UNREADY = "unready"
    """It succeeded, and its part of the world is not healthy just now."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node, whole, as of now.

    `reasons` say in one line each why it ran or runs (`cmd/main.go changed`). `seconds` is how long
    the last run took, and counts from `since` while it runs. `doing` is what a running node does
    just now (`checking`, `running`, `waiting for pods`). `endpoints` are addresses a user can open.
    """

    id: NodeId
    kind: Kind
    resource: str
    status: NodeStatus
    since: float
    attempt: int = 0
    hold: Hold | None = None
    verdict: Verdict | None = None
    seconds: float = 0.0
    reasons: tuple[str, ...] = ()
    doing: str = ""
    failure: Failure | None = None
    endpoints: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    needs: tuple[NodeId, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """`command` is `up`, `ci` or `down`; `target` says which cluster and why, empty when none is
    used."""

    at: float
    session: str
    command: str
    kindlingfile: str
    target: str = ""


@dataclass(frozen=True, slots=True)
class KindlingfileLoaded:
    """An evaluation succeeded. `nodes` are those that take part, in graph order; `target` says
    which cluster they act on and why, where that was not known when the session started."""

    at: float
    seconds: float
    nodes: tuple[NodeView, ...]
    added: tuple[NodeId, ...] = ()
    removed: tuple[NodeId, ...] = ()
    changed: tuple[NodeId, ...] = ()
    target: str = ""


@dataclass(frozen=True, slots=True)
class KindlingfileFailed:
    """An evaluation failed: the graph before stays as it is. `text` is the whole error."""

    at: float
    text: str
    first: bool
    """Nothing was loaded before it, so nothing runs."""


@dataclass(frozen=True, slots=True)
class ChangesSeen:
    """Files changed. `paths` are the first few, `total` counts all, `nodes` those who read them."""

    at: float
    paths: tuple[str, ...]
    total: int
    nodes: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class NodeChanged:
    """A node is now as `view` says."""

    at: float
    view: NodeView


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a node's output. `stream`: `stdout`, `stderr`, `kindling`, or
    `pod/NAME/CONTAINER`."""

    at: float
    node: NodeId
    resource: str
    stream: str
    text: str


class Level(Enum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Message:
    """Something to say that belongs to no node."""

    at: float
    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The last notice. `counts` is by verdict over all nodes that took part; `kept` lines say what
    was left in the cluster or on disk and why. `error` is the one reason for a non-zero exit
    code."""

    at: float
    exit_code: int
    seconds: float
    counts: Mapping[Verdict, int]
    failed: tuple[NodeView, ...] = ()
    held: tuple[NodeView, ...] = ()
    endpoints: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    error: str = ""
    interrupted: bool = False


Notice = (
    ChangesSeen
    | KindlingfileFailed
    | KindlingfileLoaded
    | LogLine
    | Message
    | NodeChanged
    | SessionEnded
    | SessionStarted
)


class Reporter(Protocol):
    """A listener. Called on the engine's loop: it must return quickly and must not raise."""

    def notice(self, notice: Notice) -> None: ...

    def close(self) -> None:
        """The stream is over; restore the terminal, flush files."""
        ...
