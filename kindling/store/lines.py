"""Files of JSON lines that are only ever appended to."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kindling.errors import StoreError
from kindling.store.folder import guarded

__all__ = ["LineFile", "parse_line", "read_lines"]


class LineFile:
    """Appends JSON objects to a file (0600), each as one whole line. Safe from several threads.

    A line that could not be written whole (a full disk) is taken back, so that what follows it
    stays readable; one that a killed process tore is closed off when the file is opened again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with guarded(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o600)
            try:
                self._size = os.fstat(self._file).st_size
                if self._size and os.pread(self._file, 1, self._size - 1) != b"\n":
                    self._size += os.write(self._file, b"\n")
            except BaseException:
                os.close(self._file)
                raise

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._size

    def append(self, value: dict[str, Any], *, sync: bool = False) -> None:
        """Write one line; with `sync`, return only once it is on the disk.

        Raises:
            StoreError: It could not be written. Nothing of it stays.
        """
        # ASCII alone: no text of a program can hold a line separator of Unicode or a lone
        # surrogate.
        line = json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"
        with self._lock, guarded(self._path):
            if self._file < 0:
                raise StoreError(f"`{self._path}` is closed")
            written = 0
            try:
                while written < len(line):
                    written += os.write(self._file, line[written:])
                if sync:
                    os.fsync(self._file)
            except BaseException:
                os.ftruncate(self._file, self._size)
                raise
            self._size += len(line)

    def close(self) -> None:
        """Close the file. Closing twice is fine."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


def read_lines(path: Path) -> Iterator[bytes]:
    """The whole lines of a file, without line ends. A torn last line is left out; so is no file.

    Raises:
        StoreError: It cannot be read.
    """
    with guarded(path):
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return
        with file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line[:-1]


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The object of a line; None for one that was torn by a kill and closed off later."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
