"""Byte streams cut into lines of any length."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

__all__ = ["Chunks", "lines"]


class Chunks(Protocol):
    """What aiohttp's stream reader is to us."""

    async def readany(self) -> bytes:
        """Whatever has come; empty at the end."""
        ...


async def lines(chunks: Chunks, *, idle: float = 0.0) -> AsyncGenerator[bytes, None]:
    """Each line without its newline, the last one also when it has none.

    The reader's own `readline` refuses lines longer than its buffer, and a watch sends whole
    objects as one line. Raises TimeoutError when nothing came for `idle` seconds (0: wait without
    end).
    """
    rest = bytearray()
    while True:
        async with asyncio.timeout(idle or None):
            chunk = await chunks.readany()
        if not chunk:
            break
        rest += chunk
        if b"\n" in chunk:
            *whole, tail = bytes(rest).split(b"\n")
            rest = bytearray(tail)
            for line in whole:
                yield line
    if rest:
        yield bytes(rest)
