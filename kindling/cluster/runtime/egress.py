"""Carries TCP connections of pods out of their network, as connections of this process.

The launcher redirects what leaves the pods' network to a listener (`launch.redirect`); where each
connection meant to go is asked of the kernel. Half-closed connections stay half open, as an HTTP
client may need them; a target that refuses is a reset for the pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

__all__ = ["Egress"]

_ORIGINAL_DESTINATION = 80  # SO_ORIGINAL_DST
_CONNECT_SECS = 30.0
_CHUNK = 1 << 16


class Egress:
    """Serves a listening socket of the node's network, which is its own from now on."""

    def __init__(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._port: int = listener.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._carry, sock=self._listener)

    async def close(self) -> None:
        """Stop, and cut what is under way."""
        if self._server is not None:
            self._server.close()
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
