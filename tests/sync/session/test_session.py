"""A session keeps every container equal to the source, whatever happens to either."""

from __future__ import annotations

import asyncio

import pytest

from kindling.graph.spec import ObjectRef
from kindling.kube.errors import TimeLimitError
from kindling.lang.declared import FallBackOn, RunStep, SyncStep
from kindling.sync.notices import Acted, Carried, Found, Reached, Remark
from kindling.sync.rules.failures import Action
from tests.sync.session.stage import FolderLink, Pod, Stage, running, tree_of
from tests.sync.workload.playing import NAMESPACE


async def test_a_session_begins_with_equal_containers_and_leaves_theirs_alone(stage: Stage) -> None:
    def prepare(pod: Pod) -> None:
        (pod.root / "app/logs").mkdir(parents=True)
        (pod.root / "app/logs/today").write_text("theirs")
        (pod.root / "app/main.py").write_text("old")

    stage.prepare = prepare
    stage.write("main.py", "new")
    stage.write("lib/deep/util.py", "x", 0o755)
    stage.deploy(3)
    async with running(stage, stage.session()):
        assert len(stage.current) == 3
        stage.assert_equal("logs", "logs/today")
        assert [type(one) for one in stage.notices] == [Found, Reached, Reached, Reached]


async def test_saves_deletes_renames_folders_modes_and_links_are_carried(stage: Stage) -> None:
    stage.write("a.py")
    stage.write("old/b.py")
    stage.deploy(2)
    async with running(stage, stage.session()) as session:
        stage.write("a.py", "changed")
        assert (await session.changed(["a.py"])).places == 1
        stage.assert_equal()
        (stage.source / "old").rename(stage.source / "new")
        (stage.source / "a.py").chmod(0o755)
        (stage.source / "link").symlink_to("new/b.py")
        (stage.source / "empty").mkdir()
        outcome = await session.changed(["old", "new", "a.py", "link", "empty"])
        assert (outcome.action, outcome.containers) == (Action.DONE, 2)
        stage.assert_equal()
        (stage.source / "a.py").unlink()
        await session.changed([str(stage.source / "a.py")])
        stage.assert_equal()
        assert stage.told(Carried)[-1].deleted == 1


async def test_a_source_folder_that_goes_empties_no_container_and_is_told_once(
    stage: Stage,
) -> None:
    stage.write("a.py")
    stage.write("lib/b.py")
    stage.deploy(2)
    async with running(stage, stage.session()) as session:
        away = stage.source.with_name("away")
        stage.source.rename(away)
        assert (await session.changed(["a.py", "lib", "."])).places == 0
        assert (await session.changed((), rescan=True)).places == 0
        assert [one.text for one in stage.told(Remark) if "is gone" in one.text] == [
            f"the source folder `{stage.source}` is gone; what the containers have stays, and it "
            "is waited for"
        ]
        (away / "lib/b.py").write_text("changed")
        away.rename(stage.source)
        await session.changed(["."])
        stage.assert_equal()
        assert "is back" in stage.told(Remark)[-1].text


async def test_a_save_reads_no_tree_and_makes_no_connection(stage: Stage) -> None:
    stage.write("a.py")
    stage.deploy()
    async with running(stage, stage.session()) as session:
        trees, links = stage.pod().trees, len(stage.pod().links)
        for number in range(5):
            stage.write("a.py", str(number))
            await session.changed(["a.py"])
        assert (stage.pod().trees, len(stage.pod().links)) == (trees, links)
        stage.assert_equal()


async def test_what_did_not_change_carries_nothing_and_tells_nothing(stage: Stage) -> None:
    stage.write("a.py")
    stage.deploy()
    async with running(stage, stage.session()) as session:
        told = len(stage.notices)
        (stage.source / "a.py").touch()
        outcome = await session.changed(["a.py", "nowhere.py"])
        assert (outcome.action, outcome.places) == (Action.DONE, 0)
        assert len(stage.notices) == told


async def test_a_storm_of_saves_ends_equal(stage: Stage) -> None:
    stage.deploy(2)
    async with running(stage, stage.session()) as session:
        async with asyncio.TaskGroup() as group:
            for number in range(60):
                stage.write(f"f{number % 7}/x{number % 11}.py", str(number))
                if number % 5 == 0:
                    (stage.source / f"f{number % 7}/x{number % 11}.py").unlink()
                group.create_task(session.changed([f"f{number % 7}"]))
                await asyncio.sleep(0)
        stage.assert_equal()


