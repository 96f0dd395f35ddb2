"""Bursts of saves: a save is one change however an editor makes it, and nothing waits for ever."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kindling.sync.trees.quiet import Gathered, Quiet, is_temporary

Event = tuple[float, str, bool]
"""When (in milliseconds), which path, whether it is there."""


def played(*events: Event, known: frozenset[str] = frozenset()) -> list[tuple[float, Gathered]]:
    """What goes out, and when, if it is taken as soon as it is due."""
    quiet = Quiet(known.__contains__)
    out: list[tuple[float, Gathered]] = []

    def until(moment: float) -> None:
        while (due := quiet.due) is not None and due <= moment:
            taken = quiet.take(due)
            if taken is not None:
                out.append((round(due * 1000, 6), taken))

    for at, path, there in events:
        until(at / 1000)
        quiet.saw(path, at / 1000, gone=not there)
    until(float("inf"))
    assert quiet.due is None
    return out


def test_a_lone_save_goes_out_after_ten_milliseconds() -> None:
    assert played((1000, "a", True)) == [(1010, Gathered(("a",), (), 1.0))]


def test_nothing_is_due_before_anything_happened() -> None:
    quiet = Quiet(frozenset[str]().__contains__)
    assert (quiet.due, quiet.take(5.0)) == (None, None)


def test_what_is_not_due_is_not_handed_out() -> None:
    quiet = Quiet(frozenset[str]().__contains__)
    quiet.saw("a", 1.0)
    assert quiet.take(1.005) is None
    assert quiet.take(1.010) is not None


def test_a_storm_is_one_batch() -> None:
    """Row 59: changes close together go out as one."""
    events = [(1000 + 4.0 * at, f"f{at % 300}", True) for at in range(500)]
    ((_, gathered),) = played(*events)
    assert len(gathered.paths) == 300


def test_no_noise_holds_a_change_for_more_than_ten_seconds() -> None:
    events = [(5.0 * at, "log", True) for at in range(4_500)]
    first = played(*events)[0]
    assert first[0] <= 10_000


def test_a_deletion_waits_a_little_and_goes_out() -> None:
    assert played((0, "a", False)) == [(50, Gathered((), ("a",), 0.0))]


# Each with more than the quiet of a lone save between its steps.
_GAP = 12.0
SAVES: dict[str, list[tuple[str, bool]]] = {
    "vim": [
        ("4913", True),
        ("4913", False),
        ("a~", True),
        ("a", False),
        ("a", True),
        ("a~", False),
    ],
    "vim, backup first": [("a", False), ("a~", True), ("a", True), ("a~", False)],
    "JetBrains": [
        ("a___jb_tmp___", True),
        ("a", False),
        ("a___jb_old___", True),
        ("a", True),
        ("a___jb_tmp___", False),
        ("a___jb_old___", False),
    ],
    "GLib": [(".goutputstream-AB12CD", True), (".goutputstream-AB12CD", False), ("a", True)],
    "a tool of Node": [("a.tmp.123.456", True), ("a", True), ("a.tmp.123.456", False)],
    "sed -i": [("sedAbCdEf", True), ("sedAbCdEf", False), ("a", True)],
    "mkstemp": [(".a.Xy12Zw", True), (".a.Xy12Zw", True), ("a", True), (".a.Xy12Zw", False)],
    "emacs": [(".#a", True), ("#a#", True), ("a", True), ("#a#", False), (".#a", False)],
}


@pytest.mark.parametrize("editor", SAVES)
def test_an_atomic_save_is_one_change_of_one_file(editor: str) -> None:
    events = [(at * _GAP, path, there) for at, (path, there) in enumerate(SAVES[editor])]
    assert [gathered.paths for _, gathered in played(*events)] == [("a",)]
    ((_, gathered),) = played(*events)
    assert gathered.changed == ("a",)


def test_a_backup_that_stays_is_a_change_of_its_own() -> None:
    ((_, gathered),) = played((0, "a", False), (1, "a~", True), (2, "a", True))
    assert gathered.changed == ("a", "a~")


def test_a_temporary_file_that_came_and_went_is_no_change() -> None:
    assert played((0, "x.tmp", True), (5, "x.tmp", False)) == []


@pytest.mark.parametrize(
    "events",
    [
        [(0.0, "x.tmp", False)],
        [(0.0, "x.tmp", True), (1.0, "x.tmp", False)],
    ],
)
def test_a_temporary_name_that_was_there_before_is_a_deletion(events: list[Event]) -> None:
    ((_, gathered),) = played(*events, known=frozenset({"x.tmp"}))
    assert gathered.gone == ("x.tmp",)


def test_a_temporary_file_that_went_out_goes_out_again_as_gone() -> None:
    out = played((0, "a~", True), (50, "a~", True), (50, "a~", False))
    assert [(one.changed, one.gone) for _, one in out] == [(("a~",), ()), ((), ("a~",))]


@pytest.mark.parametrize(
    "name", ["main.py", "a.template", "sed.txt", ".env", "index.test.js", ".a"]
)
def test_common_names_are_not_taken_for_temporary(name: str) -> None:
    assert not is_temporary(f"src/{name}")


@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from(["a", "b", "a~", "x.tmp"]), st.booleans()),
        max_size=30,
    )
)
def test_the_last_state_of_every_path_goes_out_and_within_ten_seconds(
    steps: list[tuple[int, str, bool]],
) -> None:
    now, events = 0.0, list[Event]()
    for pause, path, there in steps:
        now += pause
        events.append((now, path, there))
    out = played(*events)
    told: dict[str, bool] = {}
    for at, gathered in out:
        assert at / 1000 - gathered.began <= 10.000001
        told.update(dict.fromkeys(gathered.changed, True))
        told.update(dict.fromkeys(gathered.gone, False))
    for path in {path for _, path, _ in events}:
        last = next(there for _, other, there in reversed(events) if other == path)
        # A temporary name that came and went in one burst is told of nowhere.
        assert told.get(path, False) is last


def test_one_file_saved_again_and_again_never_waits_longer() -> None:
    saves = [(1000 + 15.0 * at, "a", True) for at in range(200)]
    assert [moment for moment, _ in played(*saves)] == [at + 10 for at, _, _ in saves]


def test_storms_close_together_wait_longer_and_longer() -> None:
    events = [
        (1000 + 30.0 * at, f"f{at}-{number}", True) for at in range(100) for number in range(20)
    ]
    assert len(played(*events)) < 10


def test_a_temporary_file_that_came_and_went_before_anyone_looked_is_nothing() -> None:
    assert played((1000, "a~", False), (1000, "4913", False)) == []
    ((moment, gathered),) = played((1000, "a~", False), (1001, "a", True))
    assert (moment, gathered.paths) == (1011, ("a",))
    ((_, gathered),) = played((1000, "a~", False), known=frozenset({"a~"}))
    assert gathered.gone == ("a~",)


def test_a_fixed_quiet_is_kept_whatever_the_burst_suggests() -> None:
    """Row 59: `--debounce`."""
    quiet = Quiet(frozenset[str]().__contains__, quiet=30.0)
    quiet.saw("a", 1.0)
    quiet.saw("a", 2.0)
    assert quiet.due == 31.0
    assert quiet.take(31.0) is not None
