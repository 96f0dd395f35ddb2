"""Replay: make a session's decisions again and find the first that is now another.

Because scheduling is a pure function of the recorded events, a journal is a test case: from the
same events the same commands must come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kindling.graph.codec import command_to_json, event_to_json
from kindling.graph.event import (
    Cancel,
    Command,
    Event,
    FilesChanged,
    Finished,
    GraphLoaded,
    ReadinessChanged,
    ReloadEnded,
    ReloadStarted,
    SlotsChanged,
    Start,
    Stopping,
    Triggered,
)
from kindling.graph.hold import hold
from kindling.graph.node import NodeId
from kindling.graph.schedule import step
from kindling.graph.state import State, initial, record

__all__ = ["Divergence", "Row", "describe", "replay"]

Row = tuple[Event, Sequence[Command]]
"""One row of a journal: an event, and the commands that came of it."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first event after which other commands come than were recorded.

    `row` counts from 1. `reasons` say for what was started then and is not now what holds it.
    """

    row: int
    event: Event
    recorded: tuple[Command, ...]
    decided: tuple[Command, ...]
    reasons: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """The difference in words."""
        missing = [c for c in self.recorded if c not in self.decided]
        extra = [c for c in self.decided if c not in self.recorded]
        lines = [f"event {self.row}, at {self.event.at:.3f} s: {describe(self.event)}"]
        lines += [f"  recorded, not decided now: {_command(c)}" for c in missing]
        lines += [f"  decided now, not recorded: {_command(c)}" for c in extra]
        if not missing and not extra:
            lines.append(f"  recorded: {', '.join(map(_command, self.recorded))}")
            lines.append(
                f"  decided now, in another order: {', '.join(map(_command, self.decided))}"
            )
        return (*lines, *(f"  {reason}" for reason in self.reasons))

    def to_json(self) -> dict[str, Any]:
        """`{"row", "event", "recorded": [...], "decided": [...], "reasons": [...]}`."""
        return {
            "row": self.row,
            "event": event_to_json(self.event),
            "recorded": [command_to_json(c) for c in self.recorded],
            "decided": [command_to_json(c) for c in self.decided],
            "reasons": list(self.reasons),
        }


def replay(rows: Iterable[Row]) -> Divergence | None:
    """The first difference between what was recorded and what is decided now; None when all
    agree.
    """
    state = initial()
    for number, (event, recorded) in enumerate(rows, start=1):
        state, decided = step(state, event)
        if tuple(recorded) != decided:
            return Divergence(
                number, event, tuple(recorded), decided, _reasons(state, recorded, decided)
            )
    return None


def describe(event: Event) -> str:
    """An event in a few words, for people who read a journal."""
    match event:
        case GraphLoaded():
            return (
                f"a graph of {len(event.graph)} nodes was loaded, {len(event.selected)} take part"
            )
        case FilesChanged():
            return f"files of {_some(event.nodes)} changed"
        case Triggered():
            return f"{_some(event.nodes)} was asked for{' by force' if event.force else ''}"
        case Finished():
            return f"`{event.node}` finished attempt {event.attempt}: {event.verdict.value}"
        case ReadinessChanged():
            return f"`{event.node}` is {'ready' if event.ready else 'not ready any more'}"
        case ReloadStarted():
            return "the evaluation of the Kindlingfile began"
        case ReloadEnded():
            return "the evaluation of the Kindlingfile ended"
        case SlotsChanged():
            return f"up to {event.max_parallel} nodes may run at once"
        case Stopping():
            return f"the session is to end{', cutting off what runs' if event.cancel else ''}"


def _reasons(
    state: State, recorded: Sequence[Command], decided: Sequence[Command]
) -> tuple[str, ...]:
    lines: list[str] = []
    for command in recorded:
        if isinstance(command, Start) and command not in decided:
            held = hold(state, command.node)
            if held is None:
                lines.append(f"`{command.node}` is now {record(state, command.node).state.value}")
            else:
                whom = f": {_some(held.waiting_for)}" if held.waiting_for else ""
                lines.append(f"`{command.node}` is now held, {held.reason.value}{whom}")
    return tuple(lines)


def _command(command: Command) -> str:
    match command:
        case Start():
            force = ", forced" if command.forced else ""
            return f"start `{command.node}` (attempt {command.attempt}{force})"
        case Cancel():
            return f"cancel `{command.node}` (attempt {command.attempt})"
        case _:
            return f"undo {_some(command.nodes)}"


def _some(ids: Sequence[NodeId], limit: int = 5) -> str:
    shown = ", ".join(f"`{id_}`" for id_ in ids[:limit])
    return f"[{shown}]" if len(ids) <= limit else f"[{shown} and {len(ids) - limit} more]"
