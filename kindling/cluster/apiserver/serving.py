"""The listener: an ASGI application on given sockets, over TLS, on the running event loop.

uvicorn does the HTTP and the WebSockets. Its own server object is left out: it takes over the
process's signals, looks ten times a second whether it should end, and would wait for watches that
never do. Here it is a part of a process, started and stopped like any other.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Protocol

import structlog

from kindling.cluster.runtime.listening import shedding

__all__ = ["Application", "Serving", "loopback_socket"]

Message = MutableMapping[str, Any]
BODY_BUFFER = 16 * 1024 * 1024
"""Bytes of the largest WebSocket message; those of port-forward may be large."""
_IDLE = 120
"""Seconds that a connection is kept for the client's next request, a little more than Go's own."""
_TLS_BUFFER = 32 << 10
"""Twice the largest record of TLS."""
_GRACE = 2.0
"""Seconds for running requests when the server ends."""

_log = structlog.get_logger(__name__)


class Application(Protocol):
    """An ASGI application that can be told to bring its endless answers (watches, logs) to an
    end."""

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None: ...

    def stop(self) -> None: ...


def loopback_socket(port: int = 0) -> socket.socket:
    """A listening socket on 127.0.0.1. Raises `OSError` where the port is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(1024)
    except BaseException:
        listener.close()
        raise
    return listener


class Serving:
    """Serves `app` on `sockets`, which may lie in other network namespaces; they are bound, and
    ours from now on. `tls` None is plain HTTP, for tests and for sockets that only the user
    reaches."""

    def __init__(
        self,
        app: Application,
        sockets: Sequence[socket.socket],
        *,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._app = app
        self._sockets = [shedding(sock) for sock in sockets]
        self._tls = tls
        self._listeners: list[asyncio.Server] = []
        self._state: Any = None

    @property
    def ports(self) -> list[int]:
        return [
            int(listener.getsockname()[1])
            for listener in self._sockets
            if listener.family in (socket.AF_INET, socket.AF_INET6)
        ]

    async def start(self) -> None:
        """Listen; returns once connections are taken."""
        from asyncio.sslproto import SSLProtocol

        from uvicorn.config import Config
        from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
        from uvicorn.server import ServerState

        from kindling.cluster.apiserver.protocol import HttpProtocol

        # uvicorn warns of every malformed request, and its loggers have no handler here.
        logging.getLogger("uvicorn.error").addHandler(logging.NullHandler())
        logging.getLogger("uvicorn.error").propagate = False
        config = Config(
            self._app,
            http=HttpProtocol,
            ws=WSProtocol,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_IDLE,
            ws_max_size=BODY_BUFFER,
            ws_ping_interval=None,
            ws_per_message_deflate=False,
        )
        config.load()
        # Each TLS connection has a buffer of this size from its first byte on, before anybody
        # knows who it is: 256 KiB of asyncio's own would let a thousand idle ones take 300 MB.
        SSLProtocol.max_size = _TLS_BUFFER
        state = self._state = ServerState()
        loop = asyncio.get_running_loop()

        def connection() -> HttpProtocol:
            return HttpProtocol(config=config, server_state=state, app_state={}, _loop=loop)

        for listener in self._sockets:
            # Connections take this from their listener on Linux. asyncio sees to it only where the
            # socket was made with its protocol named, and without it every answer whose head and
            # body are written apart waits 40 ms for the client's acknowledgement.
            if listener.family in (socket.AF_INET, socket.AF_INET6):
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            handshake = 10.0 if self._tls is not None else None
            server = await loop.create_server(
                connection,
                sock=listener,
                ssl=self._tls,
                backlog=1024,
                ssl_handshake_timeout=handshake,
                ssl_shutdown_timeout=1.0 if self._tls is not None else None,
            )
            self._listeners.append(server)
        _log.debug("api listening", ports=self.ports)

    async def close(self) -> None:
        """Take no more connections, end the watches, wait a moment for the rest, then cut it off.
        Idempotent."""
        for server in self._listeners:
            server.close()
        for listener in self._sockets:
            listener.close()
        self._app.stop()
        if self._state is None:
            return
        connections, tasks = self._state.connections, self._state.tasks
        for connection in list(connections):
            connection.shutdown()
        if tasks:
            await asyncio.wait(list(tasks), timeout=_GRACE)
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(list(tasks), timeout=_GRACE)
        for connection in list(connections):
            connection.transport.abort()
        self._listeners.clear()
