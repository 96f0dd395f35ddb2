"""What runs, in what order, and what holds the rest: images of a container engine in memory, and
real commands."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kindling.engine.notices import KindlingfileLoaded, NodeStatus
from kindling.graph.event import HoldReason
from kindling.graph.outcome import Verdict
from kindling.kube.protocol import Object
from kindling.testing.outside import Outside
from kindling.testing.workbench import Running, Workbench

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s}
spec:
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s}}
    spec:
      containers:
      - {name: main, image: %s}
"""

GATED = "touch {0}.on; while [ ! -e {0}.go ]; do sleep 0.01; done; rm {0}.on {0}.go"
"""A command that runs until somebody makes `NAME.go`; `NAME.on` is there while it runs."""


def declare(name: str, cmd: str, more: str = "") -> str:
    return f'local_resource("{name}", cmd = """{cmd}"""{", " if more else ""}{more})\n'


def gated(name: str, more: str = "") -> str:
    return declare(name, GATED.format(name), more)


async def exists(session: Running, *paths: Path) -> None:
    await session.until(lambda: all(path.exists() for path in paths))


def hold(session: Running, id_: str) -> tuple[HoldReason, tuple[str, ...]] | None:
    """Why a node waits now, and for which others."""
    view = session.result.views.get(id_)
    return (view.hold.reason, view.hold.waiting_for) if view and view.hold else None


async def held(session: Running, id_: str, reason: HoldReason, *waits_for: str) -> None:
    await session.until(lambda: hold(session, id_) == (reason, waits_for))


def finished(session: Running, mark: int = 0) -> list[str]:
    """The nodes that ran and succeeded since, in order."""
    order: list[str] = []
    for notice in session.since(mark).notices:
        view = getattr(notice, "view", None)
        if view is not None and view.status is NodeStatus.DONE and view.verdict is Verdict.RAN:
            name = f"{view.id}#{view.attempt}"
            if name not in order:
                order.append(name)
    return [name.partition("#")[0] for name in order]


def images(bench: Workbench, **dockerfiles: str) -> None:
    """A project of services whose names are capital-less; a name that begins with `lib` is a mere
    base."""
    text = ""
    for name, dockerfile in dockerfiles.items():
        bench.write(f"{name}/Dockerfile", dockerfile + "COPY . /\n")
        bench.write(f"{name}/content", "1")
        text += f'docker_build("{name}", "{name}")\n'
        if not name.startswith("lib"):
            bench.write(f"{name}.yaml", DEPLOYMENT % ((name,) * 4))
            text += f'k8s_yaml("{name}.yaml")\nk8s_resource("{name}", pod_readiness = "ignore")\n'
    bench.write("Kindlingfile", text)


def image_of(outside: Outside, name: str) -> str:
    [live] = [d for d in outside.cluster.objects("Deployment") if d["metadata"]["name"] == name]
    return str(_containers(live)[0]["image"])


def _containers(deployment: Object) -> list[dict[str, str]]:
    containers: list[dict[str, str]] = deployment["spec"]["template"]["spec"]["containers"]
    return containers


async def test_an_image_is_built_after_its_base_and_again_when_that_changed(
    bench: Workbench, outside: Outside
) -> None:
    """Given image `web` FROM image `lib`, when `up` runs, then `lib` is built before `web`; an edit
    of `lib` builds both anew, an edit of `web` builds `web` alone (behaviour 23)."""
    images(bench, web="FROM lib\n", lib="FROM scratch\n")
    async with bench.up() as session:
        await session.settled("rollout:web")
        assert outside.builds() == ["lib", "web"]
        for edited, built in (("lib", ["lib", "web"]), ("web", ["web"])):
            outside.containers.requests.clear()
            mark, before = session.mark(), image_of(outside, "web")
            bench.write(f"{edited}/content", "2")
            await session.until(lambda before=before: image_of(outside, "web") != before)  # type: ignore[misc]
            await session.settled("rollout:web", mark=mark)
            assert outside.builds() == built


