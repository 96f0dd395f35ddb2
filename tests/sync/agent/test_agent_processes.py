"""Commands, signals, and the supervisor that is a container's first process."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kindling.sync.agent.frames import (
    Cmdline,
    Command,
    Control,
    Exited,
    Feature,
    Ok,
    Output,
    Ping,
    Pong,
    Refused,
    Run,
    Signal,
    Started,
    Status,
    Text,
)
from tests.sync.agent.talk import LIMIT, Talk, serving

PYTHON = os.fsencode(sys.executable)


def _run(
    agent: Talk, *argv: bytes, cwd: bytes = b"", env: tuple[bytes, ...] = ()
) -> tuple[int, bytes, bytes]:
    before = len(agent.seen)
    agent.send(Run(agent.ident(), argv, cwd, env))
    code = agent.until(Exited).code
    parts = [frame for frame in agent.seen[before:] if isinstance(frame, Output)]
    out, err = (b"".join(p.payload for p in parts if p.stream == n) for n in (1, 2))
    return code, out, err


def test_a_command_streams_both_outputs_and_its_exit_code(agent: Talk, root: Path) -> None:
    (root / "sub").mkdir()
    code, out, err = _run(
        agent,
        b"sh",
        b"-c",
        b'pwd; echo "$K|$1|"; echo no >&2; exit 7',
        b"x",
        b"",
        cwd=b"sub",
        env=(b"K=v w",),
    )
    assert (code, err) == (7, b"no\n")
    assert out == os.fsencode(os.path.realpath(root / "sub")) + b"\nv w||\n"


def test_a_variable_that_is_given_hides_the_inherited_one(agent: Talk) -> None:
    code, out, _ = _run(agent, b"sh", b"-c", b"echo $HOME; env | grep -c ^HOME=", env=(b"HOME=/h",))
    assert (code, out) == (0, b"/h\n1\n")


def test_much_output_comes_whole(agent: Talk) -> None:
    code, out, _ = _run(agent, b"sh", b"-c", b"head -c 3000000 /dev/zero")
    assert (code, len(out)) == (0, 3_000_000)


def test_a_command_that_is_not_there_is_refused(agent: Talk) -> None:
    agent.send(Run(1, (b"./no-such-program",)))
    assert agent.until(Refused).errno == errno.ENOENT
    agent.send(Run(2, (b"true",), b"missing"))
    assert agent.until(Refused).errno == errno.ENOENT
    agent.send(Run(3, ()))
    assert agent.until(Refused).errno == errno.EINVAL
    agent.send(Run(4, (b"a\0b",)))
    assert agent.until(Refused).errno == errno.EINVAL
    assert _run(agent, b"true") == (0, b"", b"")


def test_the_agent_answers_while_a_command_runs(agent: Talk) -> None:
    agent.send(Run(1, (b"sh", b"-c", b"sleep 600")))
    pid = agent.until(Started).pid
    agent.send(Ping(2, b"still there?"))
    assert agent.until(Pong).payload == b"still there?"
    agent.put(b"a", b"meanwhile")
    assert agent.commit()[1] == []
    agent.send(Run(3, (b"true",)))
    assert agent.until(Refused).errno == errno.EBUSY
    agent.send(Signal(4, -pid, signal.SIGTERM))
    agent.until(Ok)
    assert agent.until(Exited).code == 128 + signal.SIGTERM


def test_a_command_whose_child_goes_on_is_over_when_it_ends_itself(agent: Talk) -> None:
    code, out, _ = _run(agent, b"sh", b"-c", b"sleep 600 & echo $!")
    assert code == 0
    os.kill(int(out), signal.SIGKILL)


def test_a_command_ends_with_the_agents_input(agent: Talk) -> None:
    agent.send(Run(1, (b"sh", b"-c", b"echo on; exec sleep 600")))
    pid = agent.until(Started).pid
    agent.until(Output)
    watched = os.pidfd_open(pid)
    try:
        assert agent.end()[0] == 0
        assert select.select([watched], [], [], LIMIT)[0], "the command runs on"
    finally:
        os.close(watched)


@pytest.mark.parametrize(("pid", "number"), [(0, 15), (-1, 15), (1, 1000)])
def test_a_signal_that_cannot_be_meant_is_refused(agent: Talk, pid: int, number: int) -> None:
    agent.send(Signal(1, pid, number))
    assert agent.until(Refused).errno == errno.EINVAL


def test_a_command_line_is_told_word_by_word(agent: Talk) -> None:
    agent.send(Cmdline(1, agent.process.pid))
    words = agent.until(Text).payload.split(b"\0")
    assert words[1] == b"serve"
    agent.send(Cmdline(2, 2**31))
    assert agent.until(Refused).errno == errno.ENOENT


def test_without_a_supervisor_control_is_refused(agent: Talk) -> None:
    agent.send(Control(1, Command.RESTART))
    assert agent.until(Refused).errno == errno.ENOENT


# ---- supervise ----

APP = r"""
import os, signal, sys
def stop(number, frame):
    os.write(1, b"stopping\n")  # print cannot be used in a handler
    os._exit(42)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGHUP, lambda number, frame: os.write(1, b"reload\n"))
