"""The log of one run of a container, in the form that CRI gives it.

A line is `2026-01-31T12:00:00.000000000Z stdout F text`; `P` in place of `F` marks a part of a line
that goes on in the next record. Limits are those of the kubelet and of containerd: 10 MiB a file,
5 files, 16 KiB a record.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from pathlib import Path

from kindling.cluster.node.clock import Clock

__all__ = ["LONGEST_RECORD", "LogFile", "log_stamp"]

LONGEST_RECORD = 16 * 1024
FILE_SIZE = 10 * 1024 * 1024
FILES = 5
_log = logging.getLogger(__name__)


def log_stamp(seconds: float) -> str:
    """RFC 3339 with nine digits of a second, as containerd writes it."""
    whole = int(seconds)
    nanos = int((seconds - whole) * 1e9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{nanos:09d}Z"


class LogFile:
    """Takes what a container prints, and wakes those who follow it."""

    def __init__(
        self, path: Path, clock: Clock, *, size: int = FILE_SIZE, files: int = FILES
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.closed = False
        self._clock = clock
        self._limit = size
        self._files = files
        self._partial: dict[str, bytes] = {}
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size
        self._tick = asyncio.Event()
        self._broken = False

    @property
    def tick(self) -> asyncio.Event:
        """Set at the next record and at the end. Take it before reading what is there."""
        return self._tick

    def write(self, stream: str, data: bytes) -> None:
        """Take up output of `stdout` or `stderr`. A line is written when it is whole or too
        long."""
        data = self._partial.pop(stream, b"") + data
        *lines, rest = data.split(b"\n")
        head = f"{log_stamp(self._clock.time())} {stream} ".encode()
        records: list[bytes] = []
        for line in lines:
            while len(line) > LONGEST_RECORD:
                records.append(head + b"P " + line[:LONGEST_RECORD] + b"\n")
                line = line[LONGEST_RECORD:]
            records.append(head + b"F " + line + b"\n")
        while len(rest) > LONGEST_RECORD:
            records.append(head + b"P " + rest[:LONGEST_RECORD] + b"\n")
            rest = rest[LONGEST_RECORD:]
        if rest:
            self._partial[stream] = rest
        if records:
            self._append(b"".join(records))

    def close(self) -> None:
        """Write what is left of unfinished lines, and end for those who follow."""
        if self.closed:
            return
        for stream, rest in self._partial.items():
            head = f"{log_stamp(self._clock.time())} {stream} P ".encode()
            self._append(head + rest + b"\n")
        self._partial.clear()
        self.closed = True
        os.close(self._fd)
        self._wake()

    def _append(self, data: bytes) -> None:
        if self._size and self._size + len(data) > self._limit:
            self._rotate()
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            self._size += len(data)
            self._broken = False
        except OSError as error:
            # A full disk must not stop the app: its output is lost, and that is said once.
            if not self._broken:
                _log.warning("log %s cannot be written: %s", self.path, error)
            self._broken = True
        self._wake()

    def _rotate(self) -> None:
        os.close(self._fd)
        moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime(self._clock.time()))
        target = self.path.with_name(f"{self.path.name}.{moment}")
        number = 0
        while target.exists():
            number += 1
            target = self.path.with_name(f"{self.path.name}.{moment}-{number:06d}")
        with contextlib.suppress(OSError):
            self.path.rename(target)
        old = sorted(self.path.parent.glob(f"{self.path.name}.*"), key=_age)
        for path in old[: max(0, len(old) - (self._files - 1))]:
            path.unlink(missing_ok=True)
        self._fd = self._open()
        self._size = 0

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _wake(self) -> None:
        self._tick.set()
        self._tick = asyncio.Event()


def _age(path: Path) -> tuple[int, str]:
    return path.stat().st_mtime_ns, path.name
