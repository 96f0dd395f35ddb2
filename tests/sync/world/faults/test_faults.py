"""What goes wrong between a saved file and a pod. Whatever it is: afterwards the pod holds what the
source holds, and a stop or `--restore` puts back the template to the byte.

The longer ones run with `KINDLING_SYNC_FULL=1`.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Cluster
from tests.images import need
from tests.sync.world.faults.relay import Relay, kubeconfig_through
from tests.sync.world.runtimes import full
from tests.sync.world.stage import IMAGES, Stage, Workload, eventually
from tests.sync.world.syncing import Syncing, environment, kindling

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
_FULL = pytest.mark.skipif(not full(), reason="KINDLING_SYNC_FULL is not 1")

IMAGE = "kindling-test-sync-python:1"
_SERVER = Workload("faulty", IMAGE)
_END_AGENTS = """
import os
ended = 0
for name in filter(str.isdecimal, os.listdir("/proc")):
    try:
        words = open(f"/proc/{name}/cmdline", "rb").read().split(b"\\0")
    except OSError:
        continue
    if b"serve" in words and int(name) != os.getpid():
        os.kill(int(name), 9)
        ended += 1
print(ended)
"""
_ASLEEP = 60.0 if full() else 2.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A workload, its source, and a session that reaches the API server by a relay."""

    stage: Stage
    source: Path
    relay: Relay
    folder: Path
    before: str
    workload: Workload = _SERVER
    place: str = "/app"

    def sync(self, *more: str) -> Syncing:
        words = ("-d", self.workload.name, "-n", self.stage.namespace, "--src", str(self.source))
        env = environment(KUBECONFIG=str(self.folder / "kubeconfig-relayed"))
        return Syncing(self.folder, (*words, "--dest", self.place, *more), env)

    async def begun(self, syncing: Syncing) -> None:
        """The first copy is there. Its image holds the same, which alone says nothing."""
        await syncing.says("/main: ")
        await self.equal(syncing, "the first copy")

    async def equal(self, syncing: Syncing, what: str) -> None:
        try:
            await self.stage.equal(
                self.workload, self.place, self.source, meanwhile=syncing.assert_runs
            )
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}\n{syncing.said}") from error

    def change(self, number: int) -> None:
        """Enough that something can happen in the middle of it."""
        chance = random.Random(number)
        (self.source / "big.bin").write_bytes(chance.randbytes(6_000_000))
        folder = self.source / f"folder{number}"
        folder.mkdir()
        for at in range(200):
            (folder / f"{at}.txt").write_text(f"{number} {at}\n")
        shutil.rmtree(self.source / f"folder{number - 1}", ignore_errors=True)

    async def pod(self) -> str:
        return str((await self.stage.ready(self.workload))[0]["metadata"]["name"])


@pytest.fixture
async def scene(cluster: Cluster, ns: str, tmp_path: Path) -> AsyncIterator[Scene]:
    need(IMAGE)
    stage = Stage(cluster, ns)
    await stage.open()
    await stage.deploy(_SERVER)
    source = tmp_path / "source"
    shutil.copytree(IMAGES / "python/app", source)
    relay, _ = kubeconfig_through(_kubeconfig(), tmp_path)
    with relay:
        yield Scene(stage, source, relay, tmp_path, await stage.template(_SERVER))


def _kubeconfig() -> Path:
    paths = [Path(part) for part in os.environ["KUBECONFIG"].split(os.pathsep) if part]
    return next(path for path in paths if path.is_file())


async def test_a_session_goes_on_through_whatever_breaks(scene: Scene) -> None:
    """The connection cut in the middle of a batch, an API server that refuses for a while, the
    agent killed, the pod deleted in the middle of a batch, and a laptop that slept."""
    syncing = scene.sync()
    try:
        await scene.begun(syncing)

        scene.relay.cut_after(1_500_000)
        scene.change(1)
        await eventually(lambda: _true(scene.relay.cuts > 0), "the connection was cut")
        await scene.equal(syncing, "the connection was cut in the middle of a batch")

        scene.relay.refuse()
        scene.relay.cut()
        scene.change(2)
        await asyncio.sleep(1.0)  # how long the server is away: any time will do
        scene.relay.refuse(False)
        await scene.equal(syncing, "the API server refused for a while")

        argv = ["python3", "-c", _END_AGENTS]
        ended = await scene.stage.cluster.exec(
            scene.stage.namespace, await scene.pod(), "main", argv
        )
        assert int(ended.stdout) > 0, ended
        scene.change(3)
        await scene.equal(syncing, "the agent was killed")

        pod = await scene.pod()
        scene.change(4)
        await scene.stage.cluster.delete(
            ObjectRef("v1", "Pod", pod, scene.stage.namespace), grace=0
        )
        await scene.stage.ready(scene.workload)
        await scene.equal(syncing, "the pod was deleted in the middle of a batch")

        syncing.send(signal.SIGSTOP)
        scene.relay.freeze()
        scene.change(5)
        await asyncio.sleep(_ASLEEP)
        scene.relay.cut()
        scene.relay.thaw()
        syncing.send(signal.SIGCONT)
        await scene.equal(syncing, "the laptop slept")
        await syncing.stop()
    finally:
        await syncing.close()
    await scene.stage.assert_restored(scene.workload, scene.before)
    await scene.stage.serves(scene.workload, "one")