async def test_what_is_saved_while_containers_read_the_save_before_reaches_all_of_them(
    stage: Stage,
) -> None:
    """One has brought the first save, another finds the second one when it comes to read."""
    stage.write("a.txt", "one")
    stage.deploy(2)
    async with running(stage, stage.session()) as session:
        quick, slow = stage.current
        slow.slow = asyncio.Event()
        stage.write("a.txt", "two")
        first = asyncio.create_task(session.changed(["a.txt"]))
        file = quick.root / "app/a.txt"
        await stage.until(lambda: slow.waiting and file.read_text() == "two")
        stage.write("a.txt", "three")
        slow.slow.set()
        await first
        await session.changed(["a.txt"])
        wanted = tree_of(stage.source)
        await stage.until(lambda: all(tree_of(p.root / "app") == wanted for p in (quick, slow)))


async def test_a_connection_that_breaks_in_a_batch_is_made_again(stage: Stage) -> None:
    stage.write("a.py")
    stage.deploy(2)
    async with running(stage, stage.session()) as session:
        stage.pod(0).cuts = 2
        stage.write("a.py", "changed")
        outcome = await session.changed(["a.py"])
        assert outcome.ok
        stage.assert_equal()
        assert len(stage.pod(0).links) == 3


async def test_a_container_that_takes_nothing_does_not_keep_the_others_waiting(
    stage: Stage,
) -> None:
    stage.write("a.py")
    stage.deploy(3)
    async with running(stage, stage.session()) as session:
        stuck = stage.pod(1)
        stuck.slow = asyncio.Event()
        stage.write("a.py", "changed")
        changing = asyncio.ensure_future(session.changed(["a.py"]))
        others = [stage.pod(0), stage.pod(2)]
        await stage.until(
            lambda: all((p.root / "app/a.py").read_text() == "changed" for p in others)
        )
        assert (stuck.root / "app/a.py").read_text() == "x\n"
        outcome = await changing
        assert outcome.action is Action.RETRY
        assert str(stuck.container) in outcome.why
        stage.write("b.py", "while it was stuck")
        assert (await session.changed(["b.py"])).places == 1
        stuck.slow.set()
        await stage.until(lambda: tree_of(stuck.root / "app") == tree_of(stage.source))
        await stage.until(lambda: stage.told(Reached)[-1].why == "connection lost")


async def test_a_pod_that_is_replaced_gets_all_that_was_brought(stage: Stage) -> None:
    stage.write("a.py")
    stage.deploy(2)
    async with running(stage, stage.session()) as session:
        stage.write("a.py", "changed")
        stage.write("b.py", "new")
        await session.changed(["a.py", "b.py"])
        gone = stage.pod(0).container
        stage.cluster.remove(ObjectRef("v1", "Pod", gone.pod, NAMESPACE))
        await stage.until(lambda: len(stage.told(Reached)) == 3, "the new pod")
        assert stage.told(Reached)[-1].why == "new pod"
        assert gone.pod not in {one.container.pod for one in stage.current}
        stage.assert_equal()


async def test_all_containers_of_a_pod_that_is_replaced_are_those_of_a_new_pod(
    stage: Stage,
) -> None:
    stage.write("a.py")
    stage.deploy(also=["worker"])
    async with running(stage, stage.session(also=("worker",))):
        (pod,) = stage.cluster.objects("Pod")
        name = pod["metadata"]["name"]
        stage.cluster.remove(ObjectRef("v1", "Pod", name, NAMESPACE))
        await stage.until(lambda: len([one for one in stage.told(Reached) if one.why]) == 2)
        assert [one.why for one in stage.told(Reached)[2:]] == ["new pod", "new pod"]
        stage.assert_equal()


async def test_a_container_that_restarts_has_lost_everything_and_gets_it_again(
    stage: Stage,
) -> None:
    stage.write("a.py")
    stage.deploy()
    async with running(stage, stage.session()):
        stage.restart_container()
        await stage.until(lambda: len(stage.told(Reached)) == 2, "the new container")
        assert stage.told(Reached)[-1].why == "container restarted"
        stage.assert_equal()


