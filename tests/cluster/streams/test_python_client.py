"""The `kubernetes` package over our streams: what its users call."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client, stream

from tests.cluster.streams.conftest import Site

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _leaks() -> Iterator[None]:
    """The package leaves sockets open whose other end closed first; not beyond its own tests."""
    yield
    gc.collect()


def core(site: Site) -> client.CoreV1Api:
    configuration = client.Configuration()
    configuration.host = f"http://{site.host}"
    return client.CoreV1Api(client.ApiClient(configuration))


async def called(function: Callable[[], Any]) -> Any:
    async with asyncio.timeout(30):
        return await asyncio.to_thread(function)


async def test_exec_gives_all_that_it_printed(site: Site) -> None:
    api = core(site)
    printed = await called(
        lambda: stream.stream(
            api.connect_get_namespaced_pod_exec,
            "web",
            "default",
            command=["sh", "-c", "echo out; echo err >&2"],
            stdin=False,
            stdout=True,
            stderr=True,
            tty=False,
        )
    )
    assert sorted(printed.split()) == ["err", "out"]


async def test_a_conversation_with_a_process_and_its_exit_code(site: Site) -> None:
    api = core(site)

    def talk() -> tuple[str, str, int]:
        session = stream.stream(
            api.connect_get_namespaced_pod_exec,
            "web",
            "default",
            command=["sh", "-c", "read a; echo you said $a; read b; exit $b"],
            stdin=True,
            stdout=True,
            stderr=True,
            tty=False,
            _preload_content=False,
        )
        session.write_stdin("hello\n")
        line = session.readline_stdout(timeout=20)
        session.write_stdin("5\n")
        session.run_forever(timeout=20)
        session.close()
        return line, session.read_stderr(), session.returncode

    assert await called(talk) == ("you said hello", "", 5)


async def test_port_forward(site: Site, echo: int) -> None:
    api = core(site)

    def talk() -> bytes:
        forward = stream.portforward(
            api.connect_get_namespaced_pod_portforward, "web", "default", ports=str(echo)
        )
        connection = forward.socket(echo)
        connection.setblocking(True)
        connection.settimeout(20)
        connection.sendall(bytes(100_000) + b"end")
        received = b""
        while not received.endswith(b"end"):
            received += connection.recv(65536)
        connection.close()
        return received

    assert await called(talk) == bytes(100_000) + b"end"


async def test_port_forward_to_nothing(site: Site, unused: int) -> None:
    api = core(site)

    def talk() -> tuple[bytes, str]:
        forward = stream.portforward(
            api.connect_get_namespaced_pod_portforward, "web", "default", ports=str(unused)
        )
        connection = forward.socket(unused)
        connection.settimeout(20)
        received = connection.recv(1)
        connection.close()
        return received, forward.error(unused)

    received, error = await called(talk)
    assert received == b""
    assert "connection refused" in error
