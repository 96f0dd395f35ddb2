"""The Ingress controller: a reverse proxy on a loopback port of this machine.

`*.localhost` leads to loopback on every current system, so that `http://api.localhost:7080` is the
Ingress with that host, and nothing need be installed or edited. HTTP/1.1 on both sides, by `h11`;
after an upgrade (WebSocket) bytes pass as they are. TLS sections are not served.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import itertools
import socket
from collections.abc import Iterator

import h11
import structlog

from kindling.cluster.model.api import Api, Selection
from kindling.cluster.model.resource import builtin
from kindling.cluster.model.status import ApiError
from kindling.cluster.network.endpoints import SERVICES, Endpoint, endpoints_of, service_port
from kindling.cluster.network.rules import Backend, Rule, choose, rules_of
from kindling.cluster.runtime.listening import shedding
from kindling.cluster.runtime.protocol import Runtime

__all__ = ["IngressProxy"]

_log = structlog.get_logger("kindling.cluster.ingress")
INGRESSES = builtin("ingresses", "networking.k8s.io")
_CHUNK = 65536
_IDLE_SECS = 120.0

_CONNECT_SECS = 5.0
_HOP = {
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding",
    b"upgrade",
}  # fmt: skip


class _RefusedError(Exception):
    """A request that gets an answer of our own."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class IngressProxy:
    """Serves the Ingresses of the cluster on a listening socket of this machine."""

    def __init__(self, api: Api, runtime: Runtime, listening: socket.socket) -> None:
        self._api = api
        self._runtime = runtime
        self._socket = shedding(listening)
        self._port = int(self._socket.getsockname()[1])
        self._turns: dict[Backend, Iterator[int]] = {}
        self._rules: tuple[Rule, ...] = ()

    async def run(self) -> None:
        """Serve, and write the address into the Ingresses' status, until cancelled."""
        watch = self._api.watch([INGRESSES])
        # Taken over by connections. asyncio sets it only where the socket's protocol was named.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = await asyncio.start_server(self._serve, sock=self._socket)
        try:
            await self._settle()
            async for _ in watch:
                await self._settle()
        finally:
            server.close()

    async def _settle(self) -> None:
        ingresses = self._api.select(INGRESSES, Selection())
        self._rules = rules_of(ingresses)
        ours = {rule.ingress for rule in self._rules}
        address = [{"ip": "127.0.0.1", "ports": [{"port": self._port, "protocol": "TCP"}]}]
        for one in ingresses:
            metadata = one["metadata"]
            balancer = (one.get("status") or {}).get("loadBalancer") or {}
            if f"{metadata['namespace']}/{metadata['name']}" not in ours:
                continue
            if balancer.get("ingress") == address:
                continue
            changed = {**one, "status": {"loadBalancer": {"ingress": address}}}
            try:
                await self._api.update(INGRESSES, changed, "status")
            except ApiError as error:
                # Changed or gone meanwhile: its next event brings us back here.
                _log.debug("ingress status not written", error=error.message)

    # One connection -------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Peer(reader, writer, h11.Connection(h11.SERVER))
        try:
            while True:
                request = await client.next_request()
                if request is None:
                    return
                if not await self._handle(client, request):
                    return
                client.wire.start_next_cycle()
        except (h11.RemoteProtocolError, h11.LocalProtocolError) as error:
            await client.refuse(400, f"This is no HTTP that can be understood: {error}")
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            return  # whoever it was is gone
        finally:
            writer.close()

    async def _handle(self, client: _Peer, request: h11.Request) -> bool:
        """Answer one request; whether the connection may be used for another."""
        headers = dict(request.headers)
        host = headers.get(b"host", b"").decode("latin-1")
        path = request.target.decode("latin-1").partition("?")[0]
        try:
            rule = choose(self._rules, host, path)
            if rule is None:
                raise _RefusedError(404, self._nowhere(host, path))
            upstream = await self._connect(rule)
        except _RefusedError as refused:
            return await client.answer(refused.status, refused.text, request.method == b"HEAD")
        try:
            return await _Exchange(client, upstream, request, self._forwarded(client, host)).run()
        finally:
            upstream.writer.close()

    def _nowhere(self, host: str, path: str) -> str:
        known = sorted({rule.host or "*" for rule in self._rules})
        if not known:
            return "The cluster has no Ingress."
        return f"No Ingress has a rule for `{host}{path}`. Hosts: {', '.join(known)}"

    def _forwarded(self, client: _Peer, host: str) -> list[tuple[bytes, bytes]]:
        peer = client.writer.get_extra_info("peername") or ("127.0.0.1",)
        return [
            (b"X-Forwarded-For", str(peer[0]).encode()),
            (b"X-Forwarded-Host", host.encode("latin-1")),
            (b"X-Forwarded-Proto", b"http"),
            (b"X-Real-IP", str(peer[0]).encode()),
        ]

    async def _connect(self, rule: Rule) -> _Peer:
        backend = rule.backend
        where = f"Service `{backend.namespace}/{backend.service}` of Ingress `{rule.ingress}`"
        service = self._api.get(SERVICES, backend.service, backend.namespace)
        if service is None:
            raise _RefusedError(503, f"{where} does not exist.")
        port = service_port(service, backend.port)
        if port is None:
            raise _RefusedError(503, f"{where} has no port `{backend.port}`.")
        found = endpoints_of(self._api, backend.namespace, backend.service, port.get("name") or "")
        if not found:
            raise _RefusedError(503, f"{where} has no pod that is ready.")
        turn = next(self._turns.setdefault(backend, itertools.count()))
        problem = ""
        for step in range(min(3, len(found))):
            endpoint = found[(turn + step) % len(found)]
            try:
                return await self._dial(endpoint)
            except (OSError, TimeoutError) as error:
                problem = f"{endpoint.address}:{endpoint.port}: {error or 'no answer'}"
        raise _RefusedError(502, f"{where} cannot be reached: {problem}")

    async def _dial(self, endpoint: Endpoint) -> _Peer:
        sock = self._runtime.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_SECS):
                await loop.sock_connect(sock, (endpoint.address, endpoint.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader, writer = await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise
        return _Peer(reader, writer, h11.Connection(h11.CLIENT))


class _Peer:
    """One side of a proxied connection: the streams, and where its HTTP stands."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        wire: h11.Connection,
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.wire = wire

    async def event(self, patience: float | None = None) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self.wire.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]
            if self.wire.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            async with asyncio.timeout(patience):
                self.wire.receive_data(await self.reader.read(_CHUNK))

    async def send(self, event: h11.Event) -> None:
        data = self.wire.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()

    async def next_request(self) -> h11.Request | None:
        """The next request's head; None when the client is done."""
        event = await self.event(_IDLE_SECS)
        return event if isinstance(event, h11.Request) else None

    async def answer(self, status: int, text: str, head: bool = False) -> bool:
        """Say something of our own; whether the connection may go on."""
        body = (
            f"<!doctype html><meta charset=utf-8><title>{status}</title>"
            f"<p>{html.escape(text)}</p><p><small>kindling ingress</small></p>\n"
        ).encode()
        await self.send(
            h11.Response(
                status_code=status,
                headers=[
                    (b"content-type", b"text/html; charset=utf-8"),
                    (b"content-length", str(len(body)).encode()),
                    (b"connection", b"close"),
                ],
            )
        )
        if not head:
            await self.send(h11.Data(data=body))
        with contextlib.suppress(h11.LocalProtocolError):
            await self.send(h11.EndOfMessage())
        return False

    async def refuse(self, status: int, text: str) -> None:
        """Answer a request that could not be read, if it can still be answered."""
        if self.wire.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            with contextlib.suppress(h11.LocalProtocolError, ConnectionError):
                await self.answer(status, text)


class _Exchange:
    """One request passed on and its answer passed back."""

    def __init__(
        self,
        client: _Peer,
        upstream: _Peer,
        request: h11.Request,
        extra: list[tuple[bytes, bytes]],
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._request = request
        self._extra = extra

    async def run(self) -> bool:
        """Whether the client's connection may be used again."""
        upgrade = any(name == b"upgrade" for name, _ in self._request.headers)
        own = {name.lower() for name, _ in self._extra}
        headers = [
            (name, value)
            for name, value in self._request.headers
            if name not in own and (name not in _HOP or (upgrade and name != b"te"))
        ]
        if any(name == b"transfer-encoding" for name, _ in self._request.headers):
            headers.append((b"transfer-encoding", b"chunked"))
        if not upgrade:
            headers.append((b"connection", b"close"))
        await self._upstream.send(
            h11.Request(
                method=self._request.method,
                target=self._request.target,
                headers=headers + self._extra,
            )
        )
        sending = asyncio.get_running_loop().create_task(
            self._send_body(), name="ingress request body"
        )
        try:
            return await self._receive()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send_body(self) -> None:
        try:
            while True:
                event = await self._client.event()
                if isinstance(event, h11.Data):
                    await self._upstream.send(h11.Data(data=event.data))
                elif isinstance(event, h11.EndOfMessage):
                    await self._upstream.send(h11.EndOfMessage())
                    return
                else:
                    return
        except (ConnectionError, h11.ProtocolError):
            return  # the app stopped listening: what it answers is what counts

    async def _receive(self) -> bool:
        begun = False
        try:
            while True:
                event = await self._upstream.event()
                if isinstance(event, h11.InformationalResponse):
                    if event.status_code == 101:
                        await self._client.send(event)
                        await self._pass_through()
                        return False
                    continue
                if isinstance(event, h11.Response):
                    headers = [(n, v) for n, v in event.headers if n not in _HOP]
                    # Of unknown length: h11 frames it as the client's version allows.
                    await self._client.send(
                        h11.Response(
                            status_code=event.status_code, headers=headers, reason=event.reason
                        )
                    )
                    begun = True
                elif isinstance(event, h11.Data):
                    await self._client.send(h11.Data(data=event.data))
                elif isinstance(event, h11.EndOfMessage):
                    await self._client.send(h11.EndOfMessage())
                    return self._client.wire.our_state is h11.DONE and (
                        self._client.wire.their_state is h11.DONE
                    )
                else:
                    raise ConnectionResetError("closed without an answer")
        except (ConnectionError, h11.RemoteProtocolError) as error:
            if begun:
                raise ConnectionResetError("the answer broke off") from error
            return await self._client.answer(502, f"The app broke off before answering: {error}")

    async def _pass_through(self) -> None:
        """After an upgrade: bytes both ways until either side ends."""
        early_up, _ = self._client.wire.trailing_data
        early_down, _ = self._upstream.wire.trailing_data
        self._upstream.writer.write(early_up)
        self._client.writer.write(early_down)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(_CHUNK):
                    sink.write(data)
                    await sink.drain()

        ways = [
            asyncio.ensure_future(copy(self._client.reader, self._upstream.writer)),
            asyncio.ensure_future(copy(self._upstream.reader, self._client.writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
