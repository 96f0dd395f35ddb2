"""A whole session on a real cluster: taken, followed, given back exactly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from kindling.engine.clock import SystemClock
from kindling.errors import ClusterError
from kindling.executors.processes import HostProcesses
from kindling.graph.node import FileSet
from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Cluster
from kindling.lang.declared import SyncStep
from kindling.sync.notices import Notice, Reached, Remark
from kindling.sync.rules.landing import Context
from kindling.sync.runtimes.plan import Overrides
from kindling.sync.session.order import Order
from kindling.sync.session.session import SyncSession
from kindling.sync.workload.records import Records

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

LIMIT = 120.0


def _deployment(namespace: str, replicas: int, command: str) -> dict[str, Any]:
    labels = {"app": "web"}
    container = {
        "name": "main",
        "image": "busybox:1.36",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", command],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


async def _namespace(cluster: Cluster, name: str) -> None:
    await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    async with (
        asyncio.timeout(LIMIT),
        aclosing(cluster.watch("v1", "ServiceAccount", namespace=name)) as accounts,
    ):
        async for event in accounts:
            if event.object or event.items:
                return


class _World:
    """A workload, a source folder, and what a session told."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        self.cluster = cluster
        self.ref = ObjectRef("apps/v1", "Deployment", "web", namespace)
        self.source = folder / "source"
        self.source.mkdir()
        self.folder = folder
        self.notices: list[Notice] = []
        self.processes = HostProcesses()

    def session(self, *, restart: bool) -> SyncSession:
        order = Order(
            self.ref,
            (SyncStep(".", "/app"),),
            Context("", self.source, (FileSet((".",)),)),
            overrides=Overrides(restart=restart),
        )
        return SyncSession(
            order,
            cluster=self.cluster,
            records=Records(self.folder / "records"),
            processes=self.processes,
            clock=SystemClock(),
            tell=self.notices.append,
            folder=self.folder / "scratch",
        )

    async def says(self, session: SyncSession, *argv: str) -> list[str]:
        """What a command prints in each container; empty where it fails."""
        found: list[str] = []
        for one in session.containers:
            try:
                done = await self.cluster.exec(one.namespace, one.pod, one.name, argv)
            except ClusterError:
                found.append("")
                continue
            found.append(done.stdout.decode() if done.code == 0 else "")
        return found

    async def until(self, session: SyncSession, wanted: list[str], *argv: str) -> None:
        said: list[str] = []
        try:
            async with asyncio.timeout(LIMIT):
                while (said := await self.says(session, *argv)) != wanted:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{argv}: {said}, not {wanted}; {self.notices}") from None

    async def told(self, what: Callable[[Notice], bool]) -> None:
        try:
            async with asyncio.timeout(LIMIT):
                while not any(map(what, self.notices)):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"it was not told: {self.notices}") from None


_RUN = "echo {} >/tmp/answer; exec sleep 1000\n"


async def test_a_session_serves_each_save_in_all_pods_and_leaves_no_trace(
    cluster: Cluster, ns: str, tmp_path: Path
) -> None:
    await _namespace(cluster, ns)
    world = _World(cluster, ns, tmp_path)
    command = "if [ -e /app/run.sh ]; then exec sh /app/run.sh; else exec sleep 1000; fi"
    await cluster.create(_deployment(ns, 2, command))
    before = (await cluster.get(world.ref))["spec"]["template"]
    (world.source / "run.sh").write_text(_RUN.format("one"))
    (world.source / "old").mkdir()
    (world.source / "old/file").write_text("x")
    session = world.session(restart=True)
    try:
        await session.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(session.follow())
            await world.until(session, ["one\n"] * 2, "cat", "/tmp/answer")

            (world.source / "run.sh").write_text(_RUN.format("two"))
            (world.source / "old").rename(world.source / "new")
            (world.source / "new/link").symlink_to("file")
            outcome = await session.changed(["run.sh", "old", "new"])
            assert (outcome.ok, outcome.containers, outcome.acted) == (True, 2, "restart")
            await world.until(session, ["two\n"] * 2, "cat", "/tmp/answer")
            shown = ("sh", "-c", "ls /app /app/new")
            await world.until(
                session, ["/app:\nnew\nrun.sh\n\n/app/new:\nfile\nlink\n"] * 2, *shown
            )

            # A save that kills the program: it is told, the container stays, the next save mends.
            (world.source / "run.sh").write_text("echo broken code; exit 3\n")
            assert (await session.changed(["run.sh"])).ok
            await world.told(lambda one: isinstance(one, Remark) and "exit code 3" in one.text)
            (world.source / "run.sh").write_text(_RUN.format("three"))
            assert (await session.changed(["run.sh"])).ok
            await world.until(session, ["three\n"] * 2, "cat", "/tmp/answer")

            gone = session.containers[0]
            await cluster.delete(ObjectRef("v1", "Pod", gone.pod, ns))
            await world.told(lambda one: isinstance(one, Reached) and one.why == "new pod")
            await world.until(session, ["three\n"] * 2, "cat", "/tmp/answer")
            released = await session.stop()
        assert released.exact, released
    finally:
        await session.stop()
        await world.processes.close()
    assert (await cluster.get(world.ref))["spec"]["template"] == before
    names = {
        item["metadata"]["name"]
        for item in (await cluster.list("v1", "ConfigMap", namespace=ns)).items
    }
    assert not {name for name in names if name.startswith("kindling-sync")}
    assert not list((tmp_path / "records").glob("*.json"))


async def test_files_alone_need_no_other_pods_and_a_container_that_restarts_gets_them_again(
    cluster: Cluster, ns: str, tmp_path: Path
) -> None:
    await _namespace(cluster, ns)
    world = _World(cluster, ns, tmp_path)
    await cluster.create(_deployment(ns, 1, "mkdir /app; trap 'exit 1' TERM; sleep 1000 & wait"))
    (world.source / "a.txt").write_text("one")
    session = world.session(restart=False)
    try:
        await session.start()
        (pod,) = session.containers
        async with asyncio.TaskGroup() as group:
            group.create_task(session.follow())
            (world.source / "a.txt").write_text("two")
            assert (await session.changed(["a.txt"])).ok
            await world.until(session, ["two"], "cat", "/app/a.txt")
            await cluster.exec(pod.namespace, pod.pod, pod.name, ["kill", "1"])
            await world.told(lambda one: isinstance(one, Reached) and bool(one.why))
            assert [one.pod for one in session.containers] == [pod.pod]
            await world.until(session, ["two"], "cat", "/app/a.txt")
            assert (await session.stop()).exact
    finally:
        await session.stop()
        await world.processes.close()
