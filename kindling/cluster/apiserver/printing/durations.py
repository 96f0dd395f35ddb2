"""Spans of time as kubectl shows them (apimachinery `pkg/util/duration`)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

__all__ = ["human_duration", "seconds_since_epoch", "short_human_duration"]

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def seconds_since_epoch(timestamp: object) -> float | None:
    """Of an RFC 3339 time; None for anything else."""
    if not isinstance(timestamp, str) or not (found := _TIME.fullmatch(timestamp)):
        return None
    whole = timestamp[:19].upper()
    zone = found.group(2).upper().replace("Z", "+00:00")
    try:
        moment = datetime.fromisoformat(whole + zone).astimezone(UTC)
        return moment.timestamp() + float(found.group(1) or 0)
    except (ValueError, OverflowError):
        return None


def human_duration(seconds: float) -> str:
    """Two units at most, fewer the longer it is: `119s`, `5m12s`, `3h`, `2d4h`, `3y2d`. The age of
    what lies in the future by more than a second is `<invalid>`, else `0s`."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 60 * 2:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 10:
        rest = whole % 60
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 60 * 3:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        rest = minutes % 60
        return f"{hours}h{rest}m" if rest else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 24 * 8:
        rest = hours % 24
        return f"{hours // 24}d{rest}h" if rest else f"{hours // 24}d"
    if hours < 24 * 365 * 2:
        return f"{hours // 24}d"
    if hours < 24 * 365 * 8:
        days = hours // 24 % 365
        years = hours // 24 // 365
        return f"{years}y{days}d" if days else f"{years}y"
    return f"{hours // 24 // 365}y"


def short_human_duration(seconds: float) -> str:
    """One unit: `59s`, `5m`, `3h`, `12d`, `1y`."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    for size, unit in ((60, "s"), (60, "m"), (24, "h"), (365, "d")):
        if whole < size:
            return f"{whole}{unit}"
        whole //= size
    return f"{whole}y"
