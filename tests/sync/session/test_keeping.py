"""What is mended while nobody saves."""

from __future__ import annotations

import asyncio

from kindling.sync.notices import Reached, Remark
from kindling.sync.protocol import Process
from tests.sync.session.stage import Pod, RealClock, Stage, running


class HastyClock(RealClock):
    """Long waits are over at once, and time has passed all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0
        self.asleep = 0.0
        """How long the machine sleeps in the next long wait."""

    def monotonic(self) -> float:
        return super().monotonic() + self.passed

    async def sleep(self, seconds: float) -> None:
        if seconds < 10:
            await super().sleep(seconds)
            return
        await super().sleep(0.02)
        self.passed += seconds + self.asleep
        self.asleep = 0.0


async def test_a_link_that_died_unnoticed_is_made_again_before_it_is_needed(stage: Stage) -> None:
    stage.clock = HastyClock()
    stage.write("a.py")
    stage.deploy(2)
    async with running(stage, stage.session()):
        stage.pod(0).links[-1].stream.cut()
        await stage.until(lambda: len(stage.told(Reached)) == 3, "the new link")
        reached = stage.told(Reached)[-1]
        assert (reached.container, reached.why) == (str(stage.pod(0).container), "connection lost")
        assert len(stage.pod(1).links) == 1


async def test_drift_is_mended_after_minutes_of_quiet(stage: Stage) -> None:
    stage.clock = HastyClock()
    stage.write("a.py")
    stage.deploy()
    async with running(stage, stage.session()):
        (stage.pod().root / "app/a.py").write_text("theirs")
        (stage.pod().root / "app/log").write_text("theirs")
        await stage.until(lambda: len(stage.told(Reached)) == 2, "the repair")
        assert stage.told(Reached)[-1].why == "drift"
        stage.assert_equal("log")


async def test_after_a_sleep_of_the_machine_everything_is_looked_at(stage: Stage) -> None:
    clock = stage.clock = HastyClock()
    stage.write("a.py")
    stage.deploy()
    async with running(stage, stage.session()):
        trees = stage.pod().trees
        clock.asleep = 60.0
        await stage.until(lambda: bool(stage.told(Remark)), "the waking")
        await stage.until(lambda: stage.pod().trees > trees, "the look")
        assert "asleep" in stage.told(Remark)[0].text


async def test_a_program_that_a_signal_ended_is_not_sent_the_same_save_again(
    stage: Stage,
) -> None:
    def dies(pod: Pod) -> None:
        pod.processes.clear()

    def works(pod: Pod) -> None:
        pod.processes.append(Process(70 + len(pod.signals), 1, 70, "1", ()))

    stage.argv = ("gunicorn", "app:app")
    stage.prepare = lambda pod: setattr(pod, "on_signal", works)
    stage.write("app.py")
    stage.deploy()
    async with running(stage, stage.session(restart=True)) as session:
        stage.pod().on_signal = dies
        stage.write("app.py", "broken")
        await session.changed(["app.py"])
        assert any("ended at SIGHUP" in one.text for one in stage.told(Remark))
        stage.restart_container()
        await stage.until(lambda: len(stage.told(Reached)) == 2, "the new container")
        await stage.until(lambda: "until the next save" in stage.told(Remark)[-1].text)
        fresh = stage.current[-1]
        assert fresh.signals == []
        stage.assert_equal()
        stage.write("app.py", "mended")
        assert (await session.changed(["app.py"])).acted == "SIGHUP"


async def test_stopping_in_the_middle_of_a_batch_leaves_no_link(stage: Stage) -> None:
    stage.write("a.py")
    stage.deploy(2)
    session = stage.session()
    async with running(stage, session):
        for pod in stage.current:
            pod.slow = asyncio.Event()
        stage.write("a.py", "changed")
        changing = asyncio.ensure_future(session.changed(["a.py"]))
        await stage.until(lambda: all(one.waiting for one in stage.current))
        stopped = asyncio.ensure_future(session.stop())
        await asyncio.sleep(0)
        pods = stage.current
        for pod in pods:
            assert pod.slow is not None
            pod.slow.set()
        await stopped
        await asyncio.gather(changing, return_exceptions=True)
        assert all(len(pod.links) == 1 for pod in pods)


async def test_a_cluster_that_is_away_when_it_is_followed_is_told_to_be_back(stage: Stage) -> None:
    stage.write("a.py")
    stage.deploy()

    def said(text: str) -> int:
        return sum(text in one.text for one in stage.told(Remark))

    async with running(stage, stage.session()):
        # Nobody follows yet.
        stage.cluster.go_away()
        await stage.until(lambda: said("it is waited for") == 1, "the loss")
        stage.cluster.come_back()
        await stage.until(lambda: said("The cluster answers again") == 1, "the return")
    assert (said("it is waited for"), said("The cluster answers again")) == (1, 1)
