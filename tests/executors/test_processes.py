"""Programs: run, read, limited and ended with all they started."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from kindling.errors import ExecutionError, HostError
from kindling.executors import guardian, processes
from kindling.executors.leftovers import ProcessRecords, end_leftovers
from kindling.executors.processes import MAX_LINE, HostProcesses
from kindling.executors.protocol import ProcessRunner
from kindling.testing.jobs import Lines
from kindling.testing.processes import FakeProcesses, Program

linux = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
ENV = {"PATH": os.environ["PATH"]}


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[HostProcesses]:
    runner = HostProcesses(tmp_path / ".kindling")
    yield runner
    await runner.close()


def script(tmp_path: Path, text: str) -> str:
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(text), "utf-8")
    return str(path)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that other processes do, which no clock of ours can hurry."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 no event of ours tells what other processes do
            await asyncio.sleep(0.005)


def alive(pid: int) -> bool:
    process = guardian.lookup(pid)
    return process is not None and process.alive


def is_guardian(pid: int) -> bool:
    return b"guardian.py" in Path(f"/proc/{pid}/cmdline").read_bytes()


def pids(path: Path, count: int) -> Callable[[], bool]:
    def written() -> bool:
        return path.exists() and len(path.read_text().split()) >= count

    return written


# The contract: the real runner and the made-up one
# -------------------------------------------------


@pytest.fixture(params=["host", "fake"])
async def runner(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ProcessRunner]:
    if request.param == "host":
        real = HostProcesses(tmp_path / ".kindling")
        yield real
        await real.close()
        return
    fake = FakeProcesses()
    fake.answer(
        "sh", "-c", "echo out; echo err >&2; exit 3", program=Program(3, b"out\n", b"err\n")
    )
    fake.answer("sh", "-c", "exit 0")
    fake.answer("sleep", program=Program(hangs=True))
    yield fake


async def test_a_run_gives_code_output_and_lines(runner: ProcessRunner, tmp_path: Path) -> None:
    lines = Lines()
    argv = ("sh", "-c", "echo out; echo err >&2; exit 3")
    result = await runner.run(argv, cwd=tmp_path, env=ENV, log=lines)
    assert (result.code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    assert sorted(lines.all) == [("stderr", "err"), ("stdout", "out")]


async def test_output_is_kept_only_when_asked(runner: ProcessRunner, tmp_path: Path) -> None:
    argv = ("sh", "-c", "echo out; echo err >&2; exit 3")
    result = await runner.run(argv, cwd=tmp_path, env=ENV, keep_output=False)
    assert (result.code, result.stdout, result.stderr) == (3, b"", b"")


async def test_an_unknown_program_is_named(runner: ProcessRunner, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="`no-such-program` was not"):
        await runner.run(("no-such-program",), cwd=tmp_path, env=ENV)


async def test_a_missing_folder_is_named(runner: ProcessRunner, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"the folder `.*gone` does not exist"):
        await runner.run(("sh", "-c", "exit 0"), cwd=tmp_path / "gone", env=ENV)


async def test_a_time_limit_ends_a_run(runner: ProcessRunner, tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match=r"`sleep` took longer than 0.1 s"):
        await runner.run(("sleep", "300"), cwd=tmp_path, env=ENV, timeout=0.1)


async def test_a_started_program_is_stopped(runner: ProcessRunner, tmp_path: Path) -> None:
    running = await runner.start(("sleep", "300"), cwd=tmp_path, env=ENV, log=Lines())
    assert await running.stop() == -signal.SIGINT
    assert await running.wait() == -signal.SIGINT


async def test_a_started_program_that_ends_has_a_code(
    runner: ProcessRunner, tmp_path: Path
) -> None:
    argv = ("sh", "-c", "echo out; echo err >&2; exit 3")
    lines = Lines()
    running = await runner.start(argv, cwd=tmp_path, env=ENV, log=lines)
    assert await running.wait() == 3
    assert await running.stop() == 3
    assert "out" in lines.text


# Output
# --------------------------------------------------------------------------------------------


async def test_a_chatty_program_does_not_block(host: HostProcesses, tmp_path: Path) -> None:
    """Both pipes are read at once, and the rest of the loop goes on meanwhile."""
    path = script(
        tmp_path,
        """
        import sys
        for n in range(3000):
            sys.stdout.write("o" * 200 + "\\n")
            sys.stderr.write("e" * 200 + "\\n")
        """,
    )
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    lines = Lines()
    result = await host.run((sys.executable, path), cwd=tmp_path, env=ENV, log=lines)
    other.cancel()
    assert len(result.stdout) == len(result.stderr) == 3000 * 201
    assert len(lines.all) == 6000
    assert turns > 10


async def test_what_is_kept_is_bounded(
    host: HostProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "KEPT_BYTES", 1000)
    result = await host.run(("sh", "-c", "yes | head -c 100000"), cwd=tmp_path, env=ENV)
    assert len(result.stdout) == 1000


async def test_long_lines_come_in_pieces(host: HostProcesses, tmp_path: Path) -> None:
    lines = Lines()
    path = script(tmp_path, f"print('x' * {MAX_LINE * 2 + 7}); print('next')")
    await host.run((sys.executable, path), cwd=tmp_path, env=ENV, log=lines)
    assert [len(line) for _, line in lines.all] == [MAX_LINE, MAX_LINE, 7, 4]


async def test_bytes_that_are_no_text_are_replaced(host: HostProcesses, tmp_path: Path) -> None:
    lines = Lines()
    argv = ("printf", "a\\377b\\nlast without end")
    result = await host.run(argv, cwd=tmp_path, env=ENV, log=lines)
    assert lines.of("stdout") == ["a\N{REPLACEMENT CHARACTER}b", "last without end"]
    assert result.stdout.startswith(b"a\xffb")


async def test_a_progress_bar_leaves_its_last_state(host: HostProcesses, tmp_path: Path) -> None:
    lines = Lines()
    await host.run(("printf", "10%%\\r50%%\\r100%%\\ndone\\r\\n"), cwd=tmp_path, env=ENV, log=lines)
    assert lines.of("stdout") == ["100%", "done"]


async def test_standard_input_is_given_or_empty(host: HostProcesses, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    given = await host.run(("cat",), cwd=tmp_path, env=ENV, stdin=data)
    assert given.stdout == data
    assert (await host.run(("cat",), cwd=tmp_path, env=ENV)).stdout == b""


async def test_background_children_of_a_finished_command_are_left_alone(
    host: HostProcesses, tmp_path: Path
) -> None:
    """A command may start a daemon; that it keeps the pipe open holds nobody up."""
    result = await host.run(("sh", "-c", "sleep 300 & echo $!"), cwd=tmp_path, env=ENV)
    child = int(result.stdout)
    assert alive(child)
    os.kill(child, signal.SIGKILL)


# Errors
# --------------------------------------------------------------------------------------------


async def test_a_program_that_may_not_be_run_is_named(host: HostProcesses, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    with pytest.raises(HostError, match=r"`\./tool` may not be run"):
        await host.run(("./tool",), cwd=tmp_path, env=ENV)


async def test_a_missing_interpreter_is_told_from_a_missing_program(
    host: HostProcesses, tmp_path: Path
) -> None:
    (tmp_path / "tool").write_text("#!/no/such/interpreter\n")
    (tmp_path / "tool").chmod(0o755)
    with pytest.raises(HostError, match="the interpreter named in its first line"):
        await host.run(("./tool",), cwd=tmp_path, env=ENV)


async def test_the_last_lines_come_with_a_time_limit(host: HostProcesses, tmp_path: Path) -> None:
    with pytest.raises(ExecutionError) as caught:
        await host.run(("sh", "-c", "echo almost; sleep 300"), cwd=tmp_path, env=ENV, timeout=0.3)
    assert caught.value.details == ("almost",)


# Ends
# ----------------------------------------------------------------------------------------------

FAMILY = """
sleep 301 & echo $! >> pids
(setsid sleep 302 & echo $! >> pids)
setsid sh -c 'sleep 303 & echo $! >> pids; echo $$ >> pids; wait' &
echo ready >> pids
wait
"""


@linux
async def test_grandchildren_die_on_cancel(host: HostProcesses, tmp_path: Path) -> None:
    """In the group, in sessions of their own, orphaned: all of them."""
    run = asyncio.create_task(host.run(("sh", "-c", FAMILY), cwd=tmp_path, env=ENV))
    await until(pids(tmp_path / "pids", 5))
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    found = [int(word) for word in (tmp_path / "pids").read_text().split() if word.isdigit()]
    assert len(found) == 4
    assert not [pid for pid in found if alive(pid)]


@linux
async def test_grandchildren_die_on_stop(host: HostProcesses, tmp_path: Path) -> None:
    running = await host.start(("sh", "-c", FAMILY), cwd=tmp_path, env=ENV, log=Lines())
    await until(pids(tmp_path / "pids", 5))
    await running.stop(grace=5)
    found = [int(word) for word in (tmp_path / "pids").read_text().split() if word.isdigit()]
    assert not [pid for pid in found if alive(pid)]


@linux
async def test_what_a_server_left_behind_dies_on_stop(host: HostProcesses, tmp_path: Path) -> None:
    """The server itself has exited long before."""
    argv = ("sh", "-c", "sleep 300 >/dev/null 2>&1 & echo $! > pid")
    running = await host.start(argv, cwd=tmp_path, env=ENV, log=Lines())
    assert await running.wait() == 0
    child = int((tmp_path / "pid").read_text())
    assert alive(child)
    await running.stop(grace=5)
    assert not alive(child)


async def test_a_program_that_ignores_signals_is_killed(
    host: HostProcesses, tmp_path: Path
) -> None:
    argv = ("sh", "-c", "trap '' INT TERM; echo ready > ready; while :; do sleep 300; done")
    running = await host.start(argv, cwd=tmp_path, env=ENV, log=Lines())
    await until((tmp_path / "ready").exists)
    assert await running.stop(grace=0.3) == -signal.SIGKILL


async def test_a_program_may_end_in_its_own_way(host: HostProcesses, tmp_path: Path) -> None:
    """SIGINT comes first, and the exit code is the program's."""
    argv = ("sh", "-c", "trap 'exit 7' INT; echo ready > ready; while :; do sleep 0.01; done")
    running = await host.start(argv, cwd=tmp_path, env=ENV, log=Lines())
    await until((tmp_path / "ready").exists)
    assert await running.stop(grace=20) == 7


