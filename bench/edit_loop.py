"""From a saved Go file to the new answer at localhost:8080, by step, on a real cluster.

The steps are those of the loop this example was made for: compile, build the image, copy it into
the node, roll the Deployment. Times of the nodes are the engine's own, from `kindling up --json`;
the copy is timed by a wrapper around the load command; the whole is taken from outside.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bench.peers import KINDLING, ROOT, WORK
from bench.timing import Row, Table

__all__ = ["measure"]

ADDRESS = "http://localhost:8080/"
TITLE = "examples/kpulse: save to served, by step"
STEPS = {
    "go build": "local:go-build",
    "docker build and copy into the node": "image:kpulse",
    "apply": "apply:kpulse",
    "roll": "rollout:kpulse",
}
COPY = "  of it: copy into the node"
_CACHES = shutil.ignore_patterns(".kindling", ".cache")


@dataclass(frozen=True, slots=True)
class _Loop:
    """One save. All times are seconds since the epoch."""

    saved: float
    served: float


class _Session:
    """`kindling up --json` in the background, and what it has said."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [KINDLING, "up", "--json"],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=(folder / "stderr.log").open("w", encoding="utf-8"),
            text=True,
        )
        assert self._process.stdout is not None
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,))
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.events.append(json.loads(line))

    def ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        if not self.ended():
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._reader.join(10)


def measure(table: Table, rounds: int) -> None:
    """Add one section, or say why there is none."""
    kubeconfig = os.environ.get("KUBECONFIG", "")
    if not kubeconfig:
        table.remark(TITLE, "not measured: KUBECONFIG is not set")
        return
    folder = WORK / "kpulse"  # its name is the owner of what it deploys
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "examples" / "kpulse", folder, ignore=_CACHES)
    times = folder / "copy-times"
    env = {**os.environ, "KINDLING_LOAD_COMMAND": str(_timed_load(folder, times))}

    began = time.monotonic()
    session = _Session(folder, env)
    try:
        first = _wait_for("kpulse 1:", session, 300)
        if not first:
            table.remark(TITLE, f"not measured: {_why(session, folder)}")
            return
        up = time.monotonic() - began
        _wait_until_quiet(session)
        times.write_text("", encoding="utf-8")
        loops: list[_Loop] = []
        for number in range(2, rounds + 2):
            saved = _save(folder, number)
            if not _wait_for(f"kpulse {number}:", session, 120):
                table.remark(TITLE, f"change {number} was not served: {_why(session, folder)}")
                return
            loops.append(_Loop(saved, time.time()))
            _wait_until_quiet(session)
        table.section(TITLE, _rows(session, loops, times, up))
    finally:
        session.stop()
        subprocess.run([KINDLING, "down"], cwd=folder, env=env, capture_output=True, check=False)


def _timed_load(folder: Path, times: Path) -> Path:
    """A program that does what the example's `k3d` does, and writes down how long it took.

    It becomes KINDLING_LOAD_COMMAND, so it must hide itself from the script it calls.
    """
    before = os.environ.get("KINDLING_LOAD_COMMAND", "")
    restore = (
        f"export KINDLING_LOAD_COMMAND='{before}'" if before else "unset KINDLING_LOAD_COMMAND"
    )
    path = folder / "timed-load"
    path.write_text(
        "#!/usr/bin/env bash\n"
        "set -euo pipefail\n"
        f"{restore}\n"
        "began=$EPOCHREALTIME\n"
        f"'{folder}/dev/bin/k3d' image import \"$@\"\n"
        f"echo \"$began $EPOCHREALTIME $1\" >> '{times}'\n",
        encoding="utf-8",
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def _save(folder: Path, number: int) -> float:
    """Write another version into main.go, as an editor does, and return when."""
    source = folder / "cmd" / "kpulse" / "main.go"
    text = re.sub(r'Version = "kpulse \d+"', f'Version = "kpulse {number}"', source.read_text())
    new = source.with_suffix(".tmp~")
    new.write_text(text, encoding="utf-8")
    new.replace(source)
    return time.time()


def _wait_for(beginning: str, session: _Session, seconds: float) -> bool:
    """Ask for the page until it begins so. False when the time is up or the session ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not session.ended():
        try:
            with urllib.request.urlopen(ADDRESS, timeout=1) as page:
                if page.read().decode().startswith(beginning):
                    return True
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.005)
    return False


def _wait_until_quiet(session: _Session) -> None:
    """Wait until the session has said nothing for two seconds."""
    seen = -1
    while seen != len(session.events):
        seen = len(session.events)
        time.sleep(2)


def _why(session: _Session, folder: Path) -> str:
    said = [event for event in session.events if event["type"] in ("session_ended", "message")]
    if said:
        return json.dumps(said[-1])[:400]
    return (folder / "stderr.log").read_text(encoding="utf-8").strip()[
        -400:
    ] or "no reason was given"


def _rows(session: _Session, loops: list[_Loop], times: Path, up: float) -> list[Row]:
    copies = [line.split() for line in times.read_text(encoding="utf-8").splitlines()]
    found: dict[str, list[float]] = {"file event to first decision": []}
    for name in STEPS:
        found[name] = []
        if STEPS[name].startswith("image:"):
            found[COPY] = []
    for loop in loops:
        inside = [event for event in session.events if loop.saved <= event["at"] <= loop.served + 2]
        seen = [event["at"] for event in inside if event["type"] == "changes_seen"]
        found["file event to first decision"] += [seen[0] - loop.saved] if seen else []
        for name, node in STEPS.items():
            done = [
                event["node"]["seconds"]
                for event in inside
                if event["type"] == "node_changed"
                and event["node"]["id"] == node
                and event["node"]["verdict"] == "ran"
                and event["node"]["status"] in ("done", "unready")
            ]
            found[name] += done[:1]
        found[COPY] += [
            float(end) - float(begin)
            for begin, end, image in copies
            if image.startswith("kpulse:") and loop.saved <= float(begin) <= loop.served
        ][:1]
    rows = [Row("whole loop", tuple(loop.served - loop.saved for loop in loops))]
    rows += [
        Row(f"  {name}", tuple(samples)) if samples else Row(f"  {name}", note="no event seen")
        for name, samples in found.items()
    ]
    rows.append(Row("first `kindling up` until served", (up,)))
    rows.append(
        Row("the post this example follows", (12.0,), note="3 + 1 + 3 + 5 s, its own figures")
    )
    return rows
