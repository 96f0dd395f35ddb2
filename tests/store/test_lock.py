"""One session at a time, and none that a dead one holds back."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kindling.errors import StoreError
from kindling.store.lock import Holder, SessionLock, holder


def test_a_second_session_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    state = tmp_path / ".kindling"
    with SessionLock(state, command="kindling up api", at=12.5, session="s1"):
        assert holder(state) == Holder(os.getpid(), "kindling up api", 12.5, "s1")
        with pytest.raises(StoreError) as caught:
            SessionLock(state, command="kindling ci", at=13.0).acquire()
        text = caught.value.render()
        assert f"Another session is running in `{tmp_path}`" in text
        assert f"pid {os.getpid()}: kindling up api" in text
        assert f"kill -INT {os.getpid()}" in text
    assert holder(state) is None
    with SessionLock(state, command="kindling ci", at=14.0):
        assert holder(state) == Holder(os.getpid(), "kindling ci", 14.0)


def test_no_folder_no_holder(tmp_path: Path) -> None:
    assert holder(tmp_path / "nowhere") is None


def test_taking_and_releasing_twice_is_fine(tmp_path: Path) -> None:
    lock = SessionLock(tmp_path, command="up", at=0.0)
    lock.acquire()
    lock.acquire()
    lock.release()
    lock.release()
    assert holder(tmp_path) is None


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    with SessionLock(tmp_path, command="up", at=0.0):
        assert stat.S_IMODE((tmp_path / "session.lock").stat().st_mode) == 0o600


_HOLD = """
import subprocess, sys
from pathlib import Path
from kindling.store.lock import SessionLock
SessionLock(Path(sys.argv[1]), command="kindling up", at=1.0).acquire()
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_a_killed_session_frees_the_lock_though_its_child_lives(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    assert first.stdin is not None
    child = int(first.stdout.readline())
    try:
        held = holder(tmp_path)
        assert held is not None
        assert held.pid == first.pid
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert holder(tmp_path) is None
        with SessionLock(tmp_path, command="kindling ci", at=2.0):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        first.stdout.close()
        first.stdin.close()


def test_looking_never_keeps_a_session_from_starting(tmp_path: Path) -> None:
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            holder(tmp_path)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for at in range(200):
            with SessionLock(tmp_path, command="up", at=float(at)):
                pass
    finally:
        stop.set()
        for looker in lookers:
            looker.join()
