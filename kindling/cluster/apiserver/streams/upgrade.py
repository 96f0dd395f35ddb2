"""SPDY by an HTTP Upgrade: the way of kubectl before 1.31 and of much that is built on client-go.

ASGI has no words for it: the server under the application offers it in the scope, as extension
`kindling.upgrade`, to requests that ask for it. Read with it: apimachinery's `httpstream`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from kindling.cluster.apiserver.streams.carriers import ConnectionCarrier
from kindling.cluster.apiserver.streams.channels import Message
from kindling.cluster.model.status import ApiError, bad_request

__all__ = ["SPDY", "UPGRADE", "TakeOver", "choose_stream_protocol", "take_over", "wants_spdy"]

UPGRADE = "kindling.upgrade"
"""The extension's name."""
SPDY = b"SPDY/3.1"
_VERSION = b"x-stream-protocol-version"

TakeOver = Callable[
    [list[tuple[bytes, bytes]]],
    Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]],
]
"""Answers 101 with these headers and hands the connection over, which is then the caller's to
close. Raises `ConnectionResetError` when the client is gone."""


def wants_spdy(scope: Message) -> bool:
    """Whether a request asks for SPDY, and it can be had."""
    return UPGRADE in (scope.get("extensions") or {})


def choose_stream_protocol(scope: Message, known: Sequence[str]) -> str:
    """The first protocol that the client names and we know. Raises `ApiError`."""
    offered: list[str] = [
        part.strip()
        for name, value in scope["headers"]
        if name == _VERSION
        for part in value.decode("latin-1").split(",")
    ]
    if not offered:
        raise bad_request("unable to upgrade: X-Stream-Protocol-Version is required")
    for protocol in offered:
        if protocol in known:
            return protocol
    told = (
        f"unable to upgrade: unable to negotiate protocol: client supports [{' '.join(offered)}],"
        f" server accepts [{' '.join(known)}]"
    )
    raise ApiError(403, "Forbidden", told)


async def take_over(scope: Message, protocol: str) -> ConnectionCarrier:
    """Switch the connection to SPDY. Raises `ConnectionResetError`."""
    upgrade: TakeOver = scope["extensions"][UPGRADE]
    reader, writer = await upgrade(
        [
            (b"Connection", b"Upgrade"),
            (b"Upgrade", SPDY),
            (b"X-Stream-Protocol-Version", protocol.encode("ascii")),
        ]
    )
    return ConnectionCarrier(reader, writer)
