"""From a saved file to its bytes in a container, and to the new answer: kindling and its peers.

Method. One pod of Python's image in the cluster of KUBECONFIG; each way of syncing has a folder of
its own here and there, and runs alone, one after the other, in one run of this program.

*Bytes in the container*: a file of 2 KB is written in place, with a number as its first and last
word. The time begins before the write. It ends when a program in the container, woken by inotify,
reads the file whole; machine and container share one clock. Between two saves there are 150 to
450 ms, at random but the same for all. A save that is not there after eight seconds is counted as
lost and not as a time.

*New answer served*: the same, until a server that reads the file at each request answers with the
number, asked every two milliseconds over one open connection. This costs some of the processor that
the ways need themselves, so it is measured by saves of its own.

*The floor*: a byte through an open exec stream of kubectl to `cat` and back.

*First sync*: whole commands from start to end, with a check of the number and sizes of the files
that are then in the container. What Docker or the cluster has cached is the same for all.

*A rebuilt program*: two Go programs of some 15 MB, one constant apart, the first already in the
container. Bytes are those that came out of the client, counted by a relay before the API server,
for kindling and `kubectl cp` alike; times are taken without the relay.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers import WORK
from bench.sync_peers import COPIES, LOOPS, Copy, Loop, Running, install
from bench.sync_pod import NAMESPACE, Pod, Seer, served_at, write
from bench.sync_trees import many_files, program, two_hundred_megabytes

__all__ = ["measure"]

FOLDER = WORK / "sync"
_PATIENCE = 8.0
_MANY = 1000
"""So many files are not removed before the end: for minutes after that, ext4 without a journal
looks for a number that was not in use lately, one by one, for each file that is made."""


@dataclass(slots=True)
class Samples:
    """What one way took, in seconds."""

    name: str
    bytes_in: list[float] = field(default_factory=list)
    served: list[float] = field(default_factory=list)
    lost: int = 0
    note: str = ""
    loads: list[float] = field(default_factory=list)


def measure(saves: int, only: str = "", trees: bool = True) -> str:
    """Everything, as text. `only`: the ways whose names contain it."""
    if not os.environ.get("KUBECONFIG"):
        return "sync: not measured, KUBECONFIG is not set"
    install()
    FOLDER.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    with Pod() as pod:
        floor = _floor(pod, saves)
        chosen = [one for one in LOOPS if only in one.name]
        samples: list[Samples] = []
        for one in chosen:
            samples.append(_loop(pod, one, saves))
            # A run takes long, and what was measured is not to be lost with it.
            told = _table(one.name, samples[-1:], "bytes_in", [])
            print("\n".join(told[2:]), file=sys.stderr, flush=True)
        lines += _table("save -> bytes in the container", samples, "bytes_in", floor)
        lines += _table("save -> new answer served", samples, "served", [])
        lines += [f"  {one.name}: {one.note}" for one in samples if one.note]
        lines += [
            f"  load while {one.name} ran: {min(one.loads):.1f} to {max(one.loads):.1f}"
            for one in samples
            if one.loads
        ]
        if trees:
            for tree in (many_files(FOLDER), two_hundred_megabytes(FOLDER)):
                lines += _first(pod, tree, [one for one in COPIES if only in one.name])
                print("\n".join(lines[-5:]), file=sys.stderr, flush=True)
            lines += program(pod, FOLDER)
    return "\n".join(lines)


def _floor(pod: Pod, rounds: int) -> list[float]:
    """A byte to a container and back."""
    process = subprocess.Popen(
        ["kubectl", "-n", NAMESPACE, "exec", "-i", pod.name(), "--", "cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    times: list[float] = []
    try:
        for _ in range(rounds + 10):
            began = time.perf_counter()
            process.stdin.write(b"x")
            process.stdout.read(1)
            times.append(time.perf_counter() - began)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    return times[10:]


def _loop(pod: Pod, loop: Loop, saves: int) -> Samples:
    found = Samples(loop.name, note=loop.note)
    if lack := loop.lack():
        found.note = f"not measured: {lack}"
        return found
    source = FOLDER / loop.folder
    source.mkdir(exist_ok=True)
    write(source, 0)
    chance = random.Random(7)
    pod.run(f"mkdir -p /app/{loop.folder}")
    try:
        running = Running(loop, source, pod.name())
    except RuntimeError as error:
        found.note = f"not measured: {error}"
        return found
    try:
        seer = Seer(pod, f"/app/{loop.folder}")
        try:
            # Two to get warm, which count for nothing.
            for number in range(1, saves + 3):
                _pause(chance)
                saved = write(source, number)
                at = seer.seen(number, _PATIENCE)
                if number <= 2:
                    continue
                found.loads.append(os.getloadavg()[0])
                if at is None:
                    found.lost += 1
                else:
                    found.bytes_in.append(at - saved)
        finally:
            seer.close()
        address, path = pod.address(), f"/{loop.folder}/value.txt"
        for number in range(1001, 1001 + max(saves // 4, 1)):
            _pause(chance)
            saved = write(source, number)
            at = served_at(address, path, number, _PATIENCE)
            if at is not None:
                found.served.append(at - saved)
    finally:
        running.close()
        pod.wait()
    return found


def _pause(chance: random.Random) -> None:
    time.sleep(0.15 + 0.3 * chance.random())


def _first(pod: Pod, tree: Path, copies: Sequence[Copy]) -> list[str]:
    """Whole commands that bring a tree over."""
    count = "find . -type f | wc -l; find . -type f -printf '%s\\n' | awk '{s+=$1} END {print s}'"
    wanted = subprocess.run(
        ["sh", "-c", count], cwd=tree, capture_output=True, text=True, check=True
    ).stdout.split()
    lines = ["", f"first sync of {tree.name}: {wanted[0]} files, {int(wanted[1]) / 1e6:.1f} MB"]
    first = 0.0
    for number, copy in enumerate(copies):
        if lack := copy.lack():
            lines.append(f"  {copy.name}: not measured: {lack}")
            continue
        times: list[float] = []
        problem = ""
        for turn in range(3):
            dest = f"/app/{number}-{turn}/{tree.name}"
            pod.run(f"mkdir -p {dest}")
            argv = [*copy.argv(tree, dest, pod.name())]
            began = time.perf_counter()
            done = subprocess.run(argv, cwd=FOLDER, capture_output=True, text=True, timeout=600)
            took = time.perf_counter() - began
            there = pod.run(f"cd {dest} && {count}").split() if done.returncode == 0 else []
            if there != wanted:
                problem = f"failed: {(done.stderr or done.stdout).strip()[-300:]} {there}"
                break
            times.append(took)
        if problem:
            lines.append(f"  {copy.name}: {problem}")
            continue
        middle = sorted(times)[len(times) // 2]
        first = first or middle
        lines.append(
            f"  {copy.name:<40}{min(times):>9.2f} s best{middle:>9.2f} s median"
            f"{middle / first:>8.2f} x first"
        )
        if int(wanted[0]) < _MANY:
            pod.run(f"rm -rf /app/{number}-*")
    return lines


def _table(title: str, samples: Sequence[Samples], which: str, floor: Sequence[float]) -> list[str]:
    head = f"{'p50':>10}{'p99':>10}{'best':>10}{'n':>6}{'lost':>6}{'p50 x first':>13}"
    lines = ["", f"{title:<42}{head}"]
    first = 0.0
    for one in samples:
        times: list[float] = sorted(getattr(one, which))
        if not times:
            lines.append(f"  {one.name:<40}{one.note if which == 'bytes_in' else ''}")
            continue
        middle = _part(times, 0.5)
        first = first or middle
        lost = one.lost if which == "bytes_in" else 0
        lines.append(
            f"  {one.name:<40}{_ms(middle)}{_ms(_part(times, 0.99))}{_ms(times[0])}"
            f"{len(times):>6}{lost:>6}{middle / first:>13.1f}"
        )
    if floor:
        times = sorted(floor)
        lines.append(
            f"  {'floor: a byte to the container and back':<40}{_ms(_part(times, 0.5))}"
            f"{_ms(_part(times, 0.99))}{_ms(times[0])}{len(times):>6}"
        )
    return lines


def _part(times: Sequence[float], part: float) -> float:
    return times[min(len(times) - 1, int(part * len(times)))]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:>7.1f} ms"
