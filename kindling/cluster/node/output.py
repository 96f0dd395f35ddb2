"""What a running container prints, given to its log and to everyone who attached."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from kindling.cluster.node.logfile import LogFile
from kindling.cluster.runtime.protocol import Container

__all__ = ["Audience", "Output"]

_CHUNK = 64 * 1024
_MOST_BUFFERED = 8 * 1024 * 1024
_DRAIN = 1.0  # seconds for output still in the pipes when the container has ended


@dataclass(slots=True, eq=False)
class Audience:
    """One who attached; a stream that was not asked for is None."""

    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader | None

    def feed(self, stream: str, data: bytes) -> bool:
        """Whether the reader still keeps up; memory is not for those who do not read."""
        reader = self.stdout if stream == "stdout" else self.stderr
        if reader is None:
            return True
        reader.feed_data(data)
        buffered = len(getattr(reader, "_buffer", b""))
        return buffered <= _MOST_BUFFERED

    def end(self) -> None:
        for reader in (self.stdout, self.stderr):
            if reader is not None and not reader.at_eof():
                reader.feed_eof()


class Output:
    """Reads a container's streams to their end. `run` is to be kept running by whoever made it."""

    def __init__(self, container: Container, log: LogFile) -> None:
        self._container = container
        self.log = log
        self._audience: set[Audience] = set()
        self.running = False
        self.ended = asyncio.Event()

    async def run(self) -> None:
        """Until both streams end, or the container has and they stay open a moment longer."""
        self.running = True
        pumps = asyncio.create_task(self._pump_all(), name="container-output")
        gone = asyncio.create_task(self._gone(), name="container-gone")
        try:
            await asyncio.wait((pumps, gone), return_when=asyncio.FIRST_COMPLETED)
            if not pumps.done():
                # A process that fled the container may hold the pipe: its output is not ours.
                await asyncio.wait((pumps,), timeout=_DRAIN)
        finally:
            for task in (pumps, gone):
                task.cancel()
            await asyncio.gather(pumps, gone, return_exceptions=True)
            self.log.close()
            for one in self._audience:
                one.end()
            self._audience.clear()
            self.running = False
            self.ended.set()

    def join(self, *, stdout: bool, stderr: bool) -> Audience:
        """Hear everything from now on."""
        one = Audience(
            asyncio.StreamReader() if stdout else None,
            asyncio.StreamReader() if stderr else None,
        )
        if self.ended.is_set():
            one.end()
        else:
            self._audience.add(one)
        return one

    def leave(self, one: Audience) -> None:
        self._audience.discard(one)
        one.end()

    async def _gone(self) -> None:
        await self._container.wait()

    async def _pump_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump("stdout", self._container.stdout), name="stdout")
            if self._container.stderr is not None:
                group.create_task(self._pump("stderr", self._container.stderr), name="stderr")

    async def _pump(self, stream: str, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                data = await reader.read(_CHUNK)
            except OSError:  # a terminal whose last user is gone says EIO for its end
                return
            if not data:
                return
            self.log.write(stream, data)
            for one in tuple(self._audience):
                if not one.feed(stream, data):
                    self.leave(one)
