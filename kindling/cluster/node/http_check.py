"""One HTTP request of a probe or a lifecycle hook, with the kubelet's reading of the answer."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass

from kindling.cluster.node.dial import dial_text, open_stream
from kindling.cluster.runtime.protocol import Runtime

__all__ = ["HttpAnswer", "HttpError", "get"]

_AGENT = "kube-probe/1.32"
_MOST_HEAD = 64 * 1024
_MOST_BODY = 10 * 1024
_MOST_REDIRECTS = 10


class HttpError(Exception):
    """No answer could be had; the text is what the kubelet reports."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """`elsewhere` is set for a redirect to another host, which is not followed."""

    status: int
    body: str
    elsewhere: bool = False


async def get(
    runtime: Runtime,
    scheme: str,
    host: str,
    port: int,
    path: str,
    headers: Sequence[tuple[str, str]] = (),
) -> HttpAnswer:
    """GET, following redirects on the same host. Raises `HttpError`."""
    if not path.startswith("/"):
        path = f"/{path}"
    first, url = host, ""
    for _ in range(_MOST_REDIRECTS):
        url = f"{scheme}://{host}:{port}{path}"
        try:
            status, location, body = await _request(runtime, scheme, host, port, path, headers)
        except OSError as error:
            raise HttpError(f'Get "{url}": {dial_text(host, port, error)}') from error
        except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            why = "EOF" if isinstance(error, asyncio.IncompleteReadError) else str(error)
            raise HttpError(f'Get "{url}": {why}') from error
        if status not in (301, 302, 303, 307, 308) or not location:
            return HttpAnswer(status, body)
        target = urllib.parse.urlsplit(urllib.parse.urljoin(url, location))
        if target.hostname != first:
            return HttpAnswer(status, body, elsewhere=True)
        scheme = target.scheme
        host = target.hostname or host
        port = target.port or (443 if scheme == "https" else 80)
        path = target.path or "/"
        if target.query:
            path += f"?{target.query}"
    raise HttpError(f'Get "{url}": stopped after 10 redirects')


async def _request(
    runtime: Runtime,
    scheme: str,
    host: str,
    port: int,
    path: str,
    headers: Sequence[tuple[str, str]],
) -> tuple[int, str, str]:
    reader, writer = await open_stream(runtime, host, port, tls=scheme == "https")
    try:
        standard = {
            "host": ("Host", f"{host}:{port}"),
            "user-agent": ("User-Agent", _AGENT),
            "accept": ("Accept", "*/*"),
            "connection": ("Connection", "close"),
        }
        named = {name.lower() for name, _ in headers}
        every = [pair for key, pair in standard.items() if key not in named]
        # An empty value takes a header away, as in the kubelet.
        every += [(name, value) for name, value in headers if value]
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in every), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1", "replace"))
        await writer.drain()
        head = await _head(reader)
        first, *rest = head.split("\r\n")
        words = first.split(" ", 2)
        if not words[0].startswith("HTTP/") or len(words) < 2 or not words[1].isdigit():
            raise ValueError(f"malformed HTTP response {first[:64]!r}".replace("'", '"'))
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in rest)
        }
        body = b""
        # A server that breaks off within the body has answered all the same.
        with contextlib.suppress(OSError):
            length = fields.get("content-length", "")
            most = min(_MOST_BODY, int(length)) if length.isdigit() else _MOST_BODY
            while len(body) < most and (part := await reader.read(most - len(body))):
                body += part
        return int(words[1]), fields.get("location", ""), body.decode(errors="replace")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _head(reader: asyncio.StreamReader) -> str:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n"))[:_MOST_HEAD].decode("latin-1")
        if not head.startswith(("HTTP/1.1 100", "HTTP/1.1 103")):
            return head.rstrip("\r\n")
