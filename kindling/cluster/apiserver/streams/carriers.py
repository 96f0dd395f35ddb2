"""What SPDY's bytes travel in: the messages of a WebSocket, or the connection itself."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

from kindling.cluster.apiserver.streams.channels import Receive, Send

__all__ = ["Carrier", "ConnectionCarrier", "WebSocketCarrier"]

_PIECE = 64 * 1024
_FAREWELL = 5.0
"""Seconds for a client to hang up when all has been said."""
_NORMAL = 1000
_PROTOCOL_ERROR = 1002
_UNSUPPORTED = 1003


class Carrier(Protocol):
    """Bytes both ways."""

    async def read(self) -> bytes | None:
        """What came; None when the client is gone."""
        ...

    async def write(self, data: bytes) -> None:
        """Waits while the client is slow. Raises `OSError` when it is gone."""
        ...

    async def close(self, *, broken: bool = False) -> None:
        """End it; `broken` is that the client sent what is no SPDY. Idempotent."""
        ...


class WebSocketCarrier:
    """A WebSocket that is about to be accepted: every message is a piece of the bytes."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._over = False

    async def accept(self, subprotocol: str) -> None:
        await self._receive()  # `websocket.connect`
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol})

    async def read(self) -> bytes | None:
        if self._over:
            return None
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._over = True
            return None
        data: bytes | None = message.get("bytes")
        if data is None:
            await self._close(_UNSUPPORTED)
        return data

    async def write(self, data: bytes) -> None:
        await self._send({"type": "websocket.send", "bytes": data})

    async def close(self, *, broken: bool = False) -> None:
        await self._close(_PROTOCOL_ERROR if broken else _NORMAL)

    async def _close(self, code: int) -> None:
        if not self._over:
            self._over = True
            with contextlib.suppress(OSError):
                await self._send({"type": "websocket.close", "code": code})


class ConnectionCarrier:
    """A connection that was taken over from HTTP, with TLS or without."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._gone = False

    async def read(self) -> bytes | None:
        try:
            data = await self._reader.read(_PIECE)
        except OSError:
            data = b""
        self._gone = self._gone or not data
        return data or None

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self, *, broken: bool = False) -> None:
        """A client that has yet to read the end of it hangs up first: closing a socket that holds
        bytes which nobody read throws away what the other side has not read either."""
        try:
            async with asyncio.timeout(_FAREWELL):
                while not (broken or self._gone):
                    await self.read()
                self._writer.close()
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            pass
        finally:
            self._writer.transport.abort()
