"""The channels of exec, attach and port-forward, message by message."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import aiohttp
import pytest

from kindling.cluster.apiserver.streams.inbox import Inbox
from kindling.cluster.model.streams import TerminalSize
from tests.cluster.streams.client import SpdyClient, bomb, control
from tests.cluster.streams.conftest import Site

Socket = aiohttp.ClientWebSocketResponse
V4, V5, TUNNEL = "v4.channel.k8s.io", "v5.channel.k8s.io", "SPDY/3.1+portforward.k8s.io"


@asynccontextmanager
async def opened(
    site: Site, path: str, query: list[tuple[str, str]], *protocols: str
) -> AsyncIterator[Socket]:
    async with (
        asyncio.timeout(30),
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"{site.websocket}/{path}?{urlencode(query)}", protocols=protocols
        ) as socket,
    ):
        yield socket


def command(*words: str, **streams: bool) -> list[tuple[str, str]]:
    wanted = {"stdout": True, "stderr": True} | streams
    return [("command", word) for word in words] + [
        (name, "true") for name, on in wanted.items() if on
    ]


async def everything(socket: Socket) -> dict[int, bytes]:
    """What comes on each channel until the server closes."""
    found: dict[int, bytearray] = {}
    async for message in socket:
        assert message.type is aiohttp.WSMsgType.BINARY
        found.setdefault(message.data[0], bytearray()).extend(message.data[1:])
    return {channel: bytes(data) for channel, data in found.items()}


@pytest.mark.parametrize("protocol", [V4, V5])
async def test_the_status_of_success_and_of_failure(site: Site, protocol: str) -> None:
    async with opened(site, "exec", command("sh", "-c", "echo a; echo b >&2"), protocol) as socket:
        assert socket.protocol == protocol
        found = await everything(socket)
        assert socket.close_code == 1000
    assert found == {1: b"a\n", 2: b"b\n", 3: b'{"metadata":{},"status":"Success"}'}
    async with opened(site, "exec", command("sh", "-c", "exit 3"), protocol) as socket:
        found = await everything(socket)
    assert json.loads(found[3]) == {
        "metadata": {},
        "status": "Failure",
        "message": "command terminated with non-zero exit code: exit status 3",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
    }


async def test_a_killed_process_has_128_and_its_signal(site: Site) -> None:
    async with opened(site, "exec", command("sh", "-c", "kill -9 $$"), V5) as socket:
        found = await everything(socket)
    assert json.loads(found[3])["details"]["causes"][0]["message"] == "137"


async def test_the_client_chooses_the_protocol(site: Site) -> None:
    async with opened(site, "exec", command("true"), "nonsense", V4, V5) as socket:
        assert socket.protocol == V4


async def test_other_protocols_are_refused_before_anything_is_accepted(site: Site) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        async with opened(site, "exec", command("true"), "nonsense"):
            pass
    assert refusal.value.status == 400


async def test_the_oldest_protocol_in_text(site: Site) -> None:
    protocol = "base64.channel.k8s.io"
    async with opened(site, "exec", command("cat", stdin=True), protocol) as socket:
        await socket.send_str("0" + base64.b64encode(b"hi\n").decode())
        await socket.send_str("0%%%")
        while True:
            text = await socket.receive_str()
            if base64.b64decode(text[1:]):
                break
    assert (text[0], base64.b64decode(text[1:])) == ("1", b"hi\n")


async def test_closing_channel_0_ends_the_input_in_v5_and_not_before(site: Site) -> None:
    async with opened(site, "exec", command("cat", stdin=True), V5) as socket:
        await socket.send_bytes(b"\0hello")
        await socket.send_bytes(b"\xff\0")
        await socket.send_bytes(b"\0too late")
        assert (await everything(socket))[1] == b"hello"
    async with opened(site, "exec", command("cat", stdin=True), V4) as socket:
        await socket.send_bytes(b"\xff\0")
        await socket.send_bytes(b"\0still")
        assert (await socket.receive_bytes()) == b"\1"
        assert (await socket.receive_bytes()) == b"\1still"


async def test_resizes_arrive_and_nonsense_does_not(site: Site) -> None:
    async with opened(site, "exec", command("cat", stdin=True), V5) as socket:
        for text in (
            '{"Width":80,"Height":24}\n{"Width":81,"Height":25}',
            "what",
            '{"Width":-1,"Height":2}',
            "[" * 100_000,
            '{"Width":1000,"Height":2}',
        ):
            await socket.send_bytes(b"\4" + text.encode())
        await site.pod.until(lambda: len(site.pod.sizes) == 3)
    assert site.pod.sizes == [TerminalSize(80, 24), TerminalSize(81, 25), TerminalSize(1000, 2)]


async def test_channels_that_are_none_are_passed_over(site: Site) -> None:
    async with opened(site, "exec", command("cat", stdin=True), V5) as socket:
        for message in (b"", b"\1x", b"\7x", b"\xfe", b"\xff", b"\xff\1"):
            await socket.send_bytes(message)
        await socket.send_bytes(b"\0ok")
        await socket.send_bytes(b"\xff\0")
        found = await everything(socket)
    assert found[1] == b"ok"


async def test_a_client_that_goes_ends_the_process(site: Site) -> None:
    async with opened(site, "exec", command("sh", "-c", "echo up; exec sleep 99"), V5) as socket:
        assert await socket.receive_bytes() == b"\1up\n"
    await site.pod.until(lambda: site.pod.ended == [-9])


async def test_before_its_first_output_only_clients_of_older_protocols_hear_of_a_process(
    site: Site,
) -> None:
    """Those wait for it; newer ones may not yet have the channel that it comes on."""
    script = command("sh", "-c", "echo up; exec sleep 99")
    for protocol, told in ((V4, [b"\1", b"\1up\n"]), (V5, [b"\1up\n"])):
        async with opened(site, "exec", script, protocol) as socket:
            assert [await socket.receive_bytes() for _ in told] == told


async def test_input_after_the_process_is_deaf_is_harmless(site: Site) -> None:
    script = "exec 0<&-; sleep 0.2; echo done"
    async with opened(site, "exec", command("sh", "-c", script, stdin=True), V5) as socket:
        for _ in range(50):
            await socket.send_bytes(b"\0" + bytes(60_000))
        assert (await everything(socket))[1] == b"done\n"


async def test_a_slow_client_holds_the_process_up(site: Site) -> None:
    """What a process writes waits for its client, in no memory of ours; all of it arrives."""
    script = "i=0; while [ $i -lt 256 ]; do head -c 65536 /dev/zero; i=$((i+1)); done; echo x >&2"
    async with opened(site, "exec", command("sh", "-c", script), V5) as socket:
        await asyncio.sleep(0)
        (process,) = site.pod.running
        assert process.stdout is not None
        await asyncio.sleep(0.3)  # a bound that is broken shows as the process running ahead
        assert process.returncode is None
        found = await everything(socket)
    assert len(found[1]) == 256 * 65536
    assert found[2] == b"x\n"


async def test_a_child_that_holds_the_pipe_does_not_hold_the_client(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kindling.cluster.apiserver.streams.exec._QUIET", 0.1)
    script = "echo up; sleep 60 & exit 4"
    async with opened(site, "exec", command("sh", "-c", script), V5) as socket:
        found = await everything(socket)
    assert found[1] == b"up\n"
    assert json.loads(found[3])["details"]["causes"][0]["message"] == "4"


# port-forward by channels


async def test_each_channel_begins_with_its_port(site: Site, echo: int) -> None:
    async with opened(site, "portforward", [("ports", str(echo))], V4) as socket:
        port = echo.to_bytes(2, "little")
        assert await socket.receive_bytes() == b"\0" + port
        assert await socket.receive_bytes() == b"\1" + port
        await socket.send_bytes(b"\0hello")
        assert await socket.receive_bytes() == b"\0hello"


async def test_nothing_listens(site: Site, unused: int, echo: int) -> None:
    """One port that is dead leaves the other alive."""
    query = [("ports", f"{unused},{echo}")]
    async with opened(site, "portforward", query, V5, V4) as socket:
        for _ in range(4):
            await socket.receive_bytes()
        told = await socket.receive_bytes()
        await socket.send_bytes(b"\0nobody")
        await socket.send_bytes(b"\2hello")
        assert await socket.receive_bytes() == b"\2hello"
    assert (
        told
        == b"\1"
        + (
            f"error forwarding port {unused} to pod web, uid : failed to connect to"
            f" localhost:{unused} inside namespace of pod web, IPv4: dial tcp4"
            f" 127.0.0.1:{unused}: connect: connection refused"
        ).encode()
    )


@pytest.mark.parametrize("query", ["", "ports=", "ports=x", "ports=0", "ports=70000", "ports=1,"])
async def test_ports_that_are_none_are_refused(site: Site, query: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await session.ws_connect(f"{site.websocket}/portforward?{query}", protocols=(V4,))
    assert refusal.value.status == 400


# port-forward by SPDY


class Tunnelled:
    """Frames through a socket."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.spdy = SpdyClient()
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()

    async def until(self, *streams: int) -> None:
        """Read until the server has ended these streams."""
        while not self.ended.issuperset(streams):
            for frame in self.spdy.frames(await self.socket.receive_bytes()):
                if frame.kind == 0:
                    self.data[frame.stream] = self.data.get(frame.stream, b"") + frame.payload
                    if frame.flags & 1:
                        self.ended.add(frame.stream)


