"""SPDY/3.1 as kubectl's way to many connections through one port-forward.

Every connection is a pair of streams with the same `requestID`: `data` has its bytes, `error` what
went wrong, after which the client gives up. Read with it: the kubelet's `portforward`, client-go's
`tools/portforward`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from kindling.cluster.apiserver.streams.carriers import Carrier
from kindling.cluster.apiserver.streams.inbox import Inbox
from kindling.cluster.apiserver.streams.link import Link
from kindling.cluster.apiserver.streams.reach import PIECE, Connect, feed, hang_up, refusal
from kindling.cluster.apiserver.streams.spdy import (
    Data,
    Event,
    GoAway,
    Opened,
    Reset,
    ResetStatus,
    WindowOpened,
)
from kindling.cluster.model.status import ApiError

__all__ = ["Tunnel"]


@dataclass(slots=True)
class _Pair:
    """The two streams of a connection, as they come."""

    request: str
    port: int
    data: int = 0
    error: int = 0
    inbox: Inbox = field(default_factory=Inbox)
    window: asyncio.Event = field(default_factory=asyncio.Event)
    given_up: asyncio.Event = field(default_factory=asyncio.Event)


class Tunnel:
    """One port-forward. Bytes that are no SPDY end it, and it alone."""

    def __init__(self, carrier: Carrier, connect: Connect, pod: str) -> None:
        self._link = Link(carrier)
        self._spdy = self._link.spdy
        self._connect = connect
        self._pod = pod
        self._waiting: dict[str, _Pair] = {}
        self._by_stream: dict[int, _Pair] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until the client goes."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._serve(group)
                for task in self._tasks:
                    task.cancel()
        finally:
            await self._link.close()

    async def _serve(self, group: asyncio.TaskGroup) -> None:
        """Follow the client until it is gone."""
        while (events := await self._link.events()) is not None:
            for event in events:
                if isinstance(event, GoAway) and not self._tasks:
                    return
                await self._take(event, group)
            await self._link.flush()

    async def _take(self, event: Event, group: asyncio.TaskGroup) -> None:
        match event:
            case Opened():
                self._open(event, group)
            case Data(stream, data, end):
                pair = self._by_stream.get(stream)
                if pair is not None and stream == pair.data:
                    await pair.inbox.put(data)
                    if end:
                        pair.inbox.end()
            case Reset(stream):
                pair = self._by_stream.pop(stream, None)
                if pair is not None and stream == pair.data:
                    pair.inbox.close()
                    pair.given_up.set()
            case WindowOpened(stream):
                if (pair := self._by_stream.get(stream)) is not None:
                    pair.window.set()
            case GoAway():
                pass  # kubectl hangs up once its connections are at their end

    def _open(self, event: Opened, group: asyncio.TaskGroup) -> None:
        """A stream, which is refused when its headers make no sense."""
        headers, stream = event.headers, event.stream
        kind, port = headers.get("streamtype", ""), headers.get("port", "")
        sound = port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536
        if not sound or kind not in ("data", "error"):
            self._spdy.reset(stream, ResetStatus.REFUSED_STREAM)
            return
        # Clients without request ids open the error stream first, and the data stream next.
        request = headers.get("requestid") or str(stream if kind == "error" else stream - 2)
        pair = self._waiting.setdefault(request, _Pair(request, int(port)))
        if getattr(pair, kind):
            self._spdy.reset(stream, ResetStatus.PROTOCOL_ERROR)
            return
        setattr(pair, kind, stream)
        self._by_stream[stream] = pair
        self._spdy.reply(stream)
        if pair.data and pair.error:
            del self._waiting[request]
            task = group.create_task(self._forward(pair), name=f"portforward-{pair.port}-{request}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(self, pair: _Pair) -> None:
        """One connection, from its two streams to their end."""
        told = b""
        try:
            try:
                reader, writer = await self._connect(pair.port)
            except (OSError, ApiError) as error:
                told = refusal(pair.port, self._pod, error).encode()
            else:
                await self._carry(pair, reader, writer)
        finally:
            pair.inbox.close()
            self._spdy.send(pair.error, told, end=True)
            self._spdy.send(pair.data, b"", end=True)
            self._by_stream.pop(pair.data, None)
            self._by_stream.pop(pair.error, None)
        await self._link.flush()

    async def _carry(
        self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async def taken(count: int) -> None:
            self._spdy.consumed(pair.data, count)
            await self._link.flush()

        name = f"portforward-{pair.port}-{pair.request}"
        outward = asyncio.create_task(feed(writer, pair.inbox, taken), name=f"{name}-out")
        inward = asyncio.create_task(self._inward(pair, reader), name=f"{name}-in")
        given_up = asyncio.create_task(pair.given_up.wait(), name=f"{name}-reset")
        try:
            await asyncio.wait((inward, given_up), return_when=asyncio.FIRST_COMPLETED)
            if inward.done():
                inward.result()
        finally:
            for task in (outward, inward, given_up):
                task.cancel()
            await asyncio.gather(outward, inward, given_up, return_exceptions=True)
            await hang_up(writer)

    async def _inward(self, pair: _Pair, reader: asyncio.StreamReader) -> None:
        """From the pod to the client, as fast as both go."""
        while self._spdy.is_open(pair.data):
            room = self._spdy.room(pair.data)
            if not room:
                pair.window.clear()
                await pair.window.wait()
                continue
            try:
                data = await reader.read(min(room, PIECE))
            except OSError:
                return
            if not data:
                return
            self._spdy.send(pair.data, data)
            await self._link.flush()
