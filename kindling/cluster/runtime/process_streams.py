"""The streams of a process that a launcher starts: ours and those handed over."""

from __future__ import annotations

import asyncio
import os

from kindling.cluster.runtime.protocol import StartError
from kindling.cluster.runtime.streams import read_end, set_size, write_end

__all__ = ["ProcessStreams"]


class ProcessStreams:
    """The near ends of a process's streams, and the far ones until they were handed over."""

    def __init__(self, *, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> None:
        self.names: list[str] = []
        self.far: list[int] = []
        self.near: dict[str, int] = {}
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._wanted = {"stdin": stdin, "stdout": stdout, "stderr": stderr and not tty}
        self._transports: list[asyncio.ReadTransport] = []
        self._terminal = -1
        try:
            for name, wanted in self._wanted.items():
                if wanted and not tty:
                    reading, writing = os.pipe()
                    near, far = (writing, reading) if name == "stdin" else (reading, writing)
                    self.names.append(name)
                    self.far.append(far)
                    self.near[name] = near
        except OSError as error:
            self.close()
            raise StartError(f"no pipes for a process: {error}") from error

    def handed_over(self) -> None:
        for fd in self.far:
            os.close(fd)
        self.far.clear()

    async def open(self, terminal: tuple[int, ...]) -> None:
        """Make streams of them. With a terminal all are the same one."""
        for number, fd in enumerate(terminal):
            if number == 0:
                self._terminal = fd
                self.near["stdout"] = os.dup(fd)
                if self._wanted["stdin"]:
                    self.near["stdin"] = os.dup(fd)
            else:
                os.close(fd)
        if "stdin" in self.near:
            self.stdin = await write_end(self.near.pop("stdin"))
        for name in ("stdout", "stderr"):
            if name in self.near:
                reader, transport = await read_end(self.near.pop(name))
                self._transports.append(transport)
                if name == "stdout":
                    self.stdout = reader
                else:
                    self.stderr = reader

    def resize(self, columns: int, rows: int) -> None:
        if self._terminal >= 0:
            set_size(self._terminal, columns, rows)

    def close(self) -> None:
        """Let go of everything; what was not read is lost."""
        self.handed_over()
        for fd in self.near.values():
            os.close(fd)
        self.near.clear()
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1
        if self.stdin is not None:
            self.stdin.close()
        for transport in self._transports:
            transport.close()
        self._transports.clear()

    def ended(self) -> None:
        """The process has: nobody reads what is written, and the terminal's size is no matter.
        What it said may still be read."""
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1
        if self.stdin is not None:
            self.stdin.close()
