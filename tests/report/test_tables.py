"""Plans, explanations, states and graphs as text."""

from __future__ import annotations

import re
from typing import Any

from syrupy.assertion import SnapshotAssertion

from kindling.graph.dag import Graph
from kindling.graph.key import Difference, Manifest
from kindling.graph.node import Edge, EdgeKind, Kind, Node, NodeId
from kindling.graph.outcome import Verdict
from kindling.graph.plan import Check, CheckState, Plan, plan
from kindling.graph.spec import CommandSpec
from kindling.graph.why import Evidence, why
from kindling.report.graph import graph_text
from kindling.report.ink import Ink
from kindling.report.plan import plan_text
from kindling.report.status import StatusRow, status_text
from kindling.report.why import why_text

IMAGE, PUSH, APPLY, ROLLOUT, LINT = (
    NodeId(id_)
    for id_ in ("image:api", "push:api", "apply:api", "rollout:api", "local:lint-everything")
)


def small_graph() -> Graph:
    def node(id_: NodeId) -> Node:
        kind, _, name = id_.partition(":")
        return Node(id_, Kind(kind), name, CommandSpec(("true",)), resource=name)

    return Graph(
        [node(id_) for id_ in (IMAGE, PUSH, APPLY, ROLLOUT, LINT)],
        [
            Edge(IMAGE, PUSH, EdgeKind.CONTENT),
            Edge(PUSH, APPLY, EdgeKind.CONTENT),
            Edge(APPLY, ROLLOUT, EdgeKind.CONTENT),
            Edge(LINT, APPLY, EdgeKind.READY),
        ],
    )


def changed(path: str = "app.py") -> Difference:
    return Difference(f"file:{path}", "file:644:" + "ab" * 32, "file:644:" + "cd" * 32)


def some_plan() -> Plan:
    graph = small_graph()
    clean = Check(CheckState.CLEAN)
    return plan(
        graph,
        graph.nodes,
        {
            IMAGE: Check(CheckState.DIRTY, (changed(), changed("lib/very/deep/below/model.py"))),
            PUSH: clean,
            APPLY: Check(CheckState.DRIFTED, text="Deployment/api was deleted"),
            ROLLOUT: clean,
            LINT: Check(CheckState.CACHED),
        },
        {IMAGE: 62.0, PUSH: 0.4, ROLLOUT: 3.2},
        objects={APPLY: ("create Deployment/api in default",)},
    )


def test_a_plan(snapshot: SnapshotAssertion) -> None:
    assert plan_text(some_plan(), target="Cluster `dev`: it is the current one") == snapshot


def test_a_plan_in_80_and_in_44_columns(snapshot: SnapshotAssertion) -> None:
    for width in (80, 44):
        text = plan_text(some_plan(), ink=Ink(width=width))
        assert max(map(len, text.splitlines())) <= width
        assert text == snapshot


def test_a_plan_of_nothing_is_one_line() -> None:
    graph = small_graph()
    made = plan(graph, graph.nodes, {id_: Check(CheckState.CLEAN) for id_ in graph.nodes}, {})
    assert plan_text(made) == "nothing to run: 5 nodes up to date\n"
    assert plan_text(made, skipped=True).startswith("skip    image:api\n")


def test_colours_change_nothing_but_colours() -> None:
    plain, coloured = plan_text(some_plan()), plan_text(some_plan(), ink=Ink(color=True))
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_an_explanation_goes_up_to_the_first_cause(snapshot: SnapshotAssertion) -> None:
    before = Manifest((("file:app.py", "file:644:" + "ab" * 32),))
    after = Manifest((("file:app.py", "file:644:" + "cd" * 32),))
    same = Manifest(())
    evidence = {
        IMAGE: Evidence(before, after),
        PUSH: Evidence(same, same),
        APPLY: Evidence(same, same, note="Deployment/api was deleted"),
        ROLLOUT: Evidence(None, same, Verdict.RAN),
        LINT: Evidence(same, same),
    }
    graph = small_graph()
    explained = [why(graph, id_, evidence) for id_ in (IMAGE, PUSH, APPLY, ROLLOUT, LINT)]
    assert why_text(explained) == snapshot


def test_states_of_a_running_session(snapshot: SnapshotAssertion) -> None:
    replies: list[dict[str, Any]] = [
        {"id": "image:api", "status": "done", "verdict": "ran", "seconds": 3.2, "since": 90.0},
        {
            "id": "push:api",
            "status": "held",
            "hold": {"reason": "waiting-for-slot", "waiting_for": ["image:web", "image:db"]},
            "since": 95.0,
        },
        {
            "id": "rollout:web",
            "status": "failed",
            "failure": {"summary": "pods do not come up"},
            "verdict": "failed",
            "seconds": 12.0,
            "since": 40.0,
        },
        {"id": "portforward:api-8080", "status": "done", "endpoints": ["http://localhost:8080"]},
    ]
    rows = [StatusRow.of_reply(reply, now=100.0) for reply in replies]
    assert status_text(rows, "a session is running") == snapshot


def test_a_graph_as_a_list(snapshot: SnapshotAssertion) -> None:
    graph = small_graph()
    assert graph_text(graph, graph.nodes) == snapshot
