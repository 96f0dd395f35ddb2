"""Schedules name the moments that people mean."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kindling.cluster.controllers.cron import ScheduleError, parse_schedule


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("schedule", "zone", "since", "due"),
    [
        ("*/15 * * * *", "", "2024-01-01 10:07", "2024-01-01 10:15"),
        ("@hourly", "", "2024-01-01 10:00", "2024-01-01 11:00"),
        ("@yearly", "", "2024-01-01 00:00", "2025-01-01 00:00"),
        ("30 4 1,15 * *", "", "2024-01-02 00:00", "2024-01-15 04:30"),
        ("0 9 * * mon-fri", "", "2024-01-05 10:00", "2024-01-08 09:00"),
        ("0 0 1 feb *", "", "2024-03-01 00:00", "2025-02-01 00:00"),
        ("0 0 29 2 *", "", "2024-03-01 00:00", "2028-02-29 00:00"),
        # Both restricted: either will do. The 13th was a Saturday, Fridays were 5 and 12.
        ("0 0 13 * fri", "", "2024-01-12 00:00", "2024-01-13 00:00"),
        ("0 0 13 * fri", "", "2024-01-06 00:00", "2024-01-12 00:00"),
        # 8 in Berlin is 7 UTC in winter and 6 in summer.
        ("0 8 * * *", "Europe/Berlin", "2024-01-01 00:00", "2024-01-01 07:00"),
        ("0 8 * * *", "Europe/Berlin", "2024-07-01 00:00", "2024-07-01 06:00"),
        # 02:30 did not exist there on 31 March 2024.
        ("30 2 * * *", "Europe/Berlin", "2024-03-30 12:00", "2024-04-01 00:30"),
        ("TZ=Asia/Kolkata 0 6 * * *", "", "2024-01-01 00:00", "2024-01-01 00:30"),
        ("10-40/10 5 * * ?", "", "2024-01-01 05:10", "2024-01-01 05:20"),
        ("@every 90s", "", "2024-01-01 00:00", "2024-01-01 00:01:30"),
    ],
)
def test_the_next_moment(schedule: str, zone: str, since: str, due: str) -> None:
    found = parse_schedule(schedule, zone).after(at(since))
    assert found is not None
    assert datetime.fromtimestamp(found, UTC) == datetime.fromtimestamp(at(due), UTC)


def test_a_day_that_never_comes_is_never_due() -> None:
    assert parse_schedule("0 0 30 2 *").after(at("2024-01-01 00:00")) is None


@pytest.mark.parametrize(
    "schedule",
    [
        *("", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7"),
        *("5-1 * * * *", "a * * * *", "*/0 * * * *", "@sometimes", "@every soon"),
        "TZ=Nowhere/City * * * * *",
    ],
)
def test_what_is_no_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(ScheduleError):
        parse_schedule(schedule)


@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.integers(0, 6),
    st.integers(1_500_000_000, 2_000_000_000),
)
def test_what_is_due_lies_ahead_and_fits_its_fields(
    minute: int, hour: int, weekday: int, since: int
) -> None:
    found = parse_schedule(f"{minute} {hour} * * {weekday}").after(since)
    assert found is not None
    assert since < found <= since + 7 * 86400 + 60
    moment = datetime.fromtimestamp(found, UTC)
    assert (moment.minute, moment.hour, moment.isoweekday() % 7) == (minute, hour, weekday)
    assert moment.second == 0
