"""The little of HTTP that the registry and the engine API need on top of an ASGI server."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs

__all__ = ["App", "Receive", "Request", "Scope", "Send", "lifespan", "trusted"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_MOST_BODY = 4 * 1024 * 1024


class Request:
    """One request and the answer to it. `began` says whether an answer is under way."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query = parse_qs(scope.get("query_string", b"").decode("latin-1"), True)
        self.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        self.began = False
        self._receive = receive
        self._send = send

    def one(self, name: str, default: str = "") -> str:
        """A query parameter."""
        found: list[str] = self.query.get(name, [default])
        return found[0]

    def flag(self, name: str, default: bool = False) -> bool:
        """A query parameter that is true or false, as Go writes it."""
        return self.one(name, str(default)).lower() in ("1", "t", "true")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `ConnectionError` when the client goes away."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError("the client went away")
            if data := message.get("body", b""):
                yield data
            if not message.get("more_body", False):
                return

    async def body(self, most: int = _MOST_BODY) -> bytes | None:
        """The body whole; None when it has more than `most` bytes."""
        data = bytearray()
        async for chunk in self.chunks():
            data += chunk
            if len(data) > most:
                return None
        return bytes(data)

    async def gone(self) -> None:
        """Return when the client has gone away. Only once the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status and headers; `write` what follows, and `end`."""
        self.began = True
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
                    for name, value in headers.items()
                ],
            }
        )

    async def write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """A whole answer; no body for HEAD, whatever is given."""
        sent = {"Content-Length": str(len(body)), **(headers or {})}
        if status == 204 or 100 <= status < 200:
            sent.pop("Content-Length")
        await self.begin(status, sent)
        if body and self.method != "HEAD":
            await self.write(body)
        await self.end()

    async def json(
        self, status: int, value: object, headers: Mapping[str, str] | None = None
    ) -> None:
        data = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        await self.answer(status, data, {"Content-Type": "application/json", **(headers or {})})


def trusted(request: Request, hosts: tuple[str, ...]) -> bool:
    """Whether a request can come from a program of this machine or of its pods: not from a page in
    a browser, which would say its origin, nor by way of a name that a stranger made point here."""
    if "origin" in request.headers or request.headers.get("sec-fetch-site", "none") != "none":
        return False
    host = request.headers.get("host", "")
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if not host or host in hosts or name == "localhost" or name.endswith(".localhost"):
        return True
    if name in {known.rpartition(":")[0] or known for known in hosts}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def lifespan(receive: Receive, send: Send) -> None:
    """Answer a server that asks whether the app has started and stopped."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
