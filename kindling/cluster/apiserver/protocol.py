"""uvicorn's HTTP protocol, with what an API server on a shared machine needs besides.

- The client's certificate reaches the application, as `scope["state"]["peer"]` (the mapping of
  `SSLSocket.getpeercert`, None without one), for requests and for WebSockets.
- Request heads are limited in size (1 MiB, which is Go's own limit: commands of `exec` travel in
  the query) and in time, so that neither a large nor a slow one holds anything up.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HEAD_LIMIT", "HEAD_TIMEOUT", "HttpProtocol"]

HEAD_LIMIT = 1 << 20
"""Bytes of a request's line and headers together."""
HEAD_TIMEOUT = 30.0
"""Seconds from the first byte of a request (or the connection) to the end of its head."""
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
        if not self._in_request and self._head_timer is None:
            self._start_head_timer()
        super().data_received(data)
        # A head that never ends never reaches on_headers_complete, and may not reach on_header
        # either: what comes before that counts as a whole.
        if not self._in_request and self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > 2 * HEAD_LIMIT:
                self._refuse_head()

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
        super().on_headers_complete()

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
