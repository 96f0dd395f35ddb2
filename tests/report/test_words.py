"""Phrases that all faces share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kindling.engine.notices import NodeView
from kindling.graph.event import Hold, HoldReason
from kindling.graph.node import NodeId
from kindling.graph.outcome import Verdict
from kindling.report import words

View = Callable[..., NodeView]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.0001, "1 ms"),
        (0.04, "40 ms"),
        (0.0996, "0.1 s"),
        (0.4, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (3840, "1 h 4 min"),
        (90_000, "25 h"),
    ],
)
def test_a_duration_is_as_exact_as_a_reader_can_use(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_counts_know_their_plural() -> None:
    assert words.counted(1, "node") == "1 node"
    assert words.counted(1204, "node") == "1,204 nodes"
    assert words.counted(2, "entry", "entries") == "2 entries"


def test_a_long_list_is_cut_and_counted() -> None:
    assert words.listing("abcd") == "a, b, c, d"
    assert words.listing("abcdef") == "a, b, c and 3 more"


@pytest.mark.parametrize("reason", HoldReason)
def test_every_hold_has_a_phrase(reason: HoldReason) -> None:
    """No reason that the scheduler may give is without words, with names or without."""
    for waiting_for in ((), (NodeId("apply:api"),), (NodeId("apply:api"), NodeId("local:x"))):
        hold = Hold(reason, waiting_for)
        assert words.hold_phrase(hold)
        assert len(words.hold_short(hold)) <= 60


def test_a_hold_names_what_it_waits_for() -> None:
    hold = Hold(HoldReason.DEPENDENCY, (NodeId("apply:api"),))
    assert words.hold_phrase(hold) == "waiting for dependency [apply:api]"


def test_the_word_for_success_fits_the_kind(view: View) -> None:
    built = view("image:api", "done", verdict=Verdict.RAN, seconds=3.2)
    assert words.achievement(built) == "built in 3.2 s"
    passed = view("test:smoke", "done", verdict=Verdict.RAN, seconds=65)
    assert words.achievement(passed) == "passed in 1 min 5 s"
    restored = view("image:api", "done", verdict=Verdict.RESTORED, seconds=0.1)
    assert words.achievement(restored) == "restored from the cache in 0.1 s"


def test_counts_name_the_worst_first_and_leave_out_zeros(view: View) -> None:
    views = [view("image:a", "done"), view("image:b", "failed"), view("image:c", "done")]
    assert words.status_counts(views) == "1 failed, 2 done"
    counts = {Verdict.UNCHANGED: 10, Verdict.RAN: 2, Verdict.FAILED: 0}
    assert words.verdict_counts(counts, held=3) == "2 ran, 10 unchanged, 3 held"


def test_changed_files_are_named_and_counted() -> None:
    nodes = (NodeId("image:api"),)
    assert words.changed_files(("a.py",), 1, nodes) == "a.py changed: image:api"
    said = words.changed_files(("a.py", "b.py"), 10_000, nodes)
    assert said == "a.py, b.py and 9,998 more files changed: image:api"
