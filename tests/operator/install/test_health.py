"""What a kubelet is told of an operator."""

from __future__ import annotations

import asyncio

import pytest

from kindling.errors import HostError
from kindling.operator.controller.run import Phase, Standing
from kindling.operator.health import answer, serving


@pytest.mark.parametrize(
    ("phase", "alive", "ready"),
    [
        (Phase.STARTING, 200, 503),
        (Phase.STANDING_BY, 200, 200),
        (Phase.ACTING, 200, 200),
        (Phase.STOPPED, 503, 503),
    ],
)
def test_it_is_ready_when_it_acts_or_stands_by(phase: Phase, alive: int, ready: int) -> None:
    standing = Standing(phase)
    assert answer("/healthz", standing) == (alive, phase.value)
    assert answer("/readyz", standing) == (ready, phase.value)


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answered = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answered


async def test_each_request_is_answered_by_how_it_stands_then() -> None:
    standing = Standing(Phase.STARTING)
    async with serving("127.0.0.1", 0, lambda: standing) as port:
        request = b"GET /readyz?verbose HTTP/1.1\r\nHost: pod\r\n\r\n"
        assert (await ask(port, request)).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        standing = Standing(Phase.ACTING)
        answered = await ask(port, request)
    assert answered.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answered.endswith(b"\r\n\r\nacting\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /healthz HTTP/1.1\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"405"),
    ],
)
async def test_anything_else_is_refused(request_: bytes, status: bytes) -> None:
    async with serving("127.0.0.1", 0, lambda: Standing(Phase.ACTING)) as port:
        assert (await ask(port, request_)).split(b" ")[1] == status


async def test_a_head_request_gets_no_body() -> None:
    async with serving("127.0.0.1", 0, lambda: Standing(Phase.ACTING)) as port:
        answered = await ask(port, b"HEAD /healthz HTTP/1.1\r\n\r\n")
    assert answered.endswith(b"\r\n\r\n")


async def test_a_client_that_goes_away_or_talks_too_much_does_no_harm() -> None:
    async with serving("127.0.0.1", 0, lambda: Standing(Phase.ACTING)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()
        assert await ask(port, b"x" * 20000) == b""
        assert b"200" in await ask(port, b"GET /healthz HTTP/1.1\r\n\r\n")


async def test_a_port_that_is_taken_is_named() -> None:
    async with serving("127.0.0.1", 0, lambda: Standing(Phase.ACTING)) as port:
        with pytest.raises(HostError, match=str(port)):
            async with serving("127.0.0.1", port, lambda: Standing(Phase.ACTING)):
                pass
