"""Listeners that the engine itself needs: one that fans out, one that keeps logs for later."""

from __future__ import annotations

from collections.abc import Sequence

from kindling.engine.notices import LogLine, Notice, Reporter
from kindling.store.sessionlog import SessionLog

__all__ = ["Fan", "LogKeeper"]


class Fan:
    """Passes every notice on to several listeners, in order."""

    def __init__(self, listeners: Sequence[Reporter]) -> None:
        self._listeners = tuple(listeners)

    def notice(self, notice: Notice) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.notice(notice)

    def close(self) -> None:
        """Close all, the last one first."""
        for listener in reversed(self._listeners):
            listener.close()


class LogKeeper:
    """Writes log lines to the session's log file, which `kindling logs` reads."""

    def __init__(self, log: SessionLog) -> None:
        self._log = log

    def notice(self, notice: Notice) -> None:
        """Keep it, if it is a line of a log."""
        if isinstance(notice, LogLine):
            self._log.append(notice.at, notice.node, notice.resource, notice.stream, notice.text)

    def close(self) -> None:
        """The session is over."""
        self._log.close()
