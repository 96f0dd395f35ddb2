"""The channels of a process as SPDY streams: one for each, opened by the client.

A stream's header `streamtype` names it. What the client sends in them and takes from them is what
WebSockets have in numbered channels. Read with it: the kubelet's `remotecommand`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Set as AbstractSet

from kindling.cluster.apiserver.streams.channels import CLOSE, ERROR, RESIZE, STDERR, STDIN, STDOUT
from kindling.cluster.apiserver.streams.link import Link
from kindling.cluster.apiserver.streams.spdy import (
    Data,
    Event,
    GoAway,
    Opened,
    Reset,
    ResetStatus,
    WindowOpened,
)

__all__ = ["Streamed", "expected_streams"]

_CREATION = 30.0
"""Seconds for a client to open its streams, as in the kubelet."""
_LONGEST_SIZE = 4096
"""Bytes of a terminal's size in JSON; it has about thirty."""
_NUMBERS = {"error": ERROR, "stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "resize": RESIZE}


def expected_streams(
    *, stdin: bool, stdout: bool, stderr: bool, tty: bool, protocol: str
) -> frozenset[int]:
    """The channels that a client has to open, by what it asked for."""
    resizes = tty and protocol not in ("channel.k8s.io", "v2.channel.k8s.io")
    wanted = ((STDIN, stdin), (STDOUT, stdout), (STDERR, stderr and not tty), (RESIZE, resizes))
    return frozenset({ERROR, *(channel for channel, on in wanted if on)})


class Streamed:
    """As `Channels`, over a connection that speaks SPDY."""

    half_close = True
    """Whether the client can end its input and go on to listen."""

    def __init__(self, link: Link, protocol: str, expected: AbstractSet[int]) -> None:
        self.protocol = protocol
        self._link = link
        self._expected = expected
        self._streams: dict[int, int] = {}
        self._channels: dict[int, int] = {}
        self._came: deque[tuple[int, bytes]] = deque()
        self._sizes = bytearray()
        self._window = asyncio.Event()
        self._over = False

    async def accept(self) -> bool:
        """Wait for the client's streams; False when they do not come."""
        try:
            async with asyncio.timeout(_CREATION):
                while not self._expected <= self._streams.keys():
                    if not await self._follow():
                        return False
        except TimeoutError:
            return False
        return True

    async def next(self) -> tuple[int, bytes] | None:
        """The next bytes and their channel; None when the client is gone. `CLOSE` comes with the
        number of a channel that has ended."""
        while not self._came:
            if not await self._follow():
                return None
        return self._came.popleft()

    async def taken(self, channel: int, count: int) -> None:
        """Bytes went to where they belong, so that the client may send as many more."""
        if (stream := self._streams.get(channel)) is not None:
            self._link.spdy.consumed(stream, count)
            await self._link.flush()

    async def write(self, channel: int, data: bytes) -> None:
        """Send on a channel; waits while the client is slow, and does nothing once it is gone."""
        stream, spdy = self._streams.get(channel), self._link.spdy
        rest = memoryview(data)
        while rest and stream is not None and not self._over and spdy.is_open(stream):
            room = spdy.room(stream)
            if not room:
                self._window.clear()
                await self._window.wait()
                continue
            spdy.send(stream, bytes(rest[:room]))
            rest = rest[room:]
            await self._link.flush()

    async def close(self) -> None:
        """End every stream: the client then has all of them. The error stream is the last."""
        for channel, stream in sorted(self._streams.items(), key=lambda item: item[0] == ERROR):
            self._link.spdy.send(stream, b"", end=True)
            self._streams.pop(channel)
        await self._link.flush()

    async def _follow(self) -> bool:
        """Take in what comes next; False when that is nothing more."""
        events = None if self._over else await self._link.events()
        for event in events or ():
            self._take(event)
        if events is None:
            self._over = True
            self._window.set()
        await self._link.flush()
        return not self._over

    def _take(self, event: Event) -> None:
        match event:
            case Opened():
                self._open(event)
            case Data(stream, data, end):
                self._heard(stream, data, end=end)
            case Reset(stream):
                self._heard(stream, b"", end=True)
                self._window.set()
            case WindowOpened():
                self._window.set()
            case GoAway():  # a client says so, with all streams reset, when it goes
                self._over = True
                self._window.set()

    def _open(self, event: Opened) -> None:
        channel = _NUMBERS.get(event.headers.get("streamtype", ""))
        if channel is None or channel not in self._expected or channel in self._streams:
            self._link.spdy.reset(event.stream, ResetStatus.REFUSED_STREAM)
            return
        self._streams[channel] = event.stream
        self._channels[event.stream] = channel
        self._link.spdy.reply(event.stream)
        if event.end:
            self._heard(event.stream, b"", end=True)

    def _heard(self, stream: int, data: bytes, *, end: bool) -> None:
        channel = self._channels.get(stream)
        if channel == RESIZE:
            # A size ends with its line, and may come in pieces.
            self._sizes += data
            lines, found, rest = self._sizes.rpartition(b"\n")
            if found:
                self._came.append((RESIZE, bytes(lines)))
            self._sizes = rest if len(rest) < _LONGEST_SIZE else bytearray()
            self._link.spdy.consumed(stream, len(data))
        elif channel == STDIN:
            if data:
                self._came.append((STDIN, data))
            if end:
                self._came.append((CLOSE, bytes((STDIN,))))
        elif channel is not None:
            self._link.spdy.consumed(stream, len(data))
