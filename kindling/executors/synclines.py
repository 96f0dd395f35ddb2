"""What a sync session tells, as lines of its node's log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kindling.sync.notices import Notice

__all__ = ["lines_of"]

_UNITS = ("B", "KB", "MB", "GB")
_MOST = 3


def lines_of(notice: Notice) -> tuple[str, ...]:
    """The lines that a notice is worth."""
    from kindling.sync.notices import Acted, Built, Carried, Found, Reached, Released, Remark

    match notice:
        case Found():
            lines = (f"{notice.runtime}; {notice.strategy}", *notice.warnings, *notice.tips)
            return tuple(line for line in lines if line.strip("; "))
        case Reached():
            why = f" ({notice.why})" if notice.why else ""
            took = f"by {notice.way} in {_time(notice.seconds)}{why}"
            if not notice.files:
                return (f"{notice.container} is reached {took}",)
            counted = _counted(notice.files, "file")
            return (f"{notice.container} holds {counted}, {_size(notice.size)} sent {took}",)
        case Carried():
            shown = ", ".join(notice.names[:_MOST])
            more = notice.count - min(len(notice.names), _MOST)
            what = f"{shown} and {more} more" if more > 0 and shown else shown
            what = what or _counted(notice.count, "path")
            gone = f" ({notice.deleted} deleted)" if notice.deleted else ""
            to = f" to {notice.containers} containers" if notice.containers > 1 else ""
            return (f"synced {what}{gone}{to}, {_size(notice.size)}, {_time(notice.seconds)}",)
        case Acted():
            to = f" in {notice.containers} containers" if notice.containers > 1 else ""
            return (f"{notice.what}{to}, {_time(notice.seconds)}",)
        case Built():
            word = "built" if notice.ok else "build failed:"
            said = () if notice.ok else notice.output
            return (f"{word} {notice.what} in {_time(notice.seconds)}", *said)
        case Remark():
            prefix = "warning: " if notice.warning else ""
            hint = (notice.hint,) if notice.hint else ()
            # The rollout's log has the pods' own lines already.
            details = () if notice.logged else notice.details
            return (f"{prefix}{notice.text}", *details, *hint)
        case Released():
            return (notice.text, *notice.details)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _size(size: float) -> str:
    unit = 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit and size < 99.95 else f"{size:.0f} {_UNITS[unit]}"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"