async def test_a_pair_of_streams_is_a_connection(site: Site, echo: int) -> None:
    async with opened(site, "portforward", [], TUNNEL) as socket:
        tunnel = Tunnelled(socket)
        error, stream, opening = tunnel.spdy.pair(echo, "0")
        body = os.urandom(500_000)
        await socket.send_bytes(opening)
        for start in range(0, len(body), 50_000):
            await socket.send_bytes(frame(stream, body[start : start + 50_000]))
        await socket.send_bytes(frame(stream, b"", end=True))
        await tunnel.until(error, stream)
    assert tunnel.data[stream] == body
    assert tunnel.data[error] == b""


def frame(stream: int, payload: bytes, *, end: bool = False) -> bytes:
    return stream.to_bytes(4) + bytes((int(end),)) + len(payload).to_bytes(3) + payload


async def test_a_dead_port_is_told_on_the_error_stream(site: Site, unused: int, echo: int) -> None:
    async with opened(site, "portforward", [], TUNNEL) as socket:
        tunnel = Tunnelled(socket)
        error, stream, opening = tunnel.spdy.pair(unused, "0")
        await socket.send_bytes(opening)
        await tunnel.until(error, stream)
        assert b"connection refused" in tunnel.data[error]
        error, stream, opening = tunnel.spdy.pair(echo, "1")
        await socket.send_bytes(opening + frame(stream, b"alive", end=True))
        await tunnel.until(error, stream)
        assert tunnel.data[stream] == b"alive"


