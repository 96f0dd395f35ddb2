"""A wall clock that jumps, and hundreds of pods that run: the node with a runtime in memory."""

from __future__ import annotations

import asyncio
import signal
from contextlib import aclosing
from pathlib import Path

import pytest

from kindling.cluster.model.api import ChangeType
from tests.cluster.node.bed import PODS, FakeClock, open_bed

DAY = 86_400.0


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["forward", "back"])
async def test_a_jump_of_the_clock_moves_neither_back_off_nor_grace(
    jump: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = 0.0
    monkeypatch.setattr(FakeClock, "time", lambda self: self.now + shift)
    async with open_bed(tmp_path) as bed:
        await bed.pod("crashing")
        await bed.running(pod="crashing")
        bed.process().exit(1)
        await bed.running(pod="crashing", restarts=1)
        bed.process().exit(1)
        await bed.until(lambda: "waiting" in bed.entry(pod="crashing")["state"])
        shift = jump
        await bed.clock.advance(8)
        assert "waiting" in bed.entry(pod="crashing")["state"]
        await bed.clock.advance(3)
        await bed.running(pod="crashing", restarts=2)

        await bed.pod("deaf")
        await bed.running(pod="deaf")
        process = bed.process()
        process.traps.add(signal.SIGTERM)
        await bed.delete("deaf")
        await bed.until(lambda: signal.SIGTERM in process.signals)
        shift = 0.0
        await bed.clock.advance(25)
        assert not process.ended.done()
        await bed.clock.advance(6)
        await bed.gone("deaf")


async def test_hundreds_of_pods_run_and_go(tmp_path: Path) -> None:
    count = 250
    async with open_bed(tmp_path) as bed, asyncio.timeout(60):
        left = {f"p{number}" for number in range(count)}
        async with aclosing(bed.api.watch([PODS])) as changes:
            for name in left:
                await bed.pod(name)
            waited = set(left)
            while waited:
                pod = (await anext(changes)).object
                if pod.get("status", {}).get("phase") == "Running":
                    waited.discard(pod["metadata"]["name"])
            assert len(bed.fake.running) == count
            for name in left:
                await bed.delete(name)
            for process in list(bed.fake.running.values()):
                process.exit(0)
            while left:
                change = await anext(changes)
                if change.type is ChangeType.DELETED:
                    left.discard(change.object["metadata"]["name"])
        assert bed.fake.running == {}
