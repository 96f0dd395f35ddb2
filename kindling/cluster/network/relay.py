"""Bytes both ways between two connections, with the pace of the slower side.

Transports and protocols rather than streams: a Service's traffic to a database goes through here,
and every copy and every task switch shows in its latency.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from kindling.cluster.runtime.listening import shedding

__all__ = ["Listener", "Side", "connect_pair"]


class Side(asyncio.Protocol):
    """One end of a relayed connection. Bytes that come before the other end is there are kept."""

    def __init__(self, made: Callable[[Side], None] | None = None) -> None:
        self.other: Side | None = None
        self.transport: asyncio.Transport | None = None
        self._made = made
        self.ended = asyncio.get_running_loop().create_future()
        self._early: list[bytes] = []
        self._finished = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.pause_reading()
        if self._made is not None:
            self._made(self)

    def data_received(self, data: bytes) -> None:
        other = self.other
        if other is None or other.transport is None:
            self._early.append(data)
        else:
            other.transport.write(data)

    def eof_received(self) -> bool:
        self._finished = True
        if self.other is not None:
            self.other.finish()
        return True  # the other direction may go on: half-closed connections are common

    def finish(self) -> None:
        """No more will be sent to this side."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if self._finished:
            transport.close()  # both directions are at their end
            return
        with contextlib.suppress(OSError, RuntimeError, NotImplementedError):
            transport.write_eof()

    def pause_writing(self) -> None:
        self._pace("pause_reading")

    def resume_writing(self) -> None:
        self._pace("resume_reading")

    def _pace(self, verb: str) -> None:
        source = self.other.transport if self.other is not None else None
        if source is not None and not source.is_closing():
            getattr(source, verb)()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
        other = self.other
        if other is not None and other.transport is not None:
            if exc is None:
                other.transport.close()
            else:
                other.transport.abort()

    def join(self, other: Side) -> None:
        """Let bytes flow between this side and `other`."""
        self.other, other.other = other, self
        for here, there in ((self, other), (other, self)):
            assert here.transport is not None
            assert there.transport is not None
            for data in here._early:
                there.transport.write(data)
            here._early.clear()
            if here._finished:
                there.finish()
            here.transport.resume_reading()

    def abort(self) -> None:
        """End at once, as a refused connection ends."""
        if self.transport is not None:
            self.transport.abort()


async def connect_pair(side: Side, sock: socket.socket, address: tuple[str, int]) -> None:
    """Connect `sock` to `address` and join it with `side`, which is connected. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(sock, address)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _, protocol = await loop.create_connection(Side, sock=sock)
    except BaseException:
        sock.close()
        raise
    side.join(protocol)


class Listener:
    """Accepts on a socket and joins each connection with what `target` chooses for its peer.

    `target` gives an address and a socket to reach it with, or None: the connection is refused.
    """

    def __init__(
        self,
        listening: socket.socket,
        target: Callable[[str], tuple[socket.socket, tuple[str, int]] | None],
    ) -> None:
        self._socket = shedding(listening)
        self._target = target
        self._server: asyncio.Server | None = None
        self._joining: set[asyncio.Task[None]] = set()
        self._sides: set[Side] = set()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        # Connections take it from their listener. asyncio sets it only where the socket's protocol
        # was named, and without it small answers may wait 40 ms for an acknowledgement.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server = await loop.create_server(
            lambda: Side(self._accept), sock=self._socket, backlog=512
        )

    def _accept(self, side: Side) -> None:
        task = asyncio.get_running_loop().create_task(self._join(side), name="relay")
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def _join(self, side: Side) -> None:
        if side.transport is None:
            return
        peer = side.transport.get_extra_info("peername") or ("",)
        self._sides.add(side)
        side.ended.add_done_callback(lambda _: self._sides.discard(side))
        found = self._target(peer[0])
        if found is None:
            side.abort()
            return
        sock, address = found
        try:
            await connect_pair(side, sock, address)
        except OSError:
            side.abort()

    @property
    def idle(self) -> bool:
        """Whether it has no connections."""
        return not self._sides

    async def close(self, *, cut: bool = True) -> None:
        """Accept no more. With `cut`, connections end; else they go on until their ends close."""
        if self._server is not None:
            self._server.close()
        for task in self._joining:
            task.cancel()
        await asyncio.gather(*self._joining, return_exceptions=True)
        if cut:
            for side in list(self._sides):
                side.abort()
