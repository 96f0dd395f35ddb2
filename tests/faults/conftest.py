"""What tests of faults share: file systems that fail, users that may not, sessions to kill.

After every test, the journal of each of its sessions is replayed: whatever went wrong, the
scheduler decides today as it did then.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from kindling.graph.codec import command_from_json, event_from_json
from kindling.graph.replay import replay
from kindling.store.journal import read_journal, sessions
from kindling.testing.workbench import Workbench

Mount = Callable[..., Path]
Kindle = Callable[..., subprocess.Popen[bytes]]

_OVERRIDE = 0b110
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, which let root pass by permissions."""


def assert_replays(root: Path) -> None:
    """Every journal below `root` leads to the decisions that it records."""
    for folder in root.rglob(".kindling"):
        for session in sessions(folder):
            rows = [
                (
                    event_from_json(entry.data["event"]),
                    tuple(command_from_json(one) for one in entry.data["commands"]),
                )
                for entry in read_journal(folder, session)
                if entry.kind == "step"
            ]
            difference = replay(rows)
            assert difference is None, "\n".join(difference.lines()) if difference else ""


@pytest.fixture(autouse=True)
def _replayed(tmp_path: Path) -> Iterator[None]:
    yield
    assert_replays(tmp_path)


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts a small file system of its own on a folder. Needs root."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("mounting a file system needs root on Linux")
    mounted: list[Path] = []

    def mount(folder: Path, options: str, source: str = "tmpfs") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        kind = ["--bind"] if source != "tmpfs" else ["-t", "tmpfs", "-o", options]
        done = subprocess.run(["mount", *kind, source, str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip(f"this machine mounts nothing: {done.stderr.decode().strip()}")
        mounted.append(folder)
        if source != "tmpfs":
            subprocess.run(["mount", "-o", options, str(folder)], check=True)
        return folder

    yield mount
    # The journals lie on it.
    try:
        for folder in mounted:
            assert_replays(folder.parent)
    finally:
        for folder in reversed(mounted):
            subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def permissions() -> Iterator[None]:
    """Makes permissions apply to this process too, should it be root's."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    head = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the call; this thread
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice, the low half first
    if libc.capget(head, held):
        pytest.skip("this system has no capabilities to put down")
    fewer = (ctypes.c_uint32 * 6)(*held)
    fewer[0] &= ~_OVERRIDE
    # Threads that begin from now on have what this one has.
    assert libc.capset(head, fewer) == 0
    yield
    assert libc.capset(head, held) == 0


@pytest.fixture
def kindle() -> Iterator[Kindle]:
    """Starts kindling as users do, and ends what a test leaves."""
    started: list[subprocess.Popen[bytes]] = []

    def kindle(
        bench: Workbench, *words: str, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with (bench.root / "said.txt").open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "kindling", *words],
                cwd=bench.root,
                env={**bench.environment, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        return process

    yield kindle
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()
            process.wait()


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Waits for something that other processes do, which no event of ours tells."""

    def until(holds: Callable[[], object], seconds: float = 20.0) -> None:
        limit = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < limit, "it never came true"
            time.sleep(0.01)

    return until


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Whether a process runs; a zombie does not."""

    def alive(pid: int) -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False
        return state.rpartition(")")[2].split()[0] not in "ZX"

    return alive