async def test_a_shared_base_is_built_once_and_both_services_are_deployed(
    bench: Workbench, outside: Outside
) -> None:
    """Given two services upon one base, when the base is edited, then it is built once and both are
    deployed anew (behaviour 24)."""
    images(bench, one="FROM lib\n", two="FROM lib\n", lib="FROM scratch\n")
    async with bench.up() as session:
        await session.settled("rollout:one", "rollout:two")
        outside.containers.requests.clear()
        mark, before = session.mark(), {n: image_of(outside, n) for n in ("one", "two")}
        bench.write("lib/content", "2")
        await session.until(lambda: all(image_of(outside, n) != before[n] for n in before))
        await session.settled("rollout:one", "rollout:two", mark=mark)
        assert sorted(outside.builds()) == ["lib", "one", "two"]


async def test_in_a_diamond_of_images_each_is_built_once(
    bench: Workbench, outside: Outside
) -> None:
    """Given a diamond of images, when `up` runs, and again after an edit at its foot, then each is
    built exactly once, in order (behaviour 25)."""
    images(
        bench,
        web="FROM liba AS a\nFROM libb\nCOPY --from=a / /\n",
        liba="FROM lib\n",
        libb="FROM lib\n",
        lib="FROM scratch\n",
    )
    for content in ("1", "2"):
        bench.write("lib/content", content)
        outside.containers.requests.clear()
        result = await bench.run("up")
        assert result.exit_code == 0, result.explain()
        built = outside.builds()
        assert (built[0], built[-1]) == ("lib", "web")
        assert sorted(built) == ["lib", "liba", "libb", "web"]


async def test_images_in_a_circle_are_an_error(bench: Workbench, outside: Outside) -> None:
    """Given two images that are built from each other, when the file is evaluated, then the error
    prints the circle and nothing is built (behaviour 26)."""
    images(bench, one="FROM two\n", two="FROM one\n")
    result = await bench.run("up")
    assert result.exit_code == 2
    assert "one -> two -> one" in result.messages[-1]
    assert not outside.builds()


async def test_an_image_that_left_the_engine_is_built_again_and_says_why(
    bench: Workbench, outside: Outside
) -> None:
    """Given an image that was pruned from the engine and the registry, when the next session runs,
    then it is built again with that as its reason; the same bits have the same tag, so that nothing
    is applied (behaviours 27 and 28)."""
    images(bench, web="FROM scratch\n")
    assert (await bench.run("up")).exit_code == 0
    writes = outside.writes()
    for ref in outside.containers.refs:
        await outside.containers.remove(ref)
    outside.containers.registries.clear()
    result = await bench.run("up")
    assert result.exit_code == 0, result.explain()
    result.assert_only_ran("image:web", "push:web")
    [reason] = result.views["image:web"].reasons
    assert "no longer" in reason or "gone" in reason or "not" in reason, reason
    assert outside.writes() == writes


async def test_no_more_run_at_once_than_allowed_and_a_lower_limit_ends_nothing(
    bench: Workbench,
) -> None:
    """Given two slots and four ready commands, when `up` runs, then two run and two wait for a
    slot; lowered to one, both go on to their end, and then one runs at a time (behaviour 29)."""
    names = ("a", "b", "c", "d")

    def text(limit: int) -> str:
        head = f"update_settings(max_parallel_updates = {limit})\n"
        return head + "".join(gated(name, "allow_parallel = True") for name in names)

    def running() -> set[str]:
        return {name for name in names if (bench.root / f"{name}.on").exists()}

    bench.write("Kindlingfile", text(2))
    async with bench.up() as session:
        await session.until(lambda: running() == {"a", "b"})
        await session.until(lambda: (hold(session, "local:c") or ("",))[0] is HoldReason.SLOT)
        mark = session.mark()
        bench.write("Kindlingfile", text(1))
        await session.until(
            lambda: any(isinstance(n, KindlingfileLoaded) for n in session.since(mark).notices)
        )
        assert running() == {"a", "b"}
        (bench.root / "a.go").touch()
        await session.settled("local:a")
        # A save may be heard of twice, and a second reload holds everything for a moment.
        await session.until(lambda: (hold(session, "local:c") or ("",))[0] is HoldReason.SLOT)
        assert running() == {"b"}
        (bench.root / "b.go").touch()
        await session.until(lambda: running() == {"c"})
        (bench.root / "c.go").touch()
        await session.until(lambda: running() == {"d"})
        (bench.root / "d.go").touch()
        await session.settled(*(f"local:{name}" for name in names))


