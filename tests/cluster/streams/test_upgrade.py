"""SPDY by an HTTP Upgrade, frame by frame: processes and ports over the bare connection."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import pytest

from kindling.cluster.apiserver.streams.streamed import expected_streams
from kindling.cluster.model.streams import TerminalSize
from tests.cluster.streams.client import Frame, SpdyClient, bomb, control, data
from tests.cluster.streams.conftest import POD, Site

V4, PORTS = "v4.channel.k8s.io", "portforward.k8s.io"
SYN_REPLY, RST_STREAM, GOAWAY, WINDOW_UPDATE = 2, 3, 7, 9


class Bare:
    """A connection that has asked for SPDY."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.spdy = SpdyClient()
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.reset: set[int] = set()
        self.replied: set[int] = set()

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value for name, value in headers.items()}

    async def send(self, *pieces: bytes) -> None:
        self.writer.write(b"".join(pieces))
        await self.writer.drain()

    async def open(self, *names: str) -> dict[str, int]:
        streams: dict[str, int] = {}
        for name in names:
            streams[name], opening = self.spdy.open({"streamtype": name})
            await self.send(opening)
        return streams

    async def frames(self) -> list[Frame]:
        """What comes next; nothing at the end."""
        received = await self.reader.read(65536)
        found = list(self.spdy.frames(received))
        for frame in found:
            if frame.kind == 0:
                self.data[frame.stream] = self.data.get(frame.stream, b"") + frame.payload
                if frame.flags & 1:
                    self.ended.add(frame.stream)
            elif frame.kind == RST_STREAM:
                self.reset.add(frame.stream)
            elif frame.kind == SYN_REPLY:
                self.replied.add(frame.stream)
        return found if received else []

    async def until(self, *streams: int) -> None:
        """Read until the server has ended these streams."""
        while not self.ended.issuperset(streams):
            assert await self.frames() or not self.reader.at_eof(), "the server hung up"


def request(path: str, query: list[tuple[str, str]], protocol: str, method: str = "POST") -> bytes:
    named = f"X-Stream-Protocol-Version: {protocol}\r\n" if protocol else ""
    return (
        f"{method} {POD}/{path}?{urlencode(query)} HTTP/1.1\r\nHost: x\r\n"
        f"Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n{named}Content-Length: 0\r\n\r\n"
    ).encode()


