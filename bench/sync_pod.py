"""The pod that benches of sync copy into, and how its files are seen to arrive.

The one who sees is a program in the container, told of changes by inotify: it writes down the time
when a file is whole, by the clock that this machine and its containers share. It sleeps otherwise,
and starts no process. Answers are asked for over one connection that stays open, to the address of
the pod, of a server that reads the file at each request; so that asking begins when the bytes are
there, for no answer before can be the new one, and takes nothing from who brings them.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from bench.sync_children import Children

__all__ = [
    "FILE",
    "IMAGE",
    "NAME",
    "NAMESPACE",
    "Client",
    "Pod",
    "Seer",
    "content",
    "kubectl",
    "write",
]

NAMESPACE = f"kindling-bench-sync-{os.getpid()}"
NAME = "synced"
IMAGE = "python:3.12-slim"
FILE = "value.txt"

_SERVER = """
import os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        try:
            with open("/app" + self.path, "rb") as file:
                body = file.read()
        except OSError:
            body = b""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
os.makedirs("/app", exist_ok=True)
ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""

_SEER = """
import ctypes, os, sys, time
folder = sys.argv[1]
libc = ctypes.CDLL(None)
fd = libc.inotify_init1(0)
# modified, written and closed, moved here, made
if libc.inotify_add_watch(fd, folder.encode(), 0x2 | 0x8 | 0x80 | 0x100) < 0:
    sys.exit("no watch")
print("ready", flush=True)
last = b""
while True:
    os.read(fd, 65536)
    now = time.time()
    try:
        with open(folder + "/value.txt", "rb") as file:
            text = file.read()
    except OSError:
        continue
    words = text.split()
    if words and words[0] == words[-1] and words[0] != last:
        last = words[0]
        print(last.decode(), repr(now), flush=True)
"""

_TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": NAME}},
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "main",
                "image": IMAGE,
                "imagePullPolicy": "IfNotPresent",
                "command": ["python3", "-u", "-c", _SERVER],
                "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            }
        ],
    },
}


def kubectl(*words: str, stdin: str = "", timeout: float = 180.0) -> str:
    """Run it; what it said on standard output."""
    done = subprocess.run(
        ["kubectl", *words], input=stdin, capture_output=True, text=True, timeout=timeout
    )
    if done.returncode:
        raise RuntimeError(f"kubectl {' '.join(words[:4])}: {done.stderr.strip()[-400:]}")
    return done.stdout


def content(number: int) -> str:
    """A file of 2 KB, the size of much source code, whose first and last words are the number."""
    return f"{number}\n" + "x = 1  # a line of code\n" * 85 + f"{number}\n"


class Pod:
    """A Deployment of one pod, in a namespace of its own that goes at the end."""

    def __init__(self, children: Children) -> None:
        self._children = children

    def __enter__(self) -> Pod:
        if load := os.environ.get("KINDLING_LOAD_COMMAND", "").split():
            subprocess.run([*load, IMAGE], check=True, capture_output=True, timeout=300)
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": NAME}},
                "template": _TEMPLATE,
            },
        }
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        self._children.note("+", "namespace", NAMESPACE)
        try:
            for one in (namespace, deployment):
                kubectl("apply", "-f", "-", stdin=json.dumps(one))
            self.wait()
        except BaseException:
            self._delete()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._delete()

    def _delete(self) -> None:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false", "--ignore-not-found")
        self._children.note("-", "namespace", NAMESPACE)

    def wait(self) -> None:
        """Until the Deployment is rolled out."""
        kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{NAME}", "--timeout=120s")

    def name(self) -> str:
        """The one pod that is not on its way out."""
        return str(self._found()["metadata"]["name"])

    def address(self) -> str:
        return str(self._found()["status"]["podIP"])

    def run(self, script: str) -> str:
        """What a script says in the container."""
        return kubectl("-n", NAMESPACE, "exec", self.name(), "--", "sh", "-c", script)

    def _found(self) -> Any:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            listed = json.loads(
                kubectl("-n", NAMESPACE, "get", "pods", "-l", f"app={NAME}", "-o", "json")
            )
            pods = [
                one
                for one in listed["items"]
                if not one["metadata"].get("deletionTimestamp")
                and any(
                    part["type"] == "Ready" and part["status"] == "True"
                    for part in one["status"].get("conditions", ())
                )
            ]
            if len(pods) == 1:
                return pods[0]
            time.sleep(0.2)
        raise RuntimeError("there is no one pod that is ready")


class Seer:
    """Tells when numbers arrived in a folder of the container of a pod."""

    def __init__(self, children: Children, pod: str, folder: str) -> None:
        self._children = children
        kubectl("-n", NAMESPACE, "exec", pod, "--", "mkdir", "-p", folder)
        argv = ["kubectl", "-n", NAMESPACE, "exec", pod, "--"]
        self._process = children.start(
            [*argv, "python3", "-u", "-c", _SEER, folder],
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), daemon=True
        )
        self._reader.start()
        try:
            first = self._lines.get(timeout=30)
        except queue.Empty:
            first = ""
        except BaseException:
            self.close()
            raise
        if first != "ready":
            self.close()
            raise RuntimeError("nothing watches in the container")

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line.strip())

    def seen(self, number: int, seconds: float) -> float | None:
        """When the file with this number was whole in the container; None: not in time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                word, _, at = self._lines.get(timeout=left).partition(" ")
            except queue.Empty:
                return None
            if word == str(number):
                return float(at)
        return None

    def close(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._reader.join()
        self._children.end(self._process)


class Client:
    """Asks a pod for a file, over one connection."""

    def __init__(self, address: str, path: str) -> None:
        self._connection = http.client.HTTPConnection(address, 8080, timeout=5)
        self._path = path

    def answered(self, number: int, seconds: float) -> float | None:
        """When the pod first answered with this number, asked every two milliseconds."""
        wanted = str(number).encode()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                self._connection.request("GET", self._path)
                words = self._connection.getresponse().read().split()
            except (OSError, http.client.HTTPException):
                # The server was restarted: the next one is asked anew.
                self._connection.close()
                words = []
            if words and words[0] == words[-1] == wanted:
                return time.time()
            time.sleep(0.002)
        return None

    def close(self) -> None:
        self._connection.close()


def write(folder: Path, number: int) -> float:
    """Save the file in place, as most editors do; when it was begun."""
    began = time.time()
    with (folder / FILE).open("w") as file:
        file.write(content(number))
    return began
