"""From a saved file to its bytes in a container, and to the new answer: kindling and its peers.

Method. One pod of Python's image in the cluster of KUBECONFIG; each way of syncing has a folder of
its own here and there, and runs alone, one after the other, in one run of this program. Nothing is
installed or built while something is timed.

*Bytes in the container* and *new answer served*: a file of 2 KB is written in place, with a number
as its first and last word. The time begins before the write. The bytes are there when a program in
the container, woken by inotify, reads the file whole; machine and container share one clock. The
answer is there when a server in the container that reads the file at each request answers with the
number; it is asked from the moment the bytes are there, over a connection that stays open. Between
an answer and the next save there are 150 to 350 ms, at random but the same for all, in which the
loops that start a program for each save begin to watch again. A save that is not there after six
seconds is counted as lost and not as a time.

*In a graph*: the same saves, into the one synced container of a `kindling up` whose graph has a
thousand nodes more. Its container serves nothing, so there are bytes alone.

*The floor*: a byte through an open exec stream of kubectl to `cat` and back.

*First sync*: whole commands from start to end, in turns, with a check of the number and sizes of
the files that are then in the container. What Docker or the cluster has cached is the same for all.

*A rebuilt program*: two Go programs of some 15 MB, one constant apart, the first already in the
container. For kindling the time ends when a program in the container has seen the whole new file by
its digest, for `kubectl cp` when the command ends. Bytes are those that came out of the client,
counted by a relay before the API server; times are taken without the relay.

Every part has a limit of its own, and all together that of `--minutes`. What fails says so in the
table, the others go on, and the exit code is 1.
"""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from bench.sync_children import Children
from bench.sync_graph import NODES, graph
from bench.sync_peers import FOLDER, HOME, LOOPS, Loop, Running, install
from bench.sync_pod import FILE, NAMESPACE, Client, Pod, Seer, kubectl, write
from bench.sync_table import Found, Section, rendered, written
from bench.sync_trees import first, many_files, program, programs, two_hundred_megabytes

__all__ = ["PARTS", "Wanted", "measure"]

PARTS = ("saves", "graph", "many", "big", "program")
_PATIENCE = 6.0
_WARM = 2
"""Saves that count for nothing."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be measured, how often, and in what time."""

    parts: Sequence[str] = PARTS
    saves: int = 200
    slow_saves: int = 50
    """Of ways that take more than a second for each."""
    rounds: int = 3
    only: str = ""
    """The ways whose names have this in them."""
    minutes: float = 18.0


class _Stopped(KeyboardInterrupt):
    """Asked to end by a signal that is not Ctrl-C."""


def measure(wanted: Wanted, as_json: bool = False) -> int:
    """Measure, print, and return the exit code."""
    if not os.environ.get("KUBECONFIG") or shutil.which("kubectl") is None:
        print("sync: not measured, KUBECONFIG is not set or there is no kubectl", file=sys.stderr)
        return 1
    bench = _Bench(wanted)
    before, began = os.getloadavg(), time.monotonic()
    code = 1
    try:
        with _signals(), Children() as children:
            FOLDER.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(HOME, ignore_errors=True)
            install()
            _prepare(wanted)
            before, began = os.getloadavg(), time.monotonic()
            bench.begin(children)
            bench.run()
        code = 1 if bench.failed else 0
    except KeyboardInterrupt:
        bench.problems.append("interrupted")
        code = 130
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        bench.problems.append(str(error))
    seconds, after = time.monotonic() - began, os.getloadavg()
    head = {
        "machine": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "cluster": bench.cluster,
        "load_before": before,
        "load_after": after,
        "seconds": round(seconds, 1),
        "problems": bench.problems,
    }
    if as_json:
        print(json.dumps({"schema": 1, **head, "sections": written(bench.sections)}, indent=1))
    else:
        print(_head(head))
        print(rendered([one for one in bench.sections if one.rows]))
        print()
        for one in LOOPS:
            if one.note and _ran(bench, one.name):
                text = f"{one.name}: {one.note}"
                print(textwrap.fill(text, 80, subsequent_indent="  ", break_on_hyphens=False))
        for problem in bench.problems:
            print(f"sync: {problem}")
    return code


