"""The listener starts and stops with its owner, on whatever sockets it is given."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import aiohttp

from kindling.cluster.apiserver.serving import Serving, loopback_socket
from kindling.cluster.pki.authority import Authority
from tests.cluster.apiserver.serve import Cluster


async def test_one_server_answers_on_several_sockets(cluster: Cluster, tmp_path: Path) -> None:
    """As for pods, which reach it by a socket out of another network."""
    plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    plain.bind(("127.0.0.1", 0))
    more = Serving(
        cluster.app,
        [plain, loopback_socket()],
        tls=Authority(tmp_path / "pki").server_context(),
    )
    await more.start()
    headers = {"authorization": f"Bearer {cluster.tokens.admin}"}
    connector = aiohttp.TCPConnector(ssl=cluster.authority.client_context())
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        for port in more.ports:
            async with session.get(f"https://127.0.0.1:{port}/readyz") as answer:
                assert await answer.text() == "ok"
        await more.close()
        await more.close()


async def test_connections_are_kept_between_requests(cluster: Cluster) -> None:
    headers = {"authorization": f"Bearer {cluster.tokens.admin}"}
    connector = aiohttp.TCPConnector(ssl=cluster.authority.client_context())
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        for _ in range(5):
            async with session.get(f"https://127.0.0.1:{cluster.port}/version") as answer:
                await answer.read()
        (kept,) = connector._conns.values()
        assert len(kept) == 1


async def test_answers_do_not_wait_for_acknowledgements(cluster: Cluster) -> None:
    """Nagle's algorithm would hold a body back for 40 ms; asyncio turns it off by itself only for
    sockets whose protocol was named, which those that come from elsewhere are not."""
    given = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    given.bind(("127.0.0.1", 0))
    with given.dup() as same:
        server = Serving(cluster.app, [given], tls=None)
        await server.start()
        assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    await server.close()


async def test_an_ended_server_lets_go_of_its_port(tmp_path: Path) -> None:
    class Nothing:
        async def __call__(self, scope: object, receive: object, send: object) -> None:
            raise AssertionError(f"nobody asks: {scope} {receive} {send}")

        def stop(self) -> None:
            pass

    listener = loopback_socket()
    port = listener.getsockname()[1]
    server = Serving(Nothing(), [listener], tls=Authority(tmp_path).server_context())
    await server.start()
    idle = await asyncio.open_connection("127.0.0.1", port)
    await server.close()
    loopback_socket(port).close()
    idle[1].transport.abort()
