"""`kill -9`, of every process there is and at every moment: nothing acknowledged is lost, nothing
is left, and the next start brings the pods back."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

from tests.cluster.faults.bed import MAPS, Bed, alive, config_map, eventually, needs_root


def children_of(pid: int) -> list[int]:
    """All descendants."""
    parents: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = place.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(place.parent.name))
    found = list(parents.get(pid, ()))
    for one in found:
        found += parents.get(one, ())
    return found


def gone(pid: int) -> bool:
    return not alive(pid)


def interfaces() -> list[str]:
    """Those of this machine, without those that a Docker beside us makes and removes."""
    return sorted(name for name in os.listdir("/sys/class/net") if not name.startswith("veth"))


def test_nothing_that_was_acknowledged_under_load_is_lost_to_kill_9(bed: Bed) -> None:
    told: list[tuple[str, int]] = []
    seen: list[int] = []
    ready = threading.Event()

    def write(writer: int) -> None:
        with bed.client() as client, contextlib.suppress(OSError, http.client.HTTPException):
            for number in range(100_000):
                name = f"w{writer}-{number}"
                said = client.json("POST", MAPS, config_map(name))
                told.append((name, int(said["metadata"]["resourceVersion"])))
                if len(told) > 200:
                    ready.set()

    def follow() -> None:
        with bed.client() as client:
            for event in client.lines(f"{MAPS}?watch=1&resourceVersion={begin}"):
                seen.append(int(event["object"]["metadata"]["resourceVersion"]))

    begin = bed.get(MAPS)["metadata"]["resourceVersion"]
    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    threads.append(threading.Thread(target=follow))
    for thread in threads:
        thread.start()
    assert ready.wait(30)
    bed.kill()
    for thread in threads:
        thread.join(20)
    assert seen == sorted(set(seen))

    bed.start()
    there = bed.get(MAPS)
    kept = {o["metadata"]["name"]: int(o["metadata"]["resourceVersion"]) for o in there["items"]}
    assert {name: kept.get(name) for name, _ in told} == dict(told)
    newest = max(version for _, version in told)
    assert int(there["metadata"]["resourceVersion"]) >= max(newest, *seen)
    assert int(bed.post(MAPS, config_map("later"))["metadata"]["resourceVersion"]) > newest
    # The watch that was cut off goes on exactly where it was, or is told that it cannot.
    rest = sorted(v for v in kept.values() if v > seen[-1])
    with bed.client() as client:
        for event in client.lines(f"{MAPS}?watch=1&resourceVersion={seen[-1]}"):
            if event["type"] == "ERROR":
                assert event["object"]["code"] == 410
                break
            name = event["object"]["metadata"]["name"]
            if name == "later":
                assert rest == []
                break
            assert int(event["object"]["metadata"]["resourceVersion"]) == rest.pop(0)


@needs_root
def test_a_container_whose_process_is_killed_is_started_again(isolated: Bed) -> None:
    isolated.pod("app", "sleep 1234567.5")
    (victim,) = [
        pid
        for pid in children_of(isolated.pid)
        if b"sleep\x001234567.5" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(victim, signal.SIGKILL)
    status = isolated.runs("app", restarts=1)
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 137


@needs_root
def test_whichever_of_its_processes_is_killed_all_end_and_the_next_start_mends(
    isolated: Bed,
) -> None:
    isolated.pod("app", "sleep 1234567.25")
    links = interfaces()
    # The guard, the launcher below it, and all at once.
    for round_, chosen in enumerate((slice(0, 1), slice(1, 2), slice(None)), start=1):
        family = children_of(isolated.pid)
        doomed = family[chosen]
        if chosen == slice(None):
            doomed = [isolated.pid, *family]
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):  # it went with another
                os.kill(pid, signal.SIGKILL)
        isolated.ended()
        for pid in family:
            eventually(partial(gone, pid))
        assert eventually(lambda: not isolated.traces())
        assert interfaces() == links
        isolated.start()
        assert isolated.runs("app", restarts=round_)["lastState"]["terminated"]["exitCode"] == 137


def test_a_kill_at_any_moment_of_the_start_leaves_one_that_starts(bed: Bed) -> None:
    bed.post(MAPS, config_map("kept"))
    bed.kill()
    for seconds in (0.05, 0.15, 0.3, 0.45, 0.6, 0.8):
        child = subprocess.Popen(
            [sys.executable, "-m", "kindling.cluster.server", str(bed.home.folder)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(seconds)  # the moment is what is varied
        child.kill()
        child.wait()
    bed.start()
    assert bed.get(f"{MAPS}/kept")["metadata"]["name"] == "kept"