async def test_a_second_cancellation_kills_at_once(host: HostProcesses, tmp_path: Path) -> None:
    argv = ("sh", "-c", "trap '' INT TERM; echo ready > ready; while :; do sleep 300; done")
    running = await host.start(argv, cwd=tmp_path, env=ENV, log=Lines())
    await until((tmp_path / "ready").exists)
    stop = asyncio.create_task(running.stop(grace=300))
    await asyncio.sleep(0)
    stop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(stop, 10)
    assert not alive(running.pid)


SESSION = """
import asyncio, os, sys
from pathlib import Path
from kindling.executors.processes import HostProcesses

async def main():
    host = HostProcesses(Path(sys.argv[1]) / ".kindling")
    argv = ("sh", "-c", sys.argv[2])
    await host.run(argv, cwd=Path(sys.argv[1]), env=dict(os.environ))

asyncio.run(main())
"""


def session(tmp_path: Path) -> subprocess.Popen[bytes]:
    path = script(tmp_path, SESSION)
    return subprocess.Popen((sys.executable, path, str(tmp_path), FAMILY))


@linux
async def test_nothing_outlives_a_killed_kindling(tmp_path: Path) -> None:
    """kill -9 of the session: its guardian ends every grandchild."""
    child = session(tmp_path)
    await until(pids(tmp_path / "pids", 5))
    found = [int(word) for word in (tmp_path / "pids").read_text().split() if word.isdigit()]
    assert all(alive(pid) for pid in found)
    child.kill()
    child.wait()
    await until(lambda: not [pid for pid in found if alive(pid)])


