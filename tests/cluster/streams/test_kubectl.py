"""kubectl itself over our streams, by WebSocket and by SPDY."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.streams.conftest import Site

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl")


@pytest.fixture(params=["websocket", "spdy"], autouse=True)
def spoken(request: pytest.FixtureRequest, site: Site) -> Iterator[None]:
    """Once as kubectl is since 1.31, and once as it was before."""
    if request.param == "spdy":
        site.environment["KUBECTL_REMOTE_COMMAND_WEBSOCKETS"] = "false"
        site.environment["KUBECTL_PORT_FORWARD_WEBSOCKETS"] = "false"
    yield
    assert site.pod.spoken == {request.param}


async def test_exec_gives_output_errors_and_exit_code(site: Site) -> None:
    code, out, err = await site.kubectl(
        "exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 7"
    )
    assert (code, out) == (7, b"out\n")
    assert err.splitlines() == [b"err", b"command terminated with exit code 7"]


async def test_exec_that_succeeds_is_silent(site: Site) -> None:
    assert await site.kubectl("exec", "web", "--", "true") == (0, b"", b"")


async def test_stdin_goes_through_and_ends(site: Site) -> None:
    """A megabyte each way, and `cat` sees the end of it."""
    data = bytes(range(256)) * 4096
    code, out, err = await site.kubectl("exec", "-i", "web", "--", "cat", stdin=data)
    assert (code, err) == (0, b"")
    assert out == data


async def test_attach_has_no_exit_code(site: Site) -> None:
    code, out, err = await site.kubectl("attach", "-q", "-i", "web", stdin=b"hello")
    assert (code, out) == (0, b"hello"), err


async def test_a_client_that_dies_takes_its_process_along(site: Site) -> None:
    async with site.kubectl_process(
        "exec", "web", "--", "sh", "-c", "echo up; sleep 99"
    ) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"up\n"
        process.kill()
        await site.pod.until(lambda: site.pod.ended == [-9])


async def test_cp_there_and_back(site: Site, tmp_path: Path) -> None:
    source, there, back = (tmp_path / name for name in ("source", "there", "back"))
    source.write_bytes(b"\0\1content" * 50_000)
    code, _, err = await site.kubectl("cp", str(source), f"web:{there}")
    assert code == 0, err
    assert there.read_bytes() == source.read_bytes()
    code, _, err = await site.kubectl("cp", f"web:{there}", str(back))
    assert code == 0, err
    assert back.read_bytes() == source.read_bytes()


async def forwarded(process: asyncio.subprocess.Process) -> int:
    """The local port that kubectl says it forwards."""
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    found = re.search(r"127\.0\.0\.1:(\d+) ->", line)
    assert found, line
    return int(found.group(1))


async def test_port_forward_carries_many_connections_at_once(site: Site, echo: int) -> None:
    async with site.kubectl_process("port-forward", "pod/web", f":{echo}") as process:
        port = await forwarded(process)

        async def talk(number: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            data = bytes([number]) * 300_000
            writer.write(data)
            writer.write_eof()
            assert await reader.read(-1) == data
            writer.close()

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(talk(number))


async def test_port_forward_tells_that_nothing_listens(site: Site, unused: int) -> None:
    async with site.kubectl_process("port-forward", "pod/web", f":{unused}") as process:
        port = await forwarded(process)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(20):
            assert await reader.read() == b""
            assert process.stderr is not None
            told = (await process.stderr.read()).decode()
        writer.close()
    assert f"error forwarding port {unused} to pod web" in told
    assert "connection refused" in told
