"""A session that ends, or cannot begin, while something is under way leaves nothing taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kindling.errors import ExecutionError, UsageError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import UnreachableError
from kindling.lang.declared import SyncStep
from kindling.sync.notices import Reached, Remark
from kindling.sync.protocol import CannotCarryError, Container, LinkLostError
from kindling.sync.rules.failures import Action
from kindling.sync.runtimes.plan import Overrides
from kindling.sync.session import crew
from kindling.sync.template.session import SESSION_ANNOTATION
from kindling.testing.processes import Call, Program
from tests.sync.session.stage import FolderLink, Pod, RealClock, Stage, running

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


class QuickClock(RealClock):
    """What is waited for is over at once, and the time has passed all the same."""

    passed = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.passed

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.01))
        self.passed += seconds


async def test_a_link_that_is_cut_while_a_session_begins_is_made_again_and_said_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.write("a.py")
    stage.deploy()
    connect, cuts = stage.connect, [1, 2]

    async def cut(container: Container) -> FolderLink:
        if cuts:
            cuts.pop()
            raise LinkLostError(f"{container}: the connection broke")
        return await connect(container)

    monkeypatch.setattr(stage, "connect", cut)
    async with running(stage, stage.session()):
        stage.assert_equal()
    (said,) = [one for one in stage.told(Remark) if "tried again" in one.text]
    assert said.text.endswith("the connection broke; the beginning is tried again for 30 s")


def _cut_at(stage: Stage, cut: Callable[[bool], bool]) -> Callable[..., Any]:
    """A patch of the workload whose answer is lost, or which does not arrive. `cut` says whether,
    given whether the session has the workload by then."""
    patch = stage.cluster.patch

    async def patched(ref: ObjectRef, *args: Any, **more: Any) -> Any:
        if ref.kind != "Deployment":
            return await patch(ref, *args, **more)
        has = _workload(stage)[1] is not None
        if has and cut(has):
            raise UnreachableError("Cannot write it: no answer", transient=True)
        answer = await patch(ref, *args, **more)
        if not has and cut(has):
            raise UnreachableError("Cannot write it: no answer", transient=True)
        return answer

    return patched


async def test_a_beginning_that_could_not_be_undone_is_undone_before_the_next_try(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session's own template must not be taken for that of before."""
    stage.write("a.py")
    stage.deploy()
    before = _workload(stage)
    asked: list[bool] = []

    def cut(has: bool) -> bool:
        asked.append(has)
        return len(asked) <= 2

    monkeypatch.setattr(stage.cluster, "patch", _cut_at(stage, cut))
    async with running(stage, stage.session(restart=True)):
        assert asked[:4] == [False, True, True, False]
        assert _workload(stage) != before
        stage.assert_equal()
    assert _workload(stage) == before
    assert not stage.records.all().records
    assert not stage.cluster.objects("ConfigMap")


@pytest.mark.parametrize("taken", [True, False])
async def test_a_beginning_is_given_up_after_a_while_with_nothing_touched(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    stage.write("a.py")
    stage.deploy()
    before = _workload(stage)
    stage.clock = clock = QuickClock()
    if taken:
        monkeypatch.setattr(stage.cluster, "patch", _cut_at(stage, lambda has: not has))
    else:
        stage.away = True
    session = stage.session(restart=True)
    with pytest.raises((UnreachableError, LinkLostError)):
        await session.start()
    assert clock.passed <= 30
    await session.stop()
    assert _workload(stage) == before
    assert not stage.records.all().records
    assert not stage.cluster.objects("ConfigMap")
    said = [one for one in stage.told(Remark) if "tried again for 30 s" in one.text]
    assert len(said) == 1


async def test_a_program_that_no_build_could_replace_is_told_when_the_session_begins(
    stage: Stage,
) -> None:
    """The image has just what the build makes, so that nothing is to be brought before a save; and
    what the supervisor runs is not the program itself."""

    def prepare(pod: Pod) -> None:
        (pod.root / "srv").mkdir()
        (pod.root / "srv/server").write_text("built")
        (pod.root / "srv/server").chmod(0o755)
        pod.foreign = True

    stage.argv, stage.prepare = ("tini", "--", "/srv/server"), prepare
    stage.write("main.go", "x")
    _builds(stage)
    stage.deploy()
    before = _workload(stage)
    session = stage.session(overrides=OWN)
    with pytest.raises(CannotCarryError, match="`/srv/server`: permission denied") as caught:
        await session.start()
    assert caught.value.hint
    await session.stop()
    assert _workload(stage) == before


async def test_files_that_may_not_be_changed_are_told_when_the_session_begins(
    stage: Stage,
) -> None:
    def prepare(pod: Pod) -> None:
        (pod.root / "app").mkdir()
        (pod.root / "app/a.py").write_text("x\n")
        pod.foreign = True

    stage.prepare = prepare
    stage.write("a.py")
    stage.deploy(2)
    async with running(stage, stage.session()):
        (said,) = [one for one in stage.told(Remark) if "permission denied" in one.text]
        assert (said.warning, said.hint) == (True, "--chown")


async def test_a_folder_that_would_land_on_a_file_is_refused_before_anything_is_touched(
    stage: Stage,
) -> None:
    def prepare(pod: Pod) -> None:
        (pod.root / "etc").mkdir()
        (pod.root / "etc/passwd").write_text("theirs")
        (pod.root / "etc/empty").touch()

    stage.prepare = prepare
    stage.write("main.py")
    stage.deploy()
    before = _workload(stage)
    for remote in ("/etc/passwd", "/etc/empty"):
        session = stage.session(steps=(SyncStep(".", remote),))
        with pytest.raises(UsageError, match=f"`{remote}` is a file in the container"):
            await session.start()
        await session.stop()
    assert _workload(stage) == before
    assert not stage.records.all().records
    assert (stage.pod().root / "etc/passwd").read_text() == "theirs"


async def test_that_there_is_nothing_to_carry_is_said(stage: Stage) -> None:
    (stage.source / "folder").mkdir()
    stage.deploy()
    async with running(stage, stage.session()):
        (said,) = (one for one in stage.told(Remark) if "no file to carry" in one.text)
        assert not said.warning
