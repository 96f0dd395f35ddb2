"""The record of programs under way, so that whatever a crash leaves running can be ended later.

One file per session below `.kindling/processes/`, a line when a program starts and one when it has
ended. The same lines go to the session's guardian, which acts at once when kindling dies; the file
is for the start after a crash that took the guardian too. A file whose session still lives is left
alone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from kindling.errors import StoreError
from kindling.executors import guardian

__all__ = ["ProcessRecords", "end_leftovers"]

_KILL_AFTER = 2.0
"""Seconds between SIGTERM and SIGKILL for what an earlier session left behind."""


class ProcessRecords:
    """What one session has under way, written down and told to a guardian.

    Without a `folder` nothing is written and only the guardian knows. Both are there before the
    first program starts, since a session may be killed between the start of a program and the
    record of it; the guardian ends with `close`. Safe from several threads.
    """

    def __init__(self, folder: Path | None) -> None:
        self.session = secrets.token_hex(8)
        self._folder = folder
        self._path: Path | None = None
        self._file = -1
        self._count = count(1)
        self._turn = threading.RLock()
        self._running: dict[str, str] = {}
        self._guardian: subprocess.Popen[bytes] | None = None

    def new_token(self) -> str:
        """A token for one run, unlike any other ever."""
        return f"{self.session}.{next(self._count)}"

    def begin(self) -> None:
        """A program is about to start. Only the first call does anything.

        Raises:
            StoreError: The record cannot be written.
        """
        with self._turn:
            self._write("")
            if self._guardian is None:
                self._start_guardian()

    def started(self, token: str, pid: int, start: str, name: str) -> None:
        """A program runs from now on. `name` is for people; arguments are never recorded.

        Raises:
            StoreError: The record cannot be written.
        """
        plain = "".join(c if c.isalnum() or c in "._-+" else "_" for c in name)[:60] or "?"
        line = f"+ {token} {pid} {start or '-'} {plain}\n"
        with self._turn:
            self._running[token] = line
            self._write(line)
            self._tell(line)

    def ended(self, token: str) -> None:
        """A program is over, and so is all that it started and that was ours to end."""
        with self._turn:
            if self._running.pop(token, None) is not None:
                self._say_ended(token)

    @contextlib.contextmanager
    def watched(self) -> Iterator[str]:
        """A token for a program that somebody else starts and waits for, in whatever thread.

        Raises:
            StoreError: The record cannot be written.
        """
        self.begin()
        token = self.new_token()
        try:
            yield token
        finally:
            with self._turn:
                self._say_ended(token)

    def _say_ended(self, token: str) -> None:
        line = f"- {token}\n"
        self._tell(line)
        # A missing "-" costs nothing: no process carries the token any more.
        with contextlib.suppress(StoreError):
            self._write(line)

    def close(self) -> None:
        """Dismiss the guardian and remove the file, unless something still runs."""
        if self._guardian is not None and not self._running:
            self._tell("quit\n")
        if self._guardian is not None:
            assert self._guardian.stdin is not None
            with contextlib.suppress(OSError):
                self._guardian.stdin.close()
            self._guardian.wait()
            self._guardian = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None

    def _write(self, line: str) -> None:
        if self._folder is None:
            return
        try:
            if self._file < 0:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._path = self._folder / f"{os.getpid()}-{self.session}"
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
                self._file = os.open(self._path, flags, 0o600)
                own = guardian.start_time(os.getpid()) or "-"
                os.write(self._file, f"= {self.session} {os.getpid()} {own}\n".encode())
            if line:
                os.write(self._file, line.encode())
        except OSError as error:
            raise StoreError(
                f"cannot write `{self._folder}`: {error.strerror or error}",
                hint="Programs are recorded there, so that none outlives a crash of kindling.",
            ) from error

    def _tell(self, line: str) -> None:
        if self._guardian is None:
            self._start_guardian()
            return
        assert self._guardian.stdin is not None
        try:
            self._guardian.stdin.write(line.encode())
            self._guardian.stdin.flush()
        except OSError:  # somebody killed it: there must be one
            with contextlib.suppress(OSError):
                self._guardian.stdin.close()
            self._guardian.wait()
            self._start_guardian()

    def _start_guardian(self) -> None:
        environment = {k: v for k, v in os.environ.items() if k != guardian.TOKEN}
        argv = [sys.executable, "-I", "-S", guardian.__file__]
        self._guardian = subprocess.Popen(
            [*argv, self.session],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
            cwd="/",
        )
        assert self._guardian.stdin is not None
        self._guardian.stdin.write("".join(self._running.values()).encode())
        self._guardian.stdin.flush()


def end_leftovers(folder: Path) -> tuple[str, ...]:
    """End what dead sessions left running; the names of the programs that were ended.

    Blocks for up to some seconds when there is something to end; call in a thread. Only processes
    that carry a token of a dead session, or that are the recorded pid with the recorded start time,
    are hit. Where there is no `/proc` nothing is: a pid alone proves nothing.
    """
    names: list[str] = []
    for path in sorted(folder.glob("*-*")) if folder.is_dir() else []:
        try:
            lines = path.read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        pid, _, session = path.name.partition("-")
        if _owner_lives(lines, pid):
            continue
        runs = guardian.Runs(session)
        for line in lines:
            runs.hear(line)
        if os.path.isdir("/proc/self"):
            found = runs.end(_KILL_AFTER)
            names += sorted(runs.names.get(token, "a program just started") for token in found)
        path.unlink(missing_ok=True)
    return tuple(names)


def _owner_lives(lines: list[str], pid: str) -> bool:
    start = ""
    for words in map(str.split, lines):
        if words[:1] == ["="] and len(words) == 4:
            pid, start = words[2], words[3]
    if not pid.isdecimal():
        return False
    if start and os.path.isdir("/proc/self"):
        owner = guardian.lookup(int(pid))
        return owner is not None and owner.alive and owner.start == start
    # Where nobody can tell, or its first line is about to be written.
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