async def test_a_command_that_runs_alone_holds_what_becomes_due_meanwhile(
    bench: Workbench,
) -> None:
    """Given a command that may not run beside others, when another becomes due while it runs, then
    that one waits and names it; with `allow_parallel` both run together (behaviour 30)."""
    bench.write("in.txt", "1")
    more = 'deps = ["in.txt"], allow_parallel = True'
    bench.write("Kindlingfile", gated("alone") + declare("other", "true", more))
    async with bench.up() as session:
        await exists(session, bench.root / "alone.on")
        await held(session, "local:other", HoldReason.LOCAL, "local:alone")
        (bench.root / "alone.go").touch()
        await session.settled("local:other")
    bench.write(
        "Kindlingfile",
        gated("one", "allow_parallel = True") + gated("two", "allow_parallel = True"),
    )
    async with bench.up() as session:
        await exists(session, bench.root / "one.on", bench.root / "two.on")
        (bench.root / "one.go").touch()
        (bench.root / "two.go").touch()
        await session.settled("local:one", "local:two")


SERVER = """
local_resource("server", serve_cmd = "exec sleep 1000", allow_parallel = True,
               readiness_probe = probe(period_secs = 1, timeout_secs = 1, failure_threshold = 1,
                                       exec = exec_action(["test", "-e", "ready"])))
local_resource("user", cmd = "cat in.txt", deps = ["in.txt"], resource_deps = ["server"],
               allow_parallel = True)
"""


async def test_dependents_wait_until_ready_and_again_while_it_is_not(bench: Workbench) -> None:
    """Given a server that is not ready, then what depends on it waits and names it; ready, it runs;
    when the server stops being ready, nothing runs because of that, and a change waits until it is
    ready again (behaviour 31: unlike Tilt, readiness is not remembered)."""
    bench.write("in.txt", "1")
    bench.write("Kindlingfile", SERVER)
    async with bench.up() as session:
        await held(session, "local:user", HoldReason.DEPENDENCY, "serve:server")
        bench.write("ready", "")
        await session.settled("local:user")
        mark = session.mark()
        (bench.root / "ready").unlink()
        await session.until(
            lambda: session.result.views["serve:server"].status is NodeStatus.UNREADY
        )
        assert not session.since(mark).verdicts("local:user")
        bench.write("in.txt", "2")
        await held(session, "local:user", HoldReason.DEPENDENCY, "serve:server")
        bench.write("ready", "")
        await session.settled("local:user", mark=mark)
        assert session.since(mark).log("local:user") == ["2"]


async def test_a_changed_output_runs_the_dependent_after_it_was_made(bench: Workbench) -> None:
    """Given a command that reads what another one makes, when that one runs anew and makes other
    bytes, then the reader runs after it, once, and with the new bytes (behaviour 32)."""
    bench.write("in.txt", "1")
    make = GATED.format("make") + "; cp in.txt made.txt"
    bench.write(
        "Kindlingfile",
        declare("make", make, 'deps = ["in.txt"], outputs = ["made.txt"], allow_parallel = True')
        + declare("use", "cat made.txt", 'deps = ["made.txt"], allow_parallel = True'),
    )
    async with bench.up() as session:
        await exists(session, bench.root / "make.on")
        (bench.root / "make.go").touch()
        await session.settled("local:use")
        mark = session.mark()
        bench.write("in.txt", "2")
        await exists(session, bench.root / "make.on")
        assert not session.since(mark).log("local:use")
        (bench.root / "make.go").touch()
        await session.until(lambda: session.since(mark).log("local:use"))
        await session.until(lambda: session.result.views["local:use"].status is NodeStatus.DONE)
        assert finished(session, mark) == ["local:make", "local:use"]
        assert session.since(mark).log("local:use") == ["2"]


