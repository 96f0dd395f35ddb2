"""Exec, attach and connections into pods."""

from __future__ import annotations

import asyncio

import pytest

from kindling.cluster.model.status import ApiError
from kindling.cluster.model.streams import ExecRequest, TerminalSize
from kindling.cluster.runtime.fake import FakeProcess
from tests.cluster.node.bed import Bed
from tests.cluster.node.servers import web


async def test_exec_runs_a_command(bed: Bed) -> None:
    await bed.pod()
    await bed.running()
    process = await bed.node.exec("default", "web", "", ExecRequest(("echo", "hello")))
    assert process.stdout is not None
    assert await process.stdout.read() == b"hello\n"
    assert await process.wait() == 0
    await process.end()


async def test_exec_into_what_does_not_run_is_refused(bed: Bed) -> None:
    await bed.pod(restartPolicy="Never")
    await bed.running()
    bed.process().exit(0)
    await bed.phase("Succeeded")
    with pytest.raises(ApiError, match='container not found \\("main"\\)'):
        await bed.node.exec("default", "web", "main", ExecRequest(("echo",)))
    with pytest.raises(ApiError) as caught:
        await bed.node.exec("default", "nobody", "", ExecRequest(("echo",)))
    assert caught.value.code == 404


async def test_a_command_that_is_not_there(bed: Bed) -> None:
    await bed.pod()
    await bed.running()
    with pytest.raises(ApiError, match="executable file not found") as caught:
        await bed.node.exec("default", "web", "", ExecRequest(("nowhere",)))
    assert caught.value.code == 500


async def test_everyone_who_attaches_hears_what_the_log_does(bed: Bed) -> None:
    await bed.pod()
    await bed.running()
    one = await bed.node.attach("default", "web", "", ExecRequest())
    two = await bed.node.attach("default", "web", "", ExecRequest(stderr=False))
    bed.process().write("hello\n")
    assert one.stdout is not None
    assert two.stdout is not None
    assert await one.stdout.readline() == b"hello\n"
    assert await two.stdout.readline() == b"hello\n"
    assert two.stderr is None
    await one.end()
    bed.process().write("more\n")
    assert await two.stdout.readline() == b"more\n"
    assert await one.stdout.read() == b""
    assert bed.entry()["restartCount"] == 0
    waiting = asyncio.ensure_future(two.wait())
    bed.process().exit(3)
    assert await waiting == 3
    assert await two.stdout.read() == b""
    await bed.running(restarts=1)


@pytest.mark.parametrize("once", [True, False])
async def test_stdin_ends_with_the_first_client_only_if_the_pod_says_so(
    bed: Bed, once: bool
) -> None:
    async def reads(process: FakeProcess) -> int:
        process.write(b"got " + await process.stdin.read())
        return 0

    bed.fake.programs["run"] = reads
    await bed.pod(containers=[{"stdin": True, "stdinOnce": once}], restartPolicy="Never")
    await bed.running()
    attached = await bed.node.attach("default", "web", "", ExecRequest(stdin=True))
    assert attached.stdin is not None
    attached.stdin.write(b"text")
    await attached.stdin.drain()
    attached.stdin.close()
    if once:
        await bed.phase("Succeeded")
        assert await bed.log() == "got text"
    else:
        await bed.clock.advance(1)
        assert bed.status()["phase"] == "Running"
    await attached.end()


async def test_a_terminal_is_resized(bed: Bed) -> None:
    await bed.pod(containers=[{"tty": True, "stdin": True}])
    await bed.running()
    attached = await bed.node.attach("default", "web", "", ExecRequest(stdin=True, tty=True))
    attached.resize(TerminalSize(120, 40))
    assert attached.stderr is None
    assert bed.process().sizes == [(120, 40)]
    await attached.end()


async def test_a_port_of_the_pod_is_reached(bed: Bed) -> None:
    await bed.pod()
    await bed.running()
    async with web(lambda _: "HTTP/1.1 204 No Content\r\n\r\n") as (port, _):
        reader, writer = await bed.node.connect("default", "web", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 204")
        writer.close()
        await writer.wait_closed()
    with pytest.raises(ConnectionRefusedError):
        await bed.node.connect("default", "web", port)


async def test_an_ephemeral_container_joins(bed: Bed) -> None:
    from kindling.cluster.model.resource import builtin

    await bed.pod()
    await bed.running()
    pod = bed.get()
    extra = {"name": "debug", "image": "app:1", "command": ["cat"], "stdin": True}
    spec = pod["spec"] | {"ephemeralContainers": [extra]}
    await bed.api.update(builtin("pods"), pod | {"spec": spec}, "ephemeralcontainers")
    await bed.running("debug")
    await bed.clock.advance(0.5)
    await bed.until(lambda: bed.entry()["ready"])
    assert bed.condition("Ready")["status"] == "True"
    attached = await bed.node.attach("default", "web", "debug", ExecRequest(stdin=True))
    assert attached.stdin is not None
    assert attached.stdout is not None
    attached.stdin.write(b"hi\n")
    assert await attached.stdout.readline() == b"hi\n"
    await attached.end()
    bed.process().exit(0)
    await bed.until(lambda: "terminated" in bed.entry("debug")["state"])
    assert len(bed.fake.running) == 1
