"""Commands of this machine in the place of commands in containers, and the sync agent as one.

The agent here is the real one: what a test sees of it is what a container would see, save that its
root is a folder.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from kindling.errors import ClusterError
from kindling.kube.errors import UnreachableError
from kindling.kube.protocol import ExecResult
from kindling.sync.transport.link import AgentLink

__all__ = ["CutStream", "ProcessStream", "agent_link"]

_PIECE = 64 * 1024
_STDERR_KEPT = 8 * 1024
_PATIENCE = 2.0
"""How long a program may take to end once its input has ended."""


@asynccontextmanager
async def agent_link(
    binary: Path, root: Path, *, control: Path | None = None, name: str = "box/main"
) -> AsyncIterator[AgentLink]:
    """A link to the agent `binary`, which serves `root` as if it were a container's `/`. `control`
    is the folder of a supervisor's socket."""
    words = [str(binary), "serve", *(("--control", str(control)) if control else ()), str(root)]
    link = await AgentLink.open(await ProcessStream.start(words, f"serve {root}"), name)
    try:
        yield link
    finally:
        await link.close()


class ProcessStream:
    """A program of this machine behind `ExecStream`. Make it with `start`."""

    def __init__(self, process: asyncio.subprocess.Process, doing: str) -> None:
        self._process = process
        self._doing = doing
        self._broken: ClusterError | None = None
        self._stderr = bytearray()
        self._writing = asyncio.Lock()
        self._listening = asyncio.create_task(self._listen(), name=f"stderr of {doing}")

    @classmethod
    async def start(cls, argv: Sequence[str | bytes], doing: str = "") -> ProcessStream:
        """Run `argv`. `doing` begins the messages of errors."""
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return cls(process, doing or f"run {argv[0]!r}")

    @property
    def pid(self) -> int:
        return self._process.pid

    async def read(self) -> bytes:
        assert self._process.stdout is not None
        data = await self._process.stdout.read(_PIECE)
        if self._broken is not None:
            raise self._broken
        return data

    async def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        async with self._writing:
            try:
                if self._broken is None:
                    self._process.stdin.write(data)
                    await self._process.stdin.drain()
            except OSError as error:
                raise self._broken or UnreachableError(
                    f"Cannot {self._doing}: it has ended"
                ) from error
        if self._broken is not None:
            raise self._broken

    async def ended(self) -> ExecResult:
        assert self._process.stdout is not None
        while await self._process.stdout.read(_PIECE):
            pass
        code = await self._process.wait()
        await self._listening
        if self._broken is not None:
            raise self._broken
        return ExecResult(code if code >= 0 else 128 - code, b"", bytes(self._stderr))

    def cut(self) -> None:
        """The connection breaks: the program's input ends, and nobody hears of its output."""
        assert self._process.stdin is not None
        self._broken = UnreachableError(
            f"Cannot {self._doing}: the connection broke", transient=True
        )
        self._process.stdin.close()

    async def close(self) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        reading = asyncio.create_task(process.stdout.read(), name=f"the rest of {self._doing}")
        try:
            async with asyncio.timeout(_PATIENCE):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        self._broken = UnreachableError(f"Cannot {self._doing}: the connection was closed")
        # Others may hold its output: they are not waited for.
        for task in (self._listening, reading):
            task.cancel()
        await asyncio.gather(self._listening, reading, return_exceptions=True)
        process._transport.close()  # type: ignore[attr-defined]

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(_PIECE):
            self._stderr += data
            del self._stderr[:-_STDERR_KEPT]


class CutStream:
    """A stream that breaks once `most` bytes were written to it, in the middle of a write where it
    falls there. What was written before arrives."""

    def __init__(self, inner: ProcessStream, most: int) -> None:
        self._inner = inner
        self._left = most

    async def read(self) -> bytes:
        return await self._inner.read()

    async def write(self, data: bytes) -> None:
        if len(data) <= self._left:
            self._left -= len(data)
            await self._inner.write(data)
            return
        part, self._left = data[: self._left], 0
        if part:
            await self._inner.write(part)
        self._inner.cut()
        await self._inner.write(b"")

    async def ended(self) -> ExecResult:
        return await self._inner.ended()

    async def close(self) -> None:
        await self._inner.close()
