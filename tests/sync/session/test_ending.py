"""A session that ends, or cannot begin, while something is under way leaves nothing taken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kindling.errors import ExecutionError
from kindling.sync.notices import Reached
from kindling.sync.protocol import Container, LinkLostError
from kindling.sync.rules.failures import Action
from kindling.sync.runtimes.plan import Overrides
from kindling.sync.session import crew
from kindling.sync.template.session import SESSION_ANNOTATION
from kindling.testing.processes import Call, Program
from tests.sync.session.stage import FolderLink, Stage, running

OWN = Overrides(build_cmd="make", build_output="bin/server")


def _builds(stage: Stage, code: int = 0) -> None:
    def make(call: Call) -> None:
        del call
        out = stage.source / "bin/server"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("built")

    stage.processes.answer("sh", "-c", "make", program=Program(code, effect=make))


def _workload(stage: Stage) -> Any:
    (live,) = stage.cluster.objects("Deployment")
    annotations = live["metadata"].get("annotations") or {}
    return live["spec"]["template"], annotations.get(SESSION_ANNOTATION)


async def test_a_build_that_ends_after_its_session_takes_no_workload(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.argv = ("/srv/server",)
    stage.write("main.go", "broken")
    _builds(stage, code=2)
    stage.deploy()
    before = _workload(stage)
    session = stage.session(overrides=OWN)
    async with running(stage, session):
        _builds(stage)
        begun, gate, run = asyncio.Event(), asyncio.Event(), stage.processes.run

        async def slowly(*args: Any, **more: Any) -> Any:
            begun.set()
            await gate.wait()
            return await run(*args, **more)

        monkeypatch.setattr(stage.processes, "run", slowly)
        stage.write("main.go", "mended")
        changing = asyncio.ensure_future(session.changed(["main.go"]))
        await begun.wait()
        await session.stop()
        gate.set()
        assert (await changing).action is Action.DONE
    assert _workload(stage) == before
    assert not stage.records.all().records


async def test_what_a_failed_beginning_has_taken_is_put_back_as_it_was_before(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next try must not take the session's own template for that of before."""
    monkeypatch.setattr(crew, "_PATIENCE", 0.2)
    stage.argv = ("/srv/server",)
    stage.write("main.go", "broken")
    _builds(stage, code=2)
    stage.deploy()
    before = _workload(stage)
    async with running(stage, stage.session(overrides=OWN)) as session:
        _builds(stage)
        stage.away = True
        stage.write("main.go", "mended")
        with pytest.raises(ExecutionError, match="can be reached"):
            await session.changed(["main.go"])
        assert _workload(stage) != before
        stage.away = False
        stage.write("main.go", "mended again")
        assert (await session.changed(["main.go"])).built
        assert (stage.pod().root / "srv/server").read_text() == "built"
    assert _workload(stage) == before
    assert not stage.records.all().records


async def test_a_replica_that_cannot_be_reached_keeps_no_session_from_beginning(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "_SETTLED", 0.2)
    stage.write("a.py")
    stage.deploy(2)
    connect, lost = stage.connect, asyncio.Event()
    lost.set()

    async def but_one(container: Container) -> FolderLink:
        if lost.is_set() and container.pod == stage.cluster.objects("Pod")[1]["metadata"]["name"]:
            raise LinkLostError(f"{container}: its node does not answer")
        return await connect(container)

    monkeypatch.setattr(stage, "connect", but_one)
    async with running(stage, stage.session()):
        assert [one.files for one in stage.told(Reached)] == [1]
        lost.clear()
        await stage.until(lambda: len(stage.told(Reached)) == 2, "the other one")
        stage.assert_equal()
