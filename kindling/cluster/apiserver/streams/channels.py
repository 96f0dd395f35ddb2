"""Messages of a WebSocket that begin with the number of the channel they are for.

The subprotocols that Kubernetes has for it: `channel.k8s.io` and its later versions in binary
messages, their `base64.` kin in text.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from kindling.cluster.model.status import bad_request

__all__ = [
    "CLOSE",
    "ERROR",
    "RESIZE",
    "STDERR",
    "STDIN",
    "STDOUT",
    "Channels",
    "Message",
    "Receive",
    "Send",
    "choose",
]

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
"""The channels of a process."""
CLOSE = 255
"""What comes on this one is the number of a channel that has ended (v5)."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def choose(scope: Message, known: Sequence[str]) -> str:
    """The first subprotocol that the client offers and we know; empty, where that is known, for a
    client that offers none. Raises `ApiError` 400."""
    offered = list(scope.get("subprotocols") or [""])
    for protocol in offered:
        if protocol in known:
            return str(protocol)
    named = " ".join(offered)
    raise bad_request(
        f"requested protocol(s) are not supported: [{named}]; supports [{' '.join(known)}]"
    )


class Channels:
    """A WebSocket that is about to be accepted."""

    def __init__(self, receive: Receive, send: Send, protocol: str) -> None:
        self.protocol = protocol
        self.half_close = protocol == "v5.channel.k8s.io"
        """Whether the client can end its input and go on to listen."""
        self._receive = receive
        self._send = send
        self._base64 = "base64" in protocol
        self._over = False

    async def accept(self) -> None:
        await self._receive()  # `websocket.connect`
        await self._send({"type": "websocket.accept", "subprotocol": self.protocol or None})

    async def next(self) -> tuple[int, bytes] | None:
        """The next message and its channel; None when the client is gone."""
        while not self._over:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._over = True
                break
            if (data := message.get("bytes")) is None:
                data = (message.get("text") or "").encode()
            if not data:
                continue
            if not self._base64:
                return data[0], data[1:]
            try:
                return data[0] - ord("0"), base64.b64decode(data[1:])
            except binascii.Error:
                continue
        return None

    async def taken(self, channel: int, count: int) -> None:
        """Bytes went to where they belong, of which a WebSocket has nothing to tell."""

    async def write(self, channel: int, data: bytes) -> None:
        """Send on a channel; waits while the client is slow, and does nothing once it is gone."""
        if self._over:
            return
        message: Message = {"type": "websocket.send"}
        if self._base64:
            message["text"] = chr(ord("0") + channel) + base64.b64encode(data).decode()
        else:
            message["bytes"] = bytes((channel,)) + data
        try:
            await self._send(message)
        except OSError:
            self._over = True

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if not self._over:
            self._over = True
            with contextlib.suppress(OSError):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
