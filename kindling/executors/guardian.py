"""Ends what a killed kindling left running, and knows which processes those are.

Run as a program (`python -I -S guardian.py SESSION`), it is a session's guardian: a process
of its own that reads what starts and ends from its standard input. When that closes without a
farewell, kindling is dead (`kill -9`, a crash), and the guardian ends every program that was under
way; the session's records stay for the next start, which looks once more. As a module, it is the
process table that the runner stops programs by. It imports nothing but
the standard library's smallest modules, so that starting it costs some 10 ms, beside the work and
not before it.

How a program's processes are found: every run carries a token of its own in `KINDLING_RUN`, which
children inherit. On Linux a run's processes are those of its process group, those below it in the
tree of parents, and those whose environment carries its token, so that neither `setsid` nor a
double fork hides one; only a process that does these and clears its environment as well escapes.
Elsewhere there is no `/proc`, and the process group is all that is found. A process is named by pid
and start time together, and signalled through a pidfd where there is one, so that a pid in its
second life is never hit.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from typing import NamedTuple

__all__ = [
    "TOKEN",
    "Process",
    "Runs",
    "lookup",
    "members",
    "process_table",
    "send",
    "start_time",
]

TOKEN = "KINDLING_RUN"
"""The environment variable of the token; in nested kindlings a chain, outermost first, by `:`."""

_TERMINATE_SECS = 1.5
"""What the guardian gives programs to end by SIGTERM before it kills."""


class Process(NamedTuple):
    """One process as of now. `start` is in clock ticks since boot: with the pid, it is unique."""

    pid: int
    parent: int
    group: int
    start: str
    alive: bool
    """False for a zombie, which nothing but its parent can end."""


def start_time(pid: int) -> str:
    """When a process started, as text to compare; empty when there is none or no `/proc`."""
    process = lookup(pid)
    return process.start if process is not None else ""


def process_table() -> dict[int, Process]:
    """Every process of this machine; empty where there is no `/proc`."""
    table: dict[int, Process] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return table
    for name in names:
        if name.isdecimal() and (process := lookup(int(name))) is not None:
            table[process.pid] = process
    return table


def members(leader: int, start: str, token: str) -> dict[int, Process]:
    """The living processes of a run: group, descendants and carriers of its token.

    `leader` began the group at `start`. Once another process has its pid, group and descent prove
    nothing any more, and the token alone counts.
    """
    table = process_table()
    head = table.get(leader)
    found: dict[int, Process] = {}
    if head is None or head.start == start:
        found.update((pid, p) for pid, p in table.items() if p.group == leader)
    if head is not None and head.start == start:
        below = {leader}
        while more := {pid for pid, p in table.items() if p.parent in below} - below:
            below |= more
        found.update((pid, table[pid]) for pid in below)
    if head is None:
        # The group may be a stranger's by now: only what carries the token, or cannot be asked
        # because it is not ours, is known to be of the run.
        found = {pid: p for pid, p in found.items() if _carries(pid, token)}
    found.update((pid, p) for pid, p in table.items() if pid not in found and _carries(pid, token))
    mine = os.getpid()
    return {pid: p for pid, p in found.items() if p.alive and pid != mine}


def send(process: Process, number: int) -> None:
    """Signal exactly this process; nothing happens when it is gone or not ours to signal."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if not hasattr(os, "pidfd_open"):
            os.kill(process.pid, number)
            return
        try:
            handle = os.pidfd_open(process.pid)
        except OSError:  # kernels before 5.3, and sandboxes that forbid the call
            if start_time(process.pid) == process.start:
                os.kill(process.pid, number)
            return
        try:
            if start_time(process.pid) == process.start:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def lookup(pid: int) -> Process | None:
    """The process with this pid as of now; None when there is none, or no `/proc`."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The name in parentheses may hold anything, further parentheses and spaces included.
    fields = text[text.rindex(b")") + 2 :].split()
    return Process(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        start=fields[19].decode(),
        alive=fields[0] not in (b"Z", b"X"),
    )


def _tokens(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            text = b"\0" + file.read()
    except OSError:
        return []
    mark = b"\0" + TOKEN.encode() + b"="
    begin = text.find(mark)
    if begin < 0:
        return []
    value = text[begin + len(mark) :].split(b"\0", 1)[0]
    return value.decode("ascii", "replace").split(":")


def _carries(pid: int, token: str) -> bool:
    return bool(token) and token in _tokens(pid)


# Sessions and their ends -------------------------------------------------------------------------


class Runs:
    """What a session has under way, as the lines tell that its records and its guardian both get.

    `+ TOKEN PID START NAME` when a program was started, `- TOKEN` when it is over.
    """

    def __init__(self, session: str) -> None:
        self.session = session
        self.running: dict[str, tuple[int, str]] = {}
        self.names: dict[str, str] = {}
        self.ended: set[str] = set()

    def hear(self, line: str) -> None:
        """Take note of a line; one that a kill or a full disk tore says nothing."""
        words = line.split()
        if words[:1] == ["+"] and len(words) == 5 and words[2].isdecimal():
            self.running[words[1]] = (int(words[2]), "" if words[3] == "-" else words[3])
            self.names[words[1]] = words[4]
        elif words[:1] == ["-"] and len(words) == 2:
            self.running.pop(words[1], None)
            self.ended.add(words[1])

    def end(self, patience: float = _TERMINATE_SECS) -> set[str]:
        """End all that is under way; the tokens of the runs of which something was left.

        Blocks while something is there: SIGTERM first, SIGKILL after `patience` seconds. A program
        that was started and not told of before the session died is found by its token alone. Needs
        `/proc`.
        """
        limit = time.monotonic() + patience
        found: set[str] = set()
        told: set[tuple[int, str]] = set()
        while left := self._survivors():
            late = time.monotonic() >= limit
            for process, token in left.values():
                found.add(token)
                if late or (process.pid, process.start) not in told:
                    send(process, signal.SIGKILL if late else signal.SIGTERM)
                    told.add((process.pid, process.start))
            if time.monotonic() > limit + patience:
                break  # what even SIGKILL does not end is stuck in the kernel
            time.sleep(0.02)
        return found

    def _survivors(self) -> dict[int, tuple[Process, str]]:
        found: dict[int, tuple[Process, str]] = {}
        for token, (pid, start) in self.running.items():
            found.update((p.pid, (p, token)) for p in members(pid, start, token).values())
        for pid, process in process_table().items():
            own = [token for token in _tokens(pid) if token.startswith(self.session + ".")]
            if process.alive and pid != os.getpid() and own and not self.ended.intersection(own):
                found.setdefault(pid, (process, own[0]))
        return found


# The guardian as a program -----------------------------------------------------------------------


def _end_groups(runs: Runs) -> None:
    """All that can be done where there is no `/proc`."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid, _ in runs.running.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)
        time.sleep(_TERMINATE_SECS if number == signal.SIGTERM else 0)


def _main(session: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    runs = Runs(session)
    for line in sys.stdin:
        if line.strip() == "quit":
            return
        runs.hear(line)
    if os.path.isdir("/proc/self"):
        runs.end()
    else:
        _end_groups(runs)


if __name__ == "__main__":
    _main(sys.argv[1])
