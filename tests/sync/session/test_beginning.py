"""What is said of a workload whose pods would never come, before anything is touched."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from kindling.errors import ClusterError, ConfigError, UsageError
from kindling.lang.declared import SyncStep
from kindling.sync.notices import Notice, Remark
from kindling.sync.protocol import CannotCarryError, Container, Link
from kindling.sync.rules.landing import Context
from kindling.sync.runtimes.build import Machine
from kindling.sync.runtimes.plan import Overrides, Source, plan
from kindling.sync.session.beginning import begin, landing_place, present
from kindling.sync.session.looking import seen_from
from kindling.sync.session.order import Order
from kindling.sync.source.tree import SourceTree
from kindling.testing.clock import FakeClock
from kindling.testing.cluster import FakeCluster
from tests.sync.workload.playing import Controller, deployment, ref_of


def ordered(cluster: FakeCluster, folder: Path) -> Order:
    (live,) = cluster.objects("Deployment")
    return Order(ref_of(live), (SyncStep(".", "/app"),), Context(root=folder))


async def test_a_workload_without_replicas_is_refused_with_the_command_that_gives_it_one(
    tmp_path: Path,
) -> None:
    cluster = FakeCluster()
    cluster.put(deployment(replicas=0))
    with pytest.raises(ClusterError, match="scaled to zero") as caught:
        await present(ordered(cluster, tmp_path), cluster, 0.0)
    assert "kubectl scale deployment/web" in caught.value.hint


async def test_a_paused_deployment_without_pods_is_refused_with_the_command_that_resumes_it(
    tmp_path: Path,
) -> None:
    cluster = FakeCluster()
    cluster.put(deployment(paused=True))
    with pytest.raises(ClusterError, match="paused, so that no pod of it comes") as caught:
        await present(ordered(cluster, tmp_path), cluster, 0.0)
    assert "kubectl rollout resume deployment/web -n default" in caught.value.hint


async def test_a_paused_deployment_can_be_synced_unless_its_template_has_to_be_changed(
    tmp_path: Path,
) -> None:
    cluster, told = FakeCluster(), list[Notice]()
    cluster.put(deployment(paused=True))
    Controller(cluster).settle()
    order = ordered(cluster, tmp_path)
    assert len((await present(order, cluster, 0.0)).containers) == 1

    async def without_shell(container: Container) -> Link:
        raise CannotCarryError(f"{container} has no shell")

    with pytest.raises(ClusterError, match="the pods with the agent in them would not come"):
        await begin(order, cluster, without_shell, FakeClock(), told.append)


async def test_where_a_program_lies_is_known_by_its_command_where_nothing_can_be_read(
    tmp_path: Path,
) -> None:
    """An image without a shell, such as those of controllers."""
    cluster = FakeCluster()
    manifest = deployment()
    (own,) = manifest["spec"]["template"]["spec"]["containers"]
    own.update({"command": ["/bin/manager", "--leader-elect"], "args": []})
    cluster.put(manifest)
    Controller(cluster).settle()
    (tmp_path / "main.go").write_text("package main\n")

    async def without_shell(container: Container) -> Link:
        raise CannotCarryError(f"{container} has no shell")

    overrides = Overrides(build_cmd="make", build_output="manager")
    order = replace(ordered(cluster, tmp_path), overrides=overrides)
    begun = await begin(order, cluster, without_shell, FakeClock(), lambda _: None)
    assert begun.place == "bin/manager"


def crashing(cluster: FakeCluster, restarts: int) -> str:
    """Let the one pod crash; its name."""
    (pod,) = (copy.deepcopy(dict(one)) for one in cluster.objects("Pod"))
    (status,) = pod["status"]["containerStatuses"]
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting"}}
    last = {"terminated": {"exitCode": 3, "reason": "Error"}}
    status.update(state=state, lastState=last, restartCount=restarts)
    pod["status"]["conditions"] = []
    cluster.put(pod)
    return str(pod["metadata"]["name"])


@pytest.mark.parametrize(("restarts", "within"), [(2, 130), (7, 10)])
async def test_a_container_that_only_crashes_is_named_with_its_log_and_not_waited_for_in_vain(
    tmp_path: Path, restarts: int, within: float
) -> None:
    cluster, clock, told = FakeCluster(), FakeClock(), list[Notice]()
    cluster.put(deployment())
    Controller(cluster).settle()
    pod = crashing(cluster, restarts)

    async def never(container: Container) -> Link:
        raise AssertionError(container)

    begun = asyncio.ensure_future(
        begin(ordered(cluster, tmp_path), cluster, never, clock, told.append)
    )
    while not begun.done():
        await asyncio.sleep(0.001)
        if clock.sleepers:
            await clock.advance(0.5 if within < 100 else 5)
        assert clock.monotonic() < within
    with pytest.raises(ClusterError, match="No container of") as caught:
        begun.result()
    (said,) = told
    assert isinstance(said, Remark)
    logs = f"`kubectl logs {pod} -c app -n default --previous`"
    assert said.hint == f"{logs} may say why it does not."
    assert "CrashLoopBackOff" in said.details[0]
    assert caught.value.hint.endswith(f"{logs} may say why.")


class Watched:
    """As much of a link as is needed to see it closed."""

    def __init__(self) -> None:
        self.closed = False

    async def close(self) -> None:
        self.closed = True


async def test_a_container_is_reached_while_the_source_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 10,000 files that takes as long as all the rest before the copy."""
    cluster, reached = FakeCluster(), asyncio.Event()
    cluster.put(deployment())
    Controller(cluster).settle()
    whole = SourceTree.open

    async def slow(*args: Any, **kwargs: Any) -> SourceTree:
        await reached.wait()
        return await whole(*args, **kwargs)

    async def without_shell(container: Container) -> Link:
        reached.set()
        raise CannotCarryError(f"{container} has no shell")

    monkeypatch.setattr(SourceTree, "open", slow)
    async with asyncio.timeout(60):
        begun = await begin(
            ordered(cluster, tmp_path), cluster, without_shell, FakeClock(), lambda _: None
        )
    assert begun.patch


