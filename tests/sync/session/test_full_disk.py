"""A container without room is told, tried again, and never a reason to rebuild an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from kindling.lang.declared import RunStep, SyncStep
from kindling.sync.agent.frames import Refused
from kindling.sync.notices import Reached, Remark
from kindling.sync.protocol import CannotCarryError, NoRoomError
from kindling.sync.rules.failures import Action
from kindling.sync.transport.trouble import error_of
from tests.sync.session.stage import Pod, Stage, running


def _held(pod: Pod, name: str = "a.py") -> str:
    path: Path = pod.root / "app" / name
    return path.read_text()


async def test_the_next_save_is_tried_at_once(stage: Stage) -> None:
    stage.write("a.py")
    stage.deploy(2)
    touch = RunStep(("touch", "/ran"))
    async with running(stage, stage.session(steps=(SyncStep(".", "/app"), touch))) as session:
        stage.pod(0).full = True
        stage.pod(0).ran.clear()
        stage.write("a.py", "changed")
        outcome = await session.changed(["a.py"])
        assert (outcome.action, outcome.kind) == (Action.RETRY, "g")
        assert "the disk is full" in outcome.why
        assert _held(stage.pod(1)) == "changed"
        stage.pod(0).full = False
        stage.write("b.py", "fits")
        outcome = await session.changed(["b.py"])
        assert (outcome.action, outcome.containers) == (Action.DONE, 2)
        stage.assert_equal()
        assert stage.pod(0).ran == [(("touch", "/ran"), "/")]


async def test_what_fits_again_is_carried_without_a_save(stage: Stage) -> None:
    stage.write("a.py")
    stage.deploy()
    async with running(stage, stage.session()) as session:
        stage.pod().full = True
        stage.write("a.py", "changed")
        await session.changed(["a.py"])
        await stage.until(lambda: any("disk is full" in one.text for one in stage.told(Remark)))
        told = [one for one in stage.told(Remark) if "disk is full" in one.text]
        assert [one.text.endswith("; it is tried again until there is room") for one in told] == [
            True
        ]
        stage.pod().full = False
        await stage.until(lambda: _held(stage.pod()) == "changed")
        await stage.until(lambda: stage.told(Reached)[-1].why == "disk full")
    assert not any("rebuilt" in one.text for one in stage.told(Remark))


async def test_what_fits_is_carried_and_taken_up_beside_what_does_not(stage: Stage) -> None:
    """What does not fit is named for as long as that is so, and comes once there is room."""
    stage.write("a.py")
    stage.deploy()
    async with running(stage, stage.session(restart=True)) as session:
        pod = stage.pod()
        began, pod.room = pod.restarts, 100
        huge = [stage.write(name, "x" * size) for name, size in (("1.bin", 101), ("z.bin", 99))]
        stage.write("a.py", "changed")
        stage.write("b.py", "2")
        outcome = await session.changed([*huge, "a.py", "b.py"])
        assert (outcome.action, outcome.kind) == (Action.RETRY, "g")
        assert "`/app/1.bin`: the disk is full" in outcome.why
        assert (_held(pod), _held(pod, "b.py")) == ("changed", "2")
        assert not (pod.root / "app/1.bin").exists()
        assert pod.restarts == began + 1
        stage.write("a.py", "again")
        outcome = await session.changed(["a.py"])
        assert "`/app/1.bin`" in outcome.why
        assert _held(pod) == "again"
        pod.room = None
        await stage.until(lambda: (pod.root / "app/1.bin").exists())
        stage.assert_equal()


async def test_a_disk_without_any_room_is_no_reason_to_try_each_file(stage: Stage) -> None:
    stage.write("a.py")
    stage.deploy()
    async with running(stage, stage.session()) as session:
        pod = stage.pod()
        pod.room, trees = 0, pod.trees
        names = [stage.write(f"{at}.py", "x" * (at % 100 + 1)) for at in range(300)]
        outcome = await session.changed(names)
        assert "the disk is full" in outcome.why
        assert pod.trees - trees < 20
        pod.room = None
        await session.changed([stage.write("a.py", "more")])
        stage.assert_equal()


async def test_a_first_copy_that_does_not_fit_ends_the_session_as_it_was(stage: Stage) -> None:
    def prepare(pod: Pod) -> None:
        pod.full = True

    stage.prepare = prepare
    stage.write("a.py")
    stage.deploy()
    before = stage.cluster.objects("Deployment")[0]["spec"]["template"]
    session = stage.session(restart=True)
    with pytest.raises(CannotCarryError, match="the disk is full"):
        await session.start()
    assert (await session.stop()).exact
    assert stage.cluster.objects("Deployment")[0]["spec"]["template"] == before


@pytest.mark.parametrize("number", [28, 122])
def test_a_disk_or_a_quota_that_is_used_up_is_no_room(number: int) -> None:
    error = error_of([Refused(1, number, b"app/huge.bin", "")], "web/main", 0)
    assert isinstance(error, NoRoomError)
    assert error.place == "app/huge.bin"
    assert "/app/huge.bin" in error.message
    assert "Free space" in error.hint