@linux
async def test_the_next_start_ends_what_even_the_guardian_could_not(tmp_path: Path) -> None:
    """Session and guardian killed together: the records tell the next start."""
    child = session(tmp_path)
    await until(pids(tmp_path / "pids", 5))
    found = [int(word) for word in (tmp_path / "pids").read_text().split() if word.isdigit()]
    table = guardian.process_table()
    guard = [p for p in table.values() if p.parent == child.pid and is_guardian(p.pid)]
    assert len(guard) == 1
    os.kill(guard[0].pid, signal.SIGKILL)
    child.kill()
    child.wait()
    assert [pid for pid in found if alive(pid)]
    names = await HostProcesses(tmp_path / ".kindling").end_leftovers()
    assert names == ("sh",)
    assert not [pid for pid in found if alive(pid)]
    assert not list((tmp_path / ".kindling/processes").iterdir())


@linux
def test_a_pid_in_its_second_life_is_never_hit(tmp_path: Path) -> None:
    """A record whose pid now belongs to another process, by its start time, ends nothing."""
    other = subprocess.Popen(("sleep", "300"), start_new_session=True)
    try:
        (tmp_path / "1-dead").write_text(f"= dead 1 123\n+ dead.1 {other.pid} 5 sleep\n", "utf-8")
        assert end_leftovers(tmp_path) == ()
        assert alive(other.pid)
        assert not (tmp_path / "1-dead").exists()
    finally:
        other.kill()
        other.wait()


