"""The supervisor as the first process of a container, and what restarted programs leave behind."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kindling.sync.agent.frames import Command, Control, Status
from tests.sync.agent.talk import LIMIT, Talk, serving

DAEMON = """
import fcntl, os, signal, sys

def daemon(path):
    '''As a server puts itself into the background: away from group, session and parent.'''
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if os.fork():  # and a worker in a session of its own
        signal.pause()
    os.setsid()
    with open(path, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(1, b"held\\n")
        except BlockingIOError:
            os.write(1, b"busy\\n")
        while True:
            signal.pause()

for path in sys.argv[1:]:
    daemon(path)
"""
STAY = """
while True:
    signal.pause()
"""
STOPPING = r"""
import os, signal, sys
def stop(number, frame):
    os.write(1, b"stopping\n")
    os.read(0, 1)
    os._exit(42)
signal.signal(signal.SIGTERM, stop)
os.write(1, b"up %d %d\n" % (os.getpid(), os.getppid()))
while True:
    signal.pause()
"""


@contextmanager
def _supervised(
    binary: Path,
    control: Path,
    *argv: str | Path,
    first: bool = False,
    options: tuple[str, ...] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """A program under the supervisor; with `first`, in a process number space of their own."""
    space = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc") if first else ()
    process = subprocess.Popen(
        [*space, binary, "supervise", *options, "--control", control, "--", *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with serving(binary, control, "--control", str(control)) as talk:
            talk.hello()
            talk.send(Control(1, Command.STOP, signal.SIGKILL, 0))
            talk.frame()
        process.kill()
        process.wait(LIMIT)
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


def _line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], LIMIT)[0], "nothing is printed"
    return process.stdout.readline().decode().strip()


def _ask(talk: Talk, command: Command, number: int = 0, grace_ms: int = 30_000) -> Status:
    talk.send(Control(talk.ident(), command, number, grace_ms))
    status = talk.frame()
    assert isinstance(status, Status), status
    return status


def _free(path: Path) -> bool:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.fixture
def control(tmp_path: Path) -> Path:
    (tmp_path / "control").mkdir()
    return tmp_path / "control"


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes process number spaces")
adopts = pytest.mark.skipif(
    os.environ.get("KINDLING_TEST_AGENT") == "emulated",
    reason="qemu does not let a process adopt orphans",
)
WAYS = [pytest.param(False, id="below"), pytest.param(True, id="first", marks=as_root)]


@adopts
@pytest.mark.parametrize("first", WAYS)
def test_what_has_put_itself_into_other_sessions_is_gone_before_the_program_starts_again(
    binary: Path, control: Path, tmp_path: Path, first: bool
) -> None:
    locks = [tmp_path / f"lock{at}" for at in range(3)]
    argv = (sys.executable, "-c", DAEMON + STAY, *map(str, locks))
    with (
        _supervised(binary, control, *argv, first=first) as process,
        serving(binary, control, "--control", str(control)) as talk,
    ):
        talk.hello()
        for _ in range(3):
            assert [_line(process) for _ in locks] == ["held"] * 3
            assert _ask(talk, Command.RESTART).running
        assert [_line(process) for _ in locks] == ["held"] * 3
        assert not any(map(_free, locks))
        assert not _ask(talk, Command.STOP).running
        assert all(map(_free, locks))


@adopts
def test_what_a_crash_under_hold_left_is_gone_before_the_program_starts_again(
    binary: Path, control: Path, tmp_path: Path
) -> None:
    lock = tmp_path / "lock"
    argv = (sys.executable, "-c", DAEMON, lock)
    with (
        _supervised(binary, control, *argv, options=("--hold",)) as process,
        serving(binary, control, "--control", str(control)) as talk,
    ):
        talk.hello()
        assert _line(process) == "held"
        while _ask(talk, Command.STATUS).running:
            pass
        assert not _free(lock)
        assert _ask(talk, Command.RESTART).generation == 2
        assert _line(process) == "held"
        _ask(talk, Command.STOP)
        assert _free(lock)


@as_root
def test_what_others_started_in_the_container_lives_through_a_restart(
    binary: Path, control: Path, tmp_path: Path
) -> None:
    """A shell of `kubectl exec` has left something in the background: it is process 1's by then."""
    lock = tmp_path / "lock"
    with (
        _supervised(binary, control, sys.executable, "-c", STOPPING, first=True) as process,
        serving(binary, control, "--control", str(control)) as talk,
    ):
        talk.hello()
        _line(process)
        script = f"flock -n '{lock}' sh -c 'echo held; exec sleep 600' &"
        with subprocess.Popen(
            ["nsenter", "-t", str(_first(process)), "-p", "sh", "-c", script],
            stdout=subprocess.PIPE,
            bufsize=0,
        ) as entered:
            assert _line(entered) == "held"
            assert entered.wait(LIMIT) == 0
        assert _ask(talk, Command.RESTART, signal.SIGKILL).generation == 2
        assert _line(process).startswith("up")
        assert not _free(lock)


def _first(process: subprocess.Popen[bytes]) -> int:
    """The number that process 1 of its space has outside of it."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(children[0])


@as_root
def test_as_process_1_it_waits_for_the_program_that_was_told_to_end(
    binary: Path, control: Path
) -> None:
    """The grace of the pod is the program's: no timer of ours cuts it short."""
    with _supervised(binary, control, sys.executable, "-c", STOPPING, first=True) as process:
        up = _line(process).split()
        assert up[0] == "up"
        assert up[2] != "1"
        os.kill(_first(process), signal.SIGTERM)
        assert _line(process) == "stopping"
        assert process.poll() is None
        assert process.stdin is not None
        process.stdin.write(b"\n")
        assert process.wait(LIMIT) == 42


@as_root
@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -KILL $$", 137)])
def test_as_process_1_it_ends_as_the_program_ends(binary: Path, script: str, code: int) -> None:
    words = (binary, "supervise", "--", "sh", "-c", f"sleep 600 & {script}")
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", *words],
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == code


@as_root
def test_as_process_1_it_reaps_what_nobody_waits_for(binary: Path, control: Path) -> None:
    script = "for i in 1 2 3; do sh -c 'setsid sh -c : &'; done; echo done; exec sleep 600"
    with _supervised(binary, control, "sh", "-c", script, first=True) as process:
        assert _line(process) == "done"
        subprocess.run(
            ["nsenter", "-t", str(_first(process)), "-p", "sh", "-c", "sh -c 'sleep 0.01 &'"],
            check=True,
        )
        group, names = _first(process), [""]
        for _ in range(10_000):
            listed = subprocess.run(
                ["nsenter", "-t", str(group), "-p", "-m", "ps", "-eo", "stat=,comm="],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.splitlines()
            names = sorted(line.split()[1] for line in listed if line.split()[1] != "ps")
            if not [line for line in listed if line.startswith("Z")] and len(names) == 3:
                break
        assert names[-1] == "sleep"
