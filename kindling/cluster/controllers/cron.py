"""Schedules of CronJobs: five fields, names, steps, `@daily` and its kin, time zones. Pure.

The dialect is that of robfig/cron v3, which the real controller uses: day of month and day of week
are joined by *or* when both are restricted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["Schedule", "ScheduleError", "parse_schedule"]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_YEARS_AHEAD = 5
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


class ScheduleError(ValueError):
    """A schedule or time zone that cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a CronJob is due. `every` is the interval of `@every`, in seconds."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool
    zone: tzinfo
    every: float = 0.0

    def after(self, moment: float) -> float | None:
        """The first moment it is due after `moment`, in seconds since the epoch; None if never
        within years (30 February)."""
        if self.every:
            return float(int(moment) + int(self.every))
        # Local times that a change of clocks skips do not exist, and are not due.
        here = datetime.fromtimestamp(int(moment) // 60 * 60 + 60, UTC)
        end = here + timedelta(days=366 * _YEARS_AHEAD)
        while here < end:
            local = here.astimezone(self.zone)
            if local.month not in self.months or not self._day(local):
                here = _start_of_next_day(local)
            elif local.hour not in self.hours:
                here += timedelta(minutes=60 - local.minute)
            elif local.minute not in self.minutes:
                here += timedelta(minutes=1)
            else:
                return here.timestamp()
        return None

    def due(self, since: float, until: float) -> Iterator[float]:
        """Every moment after `since` up to and with `until`."""
        moment = self.after(since)
        while moment is not None and moment <= until:
            yield moment
            moment = self.after(moment)

    def _day(self, local: datetime) -> bool:
        of_month = local.day in self.days
        of_week = local.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return of_month and of_week
        return of_month or of_week


def _start_of_next_day(local: datetime) -> datetime:
    """The next local midnight, or what comes first where the clocks skip it."""
    day = local.date() + timedelta(days=1)
    midnight = datetime(day.year, day.month, day.day, tzinfo=local.tzinfo).astimezone(UTC)
    if midnight <= local.astimezone(UTC):
        return local.astimezone(UTC) + timedelta(hours=1)
    return midnight


def parse_schedule(text: str, zone: str = "") -> Schedule:
    """Read a schedule. `zone` is a name such as `Europe/Berlin`; UTC without one. A `TZ=` or
    `CRON_TZ=` before the fields names one too. Raises `ScheduleError`."""
    text = text.strip()
    head, _, rest = text.partition(" ")
    if head.startswith(("TZ=", "CRON_TZ=")):
        zone, text = zone or head.partition("=")[2], rest.strip()
    where = _zone(zone)
    if text.startswith("@every "):
        return _every(text.removeprefix("@every ").strip(), where)
    if text.startswith("@"):
        if text not in _NICKNAMES:
            raise ScheduleError(f"unrecognized descriptor: {text}")
        text = _NICKNAMES[text]
    fields = text.split()
    if len(fields) != 5:
        raise ScheduleError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    return Schedule(
        _field(fields[0], 0, 59),
        _field(fields[1], 0, 23),
        _field(fields[2], 1, 31),
        _field(fields[3], 1, 12, _MONTHS),
        # 7 is accepted for Sunday nowhere in that dialect, and so not here.
        _field(fields[4], 0, 6, _DAYS),
        _star(fields[2]),
        _star(fields[4]),
        where,
    )


def _every(text: str, zone: tzinfo) -> Schedule:
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ScheduleError(f"failed to parse duration @every {text}")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    none: frozenset[int] = frozenset()
    return Schedule(none, none, none, none, none, False, False, zone, max(seconds, 1.0))


def _zone(name: str) -> tzinfo:
    if not name or name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f"unknown time zone {name}") from error


def _star(field: str) -> bool:
    """Whether a field leaves the day open. A step does so too in this dialect."""
    return any(part.partition("/")[0] in ("*", "?") for part in field.split(","))


def _field(text: str, low: int, high: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, 1, 10**6, ()) if slash else 1
        if span in ("*", "?"):
            first, last = low, high
        else:
            begin, dash, end = span.partition("-")
            first = _number(begin, low, high, names)
            last = _number(end, low, high, names) if dash else (high if slash else first)
        if last < first:
            raise ScheduleError(
                f"beginning of range ({first}) beyond end of range ({last}): {part}"
            )
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, low: int, high: int, names: tuple[str, ...]) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + low
    if not text.isdigit():
        raise ScheduleError(f"failed to parse int from {text}")
    number = int(text)
    if number < low:
        raise ScheduleError(f"beginning of range ({number}) below minimum ({low}): {text}")
    if number > high:
        raise ScheduleError(f"end of range ({number}) above maximum ({high}): {text}")
    return number
