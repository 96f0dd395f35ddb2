"""The signals of Linux by name. Those of the machine that kindling runs on may have other
numbers."""

from __future__ import annotations

from kindling.errors import UsageError, nearest

__all__ = ["number_of"]

_NUMBERS = {
    name: number
    for number, name in enumerate(
        (
            *("HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV"),
            *("USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN"),
            *("TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS"),
        ),
        1,
    )
}


def number_of(name: str) -> int:
    """The number of a signal; `SIG` before its name is fine.

    Raises:
        UsageError: There is no such signal.
    """
    short = name.upper().removeprefix("SIG")
    if short not in _NUMBERS:
        raise UsageError(f"There is no signal `{name}`", hint=nearest(short, _NUMBERS))
    return _NUMBERS[short]
