"""What `local`, `serve`, `test` and custom image builds share: where and how a user's command
runs."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from kindling.executors.protocol import Job, LogSink, World
from kindling.graph.outcome import Failure, FailureKind

__all__ = ["LAST_LINES", "Tail", "command_failure", "environment", "folder"]

LAST_LINES = 20
"""How much of a program's output a failure carries."""


class Tail:
    """A log sink that passes lines on and remembers the last of them."""

    def __init__(self, log: LogSink, size: int = LAST_LINES) -> None:
        self._log = log
        self._lines: deque[str] = deque(maxlen=size)

    def __call__(self, line: str, stream: str = "stdout") -> None:
        if line.strip():
            self._lines.append(line)
        self._log(line, stream)

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(self._lines)


def environment(world: World, pairs: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """What a command's environment is: the session's, with its own variables over it."""
    return {**world.environment, **dict(pairs)}


def folder(job: Job, dir_: str) -> Path:
    """Where a command runs. `dir_` is relative to the graph's root; an absolute one stays."""
    return job.world.root / dir_


def command_failure(
    code: int,
    tail: Sequence[str],
    *,
    what: str = "",
    kind: FailureKind = FailureKind.COMMAND,
    hint: str = "",
) -> Failure:
    """The failure of a program that exited with `code`; `what` names it where that helps."""
    return Failure(kind, f"{what}{_ending(code)}", tuple(tail), hint or _hint(code))


def _ending(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _hint(code: int) -> str:
    match code:
        case 126:
            return "Code 126 of a shell means: found, and may not be run (`chmod +x`)."
        case 127:
            return "Code 127 of a shell means: command not found."
        case -9 | 137:
            return "Killed from outside; the usual reason is that memory ran out."
        case _:
            return ""
