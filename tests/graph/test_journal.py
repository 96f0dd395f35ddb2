"""What a journal holds, and that it is enough to decide everything again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from kindling.errors import StoreError
from kindling.graph.codec import (
    command_from_json,
    command_to_json,
    event_from_json,
    event_to_json,
    graph_from_json,
    graph_to_json,
)
from kindling.graph.dag import Graph
from kindling.graph.event import (
    Cancel,
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
from kindling.graph.node import Kind, Node, NodeId
from kindling.graph.outcome import Verdict
from kindling.graph.replay import describe, replay
from kindling.graph.spec import CommandSpec

MakeGraph = Callable[..., Graph]

ids = st.text(max_size=12).map(NodeId)
some = st.lists(ids, max_size=3).map(tuple)
at = st.floats(0, 1e9)
flag = st.booleans()
events = st.one_of(
    st.builds(FilesChanged, at, some),
    st.builds(Triggered, at, some, flag),
    st.builds(Finished, at, ids, st.integers(0, 99), st.sampled_from(Verdict), st.text(), flag),
    st.builds(ReadinessChanged, at, ids, flag),
    st.builds(ReloadStarted, at),
    st.builds(ReloadEnded, at),
    st.builds(SlotsChanged, at, st.integers(0, 99)),
    st.builds(Stopping, at, flag),
)
commands = st.one_of(
    st.builds(Start, ids, st.integers(0, 99), flag),
    st.builds(Cancel, ids, st.integers(0, 99)),
    st.builds(Undo, some),
)


def through_text(data: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(data))
    return read


@given(events)
def test_every_event_survives_its_json(event: Any) -> None:
    assert event_from_json(through_text(event_to_json(event))) == event
    assert describe(event)


@given(commands)
def test_every_command_survives_its_json(command: Any) -> None:
    assert command_from_json(through_text(command_to_json(command))) == command


def test_a_graph_keeps_what_decisions_depend_on(make_graph: MakeGraph) -> None:
    graph = make_graph(
        ["local:a manual", "image:b later of=x", "local:c alone"],
        "local:a -> image:b => local:c",
        "local:a .. local:c",
    )
    data = through_text(graph_to_json(graph))
    back = graph_from_json(data)
    assert graph_to_json(back) == data
    assert back.edges == graph.edges
    for id_, node in graph.nodes.items():
        other = back[id_]
        assert (node.trigger, node.auto_init, node.exclusive, node.resource) == (
            other.trigger,
            other.auto_init,
            other.exclusive,
            other.resource,
        )


def test_a_journal_holds_no_command_line_and_no_environment() -> None:
    spec = CommandSpec(("login", "hunter2"), env=(("PASSWORD", "hunter3"),))
    graph = Graph([Node(NodeId("local:a"), Kind.LOCAL, "a", spec)])
    text = json.dumps(event_to_json(GraphLoaded(0.0, graph, frozenset(graph.nodes))))
    assert "hunter" not in text


def test_a_selection_survives(make_graph: MakeGraph) -> None:
    graph = make_graph(["local:a", "local:b"])
    for selected in (frozenset(graph.nodes), frozenset({NodeId("local:b")}), frozenset[NodeId]()):
        event = GraphLoaded(1.0, graph, selected, frozenset({NodeId("local:a")}), 7)
        back = event_from_json(through_text(event_to_json(event)))
        assert isinstance(back, GraphLoaded)
        assert (back.selected, back.changed, back.max_parallel) == (selected, event.changed, 7)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"event": "nothing", "at": 1},
        {"event": "finished", "at": 1},
        {"event": "finished", "at": "soon"},
        {"event": "graph-loaded", "at": 1, "graph": {"nodes": [{}], "edges": []}},
        {
            "event": "graph-loaded",
            "at": 1,
            "graph": {"nodes": [], "edges": [["a", "b", "content"]]},
        },
    ],
)
def test_what_is_no_event_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="journal"):
        event_from_json(broken)


def test_what_is_no_command_is_refused() -> None:
    with pytest.raises(StoreError, match="journal holds no readable command"):
        command_from_json({"command": "destroy"})


def test_replay_names_the_first_decision_that_is_now_another(make_graph: MakeGraph) -> None:
    graph = make_graph(["local:a", "local:b"], "local:a -> local:b")
    a, b = NodeId("local:a"), NodeId("local:b")
    rows: list[tuple[Any, tuple[Any, ...]]] = [
        (GraphLoaded(0.0, graph, frozenset(graph.nodes)), (Start(a, 1),)),
        (Finished(1.5, a, 1, Verdict.RAN, "x"), (Start(b, 1),)),
    ]
    assert replay(rows) is None
    rows.append((FilesChanged(2.0, (a,)), (Start(a, 2), Start(b, 2))))
    found = replay(rows)
    assert found is not None
    assert found.row == 3
    assert found.lines() == (
        "event 3, at 2.000 s: files of [`local:a`] changed",
        "  recorded, not decided now: start `local:b` (attempt 2)",
        "  `local:b` is now running",
    )
    assert found.to_json()["row"] == 3
