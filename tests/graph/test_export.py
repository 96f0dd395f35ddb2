"""Pictures of the graph, whatever names it holds."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from xml.etree import ElementTree

import hypothesis.strategies as st
import pytest
from hypothesis import given
from syrupy.assertion import SnapshotAssertion

from kindling.graph.dag import Graph
from kindling.graph.export import subgraph, to_dot, to_json, to_mermaid
from kindling.graph.layout import layout
from kindling.graph.node import Edge, EdgeKind, Kind, Node, NodeId, Where, node_id
from kindling.graph.spec import CommandSpec
from kindling.graph.svg import to_svg

MakeGraph = Callable[..., Graph]

NASTY = "a\"b\\<c>&d'\n;]#e"


@pytest.fixture
def hello(make_graph: MakeGraph) -> Graph:
    return make_graph(
        ["cluster:dev of=", "image:web", "push:web", "apply:web", "rollout:web", "test:smoke"],
        "image:web -> push:web -> apply:web -> rollout:web -> test:smoke",
        "cluster:dev => push:web",
        "cluster:dev => apply:web",
        "image:web .. test:smoke",
    )


def named(*names: str) -> Graph:
    nodes = [
        Node(node_id(Kind.LOCAL, n), Kind.LOCAL, n, CommandSpec(("x",)), Where("f", 1), resource=n)
        for n in names
    ]
    edges = [Edge(a.id, b.id, EdgeKind.CONTENT) for a, b in itertools.pairwise(nodes)]
    return Graph(nodes, edges)


def test_dot(hello: Graph, snapshot: SnapshotAssertion) -> None:
    assert to_dot(hello, {NodeId("image:web"): "done"}) == snapshot


def test_mermaid(hello: Graph, snapshot: SnapshotAssertion) -> None:
    assert to_mermaid(hello, {NodeId("image:web"): "done"}) == snapshot


def test_json_has_every_node_and_edge(hello: Graph) -> None:
    data = json.loads(json.dumps(to_json(hello, {NodeId("image:web"): "failed"})))
    assert data["schema"] == "kindling.graph/1"
    assert [node["id"] for node in data["nodes"]] == list(hello.nodes)
    assert {"before": "image:web", "after": "test:smoke", "kind": "order"} in data["edges"]
    assert data["nodes"][1]["status"] == "failed"
    assert "status" not in data["nodes"][0]


@given(st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=5, unique=True))
def test_an_svg_is_well_formed_whatever_names_there_are(names: list[str]) -> None:
    root = ElementTree.fromstring(to_svg(named(*names)))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_names_cannot_break_out_of_any_format() -> None:
    graph = named(NASTY, "b")
    dot = to_dot(graph)
    assert '\\"b\\\\<c>' in dot
    assert len(re.findall(r'(?<!\\)"', dot)) % 2 == 0
    for line in to_mermaid(graph).splitlines():
        assert line.count('"') in (0, 2)
    texts = [e.text for e in ElementTree.fromstring(to_svg(graph)).iter() if e.text]
    assert f"local:{NASTY}" in texts


def test_an_svg_refers_to_nothing_outside(hello: Graph) -> None:
    text = to_svg(hello)
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert "<script" not in text


@pytest.mark.parametrize("count", [0, 1, 300])
def test_any_number_of_nodes_can_be_drawn(count: int) -> None:
    names = [str(n) for n in range(count)]
    nodes = [Node(node_id(Kind.LOCAL, n), Kind.LOCAL, n, CommandSpec(("x",))) for n in names]
    edges = [Edge(nodes[at // 3].id, nodes[at].id, EdgeKind.READY) for at in range(3, count)]
    graph = Graph(nodes, edges)
    assert to_svg(graph).count("<g><title>") == count
    places = layout(graph).places
    for edge in graph.edges:
        assert places[edge.before][0] < places[edge.after][0], "edges point to the right"
    for layer in {layer for layer, _ in places.values()}:
        column = sorted(y for other, y in places.values() if other == layer)
        gaps = [b - a for a, b in itertools.pairwise(column)]
        assert all(gap > 0.99 for gap in gaps), "boxes do not overlap"


def test_a_subgraph_keeps_only_edges_between_its_nodes(hello: Graph) -> None:
    part = subgraph(hello, {NodeId("image:web"), NodeId("push:web")})
    assert [edge.before for edge in part.edges] == ["image:web"]
