"""Whether the process that has a session still lives, as far as this machine can tell.

A process is its number together with its start and the machine's boot, so that a number that was
given out again is not taken for it. Numbers mean something in one space of processes alone: that of
a container is another one, from where nothing can be said.
"""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

__all__ = ["SILENT_AFTER", "Holder", "Life", "begin_life", "end_life", "here", "is_here", "life_of"]

SILENT_AFTER = 200.0
"""How long a session elsewhere may be silent before it is taken to be gone: three signs of life
that did not come."""

_LIVING: set[str] = set()
"""The sessions that this very process has now."""


class Life(Enum):
    """What is known of a session's process."""

    ALIVE = "alive"
    DEAD = "dead"
    ELSEWHERE = "elsewhere"
    """On another machine or in another space of processes: it cannot be asked."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that has a session. `folder` is where its records are; `space` tells apart the
    processes of containers, empty where there are none."""

    host: str
    pid: int
    started: str
    boot: str
    space: str = ""
    folder: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def here(folder: str = "", pid: int = 0) -> Holder:
    """This process (or `pid`) as the holder of a session."""
    pid = pid or os.getpid()
    return Holder(socket.gethostname(), pid, _started(pid), _boot(), _space(), folder)


def is_here(holder: Holder) -> bool:
    """Is it this very process? Its number alone does not say so: in a container that shares a
    folder with this machine, another process may have the same."""
    mine = here()
    parts = ("pid", "started", "boot", "space")
    return all(getattr(holder, part) == getattr(mine, part) for part in parts)


def begin_life(session: str) -> None:
    """This process has a session from now on."""
    _LIVING.add(session)


def end_life(session: str) -> None:
    """It is over, or given up: what is left of it may be put back."""
    _LIVING.discard(session)


def life_of(holder: Holder, session: str = "") -> Life:
    """What is known of `holder`. With the session's name, one of this process that is over counts
    as dead; and a record that lies where the holder kept it shows that this is the machine, also
    after it was started anew."""
    if (holder.boot, holder.space) == (_boot(), _space()) and holder.boot:
        if session and holder.pid == os.getpid() and session not in _LIVING:
            return Life.DEAD
        return Life.ALIVE if _started(holder.pid) == holder.started else Life.DEAD
    mine = bool(session and holder.folder) and holder.host == socket.gethostname()
    if mine and holder.boot != _boot() and (Path(holder.folder) / f"{session}.json").is_file():
        return Life.DEAD
    return Life.ELSEWHERE


def _started(pid: int) -> str:
    """When a process began; empty when there is none of that number."""
    if os.path.isdir("/proc/self"):
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        words = text.rpartition(")")[2].split()
        # A zombie has ended, whoever still has to look at it.
        return "" if words[0] in "ZX" else words[19]
    return _asked(["ps", "-o", "lstart=", "-p", str(pid)])


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return _asked(["sysctl", "-n", "kern.boottime"])


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _asked(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
