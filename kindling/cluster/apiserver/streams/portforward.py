"""Connections to a pod's ports through a WebSocket: by channels or by SPDY inside it.

kubectl from 1.31 on tunnels SPDY/3.1, with a pair of streams for each connection; the Python
client takes a pair of channels for each port. SPDY by an HTTP Upgrade, as kubectl before 1.31 has
it, cannot be had over ASGI.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from kindling.cluster.apiserver.streams.channels import Channels, Message, Receive, Send, choose
from kindling.cluster.apiserver.streams.tunnel import TUNNEL, Tunnel
from kindling.cluster.model.status import ApiError, bad_request

__all__ = ["Connect", "refusal", "serve_portforward"]

Connect = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""A connection to a port of the pod. Raises `OSError` or `ApiError`."""

_CHANNELS = ("v4.channel.k8s.io", "portforward.k8s.io", "v4.base64.channel.k8s.io", "")
_PIECE = 32 * 1024


async def serve_portforward(
    scope: Message, receive: Receive, send: Send, connect: Connect
) -> None:
    """Serve until the client goes or, by channels, every port's connection is at its end.

    The caller has neither received nor sent anything yet. Raises `ApiError` before anything is
    accepted: for a subprotocol that is not ours, and for ports that are none.
    """
    protocol = choose(scope, (TUNNEL, *_CHANNELS))
    pod = _pod_of(str(scope.get("path", "")))
    if protocol == TUNNEL:
        await Tunnel(receive, send, connect, pod).run()
        return
    ports = _ports(scope.get("query_string", b"").decode("latin-1"))
    channels = Channels(receive, send, protocol)
    await channels.accept()
    await _ChannelForward(channels, connect, pod, ports).run()


def refusal(port: int, pod: str, error: OSError | ApiError) -> str:
    """Why a port cannot be reached, as the kubelet says it."""
    if isinstance(error, ApiError):
        why = error.message
    else:
        why = (
            f"failed to connect to localhost:{port} inside namespace of pod {pod}, IPv4: dial tcp4"
            f" 127.0.0.1:{port}: connect: {(error.strerror or str(error)).lower()}"
        )
    return f"error forwarding port {port} to pod {pod}, uid : {why}"


def _pod_of(path: str) -> str:
    head, _, _ = path.rpartition("/")
    return head.rpartition("/")[2]


def _ports(query: str) -> list[int]:
    """The ports of a request. Raises `ApiError` 400 in the kubelet's words."""
    found = parse_qs(query, keep_blank_values=True).get("ports", [])
    if not found:
        raise bad_request('query parameter "ports" is required')
    ports: list[int] = []
    for text in found:
        if not text:
            raise bad_request('query parameter "ports" cannot be empty')
        for part in text.split(","):
            if not (part.isascii() and part.isdigit() and int(part) < 65536):
                raise bad_request(f'unable to parse "{text[:100]}" as a port')
            if int(part) < 1:
                raise bad_request(f'port "{text[:100]}" must be > 0')
            ports.append(int(part))
    if len(ports) > 127:
        raise bad_request("too many ports: there are channels for 127")
    return ports


class _ChannelForward:
    """One connection for each port: channel 2n has its bytes, channel 2n + 1 what went wrong, and
    the first message on each is the port, in two bytes, the lower one first."""

    def __init__(
        self, channels: Channels, connect: Connect, pod: str, ports: list[int]
    ) -> None:
        self._channels = channels
        self._connect = connect
        self._pod = pod
        self._ports = ports
        self._arriving: list[asyncio.Queue[bytes]] = [asyncio.Queue(maxsize=16) for _ in ports]
        self._over = [False for _ in ports]

    async def run(self) -> None:
        for number, port in enumerate(self._ports):
            for channel in (2 * number, 2 * number + 1):
                await self._channels.write(channel, port.to_bytes(2, "little"))
        forwards = asyncio.create_task(self._forward_all(), name="portforward-ports")
        client = asyncio.create_task(self._from_client(), name="portforward-client")
        try:
            await asyncio.wait((forwards, client), return_when=asyncio.FIRST_COMPLETED)
            for task in (forwards, client):
                if task.done():
                    task.result()
            await self._channels.close()
        finally:
            forwards.cancel()
            client.cancel()
            await asyncio.gather(forwards, client, return_exceptions=True)

    async def _from_client(self) -> None:
        while (message := await self._channels.next()) is not None:
            channel, data = message
            number, error = divmod(channel, 2)
            if error or number >= len(self._ports) or not data:
                continue
            while not self._over[number]:
                # A port that does not take its bytes holds the others up, but its end does not.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await self._arriving[number].put(data)
                    break

    async def _forward_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number, port in enumerate(self._ports):
                group.create_task(self._forward(number, port), name=f"portforward-{port}")

    async def _forward(self, number: int, port: int) -> None:
        try:
            reader, writer = await self._connect(port)
        except (OSError, ApiError) as error:
            self._over[number] = True
            told = refusal(port, self._pod, error)
            await self._channels.write(2 * number + 1, told.encode())
            return
        outward = asyncio.create_task(self._to_pod(number, writer), name=f"portforward-to-{port}")
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(_PIECE):
                    await self._channels.write(2 * number, data)
        finally:
            self._over[number] = True
            outward.cancel()
            await asyncio.gather(outward, return_exceptions=True)
            await close(writer)

    async def _to_pod(self, number: int, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                writer.write(await self._arriving[number].get())
                await writer.drain()


async def close(writer: asyncio.StreamWriter) -> None:
    """Close a connection, whatever state it is in."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
