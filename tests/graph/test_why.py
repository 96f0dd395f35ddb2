"""Why a node is dirty: the exact inputs and the first cause."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from syrupy.assertion import SnapshotAssertion

from kindling.graph.dag import Graph
from kindling.graph.key import Manifest
from kindling.graph.node import NodeId
from kindling.graph.outcome import Verdict
from kindling.graph.why import Evidence, Explanation, why

MakeGraph = Callable[..., Graph]

CHAIN = (["image:x", "push:x", "apply:x", "rollout:x"], "image:x -> push:x -> apply:x -> rollout:x")


def evidence(
    old: dict[str, str] | None,
    new: dict[str, str],
    verdict: Verdict | None = Verdict.RAN,
    note: str = "",
) -> Evidence:
    previous = None if old is None else Manifest(tuple(old.items()))
    return Evidence(previous, Manifest(tuple(new.items())), verdict, note)


def last_run() -> dict[NodeId, Evidence]:
    return {
        NodeId("image:x"): evidence(
            {"file:app.py": "aa" * 16, "file:b.py": "1"},
            {"file:app.py": "bb" * 16, "file:b.py": "1"},
        ),
        NodeId("push:x"): evidence({"from:image:x": "1"}, {"from:image:x": "2"}),
        NodeId("apply:x"): evidence({"from:push:x": "1"}, {"from:push:x": "2"}),
        NodeId("rollout:x"): evidence({"from:apply:x": "1"}, {"from:apply:x": "2"}),
    }


def test_the_first_cause_is_found_up_the_graph(
    make_graph: MakeGraph, snapshot: SnapshotAssertion
) -> None:
    found = why(make_graph(*CHAIN), NodeId("rollout:x"), last_run())
    assert [chain.text for chain in found.chains] == [
        "rollout:x <- apply:x <- push:x <- image:x <- `app.py` changed"
    ]
    assert "\n".join(found.lines()) == snapshot


def test_the_inputs_of_the_node_itself_come_with_their_digests(make_graph: MakeGraph) -> None:
    found = why(make_graph(*CHAIN), NodeId("image:x"), last_run())
    assert found.lines() == (
        "image:x ran because",
        "  `app.py` changed (aaaaaaaaaaaa -> bbbbbbbbbbbb)",
    )
    assert [(d.old, d.new) for d in found.differences] == [("aa" * 16, "bb" * 16)]


def test_every_first_cause_is_named_once(make_graph: MakeGraph) -> None:
    graph = make_graph(
        ["image:base", "image:a", "image:b", "apply:x"],
        "image:base -> image:a -> apply:x",
        "image:base -> image:b -> apply:x",
    )
    records = {
        NodeId("image:base"): evidence({"file:f": "1"}, {"file:f": "2"}),
        NodeId("image:a"): evidence({"from:image:base": "1"}, {"from:image:base": "2"}),
        NodeId("image:b"): evidence(
            {"from:image:base": "1", "file:b": "1"}, {"from:image:base": "2", "file:b": "2"}
        ),
        NodeId("apply:x"): evidence(
            {"from:image:a": "1", "from:image:b": "1"}, {"from:image:a": "2", "from:image:b": "2"}
        ),
    }
    texts = [chain.text for chain in why(graph, NodeId("apply:x"), records).chains]
    assert texts == [
        "apply:x <- image:b <- `b` changed",
        "apply:x <- image:a <- image:base <- `f` changed",
    ]


def test_a_node_that_never_succeeded_says_so(make_graph: MakeGraph) -> None:
    graph = make_graph(*CHAIN)
    found = why(graph, NodeId("image:x"), {NodeId("image:x"): evidence(None, {}, None)})
    assert found.lines() == ("image:x is due because it never succeeded here before",)
    assert found.is_dirty
    assert why(graph, NodeId("image:x"), {}).is_first


def test_an_up_to_date_node_says_so(make_graph: MakeGraph) -> None:
    clean = {NodeId("image:x"): evidence({"file:a": "1"}, {"file:a": "1"}, None)}
    found = why(make_graph(*CHAIN), NodeId("image:x"), clean)
    assert not found.is_dirty
    assert "up to date" in found.lines()[0]


def test_at_present_a_dirty_node_above_makes_it_a_perhaps(make_graph: MakeGraph) -> None:
    same = {"from": "1"}
    records = {
        NodeId("image:x"): evidence({"file:a": "1"}, {"file:a": "2"}, None),
        NodeId("push:x"): evidence(same, same, None),
        NodeId("apply:x"): evidence(same, same, None),
    }
    found = why(make_graph(*CHAIN), NodeId("apply:x"), records)
    assert not found.is_dirty
    assert [(chain.text, chain.certain) for chain in found.chains] == [
        ("apply:x <- push:x <- image:x <- `a` changed", False)
    ]
    assert found.lines()[0] == "apply:x runs if the output of a predecessor changes"


def test_drift_and_force_are_causes_too(make_graph: MakeGraph) -> None:
    records = {
        NodeId("apply:x"): evidence({"a": "1"}, {"a": "1"}, None, "Deployment/web was deleted"),
        NodeId("rollout:x"): evidence({"from:apply:x": "1"}, {"from:apply:x": "2"}),
    }
    graph = make_graph(*CHAIN)
    assert why(graph, NodeId("apply:x"), records).lines() == (
        "apply:x is due because Deployment/web was deleted",
    )
    chains = why(graph, NodeId("rollout:x"), records).chains
    assert [c.text for c in chains] == ["rollout:x <- apply:x <- Deployment/web was deleted"]


def test_an_explanation_as_json(make_graph: MakeGraph) -> None:
    found = why(make_graph(*CHAIN), NodeId("rollout:x"), last_run())
    data = json.loads(json.dumps(found.to_json()))
    assert data["schema"] == "kindling.why/1"
    assert data["verdict"] == "ran"
    assert data["dirty"]
    assert data["chains"][0]["path"] == ["rollout:x", "apply:x", "push:x", "image:x"]
    assert data["chains"][0]["difference"]["label"] == "file:app.py"


def test_what_a_session_has_is_not_due_and_says_whose_it_is() -> None:
    """Though its pods have another template than was recorded."""
    drifted = Explanation(NodeId("rollout:web"), None, False, (), "its pods have another", ())
    assert drifted.is_dirty
    held = replace(drifted, held="session `s1` of ada has deployment/web")
    assert not held.is_dirty
    assert held.lines() == ("rollout:web is not due: session `s1` of ada has deployment/web",)
    assert held.to_json()["held"] == held.held