async def test_a_pod_that_goes_in_the_middle_of_a_batch_is_no_failure(stage: Stage) -> None:
    stage.write("a.py")
    stage.deploy(2)
    async with running(stage, stage.session()) as session:
        doomed = stage.pod(0)
        doomed.cuts = 99
        stage.cluster.remove(ObjectRef("v1", "Pod", doomed.container.pod, NAMESPACE))
        stage.write("a.py", "changed")
        outcome = await session.changed(["a.py"])
        assert outcome.action in (Action.DONE, Action.WAIT, Action.RETRY)
        await stage.until(lambda: len(stage.told(Reached)) == 3, "the new pod")
        stage.assert_equal()


async def test_a_container_that_cannot_take_files_says_so_and_the_others_go_on(
    stage: Stage,
) -> None:
    stage.write("a.py")
    stage.deploy(2)
    async with running(stage, stage.session()) as session:
        stage.pod(0).closed = True
        stage.write("a.py", "changed")
        outcome = await session.changed(["a.py"])
        assert (outcome.action, outcome.kind) == (Action.REBUILD, "b")
        assert "read-only file system" in outcome.why
        assert (stage.pod(1).root / "app/a.py").read_text() == "changed"


async def test_a_destination_behind_a_link_of_the_image_is_where_it_leads(stage: Stage) -> None:
    def prepare(pod: Pod) -> None:
        (pod.root / "srv/shop").mkdir(parents=True)
        (pod.root / "app").symlink_to("srv/shop")

    stage.prepare = prepare
    stage.write("a/b.py")
    stage.deploy()
    async with running(stage, stage.session()) as session:
        stage.write("a/c.py")
        (stage.source / "a/b.py").unlink()
        await session.changed(["a"])
        assert tree_of(stage.pod().root / "srv/shop") == tree_of(stage.source)
        assert (stage.pod().root / "app").is_symlink()


async def test_what_the_container_did_to_synced_files_is_mended_when_it_matters(
    stage: Stage,
) -> None:
    stage.write("a.py")
    stage.write("folder/b.py")
    stage.deploy()
    async with running(stage, stage.session()) as session:
        # A folder that is gone over there: the change cannot be applied by what is known.
        theirs = stage.pod().root / "app/folder"
        (theirs / "b.py").unlink()
        theirs.rmdir()
        stage.write("folder/b.py", "changed")
        assert (await session.changed(["folder/b.py"])).ok
        stage.assert_equal()
        (stage.pod().root / "app/a.py").write_text("theirs")
        assert (await session.changed([], rescan=True)).ok
        stage.assert_equal()


async def test_a_look_at_everything_is_not_spared_by_a_change_under_way(stage: Stage) -> None:
    stage.write("a.py")
    stage.write("b.py")
    stage.deploy()
    async with running(stage, stage.session()) as session:
        assert session._crew is not None
        (member,) = session._crew.fleet
        come, on = asyncio.Event(), asyncio.Event()
        stage.pod().gates["apply"] = (come, on)
        stage.write("a.py", "changed")
        changing = asyncio.ensure_future(session.changed(["a.py"]))
        await come.wait()
        (stage.pod().root / "app/b.py").write_text("theirs")
        looking = asyncio.ensure_future(session.changed([], rescan=True))
        await stage.until(lambda: member.behind, "the look at everything")
        on.set()
        await asyncio.gather(changing, looking)
        stage.assert_equal()


async def test_what_is_known_wrongly_is_read_anew(stage: Stage) -> None:
    stage.write("d/a.py")
    stage.deploy()
    async with running(stage, stage.session()) as session:
        assert session._crew is not None
        (member,) = session._crew.fleet
        assert member.replica.known is not None
        del member.replica.known["app/d"]
        stage.write("d/a.py", "changed")
        outcome = await session.changed(["d/a.py"])
        assert outcome.action is Action.DONE
        stage.assert_equal()


async def test_a_mirror_takes_away_what_the_container_had(stage: Stage) -> None:
    def prepare(pod: Pod) -> None:
        (pod.root / "app/own").mkdir(parents=True)
        (pod.root / "app/own/file").write_text("theirs")

    stage.prepare = prepare
    stage.write("a.py")
    stage.deploy()
    async with running(stage, stage.session(mirror=True)):
        stage.assert_equal()


