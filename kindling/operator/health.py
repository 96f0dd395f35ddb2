"""`/healthz` and `/readyz`: what a kubelet asks of an operator in the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from kindling.errors import HostError
from kindling.operator.controller.run import Phase, Standing

__all__ = ["answer", "serving"]

_LIMIT = 5.0
_READY = (Phase.ACTING, Phase.STANDING_BY)


def answer(path: str, standing: Standing) -> tuple[int, str]:
    """The status code and the text for a path.

    Standing by is ready: the one that acts does the work, and a roll-out must not wait for its end.
    """
    word = standing.phase.value
    if path == "/healthz":
        return (503 if standing.phase is Phase.STOPPED else 200), word
    if path == "/readyz":
        return (200 if standing.phase in _READY else 503), word
    return 404, "there are /healthz and /readyz"


@asynccontextmanager
async def serving(host: str, port: int, standing: Callable[[], Standing]) -> AsyncIterator[int]:
    """Answer while the context is open; the port, which the system chooses where 0 is asked for.

    Raises:
        HostError: The port cannot be had.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_LIMIT):
                head = await reader.readuntil(b"\r\n\r\n")
                words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
                path = words[1].partition("?")[0] if len(words) == 3 else ""
                code, text = answer(path, standing())
                if words[0] not in ("GET", "HEAD"):
                    code, text = 405, "only GET"
                writer.write(_response(code, text, body=words[0] != "HEAD"))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # whoever asked has gone, or asks nothing
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(serve, host or "127.0.0.1", port, limit=8192)
    except OSError as error:
        raise HostError(
            f"The health endpoint cannot listen on {host}:{port}: {error.strerror or error}",
            hint="Choose another port with `--health-port`.",
        ) from error
    async with server:
        yield int(server.sockets[0].getsockname()[1])


def _response(code: int, text: str, *, body: bool) -> bytes:
    reasons = {200: "OK", 404: "Not Found", 405: "Method Not Allowed"}
    content = f"{text}\n".encode()
    head = (
        f"HTTP/1.1 {code} {reasons.get(code, 'Service Unavailable')}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (content if body else b"")
