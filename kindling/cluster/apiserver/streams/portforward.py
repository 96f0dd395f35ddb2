"""Connections to a pod's ports: by SPDY, inside a WebSocket or bare, or by a WebSocket's channels.

kubectl from 1.31 on tunnels SPDY/3.1 through a WebSocket, with a pair of streams for each
connection; older ones and what is built on client-go take the same to the connection itself, by an
HTTP Upgrade. The Python client takes a pair of channels for each port.
"""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import parse_qs

from kindling.cluster.apiserver.streams.carriers import WebSocketCarrier
from kindling.cluster.apiserver.streams.channels import Channels, Message, Receive, Send, choose
from kindling.cluster.apiserver.streams.inbox import Inbox
from kindling.cluster.apiserver.streams.reach import PIECE, Connect, feed, hang_up, refusal
from kindling.cluster.apiserver.streams.tunnel import Tunnel
from kindling.cluster.apiserver.streams.upgrade import (
    choose_stream_protocol,
    take_over,
    wants_spdy,
)
from kindling.cluster.model.status import ApiError, bad_request

__all__ = ["serve_portforward"]

_PLAIN = "portforward.k8s.io"
_TUNNEL = "SPDY/3.1+portforward.k8s.io"
_CHANNELS = ("v4.channel.k8s.io", "portforward.k8s.io", "v4.base64.channel.k8s.io", "")


async def serve_portforward(scope: Message, receive: Receive, send: Send, connect: Connect) -> None:
    """Serve until the client goes or, by channels, every port's connection is at its end.

    The caller has neither received nor sent anything yet. Raises `ApiError` before anything is
    accepted: for a subprotocol that is not ours, and for ports that are none.
    """
    pod = _pod_of(str(scope.get("path", "")))
    if wants_spdy(scope):
        bare = await take_over(scope, choose_stream_protocol(scope, (_PLAIN,)))
        await Tunnel(bare, connect, pod).run()
        return
    protocol = choose(scope, (_TUNNEL, *_CHANNELS))
    if protocol == _TUNNEL:
        tunnelled = WebSocketCarrier(receive, send)
        await tunnelled.accept(_TUNNEL)
        await Tunnel(tunnelled, connect, pod).run()
        return
    ports = _ports(scope.get("query_string", b"").decode("latin-1"))
    channels = Channels(receive, send, protocol)
    await channels.accept()
    await _ChannelForward(channels, connect, pod, ports).run()


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

    def __init__(self, channels: Channels, connect: Connect, pod: str, ports: list[int]) -> None:
        self._channels = channels
        self._connect = connect
        self._pod = pod
        self._ports = ports
        self._inboxes = [Inbox() for _ in ports]

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
            if not error and number < len(self._inboxes):
                await self._inboxes[number].put(data)

    async def _forward_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number, port in enumerate(self._ports):
                group.create_task(self._forward(number, port), name=f"portforward-{port}")

    async def _forward(self, number: int, port: int) -> None:
        inbox = self._inboxes[number]
        try:
            reader, writer = await self._connect(port)
        except (OSError, ApiError) as error:
            inbox.close()
            told = refusal(port, self._pod, error)
            await self._channels.write(2 * number + 1, told.encode())
            return
        outward = asyncio.create_task(feed(writer, inbox), name=f"portforward-to-{port}")
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(PIECE):
                    await self._channels.write(2 * number, data)
        finally:
            inbox.close()
            outward.cancel()
            await asyncio.gather(outward, return_exceptions=True)
            await hang_up(writer)
