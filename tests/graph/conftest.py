"""What the tests of the graph room share: short ways to make graphs and to drive the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from kindling.graph.dag import Graph
from kindling.graph.event import (
    Cancel,
    Command,
    Event,
    FilesChanged,
    Finished,
    GraphLoaded,
    Hold,
    ReadinessChanged,
    Start,
    Triggered,
    Undo,
)
from kindling.graph.hold import holds
from kindling.graph.node import Edge, EdgeKind, Kind, Node, NodeId, Trigger
from kindling.graph.outcome import Verdict
from kindling.graph.schedule import step
from kindling.graph.spec import CommandSpec
from kindling.graph.state import State, initial, running


class Driver:
    """A session in which every answer of the world is given by hand."""

    def __init__(
        self, graph: Graph, *, max_parallel: int = 3, selected: Iterable[str] = ()
    ) -> None:
        self.state: State = initial()
        self.now = 0.0
        self.commands: list[Command] = []
        self.load(graph, max_parallel=max_parallel, selected=selected)

    def send(self, event: Event) -> list[str]:
        """What a step asks for, in words: `image:a`, `!image:a` (cancel), `undo b a`."""
        self.state, commands = step(self.state, event)
        self.commands = list(commands)
        return [_words(command) for command in commands]

    def load(
        self,
        graph: Graph,
        *,
        changed: Iterable[str] = (),
        selected: Iterable[str] = (),
        max_parallel: int = 3,
    ) -> list[str]:
        return self.send(
            GraphLoaded(
                self.tick(),
                graph,
                frozenset(map(NodeId, selected)) or frozenset(graph.nodes),
                frozenset(map(NodeId, changed)),
                max_parallel,
            )
        )

    def tick(self) -> float:
        self.now += 1.0
        return self.now

    def save(self, *ids: str) -> list[str]:
        return self.send(FilesChanged(self.tick(), tuple(map(NodeId, ids))))

    def ask(self, *ids: str, force: bool = False) -> list[str]:
        return self.send(Triggered(self.tick(), tuple(map(NodeId, ids)), force))

    def health(self, id_: str, ready: bool) -> list[str]:
        return self.send(ReadinessChanged(self.tick(), NodeId(id_), ready))

    def finish(self, id_: str, digest: str = "", *, verdict: Verdict = Verdict.RAN) -> list[str]:
        from kindling.graph.state import record

        attempt = record(self.state, NodeId(id_)).attempt
        return self.send(
            Finished(self.tick(), NodeId(id_), attempt, verdict, digest or f"{id_}#{attempt}")
        )

    def fail(self, id_: str) -> list[str]:
        return self.finish(id_, "-", verdict=Verdict.FAILED)

    def settle(self, digest: str = "") -> list[str]:
        """Let all that runs succeed until nothing runs; everything started on the way."""
        started: list[str] = []
        while under_way := running(self.state):
            started += self.finish(under_way[0], digest)
        return started

    @property
    def running(self) -> list[str]:
        return list(running(self.state))

    @property
    def holds(self) -> dict[str, Hold]:
        return {str(id_): hold for id_, hold in holds(self.state).items()}

    def why_held(self, id_: str) -> tuple[str, list[str]]:
        hold = self.holds[id_]
        return hold.reason.value, list(hold.waiting_for)


def _words(command: Command) -> str:
    match command:
        case Start():
            return command.node
        case Cancel():
            return f"!{command.node}"
        case Undo():
            return f"undo {' '.join(command.nodes)}"


def _node(text: str) -> Node:
    """`image:a` with flags after it: `manual`, `later` (no auto_init), `alone` (exclusive),
    `of=web`.
    """
    id_, *flags = text.split()
    kind, _, name = id_.partition(":")
    node = Node(NodeId(id_), Kind(kind), name, CommandSpec(argv=("make", name)), resource=name)
    for flag in flags:
        if flag == "manual":
            node = replace(node, trigger=Trigger.MANUAL)
        elif flag == "later":
            node = replace(node, auto_init=False)
        elif flag == "alone":
            node = replace(node, exclusive=True)
        else:
            node = replace(node, resource=flag.removeprefix("of="))
    return node


def _edges(text: str) -> Iterable[Edge]:
    """`a -> b` content, `a => b` ready, `a .. b` order; chains as long as wanted."""
    words = text.split()
    kinds = {"->": EdgeKind.CONTENT, "=>": EdgeKind.READY, "..": EdgeKind.ORDER}
    for at in range(1, len(words), 2):
        yield Edge(NodeId(words[at - 1]), NodeId(words[at + 1]), kinds[words[at]])


def _graph(nodes: Iterable[str], *edges: str) -> Graph:
    return Graph([_node(text) for text in nodes], [edge for text in edges for edge in _edges(text)])


@pytest.fixture
def make_graph() -> Callable[..., Graph]:
    """`make_graph(["image:a", "push:a manual"], "image:a -> push:a")`."""
    return _graph


@pytest.fixture
def drive(make_graph: Callable[..., Graph]) -> Callable[..., Driver]:
    """A driver of the graph that `make_graph` makes of the same words."""

    def start(nodes: Iterable[str], *edges: str, max_parallel: int = 3) -> Driver:
        return Driver(make_graph(nodes, *edges), max_parallel=max_parallel)

    return start
