"""Who else brings a saved file into a pod: the loops of the post that people start from, `tar`
through `kubectl exec`, and sync2pod from PyPI."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers import KINDLING, WORK
from bench.sync_children import Children
from bench.sync_pod import NAME, NAMESPACE

__all__ = ["COPIES", "FOLDER", "HOME", "LOOPS", "Copy", "Loop", "Running", "install"]

FOLDER = WORK / "sync"
HOME = FOLDER / "data"
"""Where sessions of the bench write down how to put back what they change: not with the user's,
whose next session would find those of a bench that was killed."""

SYNC2POD = WORK / "sync2pod"
MODULES = WORK / "node"

_CP = f"""#!/bin/bash
set -e
POD=$(kubectl get pod -n {NAMESPACE} -l app={NAME} -o jsonpath='{{.items[0].metadata.name}}')
kubectl cp "$1/." "{NAMESPACE}/$POD:$2"
"""
_CP_LOOP = """#!/bin/bash
echo ready
while inotifywait -qq -r -e modify,create,delete "$1"; do
  "$(dirname "$0")/sync-to-pod.sh" "$1" "$2"
done
"""
_NODE = """
const chokidar = require('chokidar');
const { exec } = require('child_process');
const path = require('path');
const [source, dest, debounce] = process.argv.slice(2);
const queue = new Set();
let timer;
const run = cmd => new Promise((done, fail) =>
  exec(cmd, (error, out) => error ? fail(error) : done(out.trim())));
async function syncFile(file) {
  const pod = await run(
    `kubectl get pod -n NS -l app=NAME -o jsonpath='{.items[0].metadata.name}'`);
  await run(`kubectl cp "${file}" "NS/${pod}:${path.join(dest, path.relative(source, file))}"`);
}
async function flush() {
  const files = Array.from(queue);
  queue.clear();
  for (const file of files) await syncFile(file).catch(console.error);
}
const add = file => {
  queue.add(file);
  if (timer) clearTimeout(timer);
  timer = setTimeout(flush, Number(debounce));
};
chokidar.watch(source, { persistent: true, ignoreInitial: true })
  .on('add', add).on('change', add).on('ready', () => console.log('ready'));
""".replace("NS", NAMESPACE).replace("NAME", NAME)
_TAR_LOOP = """
import subprocess, sys, threading
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer
source, dest, pod = sys.argv[1:]
due = threading.Event()
class Handler(FileSystemEventHandler):
    def on_closed(self, event):
        due.set()
observer = Observer()
observer.schedule(Handler(), source)
observer.start()
print("ready", flush=True)
while True:
    due.wait()
    due.clear()
    tar = subprocess.Popen(["tar", "-C", source, "-cf", "-", "."], stdout=subprocess.PIPE)
    subprocess.run(["kubectl", "-n", "NS", "exec", "-i", pod, "--", "tar", "-xf", "-", "-C", dest],
                   stdin=tar.stdout, check=True)
    tar.wait()
""".replace("NS", NAMESPACE)


@dataclass(frozen=True, slots=True)
class Loop:
    """Something that watches a folder and brings what changes over.

    `argv` makes its command from source, destination and pod; `ready` is a text of its output after
    which it watches. `lack` says why it cannot be tried here. A slow one is tried fewer times."""

    name: str
    folder: str
    argv: Callable[[Path, str, str], Sequence[str]]
    ready: str
    note: str = ""
    lack: Callable[[], str] = field(default=lambda: "")
    environ: Mapping[str, str] = field(default_factory=dict)
    slow: bool = False
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Copy:
    """Something that brings a whole tree over once, as one command."""

    name: str
    argv: Callable[[Path, str, str], Sequence[str]]
    lack: Callable[[], str] = field(default=lambda: "")
    environ: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False


class Running:
    """A loop while it runs."""

    def __init__(
        self, children: Children, loop: Loop, source: Path, pod: str, seconds: float = 60.0
    ) -> None:
        self._children = children
        # A session of kindling puts back what it changed. A shell may take no notice of Ctrl-C when
        # what it waits for takes some.
        self._patience = 60.0 if loop.ours else 2.0
        self._log = source.parent / f"{loop.folder}.log"
        with self._log.open("wb") as log:
            self._process = children.start(
                loop.argv(source, f"/app/{loop.folder}", pod),
                stdout=log,
                stderr=subprocess.STDOUT,
                environ=loop.environ,
                cwd=source.parent,
            )
        try:
            until = time.monotonic() + seconds
            while loop.ready not in self.said:
                if self._process.poll() is not None or time.monotonic() > until:
                    said = " ".join(self.said.split())[-300:]
                    raise RuntimeError(f"it does not start: {said}")
                time.sleep(0.05)
        except BaseException:
            self.close()
            raise

    @property
    def said(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def close(self) -> None:
        """Ctrl-C to all of it, then an end."""
        self._children.end(self._process, seconds=self._patience)


def install() -> None:
    """What of the peers comes from PyPI and npm, into folders of the bench's own."""
    if not (SYNC2POD / "bin" / "sync2pod").exists():
        subprocess.run([sys.executable, "-m", "venv", str(SYNC2POD)], check=True)
        pip = [str(SYNC2POD / "bin" / "python"), "-m", "pip", "--quiet", "install"]
        subprocess.run([*pip, "--disable-pip-version-check", "sync2pod"], timeout=600, check=False)
    if shutil.which("npm") and not (MODULES / "node_modules" / "chokidar").exists():
        MODULES.mkdir(parents=True, exist_ok=True)
        (MODULES / "package.json").write_text("{}")
        npm = ["npm", "install", "--no-audit", "--no-fund", "--silent", "chokidar@3"]
        subprocess.run(npm, cwd=MODULES, timeout=600, check=False)


