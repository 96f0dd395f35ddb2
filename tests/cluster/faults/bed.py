"""A whole cluster of a test's own: its process is started, called, watched, hurt and looked for."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kindling.cluster import daemon
from kindling.cluster.home import ClusterHome

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"

needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs root on Linux"
)


def eventually(met: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true answer of `met`, which is asked again until the time is over."""
    limit = time.monotonic() + seconds
    while not (answer := met()):
        assert time.monotonic() < limit, f"still not: {met}"
        time.sleep(0.02)
    return answer


def alive(pid: int) -> bool:
    """Whether there is more of it than what its parent has not asked for yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


class Bed:
    """The cluster of `home` from outside. `isolation` is that of `start`."""

    def __init__(self, home: ClusterHome, isolation: str) -> None:
        self.home = home
        self.isolation = isolation
        self.pid = 0

    def start(self) -> None:
        self.pid = daemon.start(self.home, isolation=self.isolation).pid

    def kill(self, number: int = 9) -> None:
        os.kill(self.pid, number)
        self.ended()

    def ended(self) -> None:
        eventually(lambda: not alive(self.pid))

    @property
    def port(self) -> int:
        return int(daemon.status(self.home).settings.api_port)

    def tls(self, *, certificate: bool = True) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.home.pki / "ca.crt"))
        if certificate:
            pki = self.home.pki
            context.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))
        return context

    def client(self, *, certificate: bool = True, timeout: float = 20.0) -> Client:
        return Client(self.port, self.tls(certificate=certificate), timeout)

    def get(self, path: str) -> Any:
        with self.client() as client:
            return client.json("GET", path)

    def post(self, path: str, body: Any) -> Any:
        with self.client() as client:
            return client.json("POST", path, body)

    def memory(self) -> int:
        """Bytes of the process that are in memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def pod(self, name: str, script: str, **spec: Any) -> None:
        """Make a pod on this machine's own files, and wait until it runs."""
        container = {
            "name": "c",
            "image": "kindling.dev/host",
            "command": ["sh", "-c", script],
            **spec.pop("container", {}),
        }
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
        }
        self.post(PODS, body)
        self.runs(name)

    def runs(self, name: str, restarts: int = 0) -> Any:
        """The pod's one container's status, once it runs again for the nth time."""

        def running() -> Any:
            status = self.get(f"{PODS}/{name}").get("status", {})
            for one in status.get("containerStatuses", ()):
                if "running" in one["state"] and one["restartCount"] >= restarts:
                    return one
            return None

        return eventually(running)

    def log(self, name: str) -> str:
        with self.client() as client:
            return client.call("GET", f"{PODS}/{name}/log")[1].decode("utf-8", "replace")

    def traces(self) -> list[str]:
        """All on this machine that names the cluster's folder: processes by their command line,
        folder or environment, mounts, control groups."""
        word = os.fsencode(self.home.folder)
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            if int(place.name) == os.getpid() or not alive(int(place.name)):
                continue
            for name in ("cmdline", "environ"):
                try:
                    data = (place / name).read_bytes()
                except OSError:
                    continue
                if word in data:
                    found.append(f"{place.name}: {data[:200]!r}")
        if word in Path("/proc/self/mountinfo").read_bytes():
            found.append("a mount")
        return found


class Client:
    """One connection. As a context it is closed at the end."""

    def __init__(self, port: int, tls: ssl.SSLContext, timeout: float) -> None:
        self._made = http.client.HTTPSConnection("127.0.0.1", port, context=tls, timeout=timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._made.close()

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        self._made.request(method, path, body, dict(headers or {}))
        answer = self._made.getresponse()
        return answer.status, answer.read()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        status, said = self.call(method, path, data, {"Content-Type": "application/json"})
        assert status < 300, said
        return json.loads(said)

    def lines(self, path: str) -> Iterator[Any]:
        """What a watch says, until it ends in any way."""
        self._made.request("GET", path)
        answer = self._made.getresponse()
        assert answer.status == 200, answer.read()
        try:
            while line := answer.readline():
                yield json.loads(line)
        except (OSError, ValueError, http.client.HTTPException):
            return


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


@contextmanager
def made(folder: Path, isolation: str, name: str = "f") -> Iterator[Bed]:
    """A cluster that runs, and of which nothing is left afterwards."""
    bed = Bed(ClusterHome.of(name, {"XDG_DATA_HOME": str(folder)}), isolation)
    bed.start()
    try:
        yield bed
    finally:
        daemon.reset(bed.home)
        assert eventually(lambda: not bed.traces(), 15.0)
