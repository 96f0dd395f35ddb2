"""Connections to ports of pods: one WebSocket each, and a listener on this machine that makes
them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from kindling.errors import ClusterError, HostError
from kindling.kube.discovery import resource_path
from kindling.kube.errors import UnreachableError, error_of_exception
from kindling.kube.exec import CHANNELS
from kindling.kube.logs import POD
from kindling.kube.protocol import PortStream
from kindling.kube.wire import Wire

if TYPE_CHECKING:
    import aiohttp

__all__ = ["PortListener", "open_port"]

_DATA, _ERROR = 0, 1
_CHUNK = 64 * 1024
_LINGER = 10.0
"""How long an answer may take after a client said that it will send no more. The protocol cannot
pass this on to the pod, so that somebody has to give up."""


class _WebSocketStream:
    """A port of a pod behind a WebSocket. The first message of each channel is the port's
    number."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, doing: str, server: str) -> None:
        self._socket = socket
        self._doing = doing
        self._server = server
        self._greeted: set[int] = set()

    async def read(self) -> bytes:
        import aiohttp

        while True:
            message = await self._socket.receive()
            if message.type is aiohttp.WSMsgType.ERROR:
                error = message.data if isinstance(message.data, Exception) else ConnectionError()
                raise error_of_exception(error, self._doing, self._server) from error
            if message.type is not aiohttp.WSMsgType.BINARY:
                return b""
            if not message.data:
                continue
            channel, data = message.data[0], bytes(message.data[1:])
            if channel not in self._greeted:
                self._greeted.add(channel)
                data = data[2:]
            if not data:
                continue
            if channel == _ERROR:
                text = data.decode("utf-8", "replace").strip()
                if "connection refused" in text:
                    text = "nothing listens on that port in the pod"
                raise UnreachableError(f"Cannot {self._doing}", details=[text], transient=True)
            return data

    async def write(self, data: bytes) -> None:
        import aiohttp

        try:
            await self._socket.send_bytes(bytes([_DATA]) + data)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise error_of_exception(error, self._doing, self._server) from error

    async def close(self) -> None:
        await self._socket.close()


async def open_port(
    wire: Wire, namespace: str, pod: str, port: int, *, timeout: float
) -> PortStream:
    """One connection to `port` of `pod`. See `Cluster.open_port`."""
    doing = f"connect to port {port} of {pod} in {namespace}"
    socket = await wire.websocket(
        resource_path(POD, namespace, pod, "portforward"),
        doing,
        params=[("ports", str(port))],
        protocol=CHANNELS,
        timeout=timeout,
    )
    return _WebSocketStream(socket, doing, wire.server)


class PortListener:
    """A TCP port of this machine, each connection to which becomes a connection that `dial` makes.

    `trouble` is told why a connection could not be made or broke.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[PortStream]],
        trouble: Callable[[ClusterError], None],
    ) -> None:
        self._dial = dial
        self._trouble = trouble
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self.port = 0

    async def bind(self, host: str, port: int) -> int:
        """Take the port (any free one for 0) and begin to accept; the port's number.

        Raises:
            HostError: The port is taken, or the address is not this machine's.
        """
        if host == "localhost" and not port:
            host = "127.0.0.1"  # the name means two addresses, and each would get its own port
        try:
            self._server = await asyncio.start_server(self._accept, host, port)
        except OSError as error:
            raise HostError(f"Cannot listen on {host}:{port}: {error.strerror or error}") from error
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def close(self) -> None:
        """Give the port back and end all connections."""
        if self._server is None:
            return
        self._server.close()
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._serve(reader, writer)
        except ClusterError as error:
            self._trouble(error)
        except (ConnectionError, TimeoutError):
            pass  # the client went away, or never said more: both are its own affair
        except asyncio.CancelledError:
            pass  # asyncio's own callback would report it as an error; `close` asked for this
        finally:
            self._serving.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = await self._dial()
        try:
            up = asyncio.create_task(_upwards(reader, stream), name="port-forward up")
            try:
                await _downwards(stream, writer, up)
            finally:
                up.cancel()
                await asyncio.gather(up, return_exceptions=True)
        finally:
            await stream.close()


async def _upwards(reader: asyncio.StreamReader, stream: PortStream) -> None:
    while data := await reader.read(_CHUNK):
        await stream.write(data)


async def _downwards(
    stream: PortStream, writer: asyncio.StreamWriter, up: asyncio.Task[None]
) -> None:
    """Pass on what comes until the pod is done, or long enough after the client is."""
    while True:
        reading = asyncio.ensure_future(stream.read())
        try:
            if not up.done():
                await asyncio.wait((reading, up), return_when=asyncio.FIRST_COMPLETED)
            if up.done():
                up.result()
            data = await asyncio.wait_for(asyncio.shield(reading), _LINGER if up.done() else None)
        finally:
            # Also where both ends failed at once, of which one is told.
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if not data:
            return
        writer.write(data)
        await writer.drain()