async def test_a_manual_resource_shows_its_change_and_runs_when_asked(bench: Workbench) -> None:
    """Given two manual resources, when a file of one changes, then nothing runs and it shows that
    it waits to be asked; asked, just that one runs (behaviour 33)."""
    text = ""
    for name in ("a", "b"):
        bench.write(f"{name}.txt", "1")
        text += declare(
            name,
            f"cat {name}.txt",
            f'deps = ["{name}.txt"], trigger_mode = TRIGGER_MODE_MANUAL',
        )
    bench.write("Kindlingfile", text)
    async with bench.up() as session:
        await session.settled("local:a", "local:b")
        mark = session.mark()
        bench.write("a.txt", "2")
        await held(session, "local:a", HoldReason.TRIGGER)
        session.since(mark).assert_only_ran()
        assert await bench.ask("trigger", "a") == {"nodes": ["local:a"]}
        await session.settled("local:a", mark=mark)
        session.since(mark).assert_only_ran("local:a")


async def test_a_resource_without_a_first_run_waits_for_a_change(bench: Workbench) -> None:
    """Given an automatic resource that does not run at the start, when a file of it changes, then
    it runs (behaviour 34)."""
    bench.write("in.txt", "1")
    bench.write(
        "Kindlingfile",
        declare("late", "cat in.txt", 'deps = ["in.txt"], auto_init = False')
        + declare("other", "true"),
    )
    async with bench.up() as session:
        await session.settled("local:other")
        assert not session.result.verdicts("local:late")
        bench.write("in.txt", "2")
        (await session.settled("local:late")).assert_ran("local:late")


async def test_what_was_asked_for_goes_before_an_older_change(bench: Workbench) -> None:
    """Given a change that waits, when another resource is asked for after it, then that one runs
    first (behaviour 35)."""
    bench.write("y.txt", "1")
    bench.write(
        "Kindlingfile",
        gated("block", "trigger_mode = TRIGGER_MODE_MANUAL")
        + declare("x", "true")
        + declare("y", "cat y.txt", 'deps = ["y.txt"]'),
    )
    async with bench.up() as session:
        await exists(session, bench.root / "block.on")
        (bench.root / "block.go").touch()
        await session.settled("local:block", "local:x", "local:y")
        await bench.ask("trigger", "block", force=True)
        await exists(session, bench.root / "block.on")
        mark = session.mark()
        bench.write("y.txt", "2")
        await session.until(lambda: hold(session, "local:y"))
        await bench.ask("trigger", "x", force=True)
        await session.until(lambda: hold(session, "local:x"))
        (bench.root / "block.go").touch()
        await session.settled("local:x", "local:y", mark=mark)
        assert finished(session, mark) == ["local:block", "local:x", "local:y"]


async def test_a_resource_that_leaves_the_file_is_cut_off_and_its_objects_go(
    bench: Workbench, outside: Outside
) -> None:
    """Given a command that runs, one that waits and an object that was applied, when an edit takes
    all three out of the file, then the process ends, the waiting one never runs and the object is
    deleted (behaviour 36; there is no other way to disable a node)."""
    bench.write(
        "map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\ndata: {a: b}\n"
    )
    stays = declare("stays", "true", "allow_parallel = True")
    bench.write(
        "Kindlingfile",
        stays
        + 'k8s_yaml("map.yaml")\n'
        + declare("first", "true", 'resource_deps = ["uncategorized"]')
        + declare("long", "echo $$ > pid; exec sleep 1000", 'resource_deps = ["first"]')
        + declare("waits", "touch waited"),
    )
    async with bench.up() as session:
        await session.settled("apply:uncategorized")
        await exists(session, bench.root / "pid")
        await session.until(lambda: bench.read("pid").strip())
        process = Path(f"/proc/{bench.read('pid').strip()}")
        bench.write("Kindlingfile", stays)
        await session.until(lambda: not process.exists())
        await session.until(lambda: not outside.cluster.objects("ConfigMap"))
        await session.settled("local:stays")


async def test_what_left_the_file_before_it_started_is_not_cut_off_when_it_comes_back(
    bench: Workbench,
) -> None:
    """Given a command that was taken out of the file before it began, when it is put back, then it
    runs to its end: no old word to stop it is obeyed (behaviour 37)."""
    block, other = gated("block"), declare("other", "touch done")
    bench.write("Kindlingfile", block + other)
    async with bench.up() as session:
        await exists(session, bench.root / "block.on")
        for text in (block, block + other):
            mark = session.mark()
            bench.write("Kindlingfile", text)
            await session.until(
                lambda mark=mark: any(  # type: ignore[misc]
                    isinstance(n, KindlingfileLoaded) for n in session.since(mark).notices
                )
            )
        (bench.root / "block.go").touch()
        (await session.settled("local:other")).assert_ran("local:other")
        assert Verdict.CANCELLED not in session.result.verdicts("local:other")


