"""The Ingress proxy passes requests and answers on, and says what is wrong when it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from kindling.cluster.model.resource import builtin
from kindling.cluster.network.ingress import IngressProxy
from tests.cluster.network.conftest import Town, running

INGRESSES = builtin("ingresses", "networking.k8s.io")

App = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def head(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")


async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the request's first line, what it was told of the client, and the body."""
    said = await head(reader)
    fields = {k.lower(): v for k, _, v in (line.partition(": ") for line in said.split("\r\n"))}
    body = b""
    if "content-length" in fields:
        body = await reader.readexactly(int(fields["content-length"]))
    elif "chunked" in fields.get("transfer-encoding", ""):
        while size := int((await reader.readline()), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    answer = f"{said.splitlines()[0]}|{fields['host']}|{fields['x-forwarded-for']}|".encode() + body
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-App: yes\r\n\r\n" % len(answer))
    writer.write(answer)
    writer.close()


@asynccontextmanager
async def served(town: Town, app: App = web, *, ready: bool = True) -> AsyncIterator[int]:
    """The proxy's port, with an Ingress `web.localhost` for the app."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await app(reader, writer)
        writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    await town.service("web", externalIPs=["127.0.0.9"], ports=[{"name": "http", "port": 80}])
    if ready:
        await town.behind("web", "127.0.0.1", http=server.sockets[0].getsockname()[1])
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    body = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"rules": [{"host": "web.localhost", "http": {"paths": paths}}]},
    }
    await town.api.create(INGRESSES, body, "default")
    seen = town.api.watch([INGRESSES])
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    port = int(listening.getsockname()[1])
    async with server, running(IngressProxy(town.api, town.runtime, listening).run()):
        async with asyncio.timeout(10):
            while not addressed(town):
                await anext(seen)
            yield port


def addressed(town: Town) -> bool:
    """Whether the Ingress says where it is served."""
    found = town.api.get(INGRESSES, "web", "default") or {}
    return bool(found.get("status", {}).get("loadBalancer", {}).get("ingress"))


async def talk(port: int, *requests: str) -> bytes:
    """Send requests one after another on one connection; all that came back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("".join(requests).encode("latin-1"))
    async with asyncio.timeout(10):
        got = await reader.read()
    writer.close()
    return got


GET = "GET /a?b=c HTTP/1.1\r\nHost: web.localhost\r\n\r\n"
LAST = "GET /last HTTP/1.1\r\nHost: web.localhost\r\nConnection: close\r\n\r\n"


async def test_a_request_reaches_the_app_with_host_and_client(town: Town) -> None:
    async with served(town) as port:
        got = await talk(port, GET, LAST)
    assert b"GET /a?b=c HTTP/1.1|web.localhost|127.0.0.1|" in got
    assert b"GET /last HTTP/1.1|" in got
    assert got.lower().count(b"x-app: yes") == 2


@pytest.mark.parametrize(
    "request_",
    [
        "POST / HTTP/1.1\r\nHost: web.localhost\r\nContent-Length: 5\r\n"
        "Connection: close\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: web.localhost\r\nTransfer-Encoding: chunked\r\n"
        "Connection: close\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ],
)
async def test_bodies_arrive_whole(town: Town, request_: str) -> None:
    async with served(town) as port:
        got = await talk(port, request_)
    assert got.endswith(b"|hello")


async def test_after_an_upgrade_bytes_pass_as_they_are(town: Town) -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert "upgrade: words" in (await head(reader)).lower()
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: words\r\nConnection: Upgrade\r\n\r\n"
        )
        while word := await reader.read(100):
            writer.write(word.upper())

    async with served(town, app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: web.localhost\r\n"
            b"Upgrade: words\r\nConnection: Upgrade\r\n\r\n"
        )
        assert "101" in await head(reader)
        for word in (b"one", b"two"):
            writer.write(word)
            assert await reader.readexactly(3) == word.upper()
        writer.close()


async def test_an_answer_without_a_length_streams(town: Town) -> None:
    go = asyncio.Event()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nfirst;")
        await go.wait()
        writer.write(b"second")
        writer.close()

    async with served(town, app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(LAST.encode())
        assert b"first;" in await reader.readuntil(b"first;")
        go.set()
        assert b"second" in await reader.read()
        writer.close()


async def test_an_unknown_host_is_told_which_there_are(town: Town) -> None:
    async with served(town) as port:
        got = await talk(port, "GET / HTTP/1.1\r\nHost: wbe.localhost\r\nConnection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 404")
    assert b"wbe.localhost/" in got
    assert b"Hosts: web.localhost" in got


async def test_a_service_without_ready_pods_is_named(town: Town) -> None:
    async with served(town, ready=False) as port:
        got = await talk(port, LAST)
    assert got.startswith(b"HTTP/1.1 503")
    assert b"default/web" in got
    assert b"no pod that is ready" in got


async def test_an_app_that_breaks_off_is_a_502(town: Town) -> None:
    async def app(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await head(reader)

    async with served(town, app) as port:
        assert (await talk(port, LAST)).startswith(b"HTTP/1.1 502")


async def test_nonsense_gets_a_400_and_harms_nobody(town: Town) -> None:
    async with served(town) as port:
        assert (await talk(port, "\x00\x01nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400")
        assert b"|web.localhost|" in await talk(port, LAST)


async def test_the_status_says_where_it_is_served(town: Town) -> None:
    async with served(town) as port:
        found = town.api.get(INGRESSES, "web", "default")
    assert found is not None
    (address,) = found["status"]["loadBalancer"]["ingress"]
    assert (address["ip"], address["ports"][0]["port"]) == ("127.0.0.1", port)
