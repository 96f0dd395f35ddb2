"""What every runtime promises, on all of them."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from dataclasses import replace

import pytest

from kindling.cluster.model.streams import ExecRequest
from kindling.cluster.runtime.protocol import SandboxSpec, StartError
from tests.cluster.runtime.conftest import KINDS, Bench, one_loop

pytestmark = [one_loop, pytest.mark.parametrize("bench", KINDS, indirect=True)]


async def test_a_container_says_its_words_and_ends(bench: Bench) -> None:
    before = time.time()
    container = await bench.run("echo", "hello", "world")
    assert container.stderr is not None
    assert await container.stdout.read() == b"hello world\n"
    assert await container.stderr.read() == b""
    ended = await container.wait()
    assert (ended.code, ended.signal, ended.out_of_memory) == (0, 0, False)
    assert before - 1 < container.started_at <= ended.at + 0.01
    assert container.pid > 0
    assert container.stdin is None


async def test_the_exit_code_is_the_programs(bench: Bench) -> None:
    assert (await (await bench.run("false")).wait()).code == 1
    assert (await (await bench.run("true")).wait()).code == 0


async def test_wait_may_be_awaited_by_several_and_again(bench: Bench) -> None:
    container = await bench.run("true")
    first, second = await asyncio.gather(container.wait(), container.wait())
    assert first == second == await container.wait()


async def test_closing_stdin_is_its_end_of_file(bench: Bench) -> None:
    container = await bench.run("cat", stdin=True)
    assert container.stdin is not None
    container.stdin.write(b"there ")
    await container.stdin.drain()
    assert await container.stdout.readexactly(6) == b"there "
    container.stdin.write(b"and back")
    container.stdin.close()
    assert await container.stdout.read() == b"and back"
    assert (await container.wait()).code == 0


async def test_without_stdin_there_is_nothing_to_read(bench: Bench) -> None:
    container = await bench.run("cat")
    assert container.stdin is None
    assert (await container.wait()).code == 0


async def test_a_killed_container_tells_its_signal(bench: Bench) -> None:
    container = await bench.run("sleep", "1000")
    container.signal(signal.SIGKILL)
    ended = await container.wait()
    assert (ended.code, ended.signal) == (137, signal.SIGKILL)
    container.signal(signal.SIGKILL)  # of one that has ended: nothing


async def test_what_cannot_be_found_says_so(bench: Bench) -> None:
    with pytest.raises(StartError, match=r'^exec: "no-such": executable file not found in \$PATH$'):
        await bench.run("no-such", "word")
    with pytest.raises(StartError, match=r'exec: "/no/such": stat /no/such: no such file or dir'):
        await bench.run("/no/such")
    with pytest.raises(StartError, match="no command specified"):
        await bench.run()
    container = await bench.run("true")  # and all goes on
    assert (await container.wait()).code == 0


async def test_a_container_needs_a_sandbox_and_an_id_of_its_own(bench: Bench) -> None:
    with pytest.raises(StartError, match="there is no sandbox `other`"):
        await bench.run("true", sandbox="other")
    first = await bench.run("sleep", "1000", id="same")
    with pytest.raises(StartError, match="there is a container `same` already"):
        await bench.runtime.run(replace(bench.spec("true"), id="same"))
    with pytest.raises(StartError, match="there is a sandbox `pod` already"):
        await bench.runtime.create_sandbox(SandboxSpec("pod", "web-1"))
    await first.remove()


async def test_a_further_process_runs_beside_the_first(bench: Bench) -> None:
    container = await bench.run("sleep", "1000")
    process = await container.exec(ExecRequest(("echo", "again")))
    assert process.stdout is not None
    assert process.stdin is None
    assert await process.stdout.read() == b"again\n"
    assert await process.wait() == 0
    assert await (await container.exec(ExecRequest(("false",)))).wait() == 1


async def test_a_further_process_has_its_own_streams(bench: Bench) -> None:
    container = await bench.run("sleep", "1000")
    process = await container.exec(ExecRequest(("cat",), stdin=True, stderr=False))
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is None
    process.stdin.write(b"x" * 300_000)
    process.stdin.close()
    assert len(await process.stdout.read()) == 300_000
    assert await process.wait() == 0


async def test_end_kills_a_further_process_and_no_other(bench: Bench) -> None:
    container = await bench.run("sleep", "1000")
    process = await container.exec(ExecRequest(("sleep", "1000")))
    await process.end()
    assert await process.wait() == 137
    again = await container.exec(ExecRequest(("true",)))
    assert await again.wait() == 0


async def test_further_processes_end_with_their_container(bench: Bench) -> None:
    container = await bench.run("sleep", "1000")
    process = await container.exec(ExecRequest(("sleep", "1000")))
    container.signal(signal.SIGKILL)
    await container.wait()
    assert await process.wait() == 137
    with pytest.raises(StartError, match=r"not running|has ended"):
        await container.exec(ExecRequest(("true",)))


async def test_a_further_process_that_cannot_be_found_says_so(bench: Bench) -> None:
    container = await bench.run("sleep", "1000")
    with pytest.raises(StartError, match='exec: "no-such": executable file not found'):
        await container.exec(ExecRequest(("no-such",)))
    with pytest.raises(StartError, match="no command specified"):
        await container.exec(ExecRequest(()))


async def test_removing_a_container_kills_it(bench: Bench) -> None:
    container = await bench.run("sleep", "1000")
    await container.remove()
    assert (await container.wait()).signal == signal.SIGKILL
    await container.remove()


async def test_removing_a_sandbox_kills_what_is_in_it(bench: Bench) -> None:
    container = await bench.run("sleep", "1000")
    await bench.runtime.remove_sandbox("pod")
    assert (await container.wait()).code == 137
    await bench.runtime.remove_sandbox("pod")
    await bench.runtime.remove_sandbox("never-was")
    await bench.runtime.create_sandbox(SandboxSpec("pod", "web-1"))


async def test_closing_the_runtime_kills_everything(bench: Bench) -> None:
    containers = [await bench.run("sleep", "1000") for _ in range(3)]
    await bench.close()
    assert [(await c.wait()).code for c in containers] == [137] * 3


async def test_many_containers_at_once(bench: Bench) -> None:
    async def one(number: int) -> bytes:
        container = await bench.run("echo", str(number))
        said = await container.stdout.read()
        await container.wait()
        await container.remove()
        return said

    said = await asyncio.gather(*(one(number) for number in range(20)))
    assert said == [f"{number}\n".encode() for number in range(20)]


async def test_sockets_are_non_blocking_and_of_the_pods_network(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    with (
        bench.runtime.open_socket(socket.AF_INET, socket.SOCK_STREAM, "pod") as server,
        bench.runtime.open_socket(socket.AF_INET, socket.SOCK_STREAM) as client,
    ):
        assert server.getblocking() is False
        assert client.getblocking() is False
        assert server.get_inheritable() is False
        target = bench.address if bench.kind != "fake" else "127.0.0.1"
        server.bind((target, 0))
        server.listen()
        connecting = asyncio.ensure_future(loop.sock_connect(client, server.getsockname()))
        made, address = await loop.sock_accept(server)
        await connecting
        made.close()
        if bench.kind != "fake":
            assert address[0] == bench.runtime.node_address
    with pytest.raises(StartError, match="there is no sandbox `other`"):
        bench.runtime.open_socket(socket.AF_INET, socket.SOCK_STREAM, "other")
