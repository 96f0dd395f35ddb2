"""Small servers that probes are made against, on this machine's loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import h2.config
import h2.connection
import h2.events

__all__ = ["grpc_health", "web"]


@contextlib.asynccontextmanager
async def web(answer: Callable[[str], str]) -> AsyncIterator[tuple[int, list[str]]]:
    """An HTTP server: `answer` makes the whole response out of the whole head of the request. Gives
    the port, and the heads that came."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(writer.close)
            stack.enter_context(contextlib.suppress(OSError, asyncio.IncompleteReadError))
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            heads.append(head)
            writer.write(answer(head).encode())
            await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heads


@contextlib.asynccontextmanager
async def grpc_health(state: int, status: str = "0") -> AsyncIterator[tuple[int, list[bytes]]]:
    """A gRPC server with the health service alone; gives the port and the requests' bodies."""
    bodies: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        with contextlib.closing(writer), contextlib.suppress(OSError):
            await answer(connection, reader, writer)

    async def answer(
        connection: h2.connection.H2Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    bodies.append(event.data or b"")
                if isinstance(event, h2.events.StreamEnded):
                    stream = event.stream_id
                    head = ((":status", "200"), ("content-type", "application/grpc"))
                    connection.send_headers(stream, head)
                    connection.send_data(stream, b"\0\0\0\0\2\x08" + bytes([state]))
                    connection.send_headers(
                        stream,
                        (("grpc-status", status), ("grpc-message", "x%20y")),
                        end_stream=True,
                    )
            writer.write(connection.data_to_send())

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], bodies
