"""`kill -9` at any moment: no finished work is repeated, no half record is believed."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from kindling.testing.workbench import Workbench

NODES = 12

GRAPH = f"""
for i in range({NODES}):
    local_resource("n%d" % i, outputs = ["n%d.out" % i],
                   cmd = "cat in.txt > n%d.out; sleep 0.02; echo n%d >> ran.log" % (i, i),
                   deps = ["in.txt"] + (["n%d.out" % (i - 1)] if i % 3 else []))
"""


def start(root: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "kindling", "up", "--once", "--plain"],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.mark.parametrize("seed", range(4))
async def test_a_killed_session_is_finished_by_the_next_without_repeating_what_was_done(
    bench: Workbench, seed: int
) -> None:
    """A node may run twice only when it was under way, or not yet recorded, at a kill: at most
    `max_parallel_updates` nodes for each kill."""
    chance = random.Random(seed)
    bench.write("in.txt", "words")
    bench.write("Kindlingfile", GRAPH)
    kills = 0
    for _ in range(4):
        process = start(bench.root)
        try:
            process.wait(timeout=chance.uniform(0.2, 1.2))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        assert process.stdout is not None
        process.stdout.close()
    result = await bench.run("up")
    assert result.exit_code == 0, result.explain()
    for i in range(NODES):
        assert bench.read(f"n{i}.out") == "words"
    counts = Counter(bench.read("ran.log").split())
    assert set(counts) == {f"n{i}" for i in range(NODES)}
    assert sum(counts.values()) - NODES <= 3 * kills
    (await bench.run("up")).assert_only_ran()


async def test_what_a_killed_session_left_running_is_ended_by_the_time_the_next_one_works(
    bench: Workbench,
) -> None:
    bench.write(
        "Kindlingfile",
        'local_resource("s", serve_cmd = "sleep 4711 & echo $! > child.pid; wait")\n',
    )
    process = start(bench.root)
    async with asyncio.timeout(20):
        while not (bench.root / "child.pid").exists() or not bench.read("child.pid").strip():
            assert process.poll() is None
            await asyncio.sleep(0.01)
    child = Path("/proc") / bench.read("child.pid").strip()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    bench.write("Kindlingfile", 'local_resource("a", cmd = "true")\n')
    assert (await bench.run("up")).exit_code == 0
    state = child / "stat"
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"
