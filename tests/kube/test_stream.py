"""How a stream to a container notices that nobody is there any more, against a server of this
machine that plays the API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import WSMsgType, web

from kindling.errors import ClusterError
from kindling.kube.contexts import KubeContext
from kindling.kube.errors import UnreachableError
from kindling.kube.exec import NoProgramError
from kindling.kube.protocol import ExecStream
from kindling.kube.stream import open_stream
from kindling.kube.wire import Wire

_LIMIT = 60.0
_PULSE = 0.1
_LONG = 10 * _PULSE


class Server:
    """An API server with one container; `handler` has each connection."""

    def __init__(self) -> None:
        self.handler: Callable[[web.WebSocketResponse], Awaitable[None]]
        self.asked: list[tuple[str, str]] = []
        self.url = ""
        self.streams: list[ExecStream] = []
        self.wires: list[Wire] = []
        self.over = asyncio.Event()

    async def answer(self, request: web.Request) -> web.WebSocketResponse:
        self.asked = list(request.query.items())
        socket = web.WebSocketResponse(
            protocols=("v4.channel.k8s.io",), autoping=False, timeout=0.1
        )
        await socket.prepare(request)
        await self.handler(socket)
        return socket

    async def open(self, pulse: float = _PULSE) -> ExecStream:
        raw = {
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "me", "user": {"token": "t"}}],
        }
        wire = Wire(KubeContext("test", "test", self.url, user="me"), lambda: raw, {})
        self.wires.append(wire)
        stream = await open_stream(
            wire, "space", "box", "main", ["cat", "-u"], timeout=_LIMIT, pulse=pulse
        )
        self.streams.append(stream)
        return stream


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    application = web.Application()
    application.router.add_get("/{path:.*}", made.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    made.over.set()
    for stream in made.streams:
        await stream.close()
    for wire in made.wires:
        await wire.close()
    await runner.cleanup()


async def test_a_command_is_asked_for_with_all_its_streams(server: Server) -> None:
    async def ends(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"\1out")
        await socket.send_bytes(b"\2err")
        await socket.send_bytes(b'\3{"status":"Success"}')

    server.handler = ends
    stream = await server.open()
    assert await stream.read() == b"out"
    assert await stream.read() == b""
    ended = await stream.ended()
    assert (ended.code, ended.stderr) == (0, b"err")
    assert server.asked == [
        ("command", "cat"),
        ("command", "-u"),
        ("container", "main"),
        ("stdin", "true"),
        ("stdout", "true"),
        ("stderr", "true"),
    ]


async def test_a_server_that_is_silent_for_long_is_given_up(server: Server) -> None:
    async def deaf(socket: web.WebSocketResponse) -> None:
        del socket  # it is neither read nor answered
        await server.over.wait()

    server.handler = deaf
    stream = await server.open()
    async with asyncio.timeout(_LIMIT):
        with pytest.raises(UnreachableError, match="no sign of life") as caught:
            await stream.read()
        assert caught.value.transient
        with pytest.raises(UnreachableError, match="no sign of life"):
            await stream.write(b"x")
        with pytest.raises(UnreachableError, match="no sign of life"):
            await stream.ended()


async def test_a_writer_that_waits_hears_that_nobody_is_there(server: Server) -> None:
    async def deaf(socket: web.WebSocketResponse) -> None:
        del socket
        await server.over.wait()

    server.handler = deaf
    stream = await server.open(pulse=0.02)
    async with asyncio.timeout(_LIMIT):
        with pytest.raises(UnreachableError, match="no sign of life"):
            await stream.write(bytes(64 << 20))


async def test_a_silent_command_is_kept_for_as_long_as_pings_are_answered(server: Server) -> None:
    pings = 0

    async def quiet(socket: web.WebSocketResponse) -> None:
        nonlocal pings
        async for message in socket:
            if message.type is WSMsgType.PING:
                pings += 1
                await socket.pong(message.data)
                if pings == 5:
                    await socket.send_bytes(b"\1at last")

    server.handler = quiet
    stream = await server.open()
    async with asyncio.timeout(_LIMIT):
        assert await stream.read() == b"at last"
    assert pings == 5


async def test_a_reader_that_takes_its_time_is_no_silence(server: Server) -> None:
    async def chatty(socket: web.WebSocketResponse) -> None:
        for _ in range(40):
            await socket.send_bytes(b"\1" + bytes(100_000))
        await socket.send_bytes(b'\3{"status":"Success"}')

    server.handler = chatty
    stream = await server.open()
    await asyncio.sleep(_LONG)
    size = 0
    async with asyncio.timeout(_LIMIT):
        while data := await stream.read():
            size += len(data)
    assert size == 40 * 100_000


async def test_a_reader_that_is_slow_but_reads_is_not_given_up(server: Server) -> None:

    async def slow(socket: web.WebSocketResponse) -> None:
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await asyncio.sleep(0.004)

    server.handler = slow
    stream = await server.open(pulse=0.02)
    async with asyncio.timeout(_LIMIT):
        await stream.write(bytes(40 << 20))
        await stream.close()


async def test_pings_of_the_server_are_answered_whoever_reads(server: Server) -> None:
    answered = asyncio.Event()

    async def asks(socket: web.WebSocketResponse) -> None:
        await socket.ping(b"there?")
        async for message in socket:
            if message.type is WSMsgType.PONG and message.data == b"there?":
                answered.set()

    server.handler = asks
    await server.open()
    async with asyncio.timeout(_LIMIT):
        await answered.wait()


async def test_a_connection_that_breaks_is_an_error_and_no_end(server: Server) -> None:
    async def breaks(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"\1part")

    server.handler = breaks
    stream = await server.open()
    async with asyncio.timeout(_LIMIT):
        assert await stream.read() == b"part"
        with pytest.raises(UnreachableError, match="the connection broke"):
            await stream.read()


async def test_what_the_server_says_of_a_command_that_cannot_start_is_told(server: Server) -> None:
    status = (
        b'{"status":"Failure","code":500,"message":"exec: \\"cat\\": executable file not found"}'
    )

    async def refuses(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"\3" + status)

    server.handler = refuses
    stream = await server.open()
    async with asyncio.timeout(_LIMIT):
        with pytest.raises(NoProgramError, match="no such program"):
            await stream.read()


async def test_a_stream_that_is_closed_wakes_all_who_wait(server: Server) -> None:
    async def quiet(socket: web.WebSocketResponse) -> None:
        async for _ in socket:
            pass

    server.handler = quiet
    stream = await server.open(pulse=_LIMIT)
    reading = asyncio.create_task(stream.read())
    waiting = asyncio.create_task(stream.ended())
    await asyncio.sleep(0)
    await stream.close()
    for task in (reading, waiting):
        with pytest.raises(ClusterError, match="closed"):
            await task
