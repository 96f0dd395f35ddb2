"""One SPDY connection over a carrier: what came, as events, and what is to go, in order."""

from __future__ import annotations

import asyncio

from kindling.cluster.apiserver.streams.carriers import Carrier
from kindling.cluster.apiserver.streams.spdy import Event, SpdyConnection, SpdyError

__all__ = ["Link"]

_FAREWELL = 5.0
"""Seconds for a client to take what is still on its way to it, when this is the end."""


class Link:
    """The server's end. Frames are made with `spdy`, and sent by `flush`."""

    def __init__(self, carrier: Carrier) -> None:
        self.spdy = SpdyConnection()
        self._carrier = carrier
        self._sending = asyncio.Lock()
        self._gone = False
        self._broken = False

    async def events(self) -> list[Event] | None:
        """What the client did; None when it is gone or what it sends is no SPDY."""
        if self._gone or (data := await self._carrier.read()) is None:
            self._gone = True
            return None
        try:
            return self.spdy.incoming(data)
        except SpdyError:
            self._broken = True
            return None

    async def flush(self) -> None:
        """Send what is to go; waits while the client is slow."""
        async with self._sending:
            out = self.spdy.outgoing()
            if out and not self._gone:
                try:
                    await self._carrier.write(out)
                except OSError:
                    self._gone = True

    async def close(self) -> None:
        """Say goodbye and end the connection."""
        if not self._broken:  # which has said so
            self.spdy.go_away()
        try:
            async with asyncio.timeout(_FAREWELL):
                await self.flush()
        except TimeoutError:
            self._gone = True
        finally:
            await self._carrier.close(broken=self._broken)
