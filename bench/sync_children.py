"""Programs that a bench starts, none of which outlives it.

Each has a process group of its own, so that Ctrl-C reaches the bench alone, which then ends them in
order. A guard, a small program beside the bench, does it when the bench itself is killed: it holds
the other end of a pipe, and what is still written down when the pipe closes it ends and deletes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

__all__ = ["Children"]

_GUARD = """
import os, signal, subprocess, sys, time
groups, namespaces = set(), set()
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
for line in sys.stdin:
    sign, kind, name = line.split()
    known = groups if kind == "group" else namespaces
    known.add(name) if sign == "+" else known.discard(name)
def to_all(number):
    for one in list(groups):
        try:
            os.killpg(int(one), number)
        except ProcessLookupError:
            groups.discard(one)
to_all(signal.SIGINT)
for name in namespaces:
    subprocess.run(["kubectl", "delete", "namespace", name, "--wait=false"])
until = time.monotonic() + 30
while groups and time.monotonic() < until:
    to_all(0)
    time.sleep(0.1)
to_all(signal.SIGKILL)
"""


class Children:
    """What runs for a bench, from its start to its end."""

    def __init__(self) -> None:
        self._guard = subprocess.Popen(
            [sys.executable, "-c", _GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()

    def note(self, sign: str, kind: str, name: object) -> None:
        """Tell the guard what is there (`+`) and what is gone (`-`)."""
        assert self._guard.stdin is not None
        self._guard.stdin.write(f"{sign} {kind} {name}\n")

    def start(
        self,
        argv: Sequence[str],
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] | None = None,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
        text: bool = False,
    ) -> subprocess.Popen[Any]:
        """Start it. Whoever does ends it with `end`."""
        process: subprocess.Popen[Any] = subprocess.Popen(
            [*argv],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env={**os.environ, **(environ or {})},
            text=text,
            bufsize=1 if text else 0,
            start_new_session=True,
        )
        self.note("+", "group", process.pid)
        return process

    def end(self, process: subprocess.Popen[Any], seconds: float = 0.0) -> bool:
        """End it and all that it started; with `seconds` by Ctrl-C first, and so much time for it.
        False: it had to be killed although it was asked."""
        kindly = True
        try:
            if seconds and process.poll() is None:
                _to_group(process, signal.SIGINT)
                try:
                    process.wait(seconds)
                except subprocess.TimeoutExpired:
                    kindly = False
        finally:
            # What a loop started may be there although the loop has ended.
            _to_group(process, signal.SIGKILL)
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
            self.note("-", "group", process.pid)
        return kindly

    def run(
        self,
        argv: Sequence[str],
        seconds: float,
        *,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> str:
        """Run it to its end; what it said.

        Raises:
            RuntimeError: It failed, or was not done in `seconds`.
        """
        process = self.start(argv, stderr=subprocess.STDOUT, cwd=cwd, environ=environ, text=True)
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"not done in {seconds:.0f} s") from None
        finally:
            self.end(process, seconds=5.0)
        if process.returncode:
            end = " ".join(str(said).split())[-300:]
            raise RuntimeError(f"exit code {process.returncode}: {end}")
        return str(said)


def _to_group(process: subprocess.Popen[Any], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