def _head(head: dict[str, Any]) -> str:
    def load(which: str) -> str:
        return " ".join(f"{one:.2f}" for one in head[which])

    return (
        f"bench/run sync: {head['cores']} cores of {head['processor']}\n"
        f"{head['machine']}, Python {head['python']}\n"
        f"cluster: {head['cluster']}\n"
        f"load average before {load('load_before')}, after {load('load_after')}; "
        f"{head['seconds'] / 60:.1f} minutes\n"
        "ratio: its p50, or median, to that of kindling in the same section\n"
    )


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _ran(bench: _Bench, name: str) -> bool:
    return any(row.name == name and row.times for one in bench.sections for row in one.rows)


@contextmanager
def _signals() -> Iterator[None]:
    """An end by `kill` or by a closed terminal is as orderly as Ctrl-C."""

    def stop(_: int, __: FrameType | None) -> None:
        raise _Stopped

    before = {one: signal.signal(one, stop) for one in (signal.SIGTERM, signal.SIGHUP)}
    # Also where a shell that starts it in the background has it take no notice.
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _prepare(wanted: Wanted) -> None:
    """Trees and programs, which are made once and kept."""
    if "many" in wanted.parts:
        many_files(FOLDER)
    if "big" in wanted.parts:
        two_hundred_megabytes(FOLDER)
    if "program" in wanted.parts:
        _say("building two Go programs, unless they are there")
        try:
            programs(FOLDER)
        except (OSError, subprocess.SubprocessError) as error:
            # The part itself will say so in the table.
            _say(f"they cannot be built: {error}")