async def test_a_reset_ends_the_error_stream_too(site: Site, echo: int) -> None:
    """kubectl resets the data stream and then waits for the error stream to end."""
    async with opened(site, "portforward", [], TUNNEL) as socket:
        tunnel = Tunnelled(socket)
        error, stream, opening = tunnel.spdy.pair(echo, "0")
        await socket.send_bytes(opening + frame(stream, b"x"))
        await socket.send_bytes(control(3, stream.to_bytes(4) + (5).to_bytes(4)))
        await tunnel.until(error)


async def test_streams_without_sense_are_reset_alone(site: Site, echo: int) -> None:
    async with opened(site, "portforward", [], TUNNEL) as socket:
        tunnel = Tunnelled(socket)
        for headers in ({}, {"streamtype": "data"}, {"streamtype": "what", "port": "80"}):
            stream, opening = tunnel.spdy.open(headers)
            await socket.send_bytes(opening)
            (reset,) = tunnel.spdy.frames(await socket.receive_bytes())
            assert (reset.kind, reset.stream) == (3, stream)
        error, stream, opening = tunnel.spdy.pair(echo, "1")
        await socket.send_bytes(opening + frame(stream, b"alive", end=True))
        await tunnel.until(error, stream)


@pytest.mark.parametrize(
    "hostile", [b"GET / HTTP/1.1\r\n", bytes(64), control(1, (1).to_bytes(4) + bytes(6) + bomb())]
)
async def test_hostile_bytes_end_their_connection_alone(
    site: Site, echo: int, hostile: bytes
) -> None:
    async with opened(site, "portforward", [], TUNNEL) as good:
        tunnel = Tunnelled(good)
        error, stream, opening = tunnel.spdy.pair(echo, "0")
        await good.send_bytes(opening)
        async with opened(site, "portforward", [], TUNNEL) as bad:
            await bad.send_bytes(hostile)
            goodbye = await bad.receive_bytes()
            assert goodbye[:4] == b"\x80\x03\x00\x07"
            assert (await bad.receive()).type is aiohttp.WSMsgType.CLOSE
            assert bad.close_code == 1002
        await good.send_bytes(frame(stream, b"alive", end=True))
        await tunnel.until(error, stream)
        assert tunnel.data[stream] == b"alive"


async def test_text_is_no_spdy(site: Site) -> None:
    async with opened(site, "portforward", [], TUNNEL) as socket:
        await socket.send_str("hello")
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE


async def test_an_inbox_holds_no_more_than_its_bound() -> None:
    inbox = Inbox(limit=10)
    await inbox.put(b"0123456789")
    waiting = asyncio.create_task(inbox.put(b"more"))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await inbox.get() == b"0123456789"
    await waiting
    inbox.end()
    assert [await inbox.get(), await inbox.get()] == [b"more", b""]
    inbox.close()
    await inbox.put(b"nobody")