leads = os.getpgid(0) == os.getpid()
os.write(1, f"up {os.getpid()} {leads} {sys.argv[1:]}\n".encode())
while True:
    signal.pause()
"""


@contextmanager
def _supervised(
    binary: Path, *argv: str, options: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [binary, "supervise", *options, "--", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        # Each program leads a process group of its own, with what it has started.
        for pid in [*_children(process.pid), process.pid]:
            try:
                os.killpg(os.getpgid(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait(LIMIT)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def _children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _line(process: subprocess.Popen[bytes]) -> list[str]:
    """The next line that the program prints."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        assert select.select([process.stdout], [], [], LIMIT)[0], "nothing is printed"
        byte = os.read(process.stdout.fileno(), 1)
        assert byte, "the program ended"
        line += byte
    return line.decode().split(maxsplit=3)


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 5", 5), ("kill -KILL $$", 128 + 9), ("kill -TERM $$", 128 + 15)],
)
def test_it_ends_as_its_child_ends(binary: Path, script: str, code: int) -> None:
    with _supervised(binary, "sh", "-c", script) as process:
        assert process.wait(LIMIT) == code


def test_a_program_that_is_not_there_is_said_as_a_shell_says_it(binary: Path) -> None:
    with _supervised(binary, "/no/such") as process:
        assert process.wait(LIMIT) == 127
        assert process.stderr is not None
        assert process.stderr.read() == b"kindling-agent: cannot run `/no/such` (2)\n"
    with _supervised(binary, "/") as process:
        assert process.wait(LIMIT) == 126


def test_the_argv_is_run_exactly_and_signals_reach_it(binary: Path) -> None:
    with _supervised(binary, sys.executable, "-c", APP, "a b", "", "--hold", "ü\n") as process:
        assert _line(process)[2:] == ["True", "['a b', '', '--hold', 'ü\\n']\n"]
        process.send_signal(signal.SIGHUP)
        assert _line(process) == ["reload"]
        process.send_signal(signal.SIGTERM)
        assert _line(process) == ["stopping"]
        assert process.wait(LIMIT) == 42


def test_the_child_has_the_signals_blocked_that_the_agent_was_started_with(binary: Path) -> None:
    argv = ("grep", "SigBlk", "/proc/self/status")
    plain = subprocess.run(argv, capture_output=True, check=True).stdout
    with _supervised(binary, *argv) as process:
        assert process.stdout is not None
        assert process.stdout.read() == plain


