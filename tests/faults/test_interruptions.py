"""Sessions that are killed, interrupted, doubled, or live through odd times."""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from itertools import count
from typing import TYPE_CHECKING

import pytest

from kindling.engine.clock import SystemClock
from kindling.engine.notices import NodeStatus
from kindling.errors import StoreError
from kindling.graph.outcome import Verdict
from kindling.store.blobs import FileBlobs
from kindling.testing.workbench import Workbench

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Kindle = Callable[..., subprocess.Popen[bytes]]
    Until = Callable[..., None]
    Alive = Callable[[int], bool]

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def pid_in(path: Path) -> int:
    text = path.read_text().strip() if path.exists() else ""
    return int(text) if text.isdecimal() else 0


async def test_a_second_session_in_the_folder_names_the_first_and_changes_nothing(
    bench: Workbench, kindle: Kindle
) -> None:
    bench.write(
        "Kindlingfile", 'local_resource("s", serve_cmd = "echo $$ > s.pid; exec sleep 1000")\n'
    )
    async with bench.up() as session:
        await session.settled("serve:s")
        await session.until(lambda: pid_in(bench.root / "s.pid"))
        second = kindle(bench, "up", "--once", "--plain")
        await session.until(lambda: second.poll() is not None)
        said = bench.read("said.txt")
        assert second.returncode == 1
        assert f"pid {os.getpid()}: up" in said
        assert "kindling trigger" in said
        assert len(said.splitlines()) < 6
        with pytest.raises(StoreError, match="Another session is running"):
            await bench.run("ci")
        os.kill(pid_in(bench.root / "s.pid"), 0)
        assert session.result.views["serve:s"].status is NodeStatus.DONE


OUTPUTS = """
for i in range(6):
    local_resource("n%d" % i, cmd = "python3 make.py %d" % i, deps = ["in.txt", "make.py"],
                   outputs = ["out%d" % i], allow_parallel = True)
"""

MAKE = """
import os, sys
number = sys.argv[1]
seed = open("in.txt").read().strip()
os.makedirs(f"out{number}", exist_ok=True)
for part in range(30):
    with open(f"out{number}/{part}", "w") as file:
        for _ in range(50):
            file.write(f"{seed} {number} {part}\\n" * 50)
"""


