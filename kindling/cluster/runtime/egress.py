"""Carries TCP connections and DNS questions of pods out of their network, as this process's own.

The launcher redirects what leaves the pods' network to a listener (`launch.redirect`); where each
connection meant to go is asked of the kernel. Half-closed connections stay half open, as an HTTP
client may need them; a target that refuses is a reset for the pod. Whatever name server was asked,
those of this machine answer: others may not be reachable, as those on its loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import cast

from kindling.cluster.runtime.listening import shedding

__all__ = ["Egress"]

_ORIGINAL_DESTINATION = 80  # SO_ORIGINAL_DST
_CONNECT_SECS = 30.0
_CHUNK = 1 << 16
_ANSWER_SECS = 5.0
_MOST_QUESTIONS = 1000


class Egress:
    """Serves a listening socket and some for datagrams, all of the node's network and from now on
    its own."""

    def __init__(self, listener: socket.socket, *questions: socket.socket) -> None:
        for sock in (listener, *questions):
            sock.setblocking(False)
            sock.set_inheritable(False)
        self._questions = questions
        self._asked: list[asyncio.DatagramTransport] = []
        self._listener = shedding(listener)
        self._port: int = self._listener.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        # Taken over by connections; asyncio sets it only where the socket's protocol was named.
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server = await asyncio.start_server(self._carry, sock=self._listener)
        for sock in self._questions:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Questions(self._carrying), sock=sock
            )
            self._asked.append(transport)

    async def close(self) -> None:
        """Stop, and cut what is under way."""
        if self._server is not None:
            self._server.close()
        for transport in self._asked:
            transport.abort()
        for task in list(self._carrying):
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        far: asyncio.StreamWriter | None = None
        try:
            far_reader, far = await self._reach(writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, far), name="egress out")
                both.create_task(_pump(far_reader, writer), name="egress back")
            far.close()
            writer.close()
        except* (OSError, TimeoutError):
            _reset(writer)  # as the other end did
        finally:
            self._carrying.discard(task)
            if far is not None and not far.is_closing():
                _reset(far)
            if not writer.is_closing():
                _reset(writer)

    async def _reach(
        self, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock: socket.socket = writer.get_extra_info("socket")
        asked = sock.getsockopt(socket.SOL_IP, _ORIGINAL_DESTINATION, 16)
        port, address = struct.unpack_from(">2xH4s", asked)
        if (port, socket.inet_ntoa(address)) == (self._port, sock.getsockname()[0]):
            raise ConnectionRefusedError("somebody spoke to the listener itself")
        async with asyncio.timeout(_CONNECT_SECS):
            return await asyncio.open_connection(socket.inet_ntoa(address), port)


class _Questions(asyncio.DatagramProtocol):
    """Passes each datagram on to a name server of this machine, and the answer back."""

    def __init__(self, tasks: set[asyncio.Task[None]]) -> None:
        self._tasks = tasks
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Before Python 3.12 the loop's own transport is no subclass of what it implements.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(self._tasks) < _MOST_QUESTIONS:
            task = asyncio.get_running_loop().create_task(
                self._pass_on(data, addr), name="egress question"
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, data: bytes, address: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        for server in _name_servers():
            family = socket.AF_INET6 if ":" in server else socket.AF_INET
            with (
                contextlib.suppress(OSError, TimeoutError),
                socket.socket(family, socket.SOCK_DGRAM) as sock,
            ):
                sock.setblocking(False)
                async with asyncio.timeout(_ANSWER_SECS):
                    await loop.sock_connect(sock, (server, 53))
                    await loop.sock_sendall(sock, data)
                    answer = await loop.sock_recv(sock, 65535)
                if self._transport is not None:
                    self._transport.sendto(answer, address)
                return


def _name_servers() -> list[str]:
    try:
        with open("/etc/resolv.conf", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        rows = []
    return [row[1] for row in rows if row[:1] == ["nameserver"] and len(row) > 1] or ["127.0.0.1"]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        with contextlib.suppress(OSError):
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once; the other end sees a reset, not an end of file."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
