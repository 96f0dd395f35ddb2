"""The plan: what would run, why, and how long it would take."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from syrupy.assertion import SnapshotAssertion

from kindling.graph.dag import Graph
from kindling.graph.key import Difference
from kindling.graph.node import NodeId
from kindling.graph.plan import Action, Check, CheckState, Plan, plan

MakeGraph = Callable[..., Graph]
CLEAN = Check(CheckState.CLEAN)
DIRTY = Check(CheckState.DIRTY, (Difference("file:app.py", "1", "2"),))


def make(
    graph: Graph,
    checks: dict[str, Check],
    seconds: dict[str, float] | None = None,
    *,
    max_parallel: int = 3,
) -> Plan:
    return plan(
        graph,
        graph.nodes,
        {id_: checks.get(id_, CLEAN) for id_ in graph.nodes},
        {NodeId(id_): time for id_, time in (seconds or {}).items()},
        max_parallel=max_parallel,
    )


def actions(made: Plan) -> dict[str, str]:
    return {step.id: step.action.value for step in made.steps}


CHAIN = (["image:a", "push:a", "apply:a", "rollout:a"], "image:a -> push:a -> apply:a -> rollout:a")


def test_nothing_changed_nothing_runs(make_graph: MakeGraph) -> None:
    made = make(make_graph(*CHAIN), {})
    assert made.is_empty
    assert made.lines() == ("Nothing to run: 4 up to date.",)
    assert made.seconds == 0


def test_what_is_below_a_change_may_run(make_graph: MakeGraph) -> None:
    made = make(make_graph(*CHAIN), {"push:a": DIRTY})
    assert actions(made) == {
        "image:a": "skip",
        "push:a": "run",
        "apply:a": "maybe",
        "rollout:a": "maybe",
    }
    assert made.steps[2].reasons == ("if the output of `push:a` changes",)


def test_a_ready_edge_makes_nothing_run(make_graph: MakeGraph) -> None:
    made = make(make_graph(["local:a", "local:b"], "local:a => local:b"), {"local:a": DIRTY})
    assert actions(made)["local:b"] == "skip"


def test_each_check_has_its_action(make_graph: MakeGraph) -> None:
    graph = make_graph(["image:c", "apply:d", "apply:u", "image:x"])
    made = make(
        graph,
        {
            "image:c": Check(CheckState.CACHED, DIRTY.differences),
            "apply:d": Check(CheckState.DRIFTED, text="Deployment/web was deleted"),
            "apply:u": Check(CheckState.UNKNOWN, text="the cluster is not reachable"),
            "image:x": Check(CheckState.DIRTY, text="it never ran here"),
        },
    )
    assert [step.action for step in made.steps] == [
        Action.RESTORE,
        Action.RUN,
        Action.MAYBE,
        Action.RUN,
    ]
    assert made.counts[Action.RUN] == 2


def test_only_selected_nodes_are_in_a_plan(make_graph: MakeGraph) -> None:
    graph = make_graph(["local:a", "local:b"], "local:a -> local:b")
    made = plan(graph, {NodeId("local:a")}, {}, {})
    assert [step.id for step in made.steps] == ["local:a"]
    assert made.steps[0].reasons == ("it was not checked",)


@pytest.mark.parametrize(("slots", "seconds"), [(1, 12), (2, 7), (3, 5), (9, 5)])
def test_time_is_reckoned_with_the_slots_there_are(
    make_graph: MakeGraph, slots: int, seconds: float
) -> None:
    graph = make_graph(["image:a", "image:b", "image:c"])
    made = make(
        graph,
        dict.fromkeys(("image:a", "image:b", "image:c"), DIRTY),
        {"image:a": 5, "image:b": 5, "image:c": 2},
        max_parallel=slots,
    )
    assert made.seconds == seconds


def test_waiting_takes_no_slot(make_graph: MakeGraph) -> None:
    graph = make_graph(["rollout:a", "rollout:b", "image:c"])
    everything: dict[str, Check] = dict.fromkeys(graph.nodes, DIRTY)
    times = {"rollout:a": 4.0, "rollout:b": 4.0, "image:c": 4.0}
    assert make(graph, everything, times, max_parallel=1).seconds == 4


def test_the_critical_path_is_the_longest_chain(make_graph: MakeGraph) -> None:
    graph = make_graph(
        ["image:slow", "image:fast", "apply:x", "rollout:x"],
        "image:slow -> apply:x -> rollout:x",
        "image:fast -> apply:x",
    )
    made = make(
        graph,
        {"image:slow": DIRTY, "image:fast": DIRTY},
        {"image:slow": 30, "image:fast": 3, "apply:x": 1, "rollout:x": 5},
    )
    assert made.critical_path == ("image:slow", "apply:x", "rollout:x")
    assert (made.seconds, made.seconds_at_most) == (30, 36)


def test_what_was_never_timed_is_named(make_graph: MakeGraph) -> None:
    made = make(make_graph(["local:a"]), {"local:a": DIRTY})
    assert made.without_history == ("local:a",)
    assert made.critical_path == ()


def test_a_plan_as_text_and_json(make_graph: MakeGraph, snapshot: SnapshotAssertion) -> None:
    graph = make_graph([*CHAIN[0], "image:b", "local:c"], CHAIN[1])
    checks = {NodeId(id_): CLEAN for id_ in graph.nodes}
    checks[NodeId("image:a")] = DIRTY
    checks[NodeId("image:b")] = Check(CheckState.CACHED, DIRTY.differences)
    made = plan(
        graph,
        graph.nodes,
        checks,
        {NodeId("image:a"): 12.34, NodeId("rollout:a"): 5.0},
        objects={NodeId("apply:a"): ("would change Deployment/web",)},
    )
    assert "\n".join(made.lines()) == snapshot
    assert "\n".join(made.lines(skipped=True)) == snapshot
    data = json.loads(json.dumps(made.to_json()))
    assert data["schema"] == "kindling.plan/1"
    assert data["counts"] == {"run": 1, "restore": 1, "skip": 1, "maybe": 3}
    assert data["nodes"][0]["differences"][0]["text"] == "`app.py` changed"
