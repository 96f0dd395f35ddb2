"""The agent tells what runs, and when a process has become another program."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kindling.sync.agent.frames import ProcessEntries, ProcessEntry, Processes, ProcessesEnd
from tests.sync.agent.talk import LIMIT, Talk

AGAIN = """
import os, sys
print(len(sys.argv), flush=True)
sys.stdin.readline()
os.execv(sys.executable, [sys.executable, "-c", os.environ["PROGRAM"], *sys.argv[1:]])
"""


def _listed(talk: Talk) -> dict[int, ProcessEntry]:
    talk.send(Processes(talk.ident()))
    found: list[ProcessEntry] = []
    while not isinstance(frame := talk.frame(), ProcessesEnd):
        assert isinstance(frame, ProcessEntries)
        found += frame.entries
    assert frame.count == len(found)
    return {entry.pid: entry for entry in found}


def _line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], LIMIT)[0], "nothing is printed"
    return process.stdout.readline()


def _started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_processes_are_told_with_what_they_run(agent: Talk) -> None:
    found = _listed(agent)
    ours = found[os.getpid()]
    assert ours.started == _started(os.getpid())
    assert ours.exe == os.fsencode(os.readlink("/proc/self/exe"))
    assert ours.parent == os.getppid()
    assert b"\0".join(ours.argv) + b"\0" == Path("/proc/self/cmdline").read_bytes()
    itself = found[agent.process.pid]
    assert itself.parent == os.getpid()
    assert itself.argv[1] == b"serve"
    assert itself.image not in (b"", ours.image)


@pytest.mark.skipif(
    Path("/proc/sys/kernel/randomize_va_space").read_text().strip() == "0",
    reason="this kernel lays out each program alike",
)
def test_a_program_that_executes_itself_anew_has_another_image(agent: Talk) -> None:
    """Same process, same start, same file and the same words."""
    argv = [sys.executable, "-c", AGAIN, "word"]
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PROGRAM": AGAIN},
        bufsize=0,
    ) as process:
        try:
            assert _line(process) == b"2\n"
            before = _listed(agent)[process.pid]
            assert _listed(agent)[process.pid] == before
            assert process.stdin is not None
            process.stdin.write(b"\n")
            assert _line(process) == b"2\n"
            after = _listed(agent)[process.pid]
        finally:
            process.kill()
    assert (after.started, after.exe, after.command) == (
        before.started,
        before.exe,
        before.command,
    )
    assert after.image != before.image


def test_the_end_of_a_process_is_the_end_of_its_entry(agent: Talk) -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        assert _listed(agent)[process.pid].argv == (b"sleep", b"600")
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        # What has ended and not been reaped does not run.
        assert process.pid not in _listed(agent)


def test_names_that_look_like_the_end_of_a_name_are_harmless(agent: Talk, root: Path) -> None:
    odd = root / ") S 1 (x"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([odd, "600"]) as process:
        try:
            entry = _listed(agent)[process.pid]
            assert (entry.parent, entry.started) == (os.getpid(), _started(process.pid))
        finally:
            process.kill()


def test_a_command_line_of_many_words_is_told_as_far_as_it_fits(agent: Talk) -> None:
    words = [f"{at:0100}" for at in range(1000)]
    with subprocess.Popen(
        ["sh", "-c", "echo up; read -r line", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        try:
            _line(process)
            told = _listed(agent)[process.pid]
        finally:
            process.kill()
    assert len(told.command) == 64 << 10
    assert told.argv[4:100] == tuple(map(os.fsencode, words[1:97]))


def test_many_processes_come_whole(agent: Talk) -> None:
    script = "for i in $(seq 150); do sleep 600 & done; echo up; wait"
    with subprocess.Popen(
        ["sh", "-c", script, "x" * 4000],
        stdout=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    ) as process:
        try:
            _line(process)
            found = _listed(agent)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    ours = [entry for entry in found.values() if entry.parent == process.pid]
    assert len(ours) == 150