@pytest.mark.parametrize("seed", range(3))
async def test_no_half_output_is_ever_restored(
    bench: Workbench, kindle: Kindle, until: Until, seed: int
) -> None:
    """Killed while outputs and what the cache keeps of them are written; afterwards every output
    is as its command makes it, and every blob holds what its name says."""
    chance = random.Random(seed)
    bench.write("make.py", MAKE)
    bench.write("Kindlingfile", OUTPUTS)
    blobs = bench.root / ".kindling/blobs"

    def kept() -> int:
        return sum(1 for _ in blobs.rglob("*")) if blobs.is_dir() else 0

    for number in range(4):
        bench.write("in.txt", f"{number % 2}")
        session = kindle(bench, "up", "--once", "--plain")
        least = kept() + chance.randrange(1, 60)
        until(lambda session=session, least=least: session.poll() is not None or kept() >= least)
        session.send_signal(signal.SIGKILL)
        session.wait()
    for word in ("0", "1", "0"):
        bench.write("in.txt", word)
        result = await bench.run("up")
        assert result.exit_code == 0, result.explain()
        for number in range(6):
            for part in range(30):
                wanted = f"{word} {number} {part}\n" * 2500
                assert bench.read(f"out{number}/{part}") == wanted
    for path in blobs.glob("??/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.parent.name + path.name
    assert not list((bench.root / ".kindling").glob("tmp/restore-*"))


async def test_a_torn_blob_is_made_anew_and_not_restored(bench: Workbench) -> None:
    bench.write("in.txt", "one")
    bench.write(
        "Kindlingfile",
        'local_resource("a", cmd = "cp in.txt out.txt", deps = ["in.txt"], outputs = ["out.txt"])',
    )
    await bench.run("up")
    kept = FileBlobs(bench.root / ".kindling/blobs").put(bench.root / "out.txt")
    name = kept.removeprefix("sha256:")
    (bench.root / ".kindling/blobs" / name[:2] / name[2:]).write_text("o")
    (bench.root / "out.txt").unlink()
    result = await bench.run("up")
    assert result.verdicts("local:a") == [Verdict.RAN], result.explain()
    assert bench.read("out.txt") == "one"


STUBBORN = """
local_resource("stubborn", cmd = ["python3", "-c", '''
import os, signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open("pid", "w").write(str(os.getpid()))
while True: time.sleep(1000)
'''])
"""


@linux
def test_ctrl_c_ends_even_what_ignores_it(
    bench: Workbench, kindle: Kindle, until: Until, alive: Alive
) -> None:
    bench.write("Kindlingfile", STUBBORN)
    session = kindle(bench, "up", "--plain")
    until(lambda: pid_in(bench.root / "pid"))
    session.send_signal(signal.SIGINT)
    assert session.wait(timeout=20) == 130
    assert not alive(pid_in(bench.root / "pid"))
    assert "Traceback" not in bench.read("said.txt")


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_is_obeyed_at_once_and_nothing_is_left(
    bench: Workbench, kindle: Kindle, until: Until, alive: Alive, number: signal.Signals
) -> None:
    bench.write("Kindlingfile", STUBBORN)
    session = kindle(bench, "up", "--plain")
    until(lambda: pid_in(bench.root / "pid"))
    session.send_signal(number)
    begun = time.monotonic()
    while session.poll() is None:  # two that come at the very same moment count as one
        session.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert time.monotonic() - begun < 3
    assert session.returncode == 130
    until(lambda: not alive(pid_in(bench.root / "pid")), seconds=10)
    assert "Traceback" not in bench.read("said.txt")


@linux
def test_a_signal_that_is_passed_on_twice_ends_in_order(
    bench: Workbench, kindle: Kindle, until: Until
) -> None:
    """`timeout` and others send it once to the program and once more to its group."""
    bench.write("Kindlingfile", 'local_resource("a", cmd = "true")\n')
    session = kindle(bench, "up", "--plain")
    until(lambda: "local:a  done in" in bench.read("said.txt"))
    session.send_signal(signal.SIGINT)
    session.send_signal(signal.SIGTERM)
    session.wait(timeout=20)
    assert re.search("up (ended|interrupted) after", bench.read("said.txt"))


@linux
def test_ctrl_c_while_the_kindlingfile_runs_a_command_ends_it(
    bench: Workbench, kindle: Kindle, until: Until, alive: Alive
) -> None:
    bench.write("Kindlingfile", 'local("echo $$ > pid; exec sleep 1000")\n')
    session = kindle(bench, "up", "--plain")
    until(lambda: pid_in(bench.root / "pid"))
    session.send_signal(signal.SIGINT)
    assert session.wait(timeout=20) == 130
    assert not alive(pid_in(bench.root / "pid"))


@linux
def test_a_command_of_the_kindlingfile_does_not_outlive_a_killed_session(
    bench: Workbench, kindle: Kindle, until: Until, alive: Alive
) -> None:
    bench.write("Kindlingfile", 'local("echo $$ > pid; exec sleep 1000")\n')
    session = kindle(bench, "up", "--plain")
    until(lambda: pid_in(bench.root / "pid"))
    session.send_signal(signal.SIGKILL)
    session.wait()
    until(lambda: not alive(pid_in(bench.root / "pid")), seconds=10)


@linux
@pytest.mark.parametrize("seed", range(3))
async def test_nothing_outlives_a_session_that_is_killed_while_programs_start(
    bench: Workbench, kindle: Kindle, until: Until, alive: Alive, seed: int
) -> None:
    """At any moment: the guardian or the next start ends them."""
    chance = random.Random(seed)
    serve = "echo $$ >> pids; exec sleep 4711"
    lines = [f'local_resource("s{i}", serve_cmd = "{serve}")' for i in range(8)]
    bench.write("Kindlingfile", "\n".join(lines))
    session = kindle(bench, "up", "--plain")
    pids = bench.root / "pids"
    wanted = chance.randrange(1, 8)
    until(lambda: pids.exists() and len(pids.read_text().split()) >= wanted)
    session.send_signal(signal.SIGKILL)
    session.wait()
    bench.write("Kindlingfile", 'local_resource("a", cmd = "true")\n')
    assert (await bench.run("up")).exit_code == 0
    left = [int(word) for word in pids.read_text().split() if alive(int(word))]
    assert not left


async def test_a_clock_that_jumps_changes_nothing_but_what_is_shown(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days back and forth at every look; durations come from a clock that never does."""
    bench.write("in.txt", "words")
    bench.write(
        "Kindlingfile",
        'local_resource("a", cmd = "cp in.txt a.txt", deps = ["in.txt"], outputs = ["a.txt"])\n'
        'local_resource("b", cmd = "cp a.txt b.txt", deps = ["a.txt"], outputs = ["b.txt"])\n',
    )
    turns = count()
    real = SystemClock.time
    days = 86_400.0
    monkeypatch.setattr(
        SystemClock, "time", lambda self: real(self) + (next(turns) % 3 - 1) * 400 * days
    )
    async with bench.up() as session:
        await session.settled("local:a", "local:b")
        bench.write("in.txt", "other")
        await session.until(
            lambda: (
                bench.read("b.txt") == "other"
                and session.result.views["local:b"].status is NodeStatus.DONE
            )
        )
        ended = await session.stop()
        assert ended.exit_code == 0
        assert 0 <= ended.end.seconds < 60
        assert all(0 <= view.seconds < 60 for view in ended.views.values())
    again = await bench.run("ci")
    again.assert_only_ran()


async def test_files_from_the_future_and_the_past_are_judged_by_content(bench: Workbench) -> None:
    bench.write("in.txt", "one")
    bench.write("Kindlingfile", 'local_resource("a", cmd = "true", deps = ["in.txt"])\n')
    far = 4_000_000_000
    os.utime(bench.root / "in.txt", (far, far))
    (await bench.run("up")).assert_only_ran("local:a")
    (await bench.run("up")).assert_only_ran()
    bench.write("in.txt", "two")
    os.utime(bench.root / "in.txt", (far, far))
    (await bench.run("up")).assert_only_ran("local:a")
    os.utime(bench.root / "in.txt", (1, 1))
    (await bench.run("up")).assert_only_ran()
