"""The debounce: when a burst is over, with every moment given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kindling.files.debounce import Debounce


def flushes(moments: list[float]) -> list[float]:
    """When batches go out, given the moments of events."""
    debounce = Debounce()
    out: list[float] = []
    for moment in [*moments, float("inf")]:
        while (due := debounce.due) is not None and due <= moment:
            out.append(due)
            debounce.flush(due)
        if moment != float("inf"):
            debounce.touch(moment)
    return out


def test_a_lone_save_goes_out_after_ten_milliseconds() -> None:
    assert flushes([5.0]) == [pytest.approx(5.010)]


def test_an_editors_save_in_three_steps_is_one_batch() -> None:
    assert flushes([5.0, 5.001, 5.004]) == [pytest.approx(5.014)]


def test_saves_a_while_apart_are_a_batch_each() -> None:
    assert flushes([1.0, 1.2, 1.4]) == [pytest.approx(t) for t in (1.010, 1.210, 1.410)]


def test_a_branch_switch_with_pauses_is_one_batch() -> None:
    """Two seconds of events with pauses of 100 ms in the midst of them."""
    moments = [at / 200 for at in range(100)] + [0.6 + at / 200 for at in range(280)]
    assert len(flushes(moments)) == 1


def test_noise_that_never_ends_is_held_back_for_ten_seconds_at_most() -> None:
    out = flushes([at / 125 for at in range(125 * 35)])
    assert len(out) == 4
    assert out[0] == pytest.approx(10.0)


def test_nothing_is_due_when_nothing_came() -> None:
    assert Debounce().due is None


@given(st.lists(st.floats(0, 60), min_size=1, max_size=80))
def test_every_event_goes_out_within_ten_seconds_and_not_before_some_quiet(
    moments: list[float],
) -> None:
    moments = sorted(moments)
    out = flushes(moments)
    for moment in moments:
        after = min(at for at in out if at >= moment)
        assert after - moment <= 10.0 + 1e-6
    before = -1.0
    for at in out:
        # One that comes at the very moment of going out belongs to the next batch.
        batch = [moment for moment in moments if before <= moment < at]
        assert at - batch[-1] >= 0.010 - 1e-6 or at - batch[0] >= 10.0 - 1e-6
        before = at