@asynccontextmanager
async def connected(site: Site) -> AsyncIterator[Bare]:
    host, _, port = site.host.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(30):
            yield Bare(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def upgraded(
    site: Site, path: str, query: list[tuple[str, str]], protocol: str = V4
) -> AsyncIterator[Bare]:
    async with connected(site) as bare:
        await bare.send(request(path, query, protocol))
        status, headers = await bare.head()
        assert status == 101
        assert headers == {
            "connection": "Upgrade",
            "upgrade": "SPDY/3.1",
            "x-stream-protocol-version": protocol,
        }
        yield bare


def command(*words: str, **streams: bool) -> list[tuple[str, str]]:
    wanted = {"stdout": True} | streams
    return [("command", word) for word in words] + [
        (name, "true") for name, on in wanted.items() if on
    ]


async def test_a_process_has_its_streams_and_its_status(site: Site) -> None:
    query = command("sh", "-c", "cat; echo err >&2; exit 3", stdin=True, stderr=True)
    async with upgraded(site, "exec", query) as bare:
        streams = await bare.open("error", "stdin", "stdout", "stderr")
        await bare.send(data(streams["stdin"], b"hello"), data(streams["stdin"], b"", end=True))
        await bare.until(*streams.values())
        bare.writer.write_eof()
        await bare.reader.read()
    assert bare.replied == set(streams.values())
    assert bare.data[streams["stdout"]] == b"hello"
    assert bare.data[streams["stderr"]] == b"err\n"
    status = json.loads(bare.data[streams["error"]])
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


@pytest.mark.parametrize("protocol", ["v2.channel.k8s.io", "v3.channel.k8s.io"])
async def test_older_protocols_tell_of_a_failure_in_words(site: Site, protocol: str) -> None:
    for script, told in (("exit 0", b""), ("exit 3", b"non-zero exit code: exit status 3")):
        async with upgraded(site, "exec", command("sh", "-c", script), protocol) as bare:
            streams = await bare.open("error", "stdout")
            await bare.until(*streams.values())
        assert bare.data[streams["error"]].endswith(told)
        assert bool(bare.data[streams["error"]]) == bool(told)


async def test_nothing_is_sent_before_every_stream_is_there(site: Site) -> None:
    async with upgraded(site, "exec", command("echo", "x", stderr=True)) as bare:
        first = await bare.open("error", "stdout")
        while len(bare.replied) < 2:
            await bare.frames()
        assert not bare.data
        last = await bare.open("stderr")
        await bare.until(*first.values(), *last.values())
    assert bare.data[first["stdout"]] == b"x\n"


async def test_streams_that_nobody_expects_are_refused_alone(site: Site) -> None:
    async with upgraded(site, "exec", command("cat", stdin=True)) as bare:
        odd = await bare.open("what", "stderr", "resize")
        streams = await bare.open("error", "stdout", "stdin")
        again = await bare.open("stdout")
        await bare.send(data(streams["stdin"], b"x", end=True))
        await bare.until(*streams.values())
    assert bare.reset == {*odd.values(), *again.values()}
    assert bare.data[streams["stdout"]] == b"x"


async def test_sizes_come_whole_or_in_pieces(site: Site) -> None:
    async with upgraded(site, "exec", command("cat", stdin=True, tty=True)) as bare:
        streams = await bare.open("error", "stdin", "stdout", "resize")
        size = streams["resize"]
        await bare.send(data(size, b'{"Width":80,"Height":24}\n{"Width":81,'))
        await site.pod.until(lambda: len(site.pod.sizes) == 1)
        await bare.send(data(size, b'"Height":25}\n'))
        await bare.send(data(size, bytes(10_000)), data(size, b'\n{"Width":82,"Height":26}\n'))
        await site.pod.until(lambda: len(site.pod.sizes) == 3)
        await bare.send(data(size, b"", end=True), data(streams["stdin"], b"", end=True))
        await bare.until(streams["error"])
    assert site.pod.sizes == [TerminalSize(80, 24), TerminalSize(81, 25), TerminalSize(82, 26)]


def test_a_terminal_has_no_stderr_and_a_stream_for_its_size() -> None:
    def expected(protocol: str) -> frozenset[int]:
        return expected_streams(stdin=True, stdout=True, stderr=True, tty=True, protocol=protocol)

    assert expected(V4) == {0, 1, 3, 4}
    assert expected("v2.channel.k8s.io") == {0, 1, 3}


async def test_windows_are_kept_by_those_who_keep_them(site: Site) -> None:
    """A client that opens windows gets no more than it allows, and is told to go on itself."""
    async with upgraded(site, "exec", command("cat", stdin=True)) as bare:
        streams = await bare.open("error", "stdin", "stdout")
        await bare.send(control(WINDOW_UPDATE, streams["stdout"].to_bytes(4) + (1).to_bytes(4)))
        body = os.urandom(200_000)
        allowed = 65_536 + 1
        sent = seen = 0
        opened = 65_536
        while len(bare.data.get(streams["stdout"], b"")) < len(body):
            if sent < len(body) and sent < opened:
                piece = body[sent : min(sent + 8192, opened)]
                await bare.send(data(streams["stdin"], piece))
                sent += len(piece)
                continue
            for frame in await bare.frames():
                if frame.kind == WINDOW_UPDATE and frame.stream == streams["stdin"]:
                    opened += int.from_bytes(frame.payload[4:])
            seen = len(bare.data.get(streams["stdout"], b""))
            assert seen <= allowed
            if seen == allowed:
                allowed += 30_000
                more = streams["stdout"].to_bytes(4) + (30_000).to_bytes(4)
                await bare.send(control(WINDOW_UPDATE, more))
        await bare.send(data(streams["stdin"], b"", end=True))
        await bare.until(streams["error"])
    assert bare.data[streams["stdout"]] == body


async def test_a_slow_client_holds_the_process_up(site: Site) -> None:
    script = "head -c 33554432 /dev/zero; exit 5"
    async with upgraded(site, "exec", command("sh", "-c", script)) as bare:
        streams = await bare.open("error", "stdout")
        await bare.frames()
        (process,) = site.pod.running
        await asyncio.sleep(0.3)  # a bound that is broken shows as the process running ahead
        assert process.returncode is None
        await bare.until(*streams.values())
    assert len(bare.data[streams["stdout"]]) == 33_554_432
    assert b'"5"' in bare.data[streams["error"]]


@pytest.mark.parametrize("streams", [(), ("error",), ("error", "stdout")])
async def test_a_client_that_goes_ends_the_process(site: Site, streams: tuple[str, ...]) -> None:
    """Before its streams are there, and after."""
    async with upgraded(site, "exec", command("sleep", "99")) as bare:
        await bare.open(*streams)
    await site.pod.until(lambda: site.pod.ended == [-9])


async def test_a_process_that_is_deaf_hears_that_its_client_went(site: Site) -> None:
    """Half a megabyte is on its way, which the process does not read."""
    async with upgraded(site, "exec", command("sleep", "99", stdin=True)) as bare:
        streams = await bare.open("error", "stdin", "stdout")
        for _ in range(10):
            await bare.send(data(streams["stdin"], bytes(50_000)))
    await site.pod.until(lambda: site.pod.ended == [-9])


async def test_a_client_that_says_goodbye_ends_the_process(site: Site) -> None:
    async with upgraded(site, "exec", command("sleep", "99")) as bare:
        await bare.open("error", "stdout")
        await bare.send(control(GOAWAY, bytes(8)))
        await site.pod.until(lambda: site.pod.ended == [-9])


async def test_streams_that_do_not_come_end_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kindling.cluster.apiserver.streams.streamed._CREATION", 0.1)
    async with upgraded(site, "exec", command("sleep", "99")) as bare:
        await bare.open("error")
        await site.pod.until(lambda: site.pod.ended == [-9])
        bare.writer.write_eof()
        await bare.reader.read()


@pytest.mark.parametrize(
    ("path", "protocol", "status"),
    [
        ("exec", "", 400),
        ("exec", "nonsense", 403),
        ("portforward", "", 400),
        ("portforward", V4, 403),
    ],
)
async def test_without_a_protocol_of_ours_there_is_no_upgrade(
    site: Site, path: str, protocol: str, status: int
) -> None:
    """And what comes behind the request is not read as a request."""
    async with connected(site) as bare:
        behind = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
        await bare.send(request(path, command("sleep", "99"), protocol) + behind)
        found, headers = await bare.head()
        assert (found, headers["connection"]) == (status, "close")
        assert b"HTTP/1.1" not in await bare.reader.read()


async def test_what_comes_before_the_answer_is_not_lost(site: Site) -> None:
    spdy = SpdyClient()
    openings = [spdy.open({"streamtype": name}) for name in ("error", "stdout")]
    async with connected(site) as bare:
        whole = request("exec", command("echo", "x"), V4) + b"".join(sent for _, sent in openings)
        await bare.send(whole)
        assert (await bare.head())[0] == 101
        await bare.until(*(stream for stream, _ in openings))
    assert bare.data[openings[1][0]] == b"x\n"


async def test_too_much_before_the_answer_ends_the_connection(site: Site) -> None:
    async with connected(site) as bare:
        await bare.send(request("exec", command("true"), V4))
        bare.writer.write(bytes(1_000_000))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await bare.reader.readexactly(1_000_000)


async def test_other_upgrades_are_not_heard(site: Site) -> None:
    async with connected(site) as bare:
        for _ in range(2):
            await bare.send(
                b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
            )
            assert (await bare.head())[0] == 200
            assert b"v1.32.0" in await bare.reader.readuntil(b"0\r\n\r\n")


async def test_a_request_behind_others_gets_its_upgrade(site: Site) -> None:
    async with connected(site) as bare:
        before = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
        await bare.send(before * 2 + request("exec", command("echo", "x"), V4))
        for _ in range(2):
            assert (await bare.head())[0] == 200
            await bare.reader.readuntil(b"0\r\n\r\n")
        assert (await bare.head())[0] == 101
        streams = await bare.open("error", "stdout")
        await bare.until(*streams.values())


@pytest.mark.parametrize(
    "hostile", [b"GET / HTTP/1.1\r\n", bytes(64), control(1, (1).to_bytes(4) + bytes(6) + bomb())]
)
async def test_hostile_bytes_end_their_connection_alone(
    site: Site, echo: int, hostile: bytes
) -> None:
    async with upgraded(site, "portforward", [], PORTS) as good:
        error, stream, opening = good.spdy.pair(echo, "0")
        await good.send(opening)
        async with upgraded(site, "portforward", [], PORTS) as bad:
            await bad.send(hostile)
            assert (await bad.reader.read())[:4] == b"\x80\x03\x00\x07"
        async with upgraded(site, "exec", command("sleep", "99")) as bad:
            await bad.open("error", "stdout")
            await bad.send(hostile)
            await site.pod.until(lambda: site.pod.ended == [-9])
            await bad.reader.read()
        await good.send(data(stream, b"alive", end=True))
        await good.until(error, stream)
        assert good.data[stream] == b"alive"


async def test_ports_over_the_bare_connection(site: Site, echo: int, unused: int) -> None:
    async with upgraded(site, "portforward", [], PORTS) as bare:
        dead_error, dead, first = bare.spdy.pair(unused, "0")
        error, stream, second = bare.spdy.pair(echo, "1")
        body = os.urandom(500_000)
        await bare.send(first, second)
        talk = asyncio.create_task(bare.until(error, stream, dead_error, dead))
        for start in range(0, len(body), 50_000):
            await bare.send(data(stream, body[start : start + 50_000]))
        await bare.send(data(stream, b"", end=True))
        await talk
    assert bare.data[stream] == body
    assert b"connection refused" in bare.data[dead_error]
