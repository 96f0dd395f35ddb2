"""Logs of pods, and the live streams into them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import orjson

from kindling.cluster.apiserver.containers import exec_request, log_request, resolve_container
from kindling.cluster.apiserver.exchange import ClientGoneError, Exchange
from kindling.cluster.apiserver.paths import Target
from kindling.cluster.apiserver.streams.upgrade import wants_spdy
from kindling.cluster.model.api import Api, Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import (
    ApiError,
    bad_request,
    method_not_allowed,
    not_found,
)
from kindling.cluster.model.streams import NodeStreams

__all__ = ["PodStreams"]

_ERROR_CHANNEL = b"\x03"


class _Node(Protocol):
    """Where the node is found: it may come after the server."""

    streams: NodeStreams | None


class PodStreams:
    """Serves `log`, `exec`, `attach` and `portforward`.

    The streams come as WebSockets or as SPDY, by an Upgrade of a POST. kubectl falls back to the
    latter when it is refused the former, and shows what that is answered: the same refusal, as a
    Status.
    """

    def __init__(self, api: Api, node: _Node, stopping: asyncio.Event) -> None:
        self._api = api
        self._node = node
        self._stopping = stopping

    async def reply(self, exchange: Exchange, resource: ResourceType, target: Target) -> None:
        """Raises `ApiError`, and `ClientGoneError`."""
        allowed = ("GET", "HEAD") if target.subresource == "log" else ("GET", "POST")
        if exchange.method not in allowed:
            raise method_not_allowed()
        pod = self._api.get(resource, target.name, target.namespace)
        if pod is None:
            raise not_found(resource.plural, target.name, resource.group)
        if self._node.streams is None:
            raise ApiError(503, "ServiceUnavailable", "the node has not started yet")
        match target.subresource:
            case "log":
                await self._log(exchange, self._node.streams, pod, target)
            case "portforward":
                await self._need_streams(exchange)
                await self._forward(exchange, self._node.streams, target)
            case _:
                await self._exec(exchange, self._node.streams, pod, target)

    async def _log(
        self, exchange: Exchange, streams: NodeStreams, pod: Obj, target: Target
    ) -> None:
        container = resolve_container(pod, exchange.query.text("container"))
        request = log_request(exchange.query, container)
        chunks = await streams.logs(target.namespace, target.name, request)
        await exchange.start_stream("text/plain")
        await _pump(exchange, chunks, self._stopping)
        await exchange.end_stream()

    async def _exec(
        self, exchange: Exchange, streams: NodeStreams, pod: Obj, target: Target
    ) -> None:
        attach = target.subresource == "attach"
        request = exec_request(exchange.query, attach=attach)
        container = resolve_container(pod, exchange.query.text("container"))
        if not pod.get("spec", {}).get("nodeName"):
            raise bad_request(f"pod {target.name} does not have a host assigned")
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            phase = pod["status"]["phase"]
            raise bad_request(
                "cannot exec into a container in a completed pod; current phase is " + phase
            )
        await self._need_streams(exchange)
        begin = streams.attach if attach else streams.exec
        try:
            process = await begin(target.namespace, target.name, container, request)
        except ApiError as error:
            await _refuse_exec(exchange, error)
            return
        from kindling.cluster.apiserver.streams.exec import serve_exec

        try:
            await serve_exec(exchange.scope, exchange.receive, exchange.send, process)
        except ConnectionResetError:
            raise ClientGoneError from None

    async def _forward(self, exchange: Exchange, streams: NodeStreams, target: Target) -> None:
        from kindling.cluster.apiserver.streams.portforward import serve_portforward

        async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await streams.connect(target.namespace, target.name, port)

        try:
            await serve_portforward(exchange.scope, exchange.receive, exchange.send, connect)
        except ConnectionResetError:
            raise ClientGoneError from None

    @staticmethod
    async def _need_streams(exchange: Exchange) -> None:
        if exchange.websocket:
            return
        if not wants_spdy(exchange.scope):
            raise bad_request("Upgrade request required")
        await exchange.body(limit=0)  # what comes after the request is no HTTP any more


async def _refuse_exec(exchange: Exchange, error: ApiError) -> None:
    """A refusal by the node. A client of protocol v5 gets it where it expects a command's end, as
    from the real server, which has taken the WebSocket by then; one of v4 what the container's
    runtime says, since that comes after the WebSocket was taken on every server. Others get it as
    HTTP."""
    offered = exchange.scope.get("subprotocols") or []
    if "v5.channel.k8s.io" in offered:
        protocol = "v5.channel.k8s.io"
    elif "v4.channel.k8s.io" in offered and error.code == 500:
        protocol = "v4.channel.k8s.io"
    else:
        raise error
    await exchange.receive()
    await exchange.send({"type": "websocket.accept", "subprotocol": protocol})
    body = _ERROR_CHANNEL + orjson.dumps(error.status())
    await exchange.send({"type": "websocket.send", "bytes": body})
    await exchange.send({"type": "websocket.close", "code": 1000})


async def _pump(exchange: Exchange, chunks: AsyncIterator[bytes], stopping: asyncio.Event) -> None:
    """Send what comes until it ends, the client hangs up, or the server stops."""

    async def send() -> None:
        async for chunk in chunks:
            await exchange.chunk(chunk)

    tasks = [
        asyncio.create_task(send(), name="pod-log"),
        asyncio.create_task(exchange.disconnected(), name="pod-log-client"),
        asyncio.create_task(stopping.wait(), name="pod-log-stop"),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
    if isinstance(results[0], Exception):
        raise results[0]