async def _true(so: bool) -> tuple[bool, object]:
    return so, so


async def _needs_memory_limits(cluster: Cluster) -> None:
    """Skip on the embedded cluster where it runs pods as plain processes, as its node tells."""
    for node in (await cluster.list("v1", "Node")).items:
        for condition in node["status"]["conditions"]:
            if "memory: limits are ignored" in condition.get("message", ""):
                pytest.skip("no container runs out of memory here: memory limits are ignored")


async def test_a_session_that_is_killed_anywhere_is_undone_to_the_byte(scene: Scene) -> None:
    """`kill -9` from before the first request to long after the last."""
    chance = random.Random(os.environ.get("KINDLING_SYNC_SEED", "7"))
    for number in range(50 if full() else 3):
        (scene.source / "answer.py").write_text(f'ANSWER = "{number}"\n')
        syncing = scene.sync("--restart")
        try:
            await asyncio.sleep(chance.uniform(0.3, 5.0 if full() else 3.0))
            syncing.send(signal.SIGKILL)
            await syncing.ended()
        finally:
            await syncing.close()
        code, said = await asyncio.to_thread(
            kindling, scene.folder, "sync", "--restore", "-n", scene.stage.namespace
        )
        assert code == 0, f"{said}\n--- the session had said:\n{syncing.said}"
        await scene.stage.assert_restored(scene.workload, scene.before)
    await scene.stage.serves(scene.workload, "one")


async def test_a_workload_that_is_deleted_ends_its_session(scene: Scene) -> None:
    syncing = scene.sync("--restart")
    try:
        await scene.begun(syncing)
        ref = ObjectRef("apps/v1", "Deployment", scene.workload.name, scene.stage.namespace)
        await scene.stage.cluster.delete(ref)
        assert await syncing.ended() == 1, syncing.said
    finally:
        await syncing.close()
    assert "is gone, so that the session ends" in syncing.said
    assert "is gone, so there is nothing to put back" in syncing.said
    assert not [*scene.folder.rglob(".kindling/sync/*.json")]


@_FULL
async def test_a_container_that_ran_out_of_memory_is_caught_up(
    cluster: Cluster, ns: str, scene: Scene
) -> None:
    eater = (
        "python3",
        "-c",
        "import os, time\nwhile not os.path.exists('/tmp/eat'): time.sleep(0.1)\n"
        "os.unlink('/tmp/eat')\nhoard = b'x' * (1 << 30)\ntime.sleep(1000)",
    )
    await _needs_memory_limits(cluster)
    limit = {"resources": {"limits": {"memory": "64Mi"}}}
    workload = Workload("eater", IMAGE, eater, container=limit, probe=False)
    await scene.stage.deploy(workload)
    before = await scene.stage.template(workload)
    scene = replace(scene, before=before, workload=workload)
    syncing = scene.sync()
    try:
        await scene.begun(syncing)
        await cluster.exec(ns, await scene.pod(), "main", ["touch", "/tmp/eat"])
        scene.change(1)

        async def restarted() -> tuple[bool, object]:
            pods = await scene.stage.pods(workload)
            status = pods[0]["status"]["containerStatuses"][0]
            return status["restartCount"] > 0, status

        await eventually(restarted, "the container was killed and started again")
        await scene.equal(syncing, "the container ran out of memory")
        await syncing.stop()
    finally:
        await syncing.close()
    await scene.stage.assert_restored(workload, before)


@_FULL
async def test_a_full_disk_is_told_and_what_fits_again_is_carried(scene: Scene) -> None:
    """The disk is the 64 MB of /dev/shm that every container has."""
    words = ("sh", "-c", "ln -s /dev/shm /small && exec sleep 1000")
    workload = Workload("small", IMAGE, words, probe=False)
    await scene.stage.deploy(workload)
    before = await scene.stage.template(workload)
    scene = replace(scene, before=before, workload=workload, place="/small/app")
    syncing = scene.sync()
    try:
        await scene.begun(syncing)
        (scene.source / "huge.bin").write_bytes(bytes(200_000_000))
        await syncing.says("until there is room")
        assert "rebuilt" not in syncing.said
        (scene.source / "huge.bin").unlink()
        (scene.source / "answer.py").write_text('ANSWER = "fits"\n')
        await scene.equal(syncing, "the disk was full")
        await syncing.stop()
    finally:
        await syncing.close()
    await scene.stage.assert_restored(scene.workload, scene.before)
