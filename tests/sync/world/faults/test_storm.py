"""Random edits at high speed while pods are deleted and connections are cut; with
`KINDLING_SYNC_FULL=1`. `KINDLING_SYNC_SEED` chooses another storm, `KINDLING_SYNC_STORM` how many
seconds it lasts."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from dataclasses import dataclass, field, replace

import pytest

from kindling.graph.spec import ObjectRef
from tests.sync.world.faults.test_faults import IMAGE, Scene, scene
from tests.sync.world.runtimes import full
from tests.sync.world.stage import Workload

__all__ = ["scene"]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not full(), reason="KINDLING_SYNC_FULL is not 1"),
]

_SELDOM = ("remove", "remove all", "folder", "move", "move all", "link", "mode")
_NAMES = (*(f"s{at // 9}/{at // 3 % 3}/{at % 3}" for at in range(27)), "one", "two", "s0/one")


@dataclass
class Storm:
    """What is done, by chance."""

    scene: Scene
    chance: random.Random
    edits: int = 0
    faults: list[str] = field(default_factory=list)

    async def rage(self, seconds: float) -> None:
        """Edits and faults, for so many seconds."""
        end = asyncio.get_running_loop().time() + seconds
        async with asyncio.TaskGroup() as group:
            group.create_task(self._edit_until(end))
            group.create_task(self._break_until(end))

    async def _edit_until(self, end: float) -> None:
        now = asyncio.get_running_loop().time
        while now() < end:
            for _ in range(self.chance.randint(1, 20)):
                await asyncio.to_thread(self._edit)
            await asyncio.sleep(self.chance.choice((0.0, 0.01, 0.05, 0.5)))

    async def _break_until(self, end: float) -> None:
        now = asyncio.get_running_loop().time
        while (left := end - now()) > 0:
            await asyncio.sleep(min(left, self.chance.uniform(0.5, 6.0)))
            kind = self.chance.choice(("pod", "cut", "cut soon", "refuse", "freeze"))
            self.faults.append(kind)
            relay = self.scene.relay
            if kind == "pod":
                await self._delete_a_pod()
            elif kind == "cut":
                relay.cut()
            elif kind == "cut soon":
                relay.cut_after(self.chance.randint(1, 200_000))
            elif kind == "refuse":
                relay.refuse()
                relay.cut()
                await asyncio.sleep(self.chance.uniform(0.1, 3.0))
                relay.refuse(False)
            else:
                relay.freeze()
                await asyncio.sleep(self.chance.uniform(0.1, 3.0))
                relay.thaw()

    async def _delete_a_pod(self) -> None:
        pods = await self.scene.stage.pods(self.scene.workload)
        if not pods:
            return
        name = str(self.chance.choice(pods)["metadata"]["name"])
        grace = self.chance.choice((0, None))
        await self.scene.stage.cluster.delete(
            ObjectRef("v1", "Pod", name, self.scene.stage.namespace), grace=grace
        )

    def _edit(self) -> None:
        """One edit, where the tree as it is takes it."""
        chance, root = self.chance, self.scene.source
        path, other = (root / one for one in chance.sample(_NAMES, 2))
        kind = chance.choice(("write", "write", "write", "big", "add", "save", *_SELDOM))
        self.edits += 1
        try:
            if kind in ("write", "big", "add", "save"):
                path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "write":
                path.write_text(str(chance.random()) * chance.randint(0, 30))
            elif kind == "big":
                path.write_bytes(chance.randbytes(chance.randint(0, 400_000)))
            elif kind == "add":
                with path.open("a") as file:
                    file.write("more\n")
            elif kind == "save":
                beside = path.with_name(f".{path.name}.swp")
                beside.write_text(str(chance.random()))
                try:
                    beside.replace(path)
                finally:
                    # Where a folder is in the way; it is no part of what is carried.
                    beside.unlink(missing_ok=True)
            elif kind == "remove":
                path.unlink()
            elif kind == "remove all":
                shutil.rmtree(path.parent if path.parent != root else path)
            elif kind == "folder":
                path.mkdir(parents=True)
            elif kind == "move":
                other.parent.mkdir(parents=True, exist_ok=True)
                path.rename(other)
            elif kind == "move all" and path.parent != root:
                path.parent.rename(other)
            elif kind == "link":
                path.symlink_to(other.name)
            elif kind == "mode" and not path.is_symlink():
                path.chmod(chance.choice((0o600, 0o644, 0o755) if path.is_file() else (0o755,)))
        except OSError:
            # Not possible as the tree is: then it is no edit.
            pass


async def test_a_storm_of_edits_and_faults_ends_equal(scene: Scene) -> None:
    workload = Workload("stormy", IMAGE, replicas=2)
    await scene.stage.deploy(workload)
    stormy = replace(scene, workload=workload, before=await scene.stage.template(workload))
    seed = os.environ.get("KINDLING_SYNC_SEED", "1")
    storm = Storm(stormy, random.Random(seed))
    syncing = stormy.sync(*(("--restart",) if int(seed) % 2 else ()))
    try:
        await stormy.begun(syncing)
        await storm.rage(float(os.environ.get("KINDLING_SYNC_STORM", "120")))
        syncing.assert_runs()
        did = f"seed {seed}: {storm.edits} edits, {len(storm.faults)} faults {storm.faults}"
        await scene.stage.ready(workload)
        await stormy.equal(syncing, did)
        await syncing.stop()
    finally:
        await syncing.close()
    await scene.stage.assert_restored(workload, stormy.before)
