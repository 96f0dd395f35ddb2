"""uvicorn's HTTP protocol, with what an API server on a shared machine needs besides.

- The client's certificate reaches the application, as `scope["state"]["peer"]` (the mapping of
  `SSLSocket.getpeercert`, None without one), for requests and for WebSockets.
- Request heads are limited in size (1 MiB, which is Go's own limit: commands of `exec` travel in
  the query) and in time, so that neither a large nor a slow one holds anything up.
- A request that asks for SPDY finds the extension of `streams.upgrade` in its scope, by which the
  application takes the connection over once it knows who asks for what.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kindling.cluster.apiserver.streams.upgrade import SPDY, UPGRADE

__all__ = ["HEAD_LIMIT", "HEAD_TIMEOUT", "HttpProtocol"]

HEAD_LIMIT = 1 << 20
"""Bytes of a request's line and headers together."""
HEAD_TIMEOUT = 30.0
"""Seconds from the first byte of a request (or the connection) to the end of its head."""
_EARLY = 64 * 1024
"""Bytes that a client may send before it knows whether it gets its upgrade."""
_BUFFER = 64 * 1024
"""Bytes of a connection that was taken over which wait for the application, twice over."""
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: 35\r\n\r\n"
    b"431 Request Header Fields Too Large"
)


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _in_request = False
    _early: bytearray | None = None
    """What came after a request for SPDY, which is no HTTP."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # A copy: the mapping that we were given is shared by all connections.
        peer = transport.get_extra_info("peercert") or None
        self.app_state = {**self.app_state, "peer": peer}
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._early is not None:
            self._hold(data)
            return
        if not self._in_request and self._head_timer is None:
            self._start_head_timer()
        self._feed(data)
        # A head that never ends never reaches on_headers_complete, and may not reach on_header
        # either: what comes before that counts as a whole.
        if not self._in_request and self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > 2 * HEAD_LIMIT:
                self._refuse_head()

    def _feed(self, data: bytes) -> None:
        """As uvicorn's own, which loses what comes behind a request for an upgrade."""
        self._unset_keepalive_if_required()
        try:
            cast(Any, self.parser).feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            elif self._asks_for_spdy():
                self._early = bytearray()
                self._hold(data[upgrade.args[0] :])

    def _hold(self, data: bytes) -> None:
        assert self._early is not None
        self._early += data
        if len(self._early) > _EARLY:
            cast(Any, self.transport).abort()

    def _asks_for_spdy(self) -> bool:
        return self._get_upgrade() == SPDY.lower()

    async def _take_over(
        self, headers: list[tuple[bytes, bytes]]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Answer 101 and hand the connection over. Raises `ConnectionResetError`."""
        if self.flow.write_paused:
            await self.flow.drain()
        cycle, transport = self.cycle, self.transport
        if cycle.disconnected or transport.is_closing() or self._early is None:
            raise ConnectionResetError("the client is gone")
        # For uvicorn the exchange is at its end, and there is nothing to send any more.
        cycle.response_started = cycle.response_complete = True
        reader = asyncio.StreamReader(limit=_BUFFER, loop=self.loop)
        protocol = _TakenOver(reader, self)
        protocol.connection_made(transport)
        transport.set_protocol(protocol)
        if self._early:
            reader.feed_data(bytes(self._early))
        self.flow.resume_reading()
        writer = asyncio.StreamWriter(transport, protocol, reader, self.loop)
        lines = [b"HTTP/1.1 101 Switching Protocols", *(b": ".join(pair) for pair in headers)]
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
        return reader, writer

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        self._in_request = True
        spdy = bool(cast(Any, self.parser).should_upgrade()) and self._asks_for_spdy()
        if spdy:
            cast(Any, self.scope)["extensions"] = {UPGRADE: self._take_over}
        super().on_headers_complete()
        if spdy:
            # Whatever else is answered is the last answer: nothing is read as HTTP after this.
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._in_request = False
        super().on_message_complete()

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_LIMIT:
            self._refuse_head()
            raise ValueError("the head of the request is too large")

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self._head_timed_out)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_timed_out(self) -> None:
        self._head_timer = None
        cast(Any, self.transport).abort()


class _TakenOver(asyncio.StreamReaderProtocol):
    """The connection as a pair of streams. The server still counts it among its own, and closes
    it when it ends."""

    def __init__(self, reader: asyncio.StreamReader, before: HttpProtocol) -> None:
        super().__init__(reader, loop=before.loop)
        self._before = before

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._before.connection_lost(exc)
