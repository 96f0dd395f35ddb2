"""UDP through a Service address: each client has a socket of its own towards its pod."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

__all__ = ["DatagramListener"]

_IDLE_SECS = 120.0
"""How long a client's way stays open without a packet; what Linux gives an assured UDP flow."""
_MOST = 4096
"""Clients at once; the one that was silent longest makes room."""


class _Way(asyncio.DatagramProtocol):
    """The way back from the pod to one client."""

    def __init__(self, back: Callable[[bytes], None]) -> None:
        self._back = back
        self.transport: asyncio.DatagramTransport | None = None
        self.used = 0.0
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ARG002
        self.used = asyncio.get_running_loop().time()
        self._back(data)

    def error_received(self, exc: Exception) -> None:
        """The pod's port is closed: clients of UDP find that out by silence."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.gone.set_result(None)


class DatagramListener(asyncio.DatagramProtocol):
    """Passes datagrams on to what `target` chooses for a client, and the answers back."""

    def __init__(
        self,
        listening: socket.socket,
        target: Callable[[str], tuple[socket.socket, tuple[str, int]] | None],
    ) -> None:
        self._socket = listening
        self._target = target
        self._front: asyncio.DatagramTransport | None = None
        self._ways: dict[tuple[str, int], _Way] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._gone = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._gone.set_result(None)

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, sock=self._socket)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._front = cast(asyncio.DatagramTransport, transport)

    def error_received(self, exc: Exception) -> None:
        """A client is gone: nobody misses its answer."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        loop = asyncio.get_running_loop()
        way = self._ways.get(addr)
        if way is not None and way.transport is not None:
            way.used = loop.time()
            way.transport.sendto(data)
            return
        task = loop.create_task(self._open(addr, data), name="udp way")
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, client: tuple[str, int], first: bytes) -> None:
        found = self._target(client[0])
        if found is None:
            return
        sock, address = found
        loop = asyncio.get_running_loop()
        try:
            sock.connect(address)
            _, way = await loop.create_datagram_endpoint(
                lambda: _Way(self._back(client)), sock=sock
            )
        except OSError:
            sock.close()
            return
        way.used = loop.time()
        if len(self._ways) >= _MOST:
            self._drop(min(self._ways, key=lambda one: self._ways[one].used))
        self._ways[client] = way
        if way.transport is not None:
            way.transport.sendto(first)
        if self._sweep is None:
            self._sweep = loop.call_later(_IDLE_SECS, self._swept)

    def _back(self, client: tuple[str, int]) -> Callable[[bytes], None]:
        def send(data: bytes) -> None:
            if self._front is not None:
                self._front.sendto(data, client)

        return send

    def _swept(self) -> None:
        loop = asyncio.get_running_loop()
        for client in [c for c, way in self._ways.items() if loop.time() - way.used > _IDLE_SECS]:
            self._drop(client)
        self._sweep = loop.call_later(_IDLE_SECS, self._swept) if self._ways else None

    def _drop(self, client: tuple[str, int]) -> None:
        way = self._ways.pop(client)
        if way.transport is not None:
            way.transport.close()

    async def close(self) -> None:
        """Pass nothing on any more."""
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        if self._sweep is not None:
            self._sweep.cancel()
        ways = list(self._ways.values())
        for client in list(self._ways):
            self._drop(client)
        await asyncio.gather(*(way.gone for way in ways))
        if self._front is not None:
            self._front.close()
            await self._gone
