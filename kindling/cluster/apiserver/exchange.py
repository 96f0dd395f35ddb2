"""One request and its answer, as the handlers see them: ASGI without its message types."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

import orjson

from kindling.cluster.model.status import ApiError, bad_request, too_large
from kindling.cluster.pki.identity import ADMIN, Identity

__all__ = [
    "BODY_LIMIT",
    "ClientGoneError",
    "Exchange",
    "Message",
    "Query",
    "Receive",
    "Send",
]

BODY_LIMIT = 3 * 1024 * 1024
"""Bytes of a request body, as in the real API server (`limit is 3145728`)."""
BODY_TIMEOUT = 60.0
"""Seconds between two pieces of a request's body."""
_MOST_WARNINGS = 64
"""Python's own HTTP client, for one, gives up on an answer with more than 100 headers."""
_ALL_WARNINGS, _LONGEST_WARNING = 4096, 256
_GZIP_FROM = 128 * 1024
"""Bytes above which the real server compresses an answer, by its quickest level."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ClientGoneError(Exception):
    """The client hung up before its request was complete; there is nobody to answer."""


class Query:
    """The parameters of a request, read as the real server reads them."""

    def __init__(self, text: str) -> None:
        self._values: dict[str, list[str]] = {}
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=10_000)
        except ValueError as error:
            raise bad_request(f"invalid query: {error}") from None
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def text(self, name: str, default: str = "") -> str:
        return self._values.get(name, [default])[0]

    def all(self, name: str) -> list[str]:
        return list(self._values.get(name, ()))

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def flag(self, name: str, default: bool = False) -> bool:
        """Any value but `false` and `0` is true, the empty one too, as in apimachinery."""
        values = self._values.get(name)
        return default if values is None else values[0].lower() not in ("false", "0")

    def number(self, name: str) -> int | None:
        """Raises `ApiError` 400 in Go's words."""
        text = self.text(name)
        if not text:
            return None
        digits = text[1:] if text[0] in "+-" else text
        if not digits.isascii() or not digits.isdigit():
            raise bad_request(f'strconv.ParseInt: parsing "{text[:100]}": invalid syntax')
        if len(digits) > 19 or not -(2**63) <= (value := int(text)) < 2**63:
            raise bad_request(f'strconv.ParseInt: parsing "{text[:100]}": value out of range')
        return value


