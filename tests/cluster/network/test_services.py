"""Service addresses lead to ready pods, and to nothing else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from kindling.cluster.model.resource import builtin
from kindling.cluster.network.services import ServiceAddresses
from tests.cluster.network.conftest import Town, running

SLICES = builtin("endpointslices", "discovery.k8s.io")


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@asynccontextmanager
async def pod(word: bytes, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Echoes what it gets after its word, once the client has finished."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        writer.write(word + data)
        writer.close()

    server = await asyncio.start_server(serve, host, port)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def ask(address: str, port: int, data: bytes = b"") -> bytes:
    async with asyncio.timeout(10):
        while True:
            try:
                reader, writer = await asyncio.open_connection(address, port)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.005)  # the listener comes with the event of its Service
        writer.write(data)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer


async def refused(address: str, port: int) -> None:
    """Return once nothing listens there any more."""
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection(address, port)
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(0.005)


async def test_a_service_shares_connections_between_its_pods(town: Town) -> None:
    front = free_port()
    async with pod(b"one") as port, pod(b"two", "127.0.0.2", port):
        await town.service("web", externalIPs=["127.0.0.9"], ports=[{"port": front}])
        await town.behind("web", "127.0.0.1", "127.0.0.2", unnamed=port)
        async with running(ServiceAddresses(town.api, town.runtime).run()):
            answers = [await ask("127.0.0.9", front, b"!") for _ in range(4)]
    assert sorted(answers) == [b"one!", b"one!", b"two!", b"two!"]


async def test_megabytes_pass_whole_in_both_directions(town: Town) -> None:
    front = free_port()
    data = bytes(range(256)) * 20_000
    async with pod(b"") as port:
        await town.service("web", externalIPs=["127.0.0.9"], ports=[{"port": front}])
        await town.behind("web", "127.0.0.1", unnamed=port)
        async with running(ServiceAddresses(town.api, town.runtime).run()):
            assert await ask("127.0.0.9", front, data) == data


async def test_a_service_without_ready_pods_refuses(town: Town) -> None:
    """It takes no connection that it would have to drop, or who waits for it would be deceived."""
    front, other = free_port(), free_port()
    async with pod(b"one") as port:
        for name, number in (("web", front), ("other", other)):
            await town.service(name, externalIPs=["127.0.0.9"], ports=[{"port": number}])
        await town.behind("other", "127.0.0.1", unnamed=port)
        async with running(ServiceAddresses(town.api, town.runtime).run()):
            assert await ask("127.0.0.9", other) == b"one"
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.9", front)


async def test_a_service_opens_with_its_first_pod_and_closes_with_its_last(town: Town) -> None:
    """What is connected by then goes on, as it does behind kube-proxy."""
    front = free_port()
    async with pod(b"one") as port:
        await town.service("web", externalIPs=["127.0.0.9"], ports=[{"port": front}])
        async with running(ServiceAddresses(town.api, town.runtime).run()):
            made = await town.behind("web", "127.0.0.1", unnamed=port)
            assert await ask("127.0.0.9", front, b"!") == b"one!"
            reader, writer = await asyncio.open_connection("127.0.0.9", front)
            writer.write(b"a")
            await town.api.delete(SLICES, made["metadata"]["name"], "default")
            await refused("127.0.0.9", front)
            writer.write(b"b")
            writer.write_eof()
            assert await reader.read() == b"oneab"
            writer.close()
            await town.behind("web", "127.0.0.1", unnamed=port)
            assert await ask("127.0.0.9", front, b"?") == b"one?"


async def test_clients_stick_to_a_pod_where_the_service_says_so(town: Town) -> None:
    front = free_port()
    async with pod(b"one") as port, pod(b"two", "127.0.0.2", port):
        spec = {"externalIPs": ["127.0.0.9"], "sessionAffinity": "ClientIP"}
        await town.service("web", ports=[{"port": front}], **spec)
        await town.behind("web", "127.0.0.1", "127.0.0.2", unnamed=port)
        async with running(ServiceAddresses(town.api, town.runtime).run()):
            assert len({await ask("127.0.0.9", front) for _ in range(5)}) == 1


async def test_a_deleted_service_is_not_listened_on(town: Town) -> None:
    front = free_port()
    async with pod(b"one") as port:
        await town.service("web", externalIPs=["127.0.0.9"], ports=[{"port": front}])
        await town.behind("web", "127.0.0.1", unnamed=port)
        async with running(ServiceAddresses(town.api, town.runtime).run()):
            assert await ask("127.0.0.9", front) == b"one"
            await town.api.delete(builtin("services"), "web", "default")
            await refused("127.0.0.9", front)


async def test_datagrams_go_to_a_pod_and_back(town: Town) -> None:
    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.DatagramTransport, transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.transport.sendto(data.upper(), addr)

    loop = asyncio.get_running_loop()
    echo, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    front = free_port(socket.SOCK_DGRAM)
    await town.service("dns", externalIPs=["127.0.0.9"], ports=[{"port": front, "protocol": "UDP"}])
    await town.behind("dns", "127.0.0.1", unnamed=echo.get_extra_info("sockname")[1])
    try:
        async with running(ServiceAddresses(town.api, town.runtime).run()):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                client.connect(("127.0.0.9", front))
                async with asyncio.timeout(10):
                    for number in range(3):
                        while True:
                            try:
                                await loop.sock_sendall(client, b"word%d" % number)
                                got = await loop.sock_recv(client, 100)
                                break
                            except ConnectionRefusedError:
                                await asyncio.sleep(0.005)
                        assert got == b"WORD%d" % number
    finally:
        echo.close()