async def test_only_what_changed_is_brought_where_the_image_has_the_rest(stage: Stage) -> None:
    def prepare(pod: Pod) -> None:
        (pod.root / "app").mkdir()
        (pod.root / "app/a.py").write_text("built")
        (pod.root / "app/b.py").write_text("made by the build")

    stage.prepare = prepare
    stage.write("a.py", "saved before")
    stage.write("b.py", "as in the source")
    stage.deploy(2)
    async with running(stage, stage.session(everything=False)) as session:
        assert (stage.pod().root / "app/a.py").read_text() == "built"
        await session.changed(["a.py"])
        for pod in stage.current:
            assert (pod.root / "app/a.py").read_text() == "saved before"
            assert (pod.root / "app/b.py").read_text() == "made by the build"
        gone = stage.pod(0).container.pod
        stage.cluster.remove(ObjectRef("v1", "Pod", gone, NAMESPACE))
        await stage.until(lambda: len(stage.told(Reached)) == 3, "the new pod")
        fresh = stage.current[-1]
        assert (fresh.root / "app/a.py").read_text() == "saved before"
        assert (fresh.root / "app/b.py").read_text() == "made by the build"


async def test_commands_run_after_their_triggers_and_again_when_they_failed(stage: Stage) -> None:
    install = ("sh", "-c", "install")
    steps = (SyncStep(".", "/app"), RunStep(install, ("package.json",)))
    stage.write("package.json")
    stage.write("a.py")
    stage.deploy(2)
    async with running(stage, stage.session(steps=steps)) as session:
        for pod in stage.current:
            pod.ran.clear()
            pod.commands[install] = (3, ("no network",))
        stage.write("a.py", "1")
        assert (await session.changed(["a.py"])).ok
        assert not stage.pod().ran
        stage.write("package.json", "1")
        outcome = await session.changed(["package.json"])
        assert (outcome.action, outcome.kind) == (Action.REPORT, "a")
        assert stage.told(Remark)[-1].details == ("no network",)
        for pod in stage.current:
            assert pod.ran == [(install, "/")]
            pod.commands.clear()
        stage.write("a.py", "2")
        assert (await session.changed(["a.py"])).ok
        assert all(len(pod.ran) == 2 for pod in stage.current)
        stage.write("a.py", "3")
        await session.changed(["a.py"])
        assert all(len(pod.ran) == 2 for pod in stage.current)


