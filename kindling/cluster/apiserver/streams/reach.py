"""Reaching the ports of a pod."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable

from kindling.cluster.apiserver.streams.inbox import Inbox
from kindling.cluster.model.status import ApiError

__all__ = ["PIECE", "Connect", "feed", "hang_up", "refusal"]

Connect = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""A connection to a port of the pod. Raises `OSError` or `ApiError`."""

PIECE = 32 * 1024
"""Bytes that are read at a time."""


def refusal(port: int, pod: str, error: OSError | ApiError) -> str:
    """Why a port cannot be reached, as the kubelet says it."""
    if isinstance(error, ApiError):
        why = error.message
    else:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        why = (
            f"failed to connect to localhost:{port} inside namespace of pod {pod}, IPv4: dial tcp4"
            f" 127.0.0.1:{port}: connect: {reason}"
        )
    return f"error forwarding port {port} to pod {pod}, uid : {why}"


async def feed(
    writer: asyncio.StreamWriter,
    inbox: Inbox,
    taken: Callable[[int], Awaitable[None]] | None = None,
) -> None:
    """Carry an inbox to a connection and, at its end, tell it that nothing more comes. `taken` is
    told of bytes that went. A connection that takes no more closes the inbox."""
    try:
        while data := await inbox.get():
            writer.write(data)
            await writer.drain()
            if taken is not None:
                await taken(len(data))
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        inbox.close()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection, whatever state it is in."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
