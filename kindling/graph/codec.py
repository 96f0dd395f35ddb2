"""Events, commands and graphs as JSON, for the journal.

A journal must be enough to make every decision again, and no more: of a node it holds what the
scheduler looks at, and of its spec only the digest, so that no command line, environment or
manifest of a user is in a bug report.

Graph: `{"nodes": [{"id", "kind", "name", "spec", ...}], "edges": [[before, after, kind], ...]}`;
fields of a node with their usual value are left out. Event: `{"event": NAME, "at": SECONDS, ...}`.
Command: `{"command": NAME, ...}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from kindling.errors import GraphError, StoreError
from kindling.graph.dag import Graph
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
    Undo,
)
from kindling.graph.key import digest_text, spec_entries
from kindling.graph.node import Edge, EdgeKind, Kind, Node, NodeId, Trigger
from kindling.graph.outcome import Verdict
from kindling.graph.spec import Spec

__all__ = [
    "RecordedSpec",
    "command_from_json",
    "command_to_json",
    "event_from_json",
    "event_to_json",
    "graph_from_json",
    "graph_to_json",
]

Json = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RecordedSpec:
    """Stands for the spec of a node that was read back from a journal."""

    digest: str


def graph_to_json(graph: Graph) -> Json:
    """A graph as far as decisions depend on it."""
    return {
        "nodes": [_node_to_json(node) for node in graph.nodes.values()],
        "edges": [[edge.before, edge.after, edge.kind.value] for edge in graph.edges],
    }


def graph_from_json(data: Mapping[str, Any]) -> Graph:
    """The graph that `graph_to_json` gave; its specs are `RecordedSpec`.

    Raises:
        StoreError: It is none.
    """

    def read() -> Graph:
        return Graph(
            [_node_from_json(node) for node in data["nodes"]],
            [
                Edge(NodeId(before), NodeId(after), EdgeKind(kind))
                for before, after, kind in data["edges"]
            ],
        )

    return _checked("graph", read)


def event_to_json(event: Event) -> Json:
    """An event, whole."""
    match event:
        case GraphLoaded():
            everything = len(event.selected) == len(event.graph)
            selected = [id_ for id_ in event.graph.nodes if id_ in event.selected]
            return {
                "event": "graph-loaded",
                "at": event.at,
                "graph": graph_to_json(event.graph),
                "selected": None if everything else selected,
                "changed": sorted(event.changed),
                "max_parallel": event.max_parallel,
            }
        case FilesChanged():
            return {"event": "files-changed", "at": event.at, "nodes": list(event.nodes)}
        case Triggered():
            return {
                "event": "triggered",
                "at": event.at,
                "nodes": list(event.nodes),
                "force": event.force,
            }
        case Finished():
            return {
                "event": "finished",
                "at": event.at,
                "node": event.node,
                "attempt": event.attempt,
                "verdict": event.verdict.value,
                "digest": event.digest,
                "transient": event.transient,
            }
        case ReadinessChanged():
            return {
                "event": "readiness-changed",
                "at": event.at,
                "node": event.node,
                "ready": event.ready,
            }
        case ReloadStarted():
            return {"event": "reload-started", "at": event.at}
        case ReloadEnded():
            return {"event": "reload-ended", "at": event.at}
        case SlotsChanged():
            return {
                "event": "slots-changed",
                "at": event.at,
                "max_parallel": event.max_parallel,
            }
        case Stopping():
            return {"event": "stopping", "at": event.at, "cancel": event.cancel}


def event_from_json(data: Mapping[str, Any]) -> Event:
    """The event that `event_to_json` gave.

    Raises:
        StoreError: It is none.
    """
    return _checked("event", lambda: _event_from_json(data))


def command_to_json(command: Command) -> Json:
    """A command, whole."""
    match command:
        case Start():
            return {
                "command": "start",
                "node": command.node,
                "attempt": command.attempt,
                "forced": command.forced,
            }
        case Cancel():
            return {"command": "cancel", "node": command.node, "attempt": command.attempt}
        case Undo():
            return {"command": "undo", "nodes": list(command.nodes)}


def command_from_json(data: Mapping[str, Any]) -> Command:
    """The command that `command_to_json` gave.

    Raises:
        StoreError: It is none.
    """

    def read() -> Command:
        match data["command"]:
            case "start":
                return Start(NodeId(data["node"]), int(data["attempt"]), bool(data["forced"]))
            case "cancel":
                return Cancel(NodeId(data["node"]), int(data["attempt"]))
            case "undo":
                return Undo(_ids(data["nodes"]))
            case other:
                raise ValueError(f"no command is called {other!r}")

    return _checked("command", read)


def _event_from_json(data: Mapping[str, Any]) -> Event:
    at = float(data["at"])
    match data["event"]:
        case "graph-loaded":
            graph = graph_from_json(data["graph"])
            selected = data["selected"]
            return GraphLoaded(
                at,
                graph,
                frozenset(graph.nodes if selected is None else _ids(selected)),
                frozenset(_ids(data["changed"])),
                int(data["max_parallel"]),
            )
        case "files-changed":
            return FilesChanged(at, _ids(data["nodes"]))
        case "triggered":
            return Triggered(at, _ids(data["nodes"]), bool(data["force"]))
        case "finished":
            return Finished(
                at,
                NodeId(data["node"]),
                int(data["attempt"]),
                Verdict(data["verdict"]),
                str(data["digest"]),
                bool(data["transient"]),
            )
        case "readiness-changed":
            return ReadinessChanged(at, NodeId(data["node"]), bool(data["ready"]))
        case "reload-started":
            return ReloadStarted(at)
        case "reload-ended":
            return ReloadEnded(at)
        case "slots-changed":
            return SlotsChanged(at, int(data["max_parallel"]))
        case "stopping":
            return Stopping(at, bool(data["cancel"]))
        case other:
            raise ValueError(f"no event is called {other!r}")


def _node_to_json(node: Node) -> Json:
    data: Json = {
        "id": node.id,
        "kind": node.kind.value,
        "name": node.name,
        "spec": _spec_digest(node.spec),
    }
    if node.resource:
        data["resource"] = node.resource
    if node.trigger is not Trigger.AUTO:
        data["trigger"] = node.trigger.value
    if not node.auto_init:
        data["auto_init"] = False
    if node.exclusive:
        data["exclusive"] = True
    return data


def _node_from_json(data: Mapping[str, Any]) -> Node:
    return Node(
        id=NodeId(data["id"]),
        kind=Kind(data["kind"]),
        name=str(data["name"]),
        # Nothing that reads a graph from a journal looks into its specs.
        spec=cast(Spec, RecordedSpec(str(data["spec"]))),
        resource=str(data.get("resource", "")),
        trigger=Trigger(data.get("trigger", Trigger.AUTO.value)),
        auto_init=bool(data.get("auto_init", True)),
        exclusive=bool(data.get("exclusive", False)),
    )


def _spec_digest(spec: Spec | RecordedSpec) -> str:
    if isinstance(spec, RecordedSpec):
        return spec.digest
    return digest_text("\0".join(part for entry in spec_entries(spec) for part in entry))


def _ids(data: Any) -> tuple[NodeId, ...]:
    return tuple(NodeId(str(id_)) for id_ in data)


def _checked(what: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (KeyError, ValueError, TypeError, AttributeError, GraphError) as error:
        reason = f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else str(error)
        raise StoreError(f"The journal holds no readable {what}: {reason}") from error
