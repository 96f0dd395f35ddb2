"""What is done to programs has an effect, or something else is done, and it is said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kindling.graph.spec import ObjectRef
from kindling.kube.errors import UnreachableError
from kindling.sync.agent.frames import Status
from kindling.sync.notices import Acted, Built, Found, Reached, Remark
from kindling.sync.protocol import Process
from kindling.sync.rules.failures import Action
from kindling.sync.runtimes.plan import Overrides
from kindling.sync.runtimes.runtime import Check
from kindling.sync.session.effects import Effect, effect, ended, target, unsupervised
from kindling.sync.session.order import Standing
from kindling.sync.template.session import SESSION_ANNOTATION, SecondSessionError
from kindling.sync.workload.taking import take
from kindling.testing.processes import Call, Program
from tests.sync.session.stage import Pod, Stage, running

GUNICORN = ("gunicorn", "-w", "2", "app:app")


def _master(*workers: int, image: str = "1") -> list[Process]:
    master = Process(1, 0, 1, image, GUNICORN)
    return [master, *(Process(pid, 1, pid, "1", GUNICORN) for pid in workers)]


@pytest.mark.parametrize(
    ("check", "after", "found"),
    [
        (Check.NEW_CHILDREN, _master(7, 8), Effect(False)),
        (Check.NEW_CHILDREN, _master(7, 9), Effect(True)),
        (Check.NEW_CHILDREN, [*_master(7, 8), Process(9, 7, 9, "1", ())], Effect(False)),
        (Check.NEW_CHILDREN, [replace(_master()[0], started=5)], Effect(False, gone=True)),
        (Check.NEW_IMAGE, _master(7, 8), Effect(False)),
        (Check.NEW_IMAGE, _master(7, 8, image="2"), Effect(True)),
        (Check.NOTHING, _master(7, 8), Effect(True)),
        (Check.NOTHING, [], Effect(False, gone=True)),
    ],
)
def test_an_effect_is_seen_by_its_check_alone(
    check: Check, after: list[Process], found: Effect
) -> None:
    aim = target("", _master(7, 8))
    assert aim is not None
    assert effect(check, aim, after) == found


def test_a_child_with_an_old_number_and_a_new_start_is_new() -> None:
    aim = target("", _master(7))
    assert aim is not None
    assert effect(Check.NEW_CHILDREN, aim, [*_master(), Process(7, 1, 70, "1", ())]).seen


def test_a_signal_goes_to_the_server_and_not_to_the_shell_around_it() -> None:
    shell = Process(1, 0, 1, "1", ("sh", "-c", "gunicorn app:app; true"))
    server = Process(12, 1, 2, "1", ("/usr/bin/python3", "/usr/bin/gunicorn", "app:app"))
    worker = replace(server, pid=13, parent=12)
    aim = target("gunicorn", [shell, worker, server])
    assert aim is not None
    assert aim.process == server
    assert target("gunicorn", [shell]) is None


def test_how_a_program_ended_is_said_in_words() -> None:
    assert ended(1) == "exit code 1"
    assert ended(137) == "signal 9"


def test_a_supervised_command_is_told_without_its_supervisor() -> None:
    words = (
        "/.kindling-sync/agent",
        "supervise",
        "--control",
        "/x",
        "--hold",
        "--",
        "a",
        "--",
        "b",
    )
    assert unsupervised(words) == ("a", "--", "b")
    assert unsupervised(("agent", "run", "--", "x")) == ("agent", "run", "--", "x")


async def test_a_signal_with_effect_patches_nothing(stage: Stage) -> None:
    def prepare(pod: Pod) -> None:
        pod.processes = _master(7, 8)
        pod.on_signal = lambda one: one.processes.__setitem__(1, Process(70, 1, 70, "1", ()))

    stage.argv, stage.prepare = GUNICORN, prepare
    stage.write("app.py")
    stage.deploy(2)
    before = stage.cluster.objects("Deployment")[0]["spec"]["template"]
    async with running(stage, stage.session(restart=True)) as session:
        assert stage.cluster.objects("Deployment")[0]["spec"]["template"] == before
        assert [pod.signals for pod in stage.current] == [[(1, "HUP")], [(1, "HUP")]]
        stage.prepare(stage.pod(0))
        stage.prepare(stage.pod(1))
        stage.write("app.py", "1")
        assert (await session.changed(["app.py"])).acted == "SIGHUP"
        assert stage.told(Acted)[-1].containers == 2


async def test_a_signal_without_effect_ends_in_supervision_and_says_so(stage: Stage) -> None:
    """Row 62: the way out."""
    works: list[bool] = [True]

    def prepare(pod: Pod) -> None:
        def signalled(one: Pod) -> None:
            if works[0]:
                one.processes.append(Process(70 + len(one.signals), 1, 70, "1", ()))

        pod.processes, pod.on_signal = _master(7, 8), signalled

    stage.argv, stage.prepare = GUNICORN, prepare
    stage.write("app.py")
    stage.deploy()
    before = stage.cluster.objects("Deployment")[0]["spec"]["template"]
    session = stage.session(restart=True)
    async with running(stage, session):
        works[0] = False
        stage.write("app.py", "1")
        await session.changed(["app.py"])
        (said,) = [one.text for one in stage.told(Remark) if "no effect" in one.text]
        assert "deployment/web" in said
        assert "is rolled out once" in said
        (container,) = stage.cluster.objects("Deployment")[0]["spec"]["template"]["spec"][
            "containers"
        ]
        assert container["command"][-len(GUNICORN) :] == list(GUNICORN)
        (pod,) = stage.current
        assert (pod.container.supervised, pod.restarts) == (True, 1)
        stage.assert_equal()
        stage.write("app.py", "2")
        assert (await session.changed(["app.py"])).acted == "restart"
        stage.assert_equal()
    assert stage.cluster.objects("Deployment")[0]["spec"]["template"] == before


async def test_a_signal_without_effect_is_told_where_a_paused_workload_cannot_be_supervised(
    stage: Stage,
) -> None:
    works: list[bool] = [True]

    def prepare(pod: Pod) -> None:
        def signalled(one: Pod) -> None:
            if works[0]:
                one.processes.append(Process(70 + len(one.signals), 1, 70, "1", ()))

        pod.processes, pod.on_signal = _master(7, 8), signalled

    stage.argv, stage.prepare = GUNICORN, prepare
    stage.write("app.py")
    stage.deploy()
    async with running(stage, stage.session(restart=True)) as session:
        live = dict(stage.cluster.objects("Deployment")[0])
        template = live["spec"]["template"]
        live["spec"] = {**live["spec"], "paused": True}
        stage.cluster.put(live)
        works[0] = False
        stage.write("app.py", "1")
        assert (await session.changed(["app.py"])).ok
        (said,) = [one for one in stage.told(Remark) if "no effect" in one.text]
        assert (said.warning, "is paused" in said.text) == (True, True)
        assert "kubectl rollout resume" in said.hint
        assert stage.cluster.objects("Deployment")[0]["spec"]["template"] == template
        stage.assert_equal()
        live = dict(stage.cluster.objects("Deployment")[0])
        live["spec"] = {**live["spec"], "paused": False}
        stage.cluster.put(live)
        stage.write("app.py", "2")
        await session.changed(["app.py"])
        (container,) = session.containers
        assert container.supervised
        stage.assert_equal()


@pytest.mark.parametrize("given_back", [True, False], ids=["taking", "giving-back"])
async def test_supervision_that_cannot_be_had_at_once_is_taken_once_it_can(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, given_back: bool
) -> None:
    """What was given back is not followed, nor taken again behind everybody's back."""
    works: list[bool] = [True]

    def prepare(pod: Pod) -> None:
        def signalled(one: Pod) -> None:
            if works[0]:
                one.processes.append(Process(70 + len(one.signals), 1, 70, "1", ()))

        pod.processes, pod.on_signal = _master(7, 8), signalled

    stage.argv, stage.prepare = GUNICORN, prepare
    stage.write("app.py")
    stage.deploy()
    before = stage.cluster.objects("Deployment")[0]["spec"]["template"]
    away: list[bool] = [False]
    patch, seen = stage.cluster.patch, list[object]()

    async def patched(ref: ObjectRef, *args: Any, **more: Any) -> Any:
        live = next(iter(stage.cluster.objects("Deployment")))
        has = SESSION_ANNOTATION in (live["metadata"].get("annotations") or {})
        if away[0] and ref.kind == "Deployment" and has is not given_back:
            seen.append(live["spec"]["template"])
            raise UnreachableError("Cannot write it: no answer", transient=True)
        return await patch(ref, *args, **more)

    monkeypatch.setattr(stage.cluster, "patch", patched)
    async with running(stage, stage.session(restart=True)) as session:
        works[0], away[0] = False, True
        stage.write("app.py", "1")
        with pytest.raises(UnreachableError):
            await session.changed(["app.py"])
        await stage.until(lambda: len(seen) >= 2, "another try")
        assert all(one == before for one in seen)
        away[0] = False
        await stage.until(lambda: any(pod.restarts for pod in stage.current), "supervision")
        (container,) = session.containers
        assert container.supervised
        stage.assert_equal()
    assert stage.cluster.objects("Deployment")[0]["spec"]["template"] == before
    assert not stage.records.all().records