@linux
async def test_the_record_is_there_before_the_first_program(tmp_path: Path) -> None:
    """Whoever kills a session while a program starts leaves a record that names the session."""
    host = HostProcesses(tmp_path)
    seen = await host.run(("sh", "-c", "cat processes/*"), cwd=tmp_path, env=ENV)
    assert seen.stdout.startswith(b"= ")
    await host.close()


@linux
def test_a_program_that_started_and_was_not_recorded_is_ended_by_its_token(tmp_path: Path) -> None:
    """What had ended by itself left a daemon, which stays, as does what another session runs."""
    tokens = ("dead.1", "dead.2", "alive.1")
    programs = {
        token: subprocess.Popen(("sleep", "300"), env={**ENV, guardian.TOKEN: token})
        for token in tokens
    }
    try:
        (tmp_path / "1-dead").write_text("= dead 1 123\n- dead.2\n", "utf-8")
        assert end_leftovers(tmp_path) == ("a program just started",)
        assert [token for token in tokens if alive(programs[token].pid)] == ["dead.2", "alive.1"]
    finally:
        for program in programs.values():
            program.kill()
            program.wait()


@linux
def test_programs_of_a_living_session_are_left_alone(tmp_path: Path) -> None:
    records = ProcessRecords(tmp_path)
    other = subprocess.Popen(("sleep", "300"), start_new_session=True)
    try:
        token = records.new_token()
        records.started(token, other.pid, guardian.start_time(other.pid), "sleep")
        assert end_leftovers(tmp_path) == ()
        assert alive(other.pid)
        records.ended(token)
        records.close()
        assert not list(tmp_path.iterdir())
    finally:
        other.kill()
        other.wait()


@linux
async def test_arguments_are_never_recorded(host: HostProcesses, tmp_path: Path) -> None:
    """They may hold a secret."""
    argv = ("sh", "-c", "sleep 300", "s3cret")
    running = await host.start(argv, cwd=tmp_path, env=ENV, log=Lines())
    text = "".join(path.read_text() for path in (tmp_path / ".kindling/processes").iterdir())
    assert str(running.pid) in text
    assert "s3cret" not in text
    await running.stop(grace=5)


async def test_nothing_is_left_of_a_session_that_closed(tmp_path: Path) -> None:
    host = HostProcesses(tmp_path / ".kindling")
    running = await host.start(("sleep", "300"), cwd=tmp_path, env=ENV, log=Lines())
    await host.close()
    assert not alive(running.pid)
    assert not list((tmp_path / ".kindling/processes").iterdir())


@linux
async def test_tokens_nest(host: HostProcesses, tmp_path: Path) -> None:
    """A kindling within a kindling: the outer one still knows the inner one's children."""
    result = await host.run(
        ("sh", "-c", "echo $KINDLING_RUN"), cwd=tmp_path, env={**ENV, guardian.TOKEN: "outer.1"}
    )
    outer, _, inner = result.stdout.decode().strip().partition(":")
    assert outer == "outer.1"
    assert inner