class _Bench:
    """One run. The sections fill as it goes, so that what is there can be printed at any end."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._until = 0.0
        self.cluster = "unknown"
        self.problems: list[str] = []
        self.arrived = Section("save -> bytes in the container")
        self.served = Section("save -> new answer served")
        self.many = Section("first sync, 10,000 files", few=True)
        self.big = Section("first sync, 400 files, 200 MB", few=True)
        self.program = Section("a Go program, one line changed", few=True)
        self.sections = [self.arrived, self.served, self.many, self.big, self.program]

    @property
    def failed(self) -> bool:
        rows = [row for section in self.sections for row in section.rows]
        return bool(self.problems) or not rows or any(row.failed for row in rows)

    def begin(self, children: Children) -> None:
        self._children = children
        self._until = time.monotonic() + self._wanted.minutes * 60
        version = json.loads(kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
        context = kubectl("config", "current-context").strip()
        self.cluster = f"{context}, Kubernetes {version}"

    def run(self) -> None:
        wanted = self._wanted
        with Pod(self._children) as pod:
            loops = [one for one in LOOPS if wanted.only in one.name]
            # What matters most comes first, in case the time ends.
            parts: list[tuple[str, Callable[[], None]]] = []
            if "saves" in wanted.parts:
                parts.append(("floor", lambda: self._floor(pod)))
                parts += [(o.name, self._saves(pod, o)) for o in loops if not o.slow]
            if "graph" in wanted.parts:
                parts.append(("kindling up", self._graph))
            if "many" in wanted.parts:
                parts.append((self.many.title, lambda: self._first(pod, many_files, self.many)))
            if "big" in wanted.parts:
                make = two_hundred_megabytes
                parts.append((self.big.title, lambda: self._first(pod, make, self.big)))
            if "program" in wanted.parts:
                parts.append((self.program.title, lambda: self._program(pod)))
            if "saves" in wanted.parts:
                parts += [(o.name, self._saves(pod, o)) for o in loops if o.slow]
            for name, part in parts:
                began = time.monotonic()
                try:
                    self._left(1.0)
                    part()
                except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
                    self.problems.append(f"{name}: {error}")
                _say(f"{name}: {time.monotonic() - began:.0f} s")

    def _left(self, most: float) -> float:
        """So many seconds a thing may take, of which at most so many are left of all."""
        left = min(most, self._until - time.monotonic())
        if left <= 0:
            raise RuntimeError(f"the {self._wanted.minutes:g} minutes are over")
        return left

    def _saves(self, pod: Pod, loop: Loop) -> Callable[[], None]:
        def part() -> None:
            wanted = self._wanted
            saves = min(wanted.slow_saves, wanted.saves) if loop.slow else wanted.saves
            arrived = Found(loop.name, wanted=saves, ours=loop.ours)
            served = Found(loop.name, wanted=saves, ours=loop.ours)
            self.arrived.rows.append(arrived)
            self.served.rows.append(served)
            if lack := loop.lack():
                arrived.problem = served.problem = f"not measured: {lack}"
                return
            source = FOLDER / loop.folder
            source.mkdir(exist_ok=True)
            write(source, 0)
            limit = self._left(150.0)
            until = time.monotonic() + limit
            try:
                pod.run(f"mkdir -p /app/{loop.folder}")
                name, address = pod.name(), pod.address()
                running = Running(self._children, loop, source, name, min(60.0, limit))
                try:
                    client = Client(address, f"/{loop.folder}/{FILE}")
                    place = f"/app/{loop.folder}"
                    self._arriving(name, source, place, until, arrived, served, client)
                finally:
                    running.close()
                    # A session of kindling leaves with fresh pods.
                    pod.wait()
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                arrived.problem = served.problem = f"failed: {error}"

        return part

    def _arriving(
        self,
        pod: str,
        source: Path,
        place: str,
        until: float,
        arrived: Found,
        served: Found | None = None,
        client: Client | None = None,
    ) -> None:
        """Save, and see it arrive, time and again."""
        chance = random.Random(7)
        seer = Seer(self._children, pod, place)
        try:
            for number in range(1, arrived.wanted + _WARM + 1):
                if time.monotonic() > until:
                    for one in (arrived, served):
                        if one is not None:
                            one.cut = True
                    break
                time.sleep(0.15 + 0.2 * chance.random())
                saved = write(source, number)
                at = seer.seen(number, _PATIENCE)
                answered = client.answered(number, _PATIENCE) if client and at else None
                if number <= _WARM:
                    continue
                if at is None:
                    arrived.lost += 1
                else:
                    arrived.times.append(at - saved)
                if served is None:
                    continue
                if answered is None:
                    served.lost += 1
                else:
                    served.times.append(answered - saved)
        finally:
            seer.close()
            if client is not None:
                client.close()

    def _floor(self, pod: Pod) -> None:
        """A byte to a container and back."""
        found = Found("floor: a byte there and back", wanted=self._wanted.saves)
        self.arrived.rows.append(found)
        argv = ["kubectl", "-n", NAMESPACE, "exec", "-i", pod.name(), "--", "cat"]
        process = self._children.start(argv, stdin=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        until = time.monotonic() + self._left(30.0)
        try:
            for number in range(found.wanted + 10):
                time.sleep(0.01)
                began = time.perf_counter()
                process.stdin.write(b"x")
                if not process.stdout.read(1) or time.monotonic() > until:
                    found.problem = "failed: the stream has ended, or its time was over"
                    break
                if number >= 10:
                    found.times.append(time.perf_counter() - began)
        finally:
            self._children.end(process)

    def _graph(self) -> None:
        found = Found(f"kindling up, {NODES:,} nodes", wanted=self._wanted.saves)
        if self._wanted.only not in found.name:
            return
        found.ours = True
        # Beside the other way of kindling.
        before = [at for at, one in enumerate(self.arrived.rows, 1) if one.ours]
        self.arrived.rows.insert(before[-1] if before else len(self.arrived.rows), found)
        try:
            until = time.monotonic() + self._left(240.0)
            with graph(self._children, self._left(150.0)) as session:
                self._arriving(session.pod, session.source, session.dest, until, found)
        except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
            found.problem = f"failed: {error}"

    def _first(self, pod: Pod, make: Callable[[Path], Path], section: Section) -> None:
        first(
            self._children,
            pod,
            make(FOLDER),
            section.rows,
            rounds=self._wanted.rounds,
            only=self._wanted.only,
            left=self._left,
        )

    def _program(self, pod: Pod) -> None:
        size = programs(FOLDER)[0].stat().st_size / 1e6
        self.program.title = f"{size:.1f} MB of Go, one line changed"
        rounds = max(self._wanted.rounds, 1) * 2 - 1
        program(self._children, pod, FOLDER, self.program.rows, rounds=rounds, left=self._left)


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
