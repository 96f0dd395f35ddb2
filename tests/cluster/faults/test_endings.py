"""Stops and resets in the midst of something, and clusters beside each other."""

from __future__ import annotations

import http.client
import io
import socket
import tarfile
import threading
import time
from pathlib import Path

from kindling.cluster import daemon
from tests.cluster.faults.bed import MAPS, Bed, config_map, eventually, made, needs_root


class EngineConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


@needs_root
def test_a_pod_that_ignores_sigterm_delays_the_stop_by_its_grace_at_most(isolated: Bed) -> None:
    isolated.pod("deaf", "trap '' TERM; while :; do sleep 0.1; done")
    isolated.pod("polite", "trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done")
    began = time.monotonic()
    assert daemon.stop(isolated.home)
    assert time.monotonic() - began < 6.0
    assert isolated.traces() == []
    logs = [path for path in isolated.home.pods.rglob("*.log") if "polite" in str(path)]
    said = "".join(path.read_text() for path in logs or isolated.home.pods.rglob("*.log"))
    assert "bye" in said
    isolated.start()
    isolated.runs("deaf")
    isolated.runs("polite")


@needs_root
def test_a_stop_in_the_midst_of_a_build_leaves_nothing(isolated: Bed) -> None:
    isolated.pod("app", "sleep 1000")
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        text = b"FROM kindling.dev/host\nRUN touch /begun && sleep 7654.5\n"
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))

    def build() -> None:
        client = EngineConnection(isolated.home.engine_socket)
        try:
            client.request(
                "POST", "/build?t=x", context.getvalue(), {"Content-Type": "application/x-tar"}
            )
            client.getresponse().read()
        except (OSError, http.client.HTTPException):
            pass
        finally:
            client.close()

    def sleeps() -> bool:
        return any(
            b"7654.5" in (place / "cmdline").read_bytes()
            for place in Path("/proc").glob("[0-9]*")
            if (place / "cmdline").exists()
        )

    builder = threading.Thread(target=build)
    builder.start()
    eventually(sleeps)
    began = time.monotonic()
    assert daemon.stop(isolated.home)
    assert time.monotonic() - began < 15.0
    builder.join(15)
    assert not builder.is_alive()
    assert not sleeps()
    assert isolated.traces() == []
    isolated.start()
    isolated.runs("app")
    left = [p for p in isolated.home.images.rglob("*") if "7654" in p.name or p.name == "begun"]
    assert left == []


def test_a_reset_while_it_runs_and_is_written_to_removes_all(tmp_path: Path) -> None:
    with made(tmp_path, "none") as bed:
        failed = threading.Event()

        def write() -> None:
            try:
                with bed.client() as client:
                    for number in range(100_000):
                        client.json("POST", MAPS, config_map(f"m{number}"))
            except (OSError, AssertionError, http.client.HTTPException):
                failed.set()

        writer = threading.Thread(target=write)
        writer.start()
        eventually(lambda: len(bed.get(MAPS)["items"]) > 20)
        assert daemon.reset(bed.home)
        writer.join(20)
        assert failed.is_set()
        assert list(bed.home.folder.parent.iterdir()) == []
        bed.start()
        names = {one["metadata"]["name"] for one in bed.get(MAPS)["items"]}
        assert names <= {"kube-root-ca.crt"}


def test_two_clusters_live_beside_each_other(tmp_path: Path) -> None:
    with made(tmp_path, "none", "one") as one, made(tmp_path, "none", "two") as two:
        one.post(MAPS, config_map("mine"))
        names = [entry["metadata"]["name"] for entry in two.get(MAPS)["items"]]
        assert "mine" not in names
        settings = [daemon.status(bed.home).settings for bed in (one, two)]
        ports = [(s.api_port, s.ingress_port, s.registry_port) for s in settings]
        assert len({port for row in ports for port in row}) == 6
        # The credentials of one are nothing to the other.
        assert (one.home.pki / "ca.key").read_bytes() != (two.home.pki / "ca.key").read_bytes()
        one.kill()
        assert two.get("/version")["major"] == "1"
        one.start()
        assert daemon.status(one.home).settings.api_port == settings[0].api_port


@needs_root
def test_two_isolated_clusters_have_the_same_addresses_and_do_not_meet(tmp_path: Path) -> None:
    with made(tmp_path, "", "one") as one, made(tmp_path, "", "two") as two:
        one.pod("app", "sleep 1000")
        two.pod("app", "sleep 1000")
        assert daemon.stop(one.home)
        assert two.runs("app")["restartCount"] == 0
        assert two.traces() != []
