"""HTTP passed through to a port of a pod: `pods/NAME:PORT/proxy` and `services/NAME:PORT/proxy`."""

from __future__ import annotations

import asyncio
from typing import Protocol

import h11

from kindling.cluster.apiserver.exchange import Exchange
from kindling.cluster.apiserver.paths import Target
from kindling.cluster.model.api import Api, Obj, Selection
from kindling.cluster.model.resource import ResourceType, builtin
from kindling.cluster.model.status import ApiError, bad_request, not_found
from kindling.cluster.model.streams import NodeStreams

__all__ = ["PodProxy"]

_PODS = builtin("pods")
_SLICES = builtin("endpointslices", "discovery.k8s.io")
_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_OURS = frozenset({b"authorization", b"host", b"accept-encoding", b"expect"})
"""What is meant for this server and must not reach a program in a pod (the token above all)."""
_ANSWER = 60.0
"""Seconds for the first byte of the answer."""


class _Node(Protocol):
    streams: NodeStreams | None


class PodProxy:
    """Passes a request on, by the node's own connection into the pod, and the answer back."""

    def __init__(self, api: Api, node: _Node) -> None:
        self._api = api
        self._node = node

    async def reply(self, exchange: Exchange, resource: ResourceType, target: Target) -> None:
        """Raises `ApiError` 404, 400 and 503."""
        if exchange.websocket:
            raise bad_request("upgrades are not passed through the proxy")
        if self._node.streams is None:
            raise ApiError(503, "ServiceUnavailable", "the node has not started yet")
        name, port = _split(target.name)
        find = self._pod if resource.plural == "pods" else self._behind_service
        pod, number = find(name, port, target.namespace)
        try:
            reader, writer = await self._node.streams.connect(target.namespace, pod, number)
        except OSError as error:
            raise ApiError(
                503,
                "ServiceUnavailable",
                f"error trying to reach service: dial tcp {pod}:{number}: {error}",
            ) from None
        try:
            await _pass(exchange, target, f"{name}:{number}", reader, writer)
        finally:
            writer.close()

    def _pod(self, name: str, port: str, namespace: str) -> tuple[str, int]:
        pod = self._api.get(_PODS, name, namespace)
        if pod is None:
            raise not_found("pods", name)
        if port:
            return name, _number(port, pod)
        for container in pod.get("spec", {}).get("containers") or ():
            for entry in container.get("ports") or ():
                return name, int(entry["containerPort"])
        return name, 80

    def _behind_service(self, name: str, port: str, namespace: str) -> tuple[str, int]:
        service = self._api.get(builtin("services"), name, namespace)
        if service is None:
            raise not_found("services", name)
        ports = service.get("spec", {}).get("ports") or []
        chosen = [
            entry
            for entry in ports
            if not port or port in (entry.get("name"), str(entry.get("port")))
        ]
        if not chosen or (not port and len(ports) != 1):
            raise ApiError(
                503, "ServiceUnavailable", f'no service port "{port}" found for service "{name}"'
            )
        label = f"kubernetes.io/service-name={name}"
        wanted = chosen[0].get("name", "")
        for found in self._api.select(_SLICES, Selection(namespace, label)):
            for entry in found.get("ports") or ():
                if (entry.get("name") or "") != wanted or not entry.get("port"):
                    continue
                for endpoint in found.get("endpoints") or ():
                    reference = endpoint.get("targetRef") or {}
                    ready = (endpoint.get("conditions") or {}).get("ready", True)
                    if reference.get("kind") == "Pod" and ready is not False:
                        return str(reference["name"]), int(entry["port"])
        raise ApiError(503, "ServiceUnavailable", f'no endpoints available for service "{name}"')


def _split(text: str) -> tuple[str, str]:
    """`NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`. Raises `ApiError` 400, also for https, which
    nothing here could check."""
    parts = text.split(":")
    if len(parts) == 3:
        if parts[0] == "https":
            raise bad_request("the proxy speaks plain http to pods")
        parts = parts[1:]
    if len(parts) > 2 or not parts[0]:
        raise bad_request(f'invalid service request "{text[:100]}"')
    return parts[0], parts[1] if len(parts) == 2 else ""


def _number(port: str, pod: Obj) -> int:
    if port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536:
        return int(port)
    for container in pod.get("spec", {}).get("containers") or ():
        for entry in container.get("ports") or ():
            if entry.get("name") == port:
                return int(entry["containerPort"])
    raise bad_request(f'pod has no port "{port[:63]}"')


async def _pass(
    exchange: Exchange,
    target: Target,
    host: str,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    connection = h11.Connection(h11.CLIENT)
    body = await exchange.body()
    path = target.rest or "/"
    if query := exchange.scope.get("query_string", b"").decode("latin-1"):
        path += f"?{query}"
    headers = [(b"host", host.encode()), (b"connection", b"close")]
    headers += [
        (name, value)
        for name, value in exchange.scope["headers"]
        if name not in _HOP and name not in _OURS and name != b"content-length"
    ]
    if body or exchange.method in ("POST", "PUT", "PATCH"):
        headers.append((b"content-length", str(len(body)).encode()))
    try:
        request = h11.Request(method=exchange.method, target=path, headers=headers)
        writer.write(connection.send(request) or b"")
        if body:
            writer.write(connection.send(h11.Data(data=body)) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        async with asyncio.timeout(_ANSWER):
            response = await _next(connection, reader)
            while isinstance(response, h11.InformationalResponse):
                response = await _next(connection, reader)
    except (h11.ProtocolError, OSError, TimeoutError) as error:
        raise _unreachable(error) from None
    if not isinstance(response, h11.Response):
        raise _unreachable("the connection was closed")
    kept = [(name, value) for name, value in response.headers if name.lower() not in _HOP]
    exchange.status = response.status_code
    start = {"type": "http.response.start", "status": response.status_code, "headers": kept}
    await exchange.send(start)
    while isinstance(event := await _next(connection, reader), h11.Data):
        await exchange.chunk(bytes(event.data))
    await exchange.end_stream()


async def _next(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(65536))
    return event


def _unreachable(why: object) -> ApiError:
    return ApiError(503, "ServiceUnavailable", f"error trying to reach service: {why}")
