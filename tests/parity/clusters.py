"""A cluster that commands run against, and two of them side by side."""

from __future__ import annotations

import difflib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.parity.differences import without_differences
from tests.parity.normalise import normalise
from tests.parity.script import Step, steps

__all__ = ["Both", "Cluster", "Said", "embedded"]

LIMIT = 60.0
"""Seconds that one command may take."""
LINES = 80
"""Of one step's difference that are shown."""
SETTLES = 10.0
"""Seconds in which two clusters must come to say the same."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class Cluster:
    """A cluster, seen from one namespace, with a folder for the files of scripts."""

    side: str
    kubeconfig: Path
    namespace: str
    folder: Path
    node: str = field(init=False)
    server: str = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "home").mkdir(exist_ok=True)
        text = self.ask("kubectl config view --raw --minify --flatten -o json").out
        document = json.loads(text)
        document["contexts"][0]["context"]["namespace"] = self.namespace
        self.server = document["clusters"][0]["cluster"]["server"].partition("//")[2]
        self.kubeconfig = self.folder / "kubeconfig"
        self.kubeconfig.write_text(json.dumps(document))
        self.node = self.ask("kubectl get nodes -o jsonpath='{.items[0].metadata.name}'").out

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            "HOME": str(self.folder / "home"),
            "KUBECONFIG": str(self.kubeconfig),
            "NS": self.namespace,
            "TZ": "UTC",
            "TERM": "dumb",
        }

    def ask(self, command: str, *, tty: bool = False) -> Said:
        """Run one command. What takes longer than `LIMIT` is ended and says so."""
        if tty:
            return self._within_terminal(command)
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        timer = threading.Timer(LIMIT, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        try:
            out, err = process.communicate()
        finally:
            timer.cancel()
        return Said(
            process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
        )

    def _within_terminal(self, command: str) -> Said:
        main, other = pty.openpty()
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)
        printed, end = b"", time.monotonic() + LIMIT
        try:
            while time.monotonic() < end:
                if not select.select([main], [], [], 0.5)[0]:
                    continue
                try:
                    part = os.read(main, 65536)
                except OSError:
                    break  # Linux says EIO when nobody holds the other end any more
                if not part:
                    break
                printed += part
        finally:
            os.close(main)
            if process.poll() is None and time.monotonic() >= end:
                os.killpg(process.pid, signal.SIGKILL)
        return Said(process.wait(), printed.decode("utf-8", "replace"), "")

    def text(self, step: Step) -> str:
        """What a step prints, made comparable, with what went to stderr and the exit code."""
        said = self.ask(step.command, tty="tty" in step.flags)
        parts = []
        for name, printed in (("", said.out), ("stderr: ", said.err)):
            plain = without_differences(
                normalise(printed, node=self.node, server=self.server, namespace=self.namespace),
                self.side,
            )
            lines = [name + line for line in plain.rstrip("\n").split("\n") if plain]
            parts += sorted(lines) if "sorted" in step.flags else lines
        return "\n".join([*parts, f"exit code {said.code}"])


@dataclass(slots=True)
class Both:
    """The reference and the embedded cluster, with a namespace of the same name in each."""

    reference: Cluster
    ours: Cluster

    def run(self, script: str) -> None:
        """Run a script on both. AssertionError with a diff of all steps that were not the same."""
        different: list[str] = []
        with ThreadPoolExecutor(2) as pool:
            for step in steps(script):
                began = time.monotonic()
                while True:
                    asked = [pool.submit(side.text, step) for side in (self.reference, self.ours)]
                    said = [one.result() for one in asked]
                    late = time.monotonic() - began > SETTLES
                    if said[0] == said[1] or "settles" not in step.flags or late:
                        break
                    time.sleep(0.3)
                if said[0] != said[1]:
                    different.append(_difference(step, *said))
        assert not different, f"{len(different)} steps differ\n\n" + "\n\n".join(different)


def _difference(step: Step, reference: str, ours: str) -> str:
    lines: Iterable[str] = difflib.unified_diff(
        reference.split("\n"), ours.split("\n"), "reference", "embedded", lineterm="", n=2
    )
    found = list(lines)
    more = [f"... {len(found) - LINES} lines more"] if len(found) > LINES else []
    return "\n".join([f"# {step.name}", f"$ {step.command}", *found[:LINES], *more])


def embedded(*words: str, home: Path) -> str:
    """What `kindling cluster WORDS` prints, with the clusters that are in the folder `home`."""
    environment = {**os.environ, "XDG_DATA_HOME": str(home), "KUBECONFIG": str(home / "none")}
    done = subprocess.run(
        [sys.executable, "-m", "kindling", "cluster", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