def test_orphans_are_reaped(binary: Path) -> None:
    script = "for i in 1 2 3; do sh -c 'sh -c : &' ; done; echo done; exec sleep 600"
    with _supervised(binary, "sh", "-c", script) as process:
        assert _line(process) == ["done"]
        # Each orphan's end is a signal; all are taken before the answer to anything later.
        only = _children(process.pid)[:1]
        for _ in range(10_000):
            if _children(process.pid) == only:
                break
            select.select([], [], [], 0.001)
        assert _children(process.pid) == only


@pytest.fixture
def control(tmp_path: Path) -> Path:
    """A folder for the socket, with a path longer than an address may be."""
    folder = tmp_path / ("c" * 120)
    folder.mkdir()
    return folder


def _ask(talk: Talk, command: Command, number: int = 0, grace_ms: int = 30_000) -> Status:
    talk.send(Control(talk.ident(), command, number, grace_ms))
    status = talk.frame()
    assert isinstance(status, Status), status
    return status


def test_a_restart_starts_the_same_program_anew(binary: Path, root: Path, control: Path) -> None:
    where = ("--control", str(control))
    with (
        _supervised(binary, sys.executable, "-c", APP, "x", options=where) as process,
        serving(binary, root, *where) as talk,
    ):
        assert talk.hello().features & Feature.CONTROL
        first = int(_line(process)[1])
        assert _ask(talk, Command.STATUS) == Status(2, first, 1, 0, True)
        after = _ask(talk, Command.RESTART)
        assert _line(process) == ["stopping"]
        assert int(_line(process)[1]) == after.pid != first
        assert (after.generation, after.last, after.running) == (2, 42, True)
        assert not Path(f"/proc/{first}").exists()
        _ask(talk, Command.SIGNAL, signal.SIGHUP)
        assert _line(process) == ["reload"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 42


def test_a_program_in_the_control_folder_is_run_with_the_words_of_the_other(
    binary: Path, root: Path, control: Path
) -> None:
    where = ("--control", str(control), "--hold")
    argv = ("sh", "-c", "echo first; exec sleep 600", "a b", "")
    brought = control / "program"
    with (
        _supervised(binary, *argv, options=where) as process,
        serving(binary, root, *where[:2]) as talk,
    ):
        talk.hello()
        assert _line(process) == ["first"]
        # It is put in place at once, as every file is.
        (control / "new").write_text("#!/bin/sh\nprintf '<%s>' \"$@\"; echo\n")
        (control / "new").chmod(0o755)
        (control / "new").rename(brought)
        assert _ask(talk, Command.RESTART).running
        assert " ".join(_line(process)) == "<-c><echo first; exec sleep 600><a b><>\n"

        # One that cannot be run is said, and the image's own does not pass for it.
        (control / "new").write_bytes(b"\x7fELF, of another machine")
        (control / "new").chmod(0o755)
        (control / "new").rename(brought)
        talk.send(Control(talk.ident(), Command.RESTART, 0, 30_000))
        assert talk.until(Refused).errno == errno.ENOEXEC
        status = _ask(talk, Command.STATUS)
        assert (status.pid, status.running) == (0, False)
        brought.unlink()
        assert _ask(talk, Command.RESTART).running
        assert _line(process) == ["first"]


def test_a_container_with_a_brought_program_that_cannot_be_run_waits_for_the_next(
    binary: Path, root: Path, control: Path
) -> None:
    (control / "program").write_bytes(b"no program")
    where = ("--control", str(control), "--hold")
    with (
        _supervised(binary, "echo", "first", options=where) as process,
        serving(binary, root, *where[:2]) as talk,
    ):
        assert process.stderr is not None
        said = b"kindling-agent: cannot run `%s/program` (13)\n" % os.fsencode(control)
        assert process.stderr.readline() == said
        talk.hello()
        status = _ask(talk, Command.STATUS)
        assert (status.pid, status.generation, status.last) == (0, 0, 126)
        (control / "program").unlink()
        assert _ask(talk, Command.RESTART).running
        assert _line(process) == ["first"]
    (control / "program").write_bytes(b"no program")
    with _supervised(binary, "echo", "first", options=where[:2]) as process:
        assert process.wait(LIMIT) == 126


def test_one_that_does_not_stop_is_killed_after_its_grace(
    binary: Path, root: Path, control: Path
) -> None:
    where = ("--control", str(control))
    script = "trap '' TERM; sleep 600 & echo up; while :; do wait; done"
    with (
        _supervised(binary, "sh", "-c", script, options=where) as process,
        serving(binary, root, *where) as talk,
    ):
        talk.hello()
        assert _line(process) == ["up"]
        after = _ask(talk, Command.RESTART, grace_ms=10)
        assert (after.generation, after.last) == (2, 128 + 9)
        assert _line(process) == ["up"]


def test_an_interrupt_that_the_program_lives_on_with_does_not_forbid_a_restart(
    binary: Path, root: Path, control: Path
) -> None:
    where = ("--control", str(control))
    script = "trap 'echo heard' INT; echo up; while :; do read -r line; done < pipe"
    os.mkfifo(root / "pipe")
    with (
        _supervised(binary, "sh", "-c", f"cd '{root}'; {script}", options=where) as process,
        serving(binary, root, *where) as talk,
        open(os.open(root / "pipe", os.O_RDWR), "wb"),
    ):
        talk.hello()
        assert _line(process) == ["up"]
        process.send_signal(signal.SIGINT)
        assert _line(process) == ["heard"]
        assert _ask(talk, Command.RESTART).generation == 2
        assert _line(process) == ["up"]


def test_a_stopped_child_stays_away_until_a_restart(
    binary: Path, root: Path, control: Path
) -> None:
    where = ("--control", str(control))
    with (
        _supervised(binary, sys.executable, "-c", APP, options=where) as process,
        serving(binary, root, *where) as talk,
    ):
        talk.hello()
        _line(process)
        stopped = _ask(talk, Command.STOP)
        assert (stopped.pid, stopped.running, stopped.last) == (0, False, 42)
        assert _ask(talk, Command.STATUS).running is False
        talk.send(Control(9, Command.SIGNAL, signal.SIGHUP))
        assert talk.until(Refused).errno == errno.EINVAL
        assert _ask(talk, Command.RESTART).running is True
        assert _line(process) == ["stopping"]
        assert _line(process)[0] == "up"


def test_with_hold_a_crash_waits_for_the_next_restart(
    binary: Path, root: Path, control: Path
) -> None:
    where = ("--control", str(control))
    with (
        _supervised(binary, "sh", "-c", "echo up; exit 9", options=("--hold", *where)) as process,
        serving(binary, root, *where) as talk,
    ):
        talk.hello()
        assert _line(process) == ["up"]
        while (status := _ask(talk, Command.STATUS)).running:
            pass
        assert (status.last, status.generation) == (9, 1)
        assert _ask(talk, Command.RESTART).generation == 2
        while _ask(talk, Command.STATUS).running:
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 9


def test_nonsense_on_the_control_socket_is_answered_and_harmless(
    binary: Path, root: Path, control: Path
) -> None:
    where = ("--control", str(control))
    with (
        _supervised(binary, sys.executable, "-c", APP, options=where) as process,
        serving(binary, root, *where) as talk,
    ):
        talk.hello()
        pid = int(_line(process)[1])
        folder = os.open(control, os.O_PATH)
        try:
            for nonsense in (b"x", b"\1\x63" + bytes(6), b"\2\1" + bytes(6), b"y" * 500):
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                    client.settimeout(LIMIT)
                    client.connect(f"/proc/self/fd/{folder}/agent.sock")
                    client.send(nonsense)
                    assert int.from_bytes(client.recv(100)[:4], "little") == errno.EINVAL
        finally:
            os.close(folder)
        assert _ask(talk, Command.STATUS).pid == pid
