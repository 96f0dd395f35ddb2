"""Times as the API takes them: RFC 3339, in seconds (`Time`) or microseconds (`MicroTime`)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

__all__ = ["canonical_time", "parse_time"]

_TIME = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:[.,](\d+))?(Z|[+-]\d{2}:\d{2})"
)
_LAYOUT = "2006-01-02T15:04:05Z07:00"
_MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
_STEPS = (
    (r"\d{4}", "2006"),
    (r"-", "-"),
    (r"\d{2}", "01"),
    (r"-", "-"),
    (r"\d{2}", "02"),
    (r"T", "T"),
    (r"\d{2}", "15"),
    (r":", ":"),
    (r"\d{2}", "04"),
    (r":", ":"),
    (r"\d{2}", "05"),
    (r"(?:[.,]\d+)?", ""),
    (r"Z|[+-]\d{2}:\d{2}", "Z07:00"),
)


def parse_time(text: str, *, micro: bool = False) -> datetime:
    """The moment, in UTC. Raises `ValueError` in the words of Go's `time.Parse`."""
    match = _TIME.fullmatch(text)
    layout = _MICRO_LAYOUT if micro else _LAYOUT
    if match is None:
        raise ValueError(_complaint(text, layout))
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    for part, low, high, name in (
        (month, 1, 12, "month"),
        (day, 1, 31, "day"),
        (hour, 0, 23, "hour"),
        (minute, 0, 59, "minute"),
        (second, 0, 59, "second"),
    ):
        if not low <= part <= high:
            raise ValueError(f'parsing time "{text}": {name} out of range')
    fraction = (match.group(7) or "0")[:6].ljust(6, "0")
    try:
        moment = datetime(year, month, day, hour, minute, second, int(fraction), UTC)
    except ValueError:
        raise ValueError(f'parsing time "{text}": day out of range') from None
    zone = match.group(8)
    if zone == "Z":
        return moment
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    return moment - offset if zone[0] == "+" else moment + offset


def _complaint(text: str, layout: str) -> str:
    rest = text
    for pattern, element in _STEPS:
        match = re.match(pattern, rest)
        if match is None:
            return f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as "{element}"'
        rest = rest[match.end() :]
    return f'parsing time "{text}": extra text: "{rest}"'


def canonical_time(text: str, *, micro: bool = False) -> str:
    """The time as the server stores it: UTC, with six decimals for a `MicroTime`, else none."""
    moment = parse_time(text, micro=micro)
    form = "%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ"
    return moment.strftime(form)