def _script(name: str, text: str) -> str:
    path = WORK / "sync-scripts" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def _needs(*programs: str) -> Callable[[], str]:
    def lack() -> str:
        missing = [one for one in programs if shutil.which(one) is None]
        return f"there is no {', '.join(missing)} here" if missing else ""

    return lack


def _cp_loop(source: Path, dest: str, _: str) -> Sequence[str]:
    _script("sync-to-pod.sh", _CP)
    return [_script("watch-and-sync.sh", _CP_LOOP), str(source), dest]


def _node(debounce: int) -> Callable[[Path, str, str], Sequence[str]]:
    def argv(source: Path, dest: str, _: str) -> Sequence[str]:
        MODULES.mkdir(parents=True, exist_ok=True)
        script = MODULES / "sync-tool.js"
        script.write_text(_NODE)
        return ["node", str(script), str(source), dest, str(debounce)]

    return argv


def _no_chokidar() -> str:
    there = shutil.which("node") and (MODULES / "node_modules" / "chokidar").exists()
    return "" if there else "there is no node with chokidar here"


def _no_sync2pod() -> str:
    return "" if (SYNC2POD / "bin" / "sync2pod").exists() else "it cannot be installed here"


def _home(source: Path) -> Path:
    return source.parent / f"home-{source.name}"


def _sync2pod(debounce: float, watch: bool = True) -> Callable[[Path, str, str], Sequence[str]]:
    def argv(source: Path, dest: str, _: str) -> Sequence[str]:
        home = _home(source)
        (home / ".sync2pod" / "bench").mkdir(parents=True, exist_ok=True)
        configuration = {
            "cluster": "bench",
            "namespace": NAMESPACE,
            "pod_label": f"app={NAME}",
            "remote_parent_path": os.path.dirname(dest),
            "local_path": str(source),
            "kubectl_command": ["kubectl"],
            "debounce_seconds": debounce,
            "no_watch": not watch,
            "skip_verify": True,  # or it waits for Enter
        }
        path = home / ".sync2pod" / "bench" / "sync_config.json"
        path.write_text(json.dumps(configuration))
        # A configuration of kubectl in the home of the user is no longer seen; KUBECONFIG is.
        return [
            "env",
            f"HOME={home}",
            str(SYNC2POD / "bin" / "sync2pod"),
            "--project",
            "bench",
        ]

    return argv


def _kindling(source: Path, dest: str, *more: str) -> Sequence[str]:
    workload = ("-d", f"deployment/{NAME}", "-n", NAMESPACE)
    return [KINDLING, "sync", *workload, "--src", str(source), "--dest", dest, *more]


_OURS = {"XDG_DATA_HOME": str(HOME)}

LOOPS = (
    Loop(
        "kindling sync",
        "kindling",
        lambda source, dest, _: _kindling(source, dest),
        "atching",
        environ=_OURS,
        ours=True,
    ),
    Loop(
        "tar through kubectl exec",
        "tar",
        lambda source, dest, pod: [
            sys.executable,
            _script("tar-loop.py", _TAR_LOOP),
            str(source),
            dest,
            pod,
        ],
        "ready",
        "the whole folder, which holds one file, at each save",
    ),
    Loop(
        "kubectl cp, bash + inotifywait",
        "cp-bash",
        _cp_loop,
        "ready",
        "of the post, but for a destination that it would nest; saves while it copies are lost",
        _needs("inotifywait"),
    ),
    Loop(
        "kubectl cp, Node, 10 ms",
        "cp-node-10",
        _node(10),
        "ready",
        "of the post, with the debounce that kindling has",
        _no_chokidar,
    ),
    Loop(
        "kubectl cp, Node, its 1000 ms",
        "cp-node",
        _node(1000),
        "ready",
        "of the post, with its own debounce",
        _no_chokidar,
        slow=True,
    ),
    Loop(
        "sync2pod, 10 ms",
        "s2p-10",
        _sync2pod(0.01),
        "watch_started",
        "with the debounce that kindling has",
        _no_sync2pod,
        slow=True,
    ),
    Loop(
        "sync2pod, its 1000 ms",
        "s2p",
        _sync2pod(1.0),
        "watch_started",
        "with its own debounce",
        _no_sync2pod,
        slow=True,
    ),
)

COPIES = (
    Copy(
        "kindling sync --once",
        lambda source, dest, _: _kindling(source, dest, "--once"),
        environ=_OURS,
        ours=True,
    ),
    Copy(
        "tar through kubectl exec",
        lambda source, dest, pod: [
            "bash",
            "-c",
            'set -o pipefail; tar -C "$0" -cf - . | kubectl -n "$3" exec -i "$2" -- '
            'sh -c \'mkdir -p "$0" && tar -xf - -C "$0"\' "$1"',
            str(source),
            dest,
            pod,
            NAMESPACE,
        ],
    ),
    Copy(
        "kubectl cp",
        lambda source, dest, pod: ["kubectl", "cp", f"{source}/.", f"{NAMESPACE}/{pod}:{dest}"],
    ),
    Copy("sync2pod, no watch", _sync2pod(1.0, watch=False), _no_sync2pod),
)
