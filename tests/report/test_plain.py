"""The plain face."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from syrupy.assertion import SnapshotAssertion

from kindling.engine.notices import (
    KindlingfileLoaded,
    NodeChanged,
    Notice,
    SessionEnded,
    SessionStarted,
)
from kindling.graph.event import Hold, HoldReason
from kindling.graph.node import NodeId
from kindling.graph.outcome import Failure, FailureKind, Verdict
from kindling.report.narrator import Narrator
from kindling.report.plain import PlainReporter
from kindling.report.record import Record

View = Callable[..., Any]


def told(notices: list[Notice], **options: Any) -> str:
    stream = io.StringIO()
    reporter = PlainReporter(stream, clock=None, **options)
    for notice in notices:
        reporter.notice(notice)
    reporter.close()
    return stream.getvalue()


def test_a_session_with_a_failure(session: list[Notice], snapshot: SnapshotAssertion) -> None:
    assert told(session) == snapshot


def test_colours_change_nothing_but_colours(session: list[Notice]) -> None:
    import re

    assert re.sub(r"\x1b\[[0-9;]*m", "", told(session, color=True)) == told(session)


def test_a_run_in_which_nothing_happens_is_a_handful_of_lines(view: View, started: float) -> None:
    ids = [f"{kind}:s{n}" for n in range(50) for kind in ("image", "push", "apply", "rollout")]
    notices: list[Notice] = [SessionStarted(started, "s", "up", "Kindlingfile", "kind-dev")]
    notices.append(KindlingfileLoaded(started, 0.1, tuple(view(id_) for id_ in ids)))
    for id_ in ids:
        notices.append(NodeChanged(started, view(id_, "running", doing="checking")))
        notices.append(NodeChanged(started, view(id_, "done", verdict=Verdict.UNCHANGED)))
    notices.append(SessionEnded(started + 1, 0, 1.0, {Verdict.UNCHANGED: 200}))
    assert told(notices).splitlines() == [
        "kindling up: Kindlingfile on kind-dev",
        "200 nodes of 50 resources (Kindlingfile read in 0.1 s)",
        "up done in 1.0 s: 200 unchanged",
    ]


def narrator() -> Narrator:
    return Narrator(Record())


def said(lines: list[Any]) -> list[str]:
    return [str(line) for line in lines]


def test_a_hold_is_said_once_and_only_when_it_lasts(view: View, started: float) -> None:
    teller = narrator()
    held = view("rollout:api", hold=Hold(HoldReason.DEPENDENCY, (NodeId("apply:api"),)))
    teller.take(NodeChanged(started, view("apply:api", "running")))
    assert teller.take(NodeChanged(started, held)) == []
    assert teller.next_beat() is not None
    assert "rollout:api" not in " ".join(said(teller.beat(started + 4.9)))
    assert said(teller.beat(started + 5)) == ["rollout:api  waiting for dependency [apply:api]"]
    assert teller.beat(started + 20) == []


def test_of_a_queue_only_the_head_is_said(view: View, started: float) -> None:
    teller = narrator()
    before = "image:api"
    for id_ in ("push:api", "apply:api", "rollout:api"):
        hold = Hold(HoldReason.DEPENDENCY, (NodeId(before),))
        teller.take(NodeChanged(started, view(id_, hold=hold)))
        before = id_
    assert said(teller.beat(started + 6)) == ["push:api  waiting for dependency [image:api]"]


def test_a_start_is_said_when_it_lasts_and_a_long_run_again(view: View, started: float) -> None:
    teller = narrator()
    running = view("image:api", "running", reasons=("app.py changed",))
    assert teller.take(NodeChanged(started, running)) == []
    assert said(teller.beat(started + 1)) == ["image:api  building (app.py changed)"]
    assert said(teller.beat(started + 31)) == ["image:api  still building after 31 s"]
    assert teller.beat(started + 40) == []
    done = view("image:api", "done", verdict=Verdict.RAN, seconds=40.0)
    assert said(teller.take(NodeChanged(started + 40, done))) == ["image:api  built in 40 s"]
    assert teller.next_beat() is None


def test_a_reader_that_left_is_no_error(session: list[Notice]) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(text)

    reporter = PlainReporter(Gone(), clock=None)
    for notice in session:
        reporter.notice(notice)
    reporter.close()


def test_time_stamps_stand_before_each_line(session: list[Notice]) -> None:
    import re

    lines = told(session, timestamps=True).splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)


def test_a_failure_that_repeats_is_told_whole_once(view: View, started: float) -> None:
    """Retries of an unreachable cluster do not fill the log with the same block and holds."""
    failure = Failure(FailureKind.CLUSTER, "the cluster failed (500)", ("a long story",))
    teller = narrator()
    lines: list[str] = []
    for attempt in (1, 2, 3):
        at = started + 10 * attempt
        after = view("rollout:api", at=10.0 * attempt, hold=Hold(HoldReason.DEPENDENCY_FAILED))
        for status in ("running", "failed"):
            fields: dict[str, Any] = {"attempt": attempt, "at": 10.0 * attempt}
            if status == "failed":
                fields["failure"] = failure
            lines += said(teller.take(NodeChanged(at, view("apply:api", status, **fields))))
            lines += said(teller.take(NodeChanged(at, after)))
        lines += said(teller.beat(at + 6))
    assert lines == [
        "apply:api  failed: the cluster failed (500)",
        "    a long story",
        "rollout:api  held back by the failure of a dependency",
        "apply:api  failed again: the cluster failed (500)",
        "apply:api  failed again: the cluster failed (500)",
    ]