async def test_a_mistake_in_the_source_is_said_first_and_leaves_no_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, link, reached = FakeCluster(), Watched(), asyncio.Event()
    cluster.put(deployment())
    Controller(cluster).settle()

    async def wrong(*_args: Any, **_kwargs: Any) -> SourceTree:
        await reached.wait()
        raise ConfigError("a pattern is none")

    async def linked(_: Container) -> Link:
        reached.set()
        return cast(Link, link)

    monkeypatch.setattr(SourceTree, "open", wrong)
    with pytest.raises(ConfigError, match="a pattern is none"):
        await begin(ordered(cluster, tmp_path), cluster, linked, FakeClock(), lambda _: None)
    assert link.closed


async def test_a_cluster_that_fails_is_said_when_the_source_is_right(tmp_path: Path) -> None:
    cluster = FakeCluster()
    cluster.put(deployment())
    Controller(cluster).settle()

    async def never(container: Container) -> Link:
        raise ClusterError(f"{container} is out of reach")

    with pytest.raises(ClusterError, match="is out of reach"):
        await begin(ordered(cluster, tmp_path), cluster, never, FakeClock(), lambda _: None)


async def test_a_mirror_of_the_root_is_refused(tmp_path: Path) -> None:
    cluster, link = FakeCluster(), Watched()
    cluster.put(deployment())
    Controller(cluster).settle()

    async def linked(_: Container) -> Link:
        return cast(Link, link)

    order = replace(ordered(cluster, tmp_path), mirror=True, steps=(SyncStep(".", "/"),))
    with pytest.raises(UsageError, match="A mirror of `/`"):
        await begin(order, cluster, linked, FakeClock(), lambda _: None)


@pytest.mark.parametrize(
    ("output", "destination", "place"),
    [
        ("out/run.sh", "app", "app/run.sh"),
        ("out/run.sh", "app/run.sh", "app/run.sh"),
        ("out/", "app", "app"),
    ],
)
async def test_what_is_built_for_a_shell_lands_on_the_destination_under_its_own_name(
    output: str, destination: str, place: str
) -> None:
    seen = seen_from(["/bin/sh", "/app/run.sh"])
    detection, machine = seen.detected({}), Machine("linux", "amd64")
    built = Overrides(restart=True, build_cmd="make it", build_output=output)
    strategy = plan(detection, built, source=Source(), machine=machine, here=machine)
    link = cast(Link, None)
    assert await landing_place(detection, strategy, seen, destination, link) == place
