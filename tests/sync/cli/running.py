"""`kindling sync` as a process of its own, read as it speaks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.children import ends_with_us

__all__ = ["Running"]

LIMIT = 120.0
"""Seconds that anything may take on a busy machine."""


class Running:
    """The program, started with `sync ARGS` in a folder. Standard error is part of what it says."""

    def __init__(self, folder: Path, *args: str, environment: Mapping[str, str] | None = None):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kindling", "sync", *args],
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=ends_with_us(),
        )
        self._said: list[str] = []
        self._more = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lines(self) -> list[str]:
        with self._more:
            return list(self._said)

    def wait_for(self, text: str, *, after: int = 0) -> str:
        """The first line that has the text, of those after the first `after`."""

        def found() -> str | None:
            return next((line for line in self._said[after:] if text in line), None)

        with self._more:
            self._more.wait_for(lambda: found() is not None or self._ended, LIMIT)
            line = found()
            if line is None:
                raise AssertionError(f"it never said {text!r}:\n" + "\n".join(self._said))
            return line

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> int:
        """Its exit code, once it has ended by itself."""
        code = self._process.wait(LIMIT)
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                self._said.append(line.rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()
