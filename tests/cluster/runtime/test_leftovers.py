"""Whoever is killed, nothing stays: no process, no mount, no interface, no control group."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kindling.cluster.runtime.launch.cgroups import start_time
from kindling.cluster.runtime.launcher import LauncherRuntime
from kindling.cluster.runtime.plain import PlainRuntime
from tests.cluster.runtime import conftest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


def _eventually(what: Callable[[], object], limit: float = 10.0) -> bool:
    """Whether `what` comes to be empty."""
    end = time.monotonic() + limit
    while what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _processes(word: str) -> list[str]:
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if word in text and "holder.py" not in text:
                found.append(f"{name} {text}")
    return found


def _groups() -> list[str]:
    found = []
    for folder, folders, _ in os.walk("/sys/fs/cgroup"):
        found += [os.path.join(folder, name) for name in folders if name.startswith("kindling-")]
    return found


@dataclass
class Held:
    kind: str
    process: subprocess.Popen[str]
    guard: int
    container: int
    word: str
    folder: Path
    launcher: int

    def own_groups(self) -> list[str]:
        return [path for path in _groups() if f"kindling-{self.guard}-" in path]

    def assert_nothing_left(self, *, groups: bool = True) -> None:
        assert _eventually(lambda: _processes(self.word)), _processes(self.word)
        assert _eventually(lambda: start_time(self.launcher))
        mounts = Path("/proc/self/mounts").read_text()
        assert str(self.folder) not in mounts
        assert "kindling0" not in os.listdir("/sys/class/net")
        assert not [name for name in os.listdir("/sys/class/net") if name.startswith("pod")]
        if groups:
            assert _eventually(self.own_groups), self.own_groups()


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(params=["plain", "root", "rootless"])
def held(request: pytest.FixtureRequest, space: Path) -> Iterator[Held]:
    kind = request.param
    words = conftest.interpreter_of(kind)
    if kind == "rootless":
        os.chown(space, conftest.NOBODY, conftest.NOBODY)
    (space / "runtime").mkdir()
    os.chown(space / "runtime", space.stat().st_uid, space.stat().st_gid)
    word = f"word-{secrets.token_hex(8)}"
    holder = Path(conftest.__file__).with_name("holder.py")
    process = subprocess.Popen(
        [sys.executable, str(holder), kind, str(space), word, json.dumps(words)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline() or "{}")
        if not told:
            pytest.skip(f"this machine has no {kind} containers")
        assert _eventually(lambda: len(_processes(word)) < 6), _processes(word)
        launcher = _children(told["guard"])[0]
        yield Held(kind, process, told["guard"], told["container"], word, space, launcher)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        _eventually(lambda: _processes(word), 5)


def test_killing_the_holder_ends_everything(held: Held) -> None:
    held.process.kill()
    held.process.wait()
    held.assert_nothing_left()


def test_killing_the_launcher_ends_everything(held: Held) -> None:
    os.kill(held.launcher, signal.SIGKILL)
    held.assert_nothing_left()


async def test_killing_the_guard_ends_everything(held: Held) -> None:
    os.kill(held.guard, signal.SIGKILL)
    held.assert_nothing_left(groups=False)
    held.process.kill()
    held.process.wait()
    await _start_again(held)
    held.assert_nothing_left()


async def test_the_next_start_clears_what_nobody_could(held: Held) -> None:
    os.kill(held.process.pid, signal.SIGSTOP)  # so that it cannot help either
    os.kill(held.guard, signal.SIGKILL)
    os.kill(held.launcher, signal.SIGKILL)
    os.kill(held.process.pid, signal.SIGKILL)
    held.process.wait()
    await _start_again(held)
    held.assert_nothing_left()


async def _start_again(held: Held) -> None:
    """What is left, if anything, is control groups, which the next start finds by its record."""
    again: PlainRuntime | LauncherRuntime = LauncherRuntime(held.folder / "runtime")
    if held.kind == "plain":
        again = PlainRuntime(held.folder / "runtime")
    await again.start()
    await again.close()
