"""Bytes on their way to a reader that may be slow."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Inbox"]

_LIMIT = 1024 * 1024
"""Bytes that are held before whoever brings more has to wait."""


class Inbox:
    """A queue of bytes with a bound, an end, and a way to give up."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._closed = False
        self._some = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, data: bytes) -> None:
        """Add bytes, waiting for room. They go nowhere once it is closed."""
        await self._room.wait()
        if self._closed or self._ended or not data:
            return
        self._pieces.append(data)
        self._held += len(data)
        self._some.set()
        if self._held >= self._limit:
            self._room.clear()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._some.set()

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed = True
        self._pieces.clear()
        self._room.set()
        self._some.set()

    async def get(self) -> bytes:
        """The next bytes; empty at the end."""
        await self._some.wait()
        if not self._pieces:
            return b""
        data = self._pieces.popleft()
        self._held -= len(data)
        if self._held < self._limit:
            self._room.set()
        if not self._pieces and not self._ended:
            self._some.clear()
        return data
