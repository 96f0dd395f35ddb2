"""Full and read-only disks: the API lives, says what is wrong, and goes on when there is room."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kindling.cluster import daemon
from kindling.cluster.home import ClusterHome
from kindling.errors import ClusterError
from tests.cluster.faults.bed import MAPS, PODS, Bed, config_map, eventually, made, needs_root

pytestmark = needs_root


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    path = folder / "filling"
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65536))
    with open(path, "ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))
    return path


def test_a_full_disk_refuses_writes_and_nothing_else(small: Path) -> None:
    with made(small, "none") as bed:
        bed.pod("talks", "while :; do echo a line of the log; sleep 0.01; done")
        bed.post(MAPS, config_map("before"))
        filling = fill(small)
        with bed.client() as client:
            # What fits into the pages that the database has already may still be taken.
            def refused() -> bytes:
                status, said = client.call(
                    "PUT",
                    f"{MAPS}/before",
                    b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"before"},'
                    b'"data":{"x":"%b"}}' % (os.urandom(20_000).hex().encode()),
                    {"Content-Type": "application/json"},
                )
                return said if status == 500 else b""

            assert b"full" in eventually(refused)
            assert client.json("GET", f"{MAPS}/before")["metadata"]["name"] == "before"
            assert client.json("GET", PODS)["items"][0]["status"]["phase"] == "Running"
        # An image that does not fit is refused, and the registry and the engine go on.
        filling.unlink()
        eventually(lambda: writes(bed))
        # The pod's log goes on where there is room again.
        there = len(bed.log("talks"))
        eventually(lambda: len(bed.log("talks")) > there + 100)
        assert bed.get(f"{PODS}/talks")["status"]["containerStatuses"][0]["restartCount"] == 0


def writes(bed: Bed) -> bool:
    with bed.client() as client:
        body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"again-"}}'
        return client.call("POST", MAPS, body, {"Content-Type": "application/json"})[0] == 201


def test_a_cluster_on_a_full_disk_does_not_start_and_says_why_in_a_line(small: Path) -> None:
    home = ClusterHome.of("f", {"XDG_DATA_HOME": str(small)})
    filling = fill(small)
    with pytest.raises(ClusterError) as caught:
        daemon.start(home, isolation="none")
    assert "No space is left" in caught.value.message
    assert str(small) in caught.value.message
    assert "\n" not in caught.value.message
    filling.unlink()
    with made(small, "none") as bed:
        daemon.stop(bed.home)
        filling = fill(small)
        with pytest.raises(ClusterError) as caught:
            bed.start()
        assert re.search("No space|disk is full", caught.value.message)
        assert "\n" not in caught.value.message
        filling.unlink()
        bed.start()


def test_a_read_only_data_folder_is_said_in_a_line(small: Path) -> None:
    with made(small, "none") as bed:
        daemon.stop(bed.home)
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        try:
            with pytest.raises(ClusterError) as caught:
                bed.start()
        finally:
            subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)
        assert "a read-only file system" in caught.value.message
        assert "\n" not in caught.value.message


def test_a_disk_that_is_full_at_the_stop_hinders_neither_it_nor_the_next_start(small: Path) -> None:
    with made(small, "none") as bed:
        bed.post(MAPS, config_map("kept"))
        filling = fill(small)
        assert daemon.stop(bed.home)
        filling.unlink()
        bed.start()
        assert bed.get(f"{MAPS}/kept")["metadata"]["name"] == "kept"


def test_images_that_do_not_fit_are_refused_and_leave_no_part_behind(small: Path) -> None:
    with made(small, "none") as bed:
        client = http.client.HTTPConnection(
            "127.0.0.1", daemon.status(bed.home).settings.registry_port, timeout=20
        )
        client.request("POST", "/v2/big/blobs/uploads/")
        answer = client.getresponse()
        answer.read()
        data = os.urandom(40 << 20)
        client.request("PATCH", str(answer.headers["Location"]), data)
        answer = client.getresponse()
        said = answer.read()
        assert answer.status >= 500, said
        client.close()
        assert writes(bed)
