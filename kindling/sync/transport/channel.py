"""Frames over a stream: the greeting, request ids, and replies to whoever asked.

One task reads all the time, so that an agent whose output is full never waits for a client that is
still writing.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import count

from kindling.errors import ClusterError
from kindling.kube.protocol import ExecStream
from kindling.sync.agent.frames import VERSION, Frame, Hello, Welcome
from kindling.sync.agent.protocol import Decoder, ProtocolError, encode
from kindling.sync.protocol import LinkLostError

__all__ = ["GREETING_LIMIT", "SILENCE_LIMIT", "AgentEndedError", "Channel", "Replies"]

GREETING_LIMIT = 20.0
"""An agent greets within milliseconds of its start; a busy node takes its time to start it."""
SILENCE_LIMIT = 180.0
"""Nothing that an agent does for one request takes longer without a word."""
_LAST_WORDS = 3.0
_KILLED = 128 + 9


class AgentEndedError(LinkLostError):
    """The agent ended, or was never started; `code` is its exit code."""

    def __init__(self, message: str, code: int = 0, *, details: Iterable[str] = ()) -> None:
        super().__init__(message, details=details, transient=True)
        self.code = code


class Replies:
    """What comes for one request id."""

    def __init__(self, ident: int, lost: LinkLostError | None) -> None:
        self.ident = ident
        self._frames: asyncio.Queue[Frame | LinkLostError] = asyncio.Queue()
        if lost is not None:
            self._frames.put_nowait(lost)

    def put(self, frame: Frame | LinkLostError) -> None:
        self._frames.put_nowait(frame)

    def waiting(self) -> Frame | None:
        """The next frame if it has come already."""
        if self._frames.empty():
            return None
        frame = self._frames.get_nowait()
        if isinstance(frame, LinkLostError):
            raise _again(frame)
        return frame

    async def next(self, limit: float = SILENCE_LIMIT) -> Frame:
        """The next frame.

        Raises:
            LinkLostError: None will come, or none came for `limit` seconds.
        """
        if (here := self.waiting()) is not None:
            return here
        try:
            async with asyncio.timeout(limit):
                frame = await self._frames.get()
        except TimeoutError as error:
            raise LinkLostError(
                f"The sync agent said nothing for {limit:.0f} s", transient=True
            ) from error
        if isinstance(frame, LinkLostError):
            raise _again(frame)
        return frame


def _again(lost: LinkLostError) -> LinkLostError:
    """The same for one more of those who wait: a traceback of its own, and the same cause."""
    error = copy.copy(lost)
    error.__traceback__ = None
    error.__cause__ = lost.__cause__
    return error


class Channel:
    """An agent at the other end of `stream`, greeted. Make it with `open`.

    `name` is how messages call the container.
    """

    def __init__(self, stream: ExecStream, name: str) -> None:
        self.name = name
        self.turn = asyncio.Lock()
        """Whoever writes frames that belong together has it."""
        self._stream = stream
        self._waiting: dict[int, Replies] = {}
        self._numbers = count(1)
        self._lost: LinkLostError | None = None
        self._closed = False
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, stream: ExecStream, name: str, *, limit: float = GREETING_LIMIT
    ) -> tuple[Channel, Welcome]:
        """Greet the agent. The stream is closed when that fails.

        Raises:
            LinkLostError: It is no agent, an agent of another version, or it does not answer.
        """
        channel = cls(stream, name)
        channel._reading = asyncio.create_task(channel._read(), name=f"sync agent in {name}")
        try:
            async with channel.asking() as replies:
                await channel.send(Hello(replies.ident))
                welcome = await replies.next(limit)
            if not isinstance(welcome, Welcome) or welcome.version != VERSION:
                raise LinkLostError(f"The sync agent in {name} is of another version")
        except BaseException:
            await channel.close()
            raise
        return channel, welcome

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Replies]:
        """A fresh request id; its replies are heard for as long as the block lasts."""
        replies = Replies(next(self._numbers) & 0xFFFFFFFF, self._lost)
        self._waiting[replies.ident] = replies
        try:
            yield replies
        finally:
            del self._waiting[replies.ident]

    async def ask(self, frame: Frame, replies: Replies, limit: float = SILENCE_LIMIT) -> Frame:
        """Send one request and wait for its first reply."""
        async with self.turn:
            await self.send(frame)
        return await replies.next(limit)

    async def send(self, *frames: Frame) -> int:
        """Write frames; how many bytes that was. The caller has the turn."""
        return await self.write(b"".join(map(encode, frames)))

    async def write(self, data: bytes) -> int:
        """Write frames that are encoded already."""
        if self._lost is not None:
            raise _again(self._lost)
        try:
            await self._stream.write(data)
        except ClusterError as error:
            # Whoever reads learns how the agent ended, which says more.
            if self._reading is not None:
                await asyncio.wait((self._reading,), timeout=_LAST_WORDS)
            self.lose(error.message, error)
            raise _again(self._lost or LinkLostError(error.message)) from error
        return len(data)

    async def close(self) -> None:
        """End the agent's input, and so the agent."""
        self._closed = True
        self.lose("the link was closed")
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._stream.close()

    @property
    def lost(self) -> bool:
        """Is it of no further use?"""
        return self._lost is not None

    def lose(self, why: str, cause: BaseException | None = None) -> None:
        """All who wait, and all who come later, are told that the connection broke."""
        details = cause.details if isinstance(cause, ClusterError) else ()
        lost = LinkLostError(self._broke(why), details=details, transient=True)
        lost.__cause__ = cause
        self._end(lost)

    def _broke(self, why: str) -> str:
        return f"The connection to the sync agent in {self.name} broke: {why}"

    def _end(self, lost: LinkLostError) -> None:
        if self._lost is None:
            self._lost = lost
        for replies in self._waiting.values():
            replies.put(self._lost)

    async def _read(self) -> None:
        decoder = Decoder()
        try:
            while data := await self._stream.read():
                for frame in decoder.feed(data):
                    if (replies := self._waiting.get(frame.id)) is not None:
                        replies.put(frame)
            self._end(await self._last_words())
        except ProtocolError as error:
            self.lose(str(error), error)
        except ClusterError as error:
            self.lose(error.message, error)
        except BaseException as error:
            self.lose(f"{type(error).__name__}: {error}", error)
            raise

    async def _last_words(self) -> LinkLostError:
        """Why the agent ended, as far as it or the cluster says so."""
        try:
            async with asyncio.timeout(_LAST_WORDS):
                ended = await self._stream.ended()
        except TimeoutError:
            return LinkLostError(self._broke("it closed its output"), transient=True)
        said = ended.stderr.decode("utf-8", "replace").splitlines()[-5:]
        why = "it was killed" if ended.code == _KILLED else f"it ended with code {ended.code}"
        return AgentEndedError(self._broke(why), ended.code, details=said)