async def test_without_a_cluster_local_work_goes_on_and_the_rest_waits(
    bench: Workbench, outside: Outside
) -> None:
    """Given a cluster that does not answer, when `up` runs, then local commands run and what acts
    on the cluster waits for it; once it answers, that goes on by itself (behaviour 39)."""
    bench.write(
        "map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n"
    )
    bench.write("Kindlingfile", 'k8s_yaml("map.yaml")\n' + declare("local", "true"))
    outside.cluster.go_away()
    async with bench.up() as session:
        (await session.settled("local:local")).assert_ran("local:local")
        await session.until(
            lambda: (
                (hold(session, "apply:uncategorized") or ("",))[0]
                in (HoldReason.CLUSTER, HoldReason.DEPENDENCY_FAILED)
            )
        )
        found = hold(session, "apply:uncategorized")
        assert found == (HoldReason.CLUSTER, ("cluster:kind-fake",))
        outside.cluster.come_back()
        (await session.settled("apply:uncategorized")).assert_ran("apply:uncategorized")


async def test_nothing_new_starts_while_the_file_is_evaluated(bench: Workbench) -> None:
    """Given a command that runs and one that becomes due, when the file is evaluated anew, then the
    first goes on, and the second begins only after the evaluation (behaviour 40)."""
    bench.write("in.txt", "1")
    rest = gated("runs", "allow_parallel = True, trigger_mode = TRIGGER_MODE_MANUAL") + declare(
        "due", "cat in.txt", 'deps = ["in.txt"], allow_parallel = True'
    )
    bench.write("Kindlingfile", rest)
    async with bench.up() as session:
        await exists(session, bench.root / "runs.on")
        await session.settled("local:due")
        mark = session.mark()
        bench.write("Kindlingfile", f'local("""{GATED.format("file")}""", quiet = True)\n' + rest)
        await exists(session, bench.root / "file.on")
        bench.write("in.txt", "2")
        await held(session, "local:due", HoldReason.RELOAD)
        assert (bench.root / "runs.on").exists()
        (bench.root / "file.go").touch()
        await session.settled("local:due", mark=mark)
        (bench.root / "runs.go").touch()
        await session.settled("local:runs")


async def test_a_save_while_a_deploy_rolls_is_deployed_after_it(
    bench: Workbench, outside: Outside
) -> None:
    """Given a rollout that is not ready yet, when a file of its image is saved, then what was begun
    is not left half done and the new image is deployed (behaviour 38, the part without sync)."""
    images(bench, web="FROM scratch\n")
    text = bench.read("Kindlingfile").replace(', pod_readiness = "ignore"', "")
    bench.write("Kindlingfile", text)
    async with bench.up() as session:
        await session.until(
            lambda: (
                (view := session.result.views.get("rollout:web")) is not None
                and view.doing == "running"
            )
        )
        before = image_of(outside, "web")
        mark = session.mark()
        bench.write("web/content", "2")
        await session.until(lambda: image_of(outside, "web") != before)
        await session.settled("apply:web", mark=mark)
        assert outside.builds() == ["web", "web"]


@pytest.mark.parametrize("count", [500])
async def test_a_burst_of_writes_is_one_update(bench: Workbench, count: int) -> None:
    """Given a resource that reads a folder, when 500 files are written in a burst, then it runs
    once for all of them (behaviour 54)."""
    (bench.root / "src").mkdir()
    bench.write("Kindlingfile", declare("count", "ls src | wc -l", 'deps = ["src"]'))
    async with bench.up() as session:
        await session.settled("local:count")
        mark = session.mark()
        await asyncio.to_thread(lambda: [bench.write(f"src/{n}", "x") for n in range(count)])
        await session.until(lambda: session.since(mark).log("local:count")[-1:] == [str(count)])
        assert len(session.since(mark).log("local:count")) <= 2