async def test_what_a_command_keeps_to_itself_is_not_told_when_it_fails(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`echo_off`: its words may hold what is secret."""

    async def never(link: FolderLink, argv: tuple[str, ...], **more: object) -> int:
        del link, more
        raise TimeLimitError(f"`{' '.join(argv)}` in web/app did not end within 1800 s")

    monkeypatch.setattr(FolderLink, "run", never)
    stage.write("a.py")
    stage.deploy()
    steps = (SyncStep(".", "/app"), RunStep(("login", "--token", "s3cret"), echo_off=True))
    async with running(stage, stage.session(steps=steps)):
        (remark,) = stage.told(Remark)
        assert "`login` in web/app did not end" in remark.text
        assert "s3cret" not in str(stage.notices)


async def test_a_new_container_runs_the_commands_of_what_it_gets_and_never_falls_back(
    stage: Stage,
) -> None:
    install, build = ("sh", "-c", "install"), ("sh", "-c", "build")
    stage.write("package.json")
    stage.write("Dockerfile")
    stage.deploy()
    steps = (
        FallBackOn(("Dockerfile",)),
        SyncStep(".", "/app"),
        RunStep(install, ("package.json",)),
        RunStep(build, ("nothing.txt",)),
    )
    async with running(stage, stage.session(steps=steps)) as session:
        assert stage.pod().ran == [(install, "/")]
        stage.write("Dockerfile", "FROM x")
        outcome = await session.changed(["Dockerfile"])
        assert outcome.action is Action.REBUILD
        assert "fall_back_on" in outcome.why


async def test_containers_that_differ_after_a_command_ask_for_a_rebuild(stage: Stage) -> None:
    install = ("sh", "-c", "install")
    steps = (SyncStep(".", "/app"), RunStep(install))
    stage.write("a.py")
    stage.deploy(2)
    async with running(stage, stage.session(steps=steps)) as session:
        stage.pod(1).commands[install] = (1, ())
        stage.write("a.py", "1")
        outcome = await session.changed(["a.py"])
        assert (outcome.action, outcome.kind) == (Action.REBUILD, "c")


async def test_stop_gives_the_workload_back_and_can_be_done_again(stage: Stage) -> None:
    stage.write("a.py")
    stage.deploy()
    before = stage.cluster.objects("Deployment")[0]["spec"]["template"]
    session = stage.session(restart=True)
    async with running(stage, session):
        assert stage.cluster.objects("Deployment")[0]["spec"]["template"] != before
    first = await session.stop()
    assert first.exact
    assert await session.stop() is first
    assert stage.cluster.objects("Deployment")[0]["spec"]["template"] == before
    assert not stage.cluster.objects("ConfigMap")
    assert not list((stage.folder / "records").glob("*.json"))


async def test_containers_of_one_image_are_all_synced_and_nothing_of_the_pods_is_touched(
    stage: Stage,
) -> None:
    stage.write("a.py")
    stage.deploy(2, also=["worker"])
    (before,) = (one["spec"]["template"] for one in stage.cluster.objects("Deployment"))
    steps = (SyncStep(".", "/app"), RunStep(("sh", "-c", "make")))
    async with running(stage, stage.session(steps=steps, also=("worker",))) as session:
        assert [one.name for one in session.containers] == ["app", "worker", "app", "worker"]
        stage.assert_equal()
        assert session.settled
        stage.write("a.py", "changed")
        outcome = await session.changed(["a.py"])
        assert (outcome.action, outcome.containers) == (Action.DONE, 4)
        stage.assert_equal()
        assert all(pod.ran for pod in stage.current)
        assert not any(pod.restarts or pod.signals for pod in stage.current)
        (now,) = (one["spec"]["template"] for one in stage.cluster.objects("Deployment"))
        assert now == before
    (after,) = (one["spec"]["template"] for one in stage.cluster.objects("Deployment"))
    assert after == before


@pytest.mark.parametrize("everything", [True, False])
async def test_a_second_container_that_cannot_take_files_asks_for_a_rebuild(
    stage: Stage, everything: bool
) -> None:
    def prepare(pod: Pod) -> None:
        pod.closed = pod.container.name == "worker"

    stage.prepare = prepare
    stage.write("a.py")
    stage.deploy(also=["worker"])
    (before,) = (one["spec"]["template"] for one in stage.cluster.objects("Deployment"))
    session = stage.session(also=("worker",), everything=everything)
    async with running(stage, session):
        for text in ("changed", "again"):
            stage.write("a.py", text)
            outcome = await session.changed(["a.py"])
            assert outcome.action is Action.REBUILD
            assert "read-only file system" in outcome.why
    (after,) = (one["spec"]["template"] for one in stage.cluster.objects("Deployment"))
    assert after == before


async def test_an_api_server_that_is_away_ends_nothing(stage: Stage) -> None:
    stage.write("a.py")
    stage.deploy()
    async with running(stage, stage.session()) as session:
        stage.cluster.go_away()
        stage.away = True
        stage.pod().cuts = 1
        stage.write("a.py", "1")
        outcome = await session.changed(["a.py"])
        assert outcome.action is Action.RETRY
        stage.cluster.come_back()
        stage.away = False
        await stage.until(lambda: (stage.pod().root / "app/a.py").read_text() == "1")


async def test_supervised_programs_start_anew_after_each_change_and_not_without(
    stage: Stage,
) -> None:
    stage.write("a.py")
    stage.deploy(2)
    async with running(stage, stage.session(restart=True)) as session:
        assert [pod.restarts for pod in stage.current] == [1, 1]
        stage.write("a.py", "1")
        outcome = await session.changed(["a.py"])
        assert outcome.acted == "restart"
        assert stage.told(Acted)[-1].containers == 2
        (stage.source / "a.py").touch()
        await session.changed(["a.py"])
        assert [pod.restarts for pod in stage.current] == [2, 2]
