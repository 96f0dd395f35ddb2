"""The whole cluster as a user without privileges, isolated as far as the machine goes and not at
all: the example is served, streams work, and nothing stays after the end, however it comes.

Run by root, every process here belongs to `nobody`, who may read this interpreter in a mount
namespace of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

NOBODY = 65534
ROOT = Path(__file__).parents[2]
_AS_NOBODY = """
set -e
here=$1; shift
mkdir -p "$here"
mount --bind "$HOME" "$here"
if [ "${0#"$HOME"/}" != "$0" ]; then
    mount -t tmpfs -o mode=755 tmpfs "$HOME"
    top=${0#"$HOME"/}; top=${top%%/*}
    mkdir "$HOME/$top"
    mount --bind "$here/$top" "$HOME/$top"
fi
umount "$here"
exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all "$@"
"""
"""$0 is the interpreter, which may be below root's home, $1 a folder to hold that meanwhile."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are a matter of Linux")


@dataclass(frozen=True)
class Place:
    """A user's own place with a cluster in it. `isolation` is what was asked for."""

    folder: Path
    isolation: str
    prefix: tuple[str, ...]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "KUBECONFIG": str(self.folder / "data/kindling/clusters/t/kubeconfig"),
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8",
        }

    def call(self, *words: str, cwd: str = "", code: int | None = 0) -> str:
        """Run a program as the user; what it said. `code` None: however it ends."""
        told = [f"{name}={value}" for name, value in self.environment.items()]
        done = subprocess.run(
            [*self.prefix, "env", "-i", *told, *words],
            cwd=self.folder / cwd,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = done.stdout + done.stderr
        assert code is None or done.returncode == code, said
        return said

    def kindling(self, *words: str, cwd: str = "", code: int | None = 0) -> str:
        return self.call(sys.executable, "-m", "kindling", *words, cwd=cwd, code=code)

    def kubectl(self, *words: str, code: int | None = 0) -> str:
        return self.call("kubectl", "--request-timeout=20s", *words, code=code)

    def start(self) -> str:
        wish = () if self.isolation == "auto" else ("--isolation", self.isolation)
        return self.kindling("cluster", "start", "--name", "t", "--no-kubeconfig", *wish)

    @property
    def told(self) -> dict[str, Any]:
        """What the cluster says of itself."""
        said = self.kindling("cluster", "status", "--name", "t", "--json", code=None)
        found: dict[str, Any] = json.loads(said)["clusters"][0]
        return found

    @property
    def processes(self) -> list[str]:
        """Of the cluster and of everything that it started."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                home = b"\0" + (place / "environ").read_bytes()
            except OSError:
                continue
            marks = (f"XDG_DATA_HOME={self.folder}", f"MARK={self.folder}")
            if str(self.folder) in line or any(f"\0{mark}".encode() in home for mark in marks):
                found.append(line)
        return found


@pytest.fixture(scope="module", params=["auto", "none"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    prefix: tuple[str, ...] = ()
    folder = Path(tempfile.mkdtemp(prefix="kindling-user-"))
    if os.geteuid() == 0:
        if not (shutil.which("unshare") and shutil.which("setpriv")):
            pytest.skip("becoming another user takes `unshare` and `setpriv`")
        python = os.path.realpath(sys.executable)
        prefix = ("unshare", "-m", "--propagation", "private", "sh", "-c", _AS_NOBODY, python)
        prefix += (f"{folder}-root",)
        os.chown(folder, NOBODY, NOBODY)
    made = Place(folder, request.param, prefix)
    try:
        if (
            made.call(sys.executable, "-c", "import kindling; print('reads')", code=None)
            != "reads\n"
        ):
            pytest.skip("another user cannot read this checkout")
        made.call("mkdir", "tmp")
        made.start()
        yield made
        made.kindling("cluster", "reset", "--name", "t", "--yes")
        assert made.processes == []
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(f"{folder}-root", ignore_errors=True)


@pytest.fixture(scope="module")
def isolated(place: Place) -> bool:
    """Whether the machine gives pods what a root file system and a network take."""
    kept = "files" in place.told["isolation"]
    if place.isolation == "auto" and not kept:
        pytest.skip("; ".join(place.told["missing"]))
    return kept


def test_the_example_is_served(place: Place) -> None:
    shutil.copytree(ROOT / "examples/hello", place.folder / "hello")
    file = place.folder / "hello/Kindlingfile"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file.write_text(file.read_text().replace("8090", str(port)))
    if os.geteuid() == 0:
        for path in (place.folder / "hello", *(place.folder / "hello").rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    said = place.kindling("up", "--once", "--", "--base", "kindling.dev/host", cwd="hello")
    assert "test:smoke  passed" in said
    port = place.told["ingress"].rpartition(":")[2]
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/", headers={"Host": "hello.localhost"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert b"<!doctype html>" in answer.read()
    if shutil.which("kubectl"):
        said = place.kubectl("exec", "deploy/hello", "--", "sh", "-c", "echo in $((6 * 7))")
        assert said == "in 42\n"
        assert "serving on port" in place.kubectl("logs", "deploy/hello")


def test_what_is_not_kept_apart_is_said(place: Place) -> None:
    told = place.told
    said = place.start()
    assert "runs already" in said
    missing = " ".join(told["missing"])
    if place.isolation == "none":
        assert told["isolation"] == "plain processes"
        assert "services: their addresses and DNS names lead nowhere" in missing
        assert said.count("Pods are plain processes: no addresses, DNS names") == 1
    else:
        kept = told["isolation"]
        assert all(word in kept or f"{word}:" in missing for word in ("memory", "users", "network"))
    if shutil.which("kubectl"):
        conditions = json.loads(place.kubectl("get", "node", "t", "-o", "json"))["status"]
        [found] = [c for c in conditions["conditions"] if c["type"] == "kindling.dev/Isolation"]
        assert found["message"].splitlines() == told["missing"]
        if place.isolation == "none":
            assert (found["status"], found["reason"]) == ("False", "PlainProcesses")


def test_images_are_built_as_far_as_there_are_root_file_systems(
    place: Place, isolated: bool
) -> None:
    folder = place.folder / "built"
    folder.mkdir()
    (folder / "Dockerfile").write_text(
        "FROM kindling.dev/host\nRUN mkdir /made && echo built > /made/it\n"
    )
    (folder / "Kindlingfile").write_text('docker_build("built", ".")\nk8s_yaml("pod.yaml")\n')
    container = {
        "name": "c",
        "image": "built",
        "command": ["sh", "-c", "cat /made/it; exec sleep 1000"],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "built"},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    (folder / "pod.yaml").write_text(json.dumps(pod))
    if os.geteuid() == 0:
        for path in (folder, *folder.iterdir()):
            os.chown(path, NOBODY, NOBODY)
    said = place.kindling("up", "--once", cwd="built", code=None)
    if isolated:
        assert "up done" in said
        assert "| built\n" in said
        assert not Path("/made").exists()
    else:
        assert "RUN needs a root file system of its own" in said


def test_after_kill_9_nothing_runs_and_the_next_start_brings_it_back(place: Place) -> None:
    if shutil.which("kubectl"):
        place.kubectl("run", "staying", "--image=kindling.dev/host", "--", "sleep", "1000")
        place.kubectl("wait", "--for=condition=Ready", "pod/staying", "--timeout=30s")
    os.kill(place.told["pid"], signal.SIGKILL)
    limit = time.monotonic() + 10
    while place.processes and time.monotonic() < limit:
        time.sleep(0.05)
    assert place.processes == []
    place.start()
    if shutil.which("kubectl"):
        place.kubectl("wait", "--for=condition=Ready", "pod/staying", "--timeout=30s")


def test_after_stop_nothing_runs(place: Place) -> None:
    assert "stopped" in place.kindling("cluster", "stop", "--name", "t")
    assert place.processes == []
    mounts = Path("/proc/self/mounts").read_text()
    assert str(place.folder) not in mounts
    place.start()
