"""How `kindling sync` speaks: lines for people or JSON lines, on standard output.

Whoever closes the terminal, or ends what reads the pipe, must not keep a session from putting back
what it changed: from then on nothing is written any more, and the session is asked to end.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kindling.cli.invocation import Invocation
from kindling.cli.output import emit, ink_for
from kindling.errors import HostError
from kindling.report.narrator import Tone
from kindling.report.safetext import coloured, plain
from kindling.report.sync import SyncNarrator, sync_form
from kindling.report.terminal import signs_for
from kindling.sync.notices import Notice, Remark

if TYPE_CHECKING:
    from kindling.executors.protocol import Clock

__all__ = ["Face"]


class Face:
    """Takes notices and log lines. `closed` is called once when nobody reads any more."""

    def __init__(
        self,
        invocation: Invocation,
        clock: Clock,
        *,
        as_json: bool = False,
        closed: Callable[[], None] | None = None,
    ) -> None:
        self._json = as_json
        self._clock = clock
        self._ink = ink_for(invocation)
        self._narrator = SyncNarrator(self._ink, signs_for(sys.stdout.encoding))
        self._closed = closed
        self.deaf = False

    def heard_by(self, closed: Callable[[], None]) -> None:
        """Who is told when nobody reads any more."""
        self._closed = closed

    def tell(self, notice: Notice) -> None:
        if self._json:
            self._form(sync_form(notice, self._clock.time()))
        else:
            self._write(self._narrator.tell(notice))

    def interrupted(self) -> None:
        """A terminal has echoed `^C` into the line; what comes begins a new one."""
        self.settle()
        if not self._json and sys.stdout.isatty():
            self._write("\n")

    def remark(self, text: str, *, warning: bool = False, hint: str = "") -> None:
        """Something of the command itself."""
        self.tell(Remark(text, warning, hint=hint))

    def settle(self) -> None:
        """What was to be done about the last batch is done."""
        if not self._json:
            self._write(self._narrator.settle())

    def log(self, pod: str, container: str, text: str) -> None:
        """One line of a pod."""
        if self._json:
            self._form(
                {
                    "schema": 1,
                    "type": "log",
                    "at": round(self._clock.time(), 3),
                    "pod": pod,
                    "container": container,
                    "text": plain(text),
                }
            )
            return
        said = coloured(text) if self._ink.color else plain(text)
        head = self._ink(f"{pod}/{container} | ", Tone.DIM)
        self._write(f"{self._narrator.settle()}{head}{said}\n")

    def _form(self, form: dict[str, Any]) -> None:
        self._write(json.dumps(form) + "\n")

    def _write(self, text: str) -> None:
        if self.deaf or not text:
            return
        try:
            emit(text)
        except (HostError, OSError, ValueError):
            self.deaf = True
            if self._closed is not None:
                self._closed()