class Exchange:
    """A request, and the answer to it. `warnings` go out as headers with whatever answers."""

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self._send = send
        self.websocket = scope["type"] == "websocket"
        self.method: str = scope.get("method", "GET")
        self.raw_path: str = scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1")
        self.headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key = name.decode("latin-1")
            text = value.decode("latin-1")
            self.headers[key] = f"{self.headers[key]},{text}" if key in self.headers else text
        self.identity: Identity = ADMIN
        self.warnings: list[str] = []
        self.status = 0
        self._query: Query | None = None
        self._body_ended = False

    @property
    def query(self) -> Query:
        if self._query is None:
            self._query = Query(self.scope.get("query_string", b"").decode("latin-1"))
        return self._query

    def warn(self, text: str) -> None:
        """Tell the user; each text once."""
        if text not in self.warnings and len(self.warnings) < _MOST_WARNINGS:
            self.warnings.append(text)

    # the request

    async def body(self, limit: int = BODY_LIMIT) -> bytes:
        """The whole body. Raises `ApiError` 413 for a large one, 408 for a slow one."""
        if self.headers.get("content-length", "0").isdigit():
            declared = self.headers.get("content-length", "0")
            if len(declared) > 18 or int(declared) > limit:
                raise too_large(limit)
        pieces: list[bytes] = []
        size = 0
        while not self._body_ended:
            try:
                async with asyncio.timeout(BODY_TIMEOUT):
                    message = await self.receive()
            except TimeoutError:
                raise ApiError(408, "Timeout", "the request's body did not arrive") from None
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > limit:
                raise too_large(limit)
            self._body_ended = not message.get("more_body", False)
        return b"".join(pieces)

    async def disconnected(self) -> None:
        """Returns when the client has hung up. The rest of its body is dropped."""
        while (await self.receive())["type"] not in ("http.disconnect", "websocket.disconnect"):
            pass

    # the answer

    async def send(self, message: Message) -> None:
        """An ASGI message as it is, for who speaks WebSocket."""
        if message["type"] == "websocket.accept":
            self.status = 101
        await self._send(message)

    async def reply(
        self,
        body: bytes,
        content_type: str = "application/json",
        status: int = 200,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        """The whole answer at once."""
        out = [(b"content-type", content_type.encode("latin-1")), *headers]
        if len(body) > _GZIP_FROM and "gzip" in self.headers.get("accept-encoding", ""):
            squeeze = zlib.compressobj(1, zlib.DEFLATED, 31)
            body = squeeze.compress(body) + squeeze.flush()
            out += [(b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")]
        out.append((b"content-length", str(len(body)).encode()))
        await self._start(status, out)
        await self._continue(body, more=False)

    async def reply_json(
        self,
        value: Any,
        status: int = 200,
        headers: Iterable[tuple[bytes, bytes]] = (),
        *,
        pretty: bool = False,
    ) -> None:
        option = orjson.OPT_APPEND_NEWLINE
        if pretty or self.pretty():
            option |= orjson.OPT_INDENT_2
        await self.reply(orjson.dumps(value, option=option), status=status, headers=headers)

    async def reply_error(self, error: ApiError) -> None:
        headers: list[tuple[bytes, bytes]] = []
        if error.retry_after:
            headers.append((b"retry-after", str(error.retry_after).encode()))
        await self.reply_json(error.status(), error.code, headers)

    async def start_stream(self, content_type: str = "application/json") -> None:
        """An answer that comes in pieces, each sent at once."""
        await self._start(200, [(b"content-type", content_type.encode("latin-1"))])

    async def chunk(self, data: bytes) -> None:
        """One piece; waits while the client is slow to take the last ones."""
        await self._continue(data, more=True)

    async def end_stream(self) -> None:
        await self._continue(b"", more=False)

    def pretty(self) -> bool:
        """Whether the JSON is for eyes: as asked, else by the programs that people look with."""
        if "pretty" in self.query:
            return self.query.text("pretty").lower() in ("1", "t", "true")
        agent = self.headers.get("user-agent", "")
        return agent.startswith(("curl", "Wget", "Mozilla/5.0"))

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        kept = any(name == b"cache-control" for name, _ in headers)
        out = [
            *(() if kept else ((b"cache-control", b"no-cache, private"),)),
            (b"date", _date()),
            *((b"warning", _warning(text)) for text in _bounded(self.warnings)),
            *headers,
        ]
        kind = "websocket.http.response.start" if self.websocket else "http.response.start"
        await self.send({"type": kind, "status": status, "headers": out})

    async def _continue(self, data: bytes, *, more: bool) -> None:
        kind = "websocket.http.response.body" if self.websocket else "http.response.body"
        await self.send({"type": kind, "body": data, "more_body": more})


_dates: dict[int, bytes] = {}


def _date() -> bytes:
    now = int(time.time())
    if now not in _dates:
        _dates.clear()
        _dates[now] = formatdate(now, usegmt=True).encode()
    return _dates[now]


def _bounded(texts: list[str]) -> list[str]:
    """Short enough for clients, as the real server has it: when they are more than 4,096 signs
    together, each is cut at 256, and those beyond are left out."""
    if sum(map(len, texts)) <= _ALL_WARNINGS:
        return texts
    kept: list[str] = []
    size = 0
    for text in texts:
        if size >= _ALL_WARNINGS:
            break
        kept.append(text[:_LONGEST_WARNING])
        size += len(kept[-1])
    return kept


def _warning(text: str) -> bytes:
    """RFC 7234 5.5 as client-go reads it: `299 - "text"`."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    quoted = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{quoted}"'.encode()
