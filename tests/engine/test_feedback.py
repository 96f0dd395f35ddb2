"""Which changes wait because the node seems to have made them itself."""

from __future__ import annotations

from dataclasses import replace

from kindling.engine.feedback import Feedback
from kindling.engine.notices import NodeStatus, NodeView
from kindling.graph.node import Kind, NodeId

LOOP = NodeView(NodeId("local:loop"), Kind.LOCAL, "loop", NodeStatus.RUNNING, since=0.0)


def runs(feedback: Feedback, count: int, *, first: int = 1) -> list[float]:
    """So many runs in a row, each of which changed a file: what the changes had to wait."""
    delays = []
    for attempt in range(first, first + count):
        view = replace(LOOP, attempt=attempt)
        delays.append(feedback.delay(view, ("in.txt",), since=attempt))
        feedback.ended(LOOP.id, attempt + 0.5, ran=True)
    return delays


def test_a_loop_waits_longer_each_time_and_is_named_once() -> None:
    feedback = Feedback()
    assert runs(feedback, 12) == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30]
    (warning,) = feedback.take_warnings()
    assert "`local:loop`" in warning
    assert "in.txt" in warning
    assert feedback.take_warnings() == ()


def test_a_change_after_the_end_of_a_run_is_somebody_elses() -> None:
    feedback = Feedback()
    runs(feedback, 8)
    done = replace(LOOP, attempt=8, status=NodeStatus.DONE)
    assert feedback.delay(done, ("in.txt",), since=8.6) == 0
    assert runs(feedback, 5, first=9) == [0] * 5


def test_a_change_that_a_run_made_and_that_is_seen_after_its_end_is_its_own() -> None:
    feedback = Feedback()
    runs(feedback, 8)
    done = replace(LOOP, attempt=8, status=NodeStatus.DONE)
    assert feedback.delay(done, ("in.txt",), since=8.4) > 0


def test_a_run_that_changed_nothing_ends_the_count() -> None:
    feedback = Feedback()
    runs(feedback, 5)
    feedback.ended(LOOP.id, 6.0, ran=False)
    assert runs(feedback, 5, first=7) == [0] * 5


def test_many_changes_during_one_run_count_once() -> None:
    feedback = Feedback()
    view = replace(LOOP, attempt=1)
    assert [feedback.delay(view, ("in.txt",), since=n) for n in range(20)] == [0] * 20
