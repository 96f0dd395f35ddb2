"""Pods reach what the machine reaches, and nothing of it shows on the machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from kindling.cluster.runtime import egress
from tests.cluster.runtime.conftest import Bench, one_loop

pytestmark = [
    one_loop,
    pytest.mark.parametrize("bench", ["root", "rootless"], indirect=True),
]


@pytest.fixture
def outside() -> Iterator[socket.socket]:
    """A server of this machine, at an address of it that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address = probe.getsockname()[0]
        except OSError:
            pytest.skip("this machine has no network")
    with socket.create_server((address, 0)) as server:
        server.setblocking(False)
        yield server


def _needs_egress(bench: Bench) -> None:
    if any("reach nothing outside" in line for line in bench.runtime.isolation.missing):
        pytest.skip(bench.runtime.isolation.missing[0])


async def test_a_pod_speaks_with_a_server_outside(bench: Bench, outside: socket.socket) -> None:
    _needs_egress(bench)
    loop = asyncio.get_running_loop()
    address, port = outside.getsockname()
    script = (
        f"import socket; s = socket.create_connection(('{address}', {port}));"
        "s.sendall(b'x' * 3_000_000); s.shutdown(1); data = b''\n"
        "while more := s.recv(65536): data += more\n"
        "print(len(data))"
    )
    container = await bench.run("python3", "-c", script)
    made, _ = await loop.sock_accept(outside)
    got = 0
    while data := await loop.sock_recv(made, 65536):
        got += len(data)
    assert got == 3_000_000
    await loop.sock_sendall(made, b"y" * 2_000_000)  # behind the other half's end
    made.close()
    assert await container.stdout.read() == b"2000000\n"


async def test_a_pod_on_the_nodes_network_does_too(bench: Bench, outside: socket.socket) -> None:
    _needs_egress(bench)
    loop = asyncio.get_running_loop()
    await bench.sandbox("node", "n", host_network=True)
    address, port = outside.getsockname()
    script = f"import socket; print(socket.create_connection(('{address}', {port})).recv(9))"
    container = await bench.run("python3", "-c", script, sandbox="node")
    made, _ = await loop.sock_accept(outside)
    await loop.sock_sendall(made, b"there")
    made.close()
    assert await container.stdout.read() == b"b'there'\n"


@pytest.mark.parametrize("own", [True, False], ids=["pod", "node"])
async def test_name_servers_answer_whatever_address_was_asked(
    bench: Bench, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _needs_egress(bench)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind(("127.0.0.77", 53))
        except OSError as error:
            pytest.skip(f"needs port 53 of a loopback address: {error}")
        server.setblocking(False)
        monkeypatch.setattr(egress, "_name_servers", lambda: ["127.0.0.77"])
        await bench.sandbox("node", "n", host_network=True)
        script = (
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(9);"
            "s.sendto(b'who?', ('192.0.2.53', 53)); print(s.recvfrom(99))"
        )
        container = await bench.run("python3", "-c", script, sandbox="pod" if own else "node")
        question, address = await loop.sock_recvfrom(server, 99)
        assert question == b"who?"
        await loop.sock_sendto(server, b"me", address)
        assert await container.stdout.read() == b"(b'me', ('192.0.2.53', 53))\n"


async def test_what_refuses_is_an_error_in_the_pod(bench: Bench, outside: socket.socket) -> None:
    _needs_egress(bench)
    address, port = outside.getsockname()
    outside.close()
    script = f"import socket; s = socket.create_connection(('{address}', {port})); s.recv(1)"
    said, ended = await bench.shell(f'python3 -c "{script}"')
    assert ended.code == 1
    assert "ConnectionResetError" in said or "ConnectionRefusedError" in said


async def test_service_addresses_are_never_carried_outside(bench: Bench) -> None:
    script = "import socket; socket.create_connection(('10.198.9.9', 4321))"
    said, ended = await bench.shell(f'python3 -c "{script}"')
    assert ended.code == 1
    assert "ConnectionRefusedError" in said
