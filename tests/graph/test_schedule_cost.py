"""What a decision costs, counted in work done and not in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from kindling.graph.dag import Graph
from kindling.graph.event import FilesChanged, Finished, GraphLoaded, Start
from kindling.graph.node import NodeId
from kindling.graph.outcome import Verdict
from kindling.graph.persistent import Queue, Row, RowEdit
from kindling.graph.schedule import step
from kindling.graph.state import State, idle, initial

MakeGraph = Callable[..., Graph]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts every change of an item and of a queue."""
    counted: Counter[str] = Counter()

    def count(cls: type, name: str) -> None:
        real: Any = getattr(cls, name)

        def counting(self: Any, *args: Any) -> Any:
            counted["all"] += 1
            return real(self, *args)

        monkeypatch.setattr(cls, name, counting)

    for cls, name in [(RowEdit, "__setitem__"), (RowEdit, "__getitem__")]:
        count(cls, name)
    for name in ("add", "discard"):
        count(Queue, name)
    return counted


def services(make_graph: MakeGraph, count: int) -> Graph:
    nodes = ["cluster:c", "image:base"]
    edges: list[str] = []
    for at in range(count):
        chain = [f"{kind}:s{at}" for kind in ("image", "push", "apply", "rollout")]
        nodes += chain
        edges.append(f"image:base -> {' -> '.join(chain)}")
        edges += [f"cluster:c => {node}" for node in chain[1:]]
    return make_graph(nodes, *edges)


def run_all(state: State, started: list[Start]) -> State:
    todo = list(started)
    while todo:
        start = todo.pop()
        event = Finished(1.0, start.node, start.attempt, Verdict.RAN, "x")
        state, commands = step(state, event)
        todo += [command for command in commands if isinstance(command, Start)]
    return state


def test_a_full_run_costs_about_as_many_times_more_as_there_are_nodes(
    make_graph: MakeGraph, work: Counter[str]
) -> None:
    costs: list[int] = []
    for count in (20, 200):
        graph = services(make_graph, count)
        state, commands = step(initial(), GraphLoaded(0.0, graph, frozenset(graph.nodes)))
        work.clear()
        state = run_all(state, [c for c in commands if isinstance(c, Start)])
        assert idle(state)
        costs.append(work["all"])
    assert costs[1] < 11 * costs[0]


def test_a_save_costs_what_stands_below_it_and_no_more(
    make_graph: MakeGraph, work: Counter[str]
) -> None:
    costs: list[int] = []
    for count in (10, 100):
        graph = services(make_graph, count)
        state, commands = step(initial(), GraphLoaded(0.0, graph, frozenset(graph.nodes)))
        state = run_all(state, [c for c in commands if isinstance(c, Start)])
        work.clear()
        step(state, FilesChanged(1.0, (NodeId("image:s3"),)))
        costs.append(work["all"])
    assert costs[0] == costs[1]


def test_an_edit_leaves_the_row_as_it_was() -> None:
    row = Row(range(200))
    edit = row.edit()
    edit[70] = -1
    edit[199] = -2
    other = edit.done()
    assert list(row) == list(range(200))
    assert (other[70], other[199], len(other)) == (-1, -2, 200)
    assert list(row.differing(other)) == [70, 199]


def test_a_queue_is_always_sorted() -> None:
    queue = Queue()
    for at in range(500):
        queue = queue.add(((at * 37) % 500, at))
    assert [rank[0] for rank in queue] == list(range(500))
    assert queue.add(queue.first) == queue
    for rank in list(queue)[::2]:
        queue = queue.discard(rank)
    assert [rank[0] for rank in queue] == list(range(1, 500, 2))
    assert queue.discard((9999, 0)) == queue
