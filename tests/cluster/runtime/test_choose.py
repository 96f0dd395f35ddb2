"""Which runtime a machine gets, and what it says about it."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from kindling.cluster.runtime import choose
from kindling.cluster.runtime.launcher import LauncherRuntime
from kindling.cluster.runtime.plain import PlainRuntime
from kindling.cluster.runtime.protocol import SandboxSpec, StartError
from tests.cluster.runtime.conftest import Bench, interpreter_of, make_runtime


async def test_namespaces_are_taken_where_they_can_be_had(space: Path) -> None:
    interpreter_of("root")
    runtime = await choose.choose_runtime(space / "runtime")
    try:
        assert isinstance(runtime, LauncherRuntime)
        assert runtime.isolation.pids
        await runtime.start()  # again: nothing
    finally:
        await runtime.close()


async def test_what_cannot_be_had_is_told_with_its_reason(
    space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: LauncherRuntime) -> None:
        raise StartError("user namespaces are not allowed here: operation not permitted")

    monkeypatch.setattr(LauncherRuntime, "start", refuse)
    runtime = await choose.choose_runtime(space / "runtime")
    try:
        assert isinstance(runtime, PlainRuntime)
        assert "user namespaces are not allowed here" in runtime.isolation.missing[0]
    finally:
        await runtime.close()


async def test_plain_processes_can_be_asked_for(space: Path) -> None:
    runtime = await choose.choose_runtime(space / "runtime", plain=True)
    try:
        assert isinstance(runtime, PlainRuntime)
        assert "asked for" in runtime.isolation.missing[0]
    finally:
        await runtime.close()


async def test_a_launcher_that_cannot_even_begin_says_why(space: Path) -> None:
    runtime = LauncherRuntime(space / "runtime", interpreter=("/no/such/python",))
    with pytest.raises(StartError, match=r"the launcher cannot be started: .*No such file"):
        await runtime.start()
    broken = LauncherRuntime(space / "runtime", interpreter=("/bin/false",))
    with pytest.raises(StartError, match="the launcher ended at once"):
        await broken.start()
    with pytest.raises(StartError, match="has not been started"):
        runtime.open_socket(socket.AF_INET, socket.SOCK_STREAM)


@pytest.mark.parametrize("kind", ["plain", "root", "rootless"])
async def test_after_its_launcher_was_killed_a_runtime_begins_anew(kind: str, space: Path) -> None:
    made = Bench(kind, await make_runtime(kind, space / "runtime"), space)
    try:
        for _ in range(2):
            await made.runtime.create_sandbox(SandboxSpec("pod", "web"))
            container = await made.run("sleep", "1000")
            os.kill(made.runtime.launcher_pid, signal.SIGKILL)
            ended = await container.wait()
            assert (ended.code, ended.signal) == (137, signal.SIGKILL)
            await container.remove()
            assert not made.runtime.alive
            with pytest.raises(StartError, match="the launcher of containers is gone"):
                await made.run("true")
            await made.runtime.start()
        await made.runtime.create_sandbox(SandboxSpec("pod", "web"))
        assert (await (await made.run("true")).wait()).code == 0
    finally:
        await made.runtime.close()