async def test_supervision_that_another_session_prevents_ends_the_session(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.argv = GUNICORN
    stage.write("app.py")
    stage.deploy()
    stage.prepare = lambda pod: pod.processes.__setitem__(slice(None), _master(7, 8))
    before = stage.cluster.objects("Deployment")[0]["spec"]["template"]

    async def refused(*args: Any, **more: Any) -> Any:
        if more["patch"]:
            raise SecondSessionError("`web` is held by another")
        return await take(*args, **more)

    monkeypatch.setattr("kindling.sync.session.session.take", refused)
    session = stage.session(restart=True)
    with pytest.raises(SecondSessionError):
        await session.start()
    await session.stop()
    assert stage.cluster.objects("Deployment")[0]["spec"]["template"] == before
    assert not stage.records.all().records
    assert not stage.cluster.objects("ConfigMap")


async def test_a_signal_without_effect_at_the_start_ends_in_supervision_too(stage: Stage) -> None:
    stage.argv = GUNICORN
    stage.write("app.py")
    stage.deploy(2)
    async with running(stage, stage.session(restart=True)) as session:
        assert [pod.container.supervised for pod in stage.current] == [True, True]
        assert len(session.containers) == 2
        stage.assert_equal()
        stage.write("app.py", "1")
        assert (await session.changed(["app.py"])).acted == "restart"
        stage.assert_equal()


async def test_a_program_that_dies_of_a_save_is_told_with_its_last_words_and_held(
    stage: Stage,
) -> None:
    stage.write("app.py")
    stage.deploy()
    stood: list[Standing] = []
    async with running(stage, stage.session(restart=True), stood.append) as session:
        pod = stage.pod()
        where = (pod.container.namespace, pod.container.pod, pod.container.name)
        stage.cluster.log_lines[where] = ["SyntaxError: invalid syntax"]
        pod.lives = False
        stage.write("app.py", "(")
        await session.changed(["app.py"])
        await stage.until(lambda: bool(stage.told(Remark)), "the death")
        (remark,) = stage.told(Remark)
        assert "exit code 1" in remark.text
        assert "the next save" in remark.text
        assert remark.details == ("SyntaxError: invalid syntax",)
        await stage.until(lambda: not stood[-1].ready, "the news of it")
        assert stood[-1].waiting == f"{pod.container}: the program ended with exit code 1"
        restarts = pod.restarts
        pod.lives = True
        stage.write("app.py", "()")
        assert (await session.changed(["app.py"])).ok
        assert pod.restarts == restarts + 1
        await stage.until(lambda: stood[-1].ready, "the program's being back")
        assert len(stage.told(Reached)) == 1


async def test_a_program_that_ends_without_a_save_is_started_again(stage: Stage) -> None:
    stage.write("app.py")
    stage.deploy()
    async with running(stage, stage.session(restart=True)):
        pod = stage.pod()
        # As if it had been started by its supervisor, long ago.
        pod.status = Status(0, 0, 9, 137, False)
        await stage.until(lambda: pod.restarts == 2, "the new start")
        assert "signal 9; it is started again" in stage.told(Remark)[0].text


# Builds -------------------------------------------------------------------------------------------


def _build(out: Path, content: Callable[[], str]) -> Callable[[Call], None]:
    def effect(call: Call) -> None:
        del call
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(content())

    return effect


def _building(stage: Stage, content: Callable[[], str], code: int = 0) -> None:
    effect = _build(stage.source / "bin/server", content)
    program = Program(code, stderr=b"" if code == 0 else b"undefined: x\n", effect=effect)
    stage.processes.answer("sh", "-c", "make", program=program)


OWN = Overrides(build_cmd="make", build_output="bin/server")


async def test_what_was_built_goes_over_the_program_and_the_sources_stay_here(
    stage: Stage,
) -> None:
    stage.argv = ("/srv/server", "--port", "80")
    stage.write("main.go", "one")
    _building(stage, lambda: (stage.source / "main.go").read_text())
    stage.deploy(2)
    async with running(stage, stage.session(overrides=OWN)) as session:
        assert stage.told(Found)[0].watching == "Watching . -> /srv/server"
        for pod in stage.current:
            assert (pod.root / "srv/server").read_text() == "one"
            assert (pod.root / "srv/server").stat().st_mode & 0o111 == 0o111
            assert not (pod.root / "app/main.go").exists()
            assert pod.restarts == 1
        stage.write("main.go", "two")
        outcome = await session.changed(["main.go"])
        assert (outcome.built, outcome.acted, outcome.ok) == (True, "restart", True)
        assert all((pod.root / "srv/server").read_text() == "two" for pod in stage.current)


@pytest.mark.parametrize("held", ["one", "other"], ids=["equal", "another"])
async def test_a_program_that_may_not_be_replaced_is_run_from_the_sessions_own_volume(
    stage: Stage, held: str
) -> None:
    """Whether the image has another program than the build makes, or just that one."""

    def prepare(pod: Pod) -> None:
        (pod.root / "srv").mkdir()
        (pod.root / "srv/server").write_text(held)
        (pod.root / "srv/server").chmod(0o755)
        pod.foreign = True

    def run() -> list[str]:
        paths = [pod.root / ".kindling-control/program" for pod in stage.current]
        return [path.read_text() if path.exists() else "" for path in paths]

    stage.argv, stage.prepare = ("/srv/server", "--port", "80"), prepare
    stage.write("main.go", "one")
    _building(stage, lambda: (stage.source / "main.go").read_text())
    stage.deploy(2, securityContext={"readOnlyRootFilesystem": True})
    (before,) = (one["spec"]["template"] for one in stage.cluster.objects("Deployment"))
    async with running(stage, stage.session(overrides=OWN)) as session:
        (live,) = stage.cluster.objects("Deployment")
        spec = live["spec"]["template"]["spec"]
        assert "initContainers" not in spec, "a volume over the destination is of no use"
        assert run() == ["one", "one"]
        (said,) = [one for one in stage.told(Remark) if "cannot be replaced" in one.text]
        assert "`/srv/server`" in said.text
        assert not said.warning
        stage.write("main.go", "two")
        outcome = await session.changed(["main.go"])
        assert (outcome.built, outcome.acted, outcome.ok) == (True, "restart", True)
        assert run() == ["two", "two"]
        assert [pod.restarts for pod in stage.current] == [2, 2]
        assert {(pod.root / "srv/server").read_text() for pod in stage.current} == {held}
        stage.restart_container()
        await stage.until(lambda: run() == ["two", "two"], "the new container's program")
    (live,) = stage.cluster.objects("Deployment")
    assert live["spec"]["template"] == before


@pytest.mark.parametrize("foreign", [True, False], ids=["refused", "open"])
@pytest.mark.parametrize("call", ["tree", "apply", "try_out"])
async def test_what_was_built_and_moves_while_a_container_is_given_it_comes_to_its_new_place(
    stage: Stage, call: str, foreign: bool
) -> None:
    """At whatever point that container is, and whether it would have taken it at the old place."""
    come, on = asyncio.Event(), asyncio.Event()
    late: list[Pod] = []

    def prepare(pod: Pod) -> None:
        (pod.root / "srv").mkdir()
        (pod.root / "srv/server").write_text("other" if call == "apply" else "one")
        (pod.root / "srv/server").chmod(0o755)
        pod.foreign = True
        if not pod.container.supervised:
            return
        if not late:
            late.append(pod)
            pod.foreign = foreign
            pod.gates[call] = (come, on)
        else:
            # It is refused, and moves what was built, once the other one is where it is held.
            pod.gates["tree"] = (asyncio.Event(), come)

    async def moved() -> None:
        await stage.until(
            lambda: any("cannot be replaced" in one.text for one in stage.told(Remark))
        )
        on.set()

    stage.argv, stage.prepare = ("/srv/server",), prepare
    stage.write("main.go", "one")
    _building(stage, lambda: (stage.source / "main.go").read_text())
    stage.deploy(2, securityContext={"readOnlyRootFilesystem": True})
    async with asyncio.TaskGroup() as group:
        group.create_task(moved())
        async with running(stage, stage.session(overrides=OWN)):
            programs = [pod.root / ".kindling-control/program" for pod in stage.current]
            assert [path.read_text() for path in programs] == ["one", "one"]
            assert [pod.restarts for pod in stage.current if pod not in late] == [1]
            assert late[0].restarts >= 1
    assert len([one for one in stage.told(Remark) if "cannot be replaced" in one.text]) == 1


async def test_a_failed_build_leaves_the_pods_alone_from_the_first_on(stage: Stage) -> None:
    """Row 64: nothing is touched."""
    stage.argv = ("/srv/server",)
    stage.write("main.go", "broken")
    _building(stage, lambda: "never", code=2)
    stage.deploy()
    before = stage.cluster.objects("Deployment")[0]["spec"]
    async with running(stage, stage.session(overrides=OWN)) as session:
        assert stage.cluster.objects("Deployment")[0]["spec"] == before
        (built,) = stage.told(Built)
        assert not built.ok
        assert built.output[0] == "undefined: x"
        outcome = await session.changed(["main.go"])
        assert outcome.action is Action.DONE  # nothing changed
        _building(stage, lambda: "good")
        stage.write("main.go", "mended")
        assert (await session.changed(["main.go"])).built
        assert (stage.pod().root / "srv/server").read_text() == "good"
        _building(stage, lambda: "never", code=2)
        stage.write("main.go", "broken again")
        outcome = await session.changed(["main.go"])
        assert (outcome.built, outcome.ok) == (False, False)
        assert (stage.pod().root / "srv/server").read_text() == "good"


async def test_what_a_build_leaves_behind_is_no_change(stage: Stage) -> None:
    stage.argv = ("/srv/server",)
    stage.write("main.go", "one")
    _building(stage, lambda: "built")
    stage.deploy()
    async with running(stage, stage.session(overrides=OWN)) as session:
        assert (await session.changed(["bin", "bin/server"])).built is None
        assert len(stage.processes.calls) == 1


async def test_a_front_end_is_built_into_the_document_root_and_old_assets_go(
    stage: Stage,
) -> None:
    hashes = iter("abc")

    def make(call: Call) -> None:
        del call
        out = stage.source / "dist"
        for old in [*out.glob("*.js")] if out.exists() else []:
            old.unlink()
        out.mkdir(exist_ok=True)
        (out / f"index-{next(hashes)}.js").write_text("js")

    def prepare(pod: Pod) -> None:
        (pod.root / "www").mkdir()
        (pod.root / "www/50x.html").write_text("theirs")
        pod.commands["nginx", "-T"] = (0, ("server {", "  root /www;", "}"))

    stage.argv, stage.prepare = ("nginx", "-g", "daemon off;"), prepare
    stage.write("package.json", '{"scripts": {"build": "vite build"}}')
    stage.write("src/main.ts")
    (stage.source / "node_modules").mkdir()
    stage.processes.answer("npm", "run", "build", program=Program(effect=make))
    stage.deploy()
    async with running(stage, stage.session(restart=True)) as session:
        assert "npm run build" in stage.told(Found)[0].strategy
        www = stage.pod().root / "www"
        assert {one.name for one in www.iterdir()} == {"50x.html", "index-a.js"}
        stage.write("src/main.ts", "1")
        await session.changed(["src/main.ts"])
        assert {one.name for one in www.iterdir()} == {"50x.html", "index-b.js"}
        assert stage.pod().signals == []


@pytest.mark.parametrize(
    ("line", "root"),
    [
        ("caddy file-server --root /srv/site --listen :8080", "srv/site"),
        ("caddy run --config /etc/my.caddy --adapter caddyfile", "srv/named"),
        ("caddy run", "srv/usual"),
    ],
)
async def test_a_front_end_lands_where_caddy_was_told_to_serve_from(
    stage: Stage, line: str, root: str
) -> None:
    def make(call: Call) -> None:
        del call
        (stage.source / "dist").mkdir(exist_ok=True)
        (stage.source / "dist/index-a.js").write_text("js")

    def prepare(pod: Pod) -> None:
        (pod.root / "etc/caddy").mkdir(parents=True, exist_ok=True)
        (pod.root / "etc/caddy/Caddyfile").write_text(":80 {\n\troot * /srv/usual\n}\n")
        (pod.root / "etc/my.caddy").write_text(":80 {\n\troot * /srv/named\n}\n")

    stage.argv, stage.prepare = tuple(line.split()), prepare
    stage.write("package.json", '{"scripts": {"build": "vite build"}}')
    (stage.source / "node_modules").mkdir()
    stage.processes.answer("npm", "run", "build", program=Program(effect=make))
    stage.deploy()
    async with running(stage, stage.session(restart=True)):
        assert (stage.pod().root / root / "index-a.js").read_text() == "js"
