"""Standard input of a container that runs, over a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from kindling.kube.discovery import resource_path
from kindling.kube.errors import UnreachableError, error_of_exception
from kindling.kube.logs import POD
from kindling.kube.wire import Wire

if TYPE_CHECKING:
    import aiohttp

__all__ = ["feed_container"]

_HALF_CLOSE = "v5.channel.k8s.io"
"""From 1.30 on: a message says that the input has ended."""
_PROTOCOLS = (_HALF_CLOSE, "v4.channel.k8s.io")
_STDIN, _ERROR, _CLOSE = 0, 3, 255
_PIECE = 64 * 1024


async def feed_container(
    wire: Wire,
    namespace: str,
    pod: str,
    container: str,
    data: AsyncIterator[bytes],
    *,
    timeout: float,
) -> None:
    """See `Cluster.feed`. Older servers know the end of the input only as the end of the
    connection, which `stdinOnce` makes the end of the input too."""
    import aiohttp

    doing = f"write to {pod}/{container} in {namespace}"
    params = [("stdin", "true")] + ([("container", container)] if container else [])
    try:
        async with asyncio.timeout(timeout):
            socket = await wire.websocket(
                resource_path(POD, namespace, pod, "attach"),
                doing,
                params=params,
                protocol=_PROTOCOLS,
                timeout=timeout,
            )
            try:
                await _send(socket, data, doing)
            finally:
                await socket.close()
    except (TimeoutError, aiohttp.ClientError, ConnectionError) as error:
        raise error_of_exception(error, doing, wire.server) from error


async def _send(
    socket: aiohttp.ClientWebSocketResponse, data: AsyncIterator[bytes], doing: str
) -> None:
    listening = asyncio.create_task(_told(socket), name="attach")
    try:
        async for chunk in data:
            view = memoryview(chunk)
            for start in range(0, len(view), _PIECE):
                if listening.done():
                    reason = listening.result() or "the container no longer reads"
                    raise UnreachableError(f"Cannot {doing}: {reason}", transient=True)
                await socket.send_bytes(bytes((_STDIN,)) + view[start : start + _PIECE])
        if socket.protocol == _HALF_CLOSE:
            await socket.send_bytes(bytes((_CLOSE, _STDIN)))
            # What was sent is on its way until the server ends the connection, as the process does.
            await listening
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def _told(socket: aiohttp.ClientWebSocketResponse) -> str:
    """Why the server ended the connection, as far as it says so."""
    import aiohttp

    said = ""
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY and message.data[:1] == bytes((_ERROR,)):
            said += message.data[1:].decode("utf-8", "replace")
    return said
