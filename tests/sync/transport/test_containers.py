"""Links to containers of every kind that makes trouble, on a real cluster."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kindling.graph.spec import ObjectRef
from kindling.sync.protocol import CannotCarryError, Container, LinkLostError
from kindling.sync.template.patch import AGENT_PATH, CONTROL_FOLDER
from kindling.sync.transport.connecting import connect
from kindling.sync.trees import batch as steps
from kindling.sync.trees.batch import Batch
from tests.images import need
from tests.sync.transport.pods import LIMIT, Folder, connected, namespace, start

pytestmark = pytest.mark.cluster

_STATIC = "gcr.io/distroless/static-debian12:nonroot"
_PYTHON = "python:3.12-slim"
_SLEEP = {"command": ["sleep", "36000"]}


@pytest.fixture(scope="module")
def space() -> Iterator[str]:
    with namespace() as name:
        yield name


def _coded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _mounts(**places: str) -> dict[str, Any]:
    return {"volumeMounts": [{"name": name, "mountPath": path} for name, path in places.items()]}


async def test_a_container_without_shell_is_reached_by_the_mounted_agent(
    space: str, binary: Path, tmp_path: Path
) -> None:
    """Row 67: nothing of the image is needed."""
    need(_STATIC)
    source = Folder(tmp_path, "data")
    agent = _coded(binary)
    words = ["supervise", "--control", CONTROL_FOLDER, "--hold", "--", AGENT_PATH, "version"]
    async with connected() as cluster:
        await cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "agent", "namespace": space},
                "binaryData": {"agent": agent},
            }
        )
        box = await start(
            cluster,
            space,
            "static",
            _STATIC,
            {
                "command": [AGENT_PATH, *words],
                **_mounts(agent=os.path.dirname(AGENT_PATH), control=CONTROL_FOLDER, data="/data"),
            },
            volumes=[
                {"name": "agent", "configMap": {"name": "agent", "defaultMode": 0o555}},
                {"name": "control", "emptyDir": {}},
                {"name": "data", "emptyDir": {}},
            ],
        )
        with pytest.raises(CannotCarryError, match="no way"):
            await connect(cluster, box, lambda _: binary.read_bytes(), places=["data"])
        ours = Container(space, "static", "main", mounted=True, supervised=True)
        link = await connect(cluster, ours, lambda _: b"", places=["data"])
        try:
            put = source.write("hello", b"world")
            await link.apply(Batch((put,)), source)
            tree = await link.tree(["data"])
            assert tree.entries["data/hello"].digest == put.digest
            before = await link.status()
            assert before is not None
            after = await link.restart("TERM", 5.0)
            assert after.generation == before.generation + 1
            with pytest.raises(CannotCarryError, match="no such program") as caught:
                await link.run(["sh", "-c", "true"])
            assert "static/main" in caught.value.message
            with pytest.raises(CannotCarryError) as caught:
                await link.apply(Batch((steps.Mkdir("etc/new", 0o755),)), source)
            assert "65532" in caught.value.hint
        finally:
            await link.close()


async def test_a_user_without_rights_is_told_what_to_do(
    space: str, binary: Path, tmp_path: Path
) -> None:
    need(_PYTHON)
    source = Folder(tmp_path)
    async with connected() as cluster:
        box = await start(
            cluster, space, "user", _PYTHON, {**_SLEEP, "securityContext": {"runAsUser": 1000}}
        )
        link = await connect(cluster, box, lambda _: binary.read_bytes(), places=["opt"])
        assert link.way == "agent"
        try:
            put = source.write("opt/x.py", b"x")
            with pytest.raises(CannotCarryError, match=r"`/opt/x\.py`") as caught:
                await link.apply(Batch((put,)), source)
            assert "user 1000" in caught.value.hint
            assert "runAsUser" in caught.value.hint
            # Folders that their owner has closed are opened for a batch, and closed also after one
            # that fails.
            await link.apply(Batch((steps.Mkdir("tmp/d", 0o555),)), source)
            put = source.write("tmp/d/x", b"x")
            opened = steps.Chmod("tmp/d", 0o755)
            closed = steps.Chmod("tmp/d", 0o555)
            with pytest.raises(CannotCarryError):
                await link.apply(Batch((opened, put, steps.Mkdir("opt/no", 0o755), closed)), source)
            assert (await link.tree(["tmp/d"])).entries["tmp/d"].mode == 0o555
            await link.apply(Batch((opened, put, closed)), source)
            tree = await link.tree(["tmp/d"])
            assert tree.entries["tmp/d"].mode == 0o555
            assert tree.entries["tmp/d/x"].digest == put.digest
            put = source.write("tmp/x.py", b"x")
            await link.apply(Batch((put,)), source)
            assert await link.read("/tmp/x.py") == b"x"
        finally:
            await link.close()


async def test_a_read_only_root_is_reached_by_a_volume_over_the_destination(
    space: str, binary: Path, tmp_path: Path
) -> None:
    source = Folder(tmp_path)
    async with connected() as cluster:
        closed = {"securityContext": {"readOnlyRootFilesystem": True}}
        box = await start(
            cluster,
            space,
            "closed",
            "busybox:1.36",
            {**_SLEEP, **closed, **_mounts(data="/data")},
            volumes=[{"name": "data", "emptyDir": {}}],
        )
        link = await connect(cluster, box, lambda _: binary.read_bytes(), places=["data"])
        assert link.way == "agent"
        try:
            assert (await link.tree(["data"])).entries.keys() == {"data"}
            put = source.write("data/x", b"x")
            await link.apply(Batch((put,)), source)
            assert (await link.tree(["data"])).entries["data/x"].digest == put.digest
            with pytest.raises(CannotCarryError, match="read-only") as caught:
                await link.apply(Batch((source.write("etc/x", b"x"),)), source)
            assert "emptyDir" in caught.value.hint
        finally:
            await link.close()


async def test_a_disk_that_is_full_changes_nothing_and_says_so(
    space: str, binary: Path, tmp_path: Path
) -> None:
    source = Folder(tmp_path)
    async with connected() as cluster:
        box = await start(cluster, space, "full", "busybox:1.36", _SLEEP)
        link = await connect(cluster, box, lambda _: binary.read_bytes(), places=["dev/shm"])
        try:
            code = await link.run(
                ["sh", "-c", "[ $(df -k /dev/shm | tail -1 | awk '{print $2}') -le 262144 ]"]
            )
            if code != 0:
                pytest.skip("this cluster's /dev/shm is too big to be filled")
            await link.apply(Batch((source.write("dev/shm/old", b"old"),)), source)
            await link.run(
                ["sh", "-c", "cat /dev/zero >/dev/shm/fill; truncate -s -512k /dev/shm/fill"]
            )
            batch = Batch(
                (source.write("dev/shm/old", b"new"), source.write("dev/shm/big", bytes(1 << 20)))
            )
            with pytest.raises(CannotCarryError, match="disk is full"):
                await link.apply(batch, source)
            assert await link.read("/dev/shm/old") == b"old"
            assert {"dev/shm/big"}.isdisjoint(await link.tree(["dev/shm"]))
            assert await link.run(["sh", "-c", "ls -A /dev/shm | grep -q kindling"]) == 1
            await link.run(["rm", "/dev/shm/fill"])
            await link.apply(batch, source)
            assert await link.read("/dev/shm/old") == b"new"
        finally:
            await link.close()


async def test_a_pod_that_is_deleted_is_a_lost_link(
    space: str, binary: Path, tmp_path: Path
) -> None:
    source = Folder(tmp_path)
    async with connected() as cluster:
        box = await start(cluster, space, "short", "busybox:1.36", _SLEEP)
        link = await connect(cluster, box, lambda _: binary.read_bytes(), places=["tmp"])
        try:
            up = asyncio.Event()
            words = ["sh", "-c", "echo up; exec sleep 36000"]
            running = asyncio.create_task(
                link.run(words, log=lambda _: up.set(), timeout=LIMIT), name="sleep"
            )
            async with asyncio.timeout(LIMIT):
                await up.wait()
            await cluster.delete(ObjectRef("v1", "Pod", "short", space), grace=0)
            with pytest.raises(LinkLostError, match="short/main"):
                await running
            with pytest.raises(LinkLostError):
                await link.apply(Batch((source.write("tmp/x", b"x"),)), source)
        finally:
            await link.close()
