"""What tasks put into a session's inbox. The session's loop takes one after the other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from kindling.engine.following import Changes
from kindling.engine.project import Loaded, LoadFailed
from kindling.engine.settle import Settled
from kindling.executors.protocol import ReadinessReport
from kindling.graph.node import NodeId

__all__ = [
    "Again",
    "Ask",
    "CarriedOver",
    "Evaluated",
    "Health",
    "Interrupted",
    "Look",
    "Message",
    "NodeSettled",
    "TimeUp",
    "Wake",
]


@dataclass(frozen=True, slots=True)
class NodeSettled:
    """An attempt is over."""

    node: NodeId
    attempt: int
    settled: Settled


@dataclass(frozen=True, slots=True)
class CarriedOver:
    """A sync session that goes on has carried a batch, or failed to. `attempt` is that of the node
    when it began."""

    node: NodeId
    attempt: int
    settled: Settled


@dataclass(frozen=True, slots=True)
class Health:
    """The live part of a node became healthy, or ceased to be."""

    node: NodeId
    report: ReadinessReport


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The Kindlingfile was evaluated and assembled, or could not be."""

    result: Loaded | LoadFailed


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The user wants the session to end."""


@dataclass(frozen=True, slots=True)
class TimeUp:
    """The time limit of the whole session ran out."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Time has passed, or something ended that nobody else tells of: look around again."""


@dataclass(frozen=True, slots=True)
class Again:
    """Try a node again that failed for a reason that passes, or that recovered by itself."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Look:
    """Files of a node changed some time ago: now it is to look at them."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Ask:
    """A request from another process (`kindling trigger`), answered through `reply`."""

    names: tuple[str, ...]
    force: bool
    reply: asyncio.Future[dict[str, Any]] = field(compare=False)


Message = (
    Again
    | Ask
    | CarriedOver
    | Changes
    | Evaluated
    | Health
    | Interrupted
    | Look
    | NodeSettled
    | TimeUp
    | Wake
)
