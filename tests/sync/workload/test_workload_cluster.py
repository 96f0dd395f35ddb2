"""Sessions on workloads of a real cluster: taken, followed, and given back exactly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ServerFaultError
from kindling.kube.protocol import Cluster, EventKind, Object, PatchKind
from kindling.sync.agent.binaries import agent
from kindling.sync.notices import Notice, Released
from kindling.sync.protocol import Container
from kindling.sync.template.patch import AGENT_PATH, original_argv
from kindling.sync.template.session import SecondSessionError, Session
from kindling.sync.workload.hold import Hold
from kindling.sync.workload.records import Records
from kindling.sync.workload.renewing import renew
from kindling.sync.workload.restoring import Choice, restore_all
from kindling.sync.workload.taking import session_name, take
from tests.sync.workload.playing import Fate, Killed, MortalRecords, mortal

pytestmark = pytest.mark.cluster

LIMIT = 120.0
SLEEP = ["sh", "-c", "echo up; trap 'exit 0' TERM; while :; do sleep 0.2; done"]


class RealClock:
    def time(self) -> float:
        import time

        return time.time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class Stage:
    """A workload in a namespace of the test's own, and sessions on it."""

    cluster: Cluster
    namespace: str
    folder: Path
    told: list[Notice] = field(default_factory=list)

    @property
    def records(self) -> Records:
        return Records(self.folder)

    async def make(self, kind: str = "Deployment", replicas: int = 1, **spec: Any) -> ObjectRef:
        """Apply a workload, and wait until its pods run."""
        container = spec.pop("container", {})
        pod = spec.pop("pod", {})
        labels = {"app": "web"}
        if kind == "StatefulSet":
            spec = {"serviceName": "web", "podManagementPolicy": "Parallel", **spec}
        await self.cluster.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        )
        ref = ObjectRef("apps/v1", kind, "web", self.namespace)
        await self.cluster.apply(
            {
                "apiVersion": "apps/v1",
                "kind": kind,
                "metadata": {"name": "web", "namespace": self.namespace},
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {
                            "terminationGracePeriodSeconds": 0,
                            "containers": [
                                {
                                    "name": "app",
                                    "image": "busybox:1.36",
                                    "command": SLEEP[:2],
                                    "args": SLEEP[2:],
                                    **container,
                                }
                            ],
                            **pod,
                        },
                    },
                    **spec,
                },
            }
        )
        await self.until(ref, lambda pods: len([p for p in pods if runs(p)]) == replicas)
        return ref

    async def until(self, ref: ObjectRef, holds: Callable[[list[Object]], bool]) -> list[Object]:
        """Wait until something is true of the workload's pods."""
        pods: dict[str, Object] = {}
        async with asyncio.timeout(LIMIT):
            events = self.cluster.watch("v1", "Pod", namespace=ref.namespace)
            async with aclosing(events):
                async for event in events:
                    if event.kind is EventKind.SYNCED:
                        pods = {item["metadata"]["uid"]: item for item in event.items}
                    elif event.kind is EventKind.DELETED:
                        pods.pop(event.object["metadata"]["uid"], None)
                    elif event.kind is not EventKind.AWAY:
                        pods[event.object["metadata"]["uid"]] = event.object
                    if event.kind is not EventKind.AWAY and holds(list(pods.values())):
                        return list(pods.values())
        raise AssertionError("a watch never ends")

    async def take(self, ref: ObjectRef, *, patch: bool = True, **session: Any) -> Hold:
        template = (await self.cluster.get(ref))["spec"]["template"]
        argv = original_argv(template["spec"]["containers"][0]) if patch else ()
        made = Session(
            session_name(ref),
            "ada@desk",
            "2026-01-02T03:04:05Z",
            "./web",
            container="",
            agent="",
            argv=argv,
            **session,
        )
        return await take(
            self.cluster,
            ref,
            made,
            self.records,
            patch=patch,
            agents=agent,
            clock=RealClock(),
            tell=self.told.append,
        )

    async def state(self, ref: ObjectRef) -> str:
        """What could tell that a session was there, to the last byte."""
        live = await self.cluster.get(ref)
        fields = [
            {
                "manager": entry["manager"],
                "operation": entry["operation"],
                "template": entry.get("fieldsV1", {}).get("f:spec", {}).get("f:template"),
            }
            for entry in live["metadata"].get("managedFields") or ()
        ]
        kept = {
            "template": live["spec"]["template"],
            "annotations": sorted(
                key
                for key in live["metadata"].get("annotations") or {}
                if not key.startswith("deployment.kubernetes.io/")
            ),
            "owners": sorted(
                (entry for entry in fields if entry["template"]), key=lambda one: one["manager"]
            ),
            "maps": [name for name in await self.maps() if name.startswith("kindling-sync")],
        }
        return json.dumps(kept, sort_keys=True, indent=1)

    async def maps(self) -> list[str]:
        listing = await self.cluster.list("v1", "ConfigMap", namespace=self.namespace)
        return [str(item["metadata"]["name"]) for item in listing.items]


@pytest.fixture
def stage(cluster: Cluster, ns: str, tmp_path: Path) -> Stage:
    return Stage(cluster, ns, tmp_path / "sync")


def runs(pod: Object) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    running = [one for one in statuses if (one.get("state") or {}).get("running")]
    return bool(running) and not pod["metadata"].get("deletionTimestamp")


async def complete(hold: Hold) -> tuple[Container, ...]:
    """The containers once all pods of the session run."""
    async with asyncio.timeout(LIMIT), aclosing(hold.containers()) as sets:
        async for containers in sets:
            if hold.complete:
                return containers
    raise AssertionError("the sets never end")


async def run_in(stage: Stage, container: Container, *argv: str) -> str:
    """What a command in a container prints. A kubelet that has just started a container may not
    find it yet (500), and says nothing when it does: so it is asked again."""
    async with asyncio.timeout(LIMIT):
        while True:
            try:
                done = await stage.cluster.exec(
                    container.namespace, container.pod, container.name, argv
                )
            except ServerFaultError:
                await asyncio.sleep(0.2)
                continue
            assert done.code == 0, done
            return done.stdout.decode()


async def first_process(stage: Stage, container: Container) -> list[str]:
    return (await run_in(stage, container, "cat", "/proc/1/cmdline")).split("\0")[:-1]


async def test_a_deployment_of_three_is_taken_and_comes_back_to_the_byte(stage: Stage) -> None:
    """Rows 68 and 70: all replicas."""
    ref = await stage.make(replicas=3)
    before = await stage.state(ref)
    hold = await stage.take(ref)
    containers = await complete(hold)
    assert len(containers) == 3
    assert all(one.mounted and one.supervised and one.id for one in containers)
    words = await first_process(stage, containers[0])
    assert words[:2] == [AGENT_PATH, "supervise"]
    assert words[-3:] == SLEEP
    with pytest.raises(SecondSessionError, match=hold.record.session):
        await stage.take(ref)
    released = await hold.release()
    assert released == Released(
        f"`deployment/web in {ref.namespace}` has its own pod template again"
    )
    assert await stage.state(ref) == before
    assert not stage.records.all().records
    ours = {one.pod_uid for one in containers}
    pods = await stage.until(ref, lambda pods: not {p["metadata"]["uid"] for p in pods} & ours)
    assert pods


async def test_a_stateful_set_that_updates_on_delete_gets_its_pods_one_by_one(stage: Stage) -> None:
    ref = await stage.make("StatefulSet", 2, updateStrategy={"type": "OnDelete"})
    before = await stage.state(ref)
    hold = await stage.take(ref)
    containers = await complete(hold)
    assert [one.pod for one in containers] == ["web-0", "web-1"]
    assert (await first_process(stage, containers[1]))[0] == AGENT_PATH
    assert (await hold.release()).exact
    assert await stage.state(ref) == before
    ours = {one.pod_uid for one in containers}
    await stage.until(ref, lambda pods: not {p["metadata"]["uid"] for p in pods} & ours)


async def test_a_session_of_files_leaves_the_template_alone_and_fresh_pods(stage: Stage) -> None:
    ref = await stage.make("StatefulSet", 2)
    before = await stage.state(ref)
    generation = (await stage.cluster.get(ref))["metadata"]["generation"]
    hold = await stage.take(ref, patch=False)
    containers = await complete(hold)
    assert len(containers) == 2
    assert not any(one.mounted or one.supervised for one in containers)
    released = await hold.release()
    assert released.exact
    ours = {one.pod_uid for one in containers}
    await stage.until(
        ref,
        lambda pods: (
            not {p["metadata"]["uid"] for p in pods} & ours
            and len([p for p in pods if runs(p)]) == 2
        ),
    )
    assert await stage.state(ref) == before
    assert (await stage.cluster.get(ref))["metadata"]["generation"] == generation


async def rolled_out(stage: Stage, ref: ObjectRef) -> None:
    """As `kubectl set env` does it."""
    change = {"containers": [{"name": "app", "env": [{"name": "NEW", "value": "1"}]}]}
    await stage.cluster.patch(
        ref,
        {"spec": {"template": {"spec": change}}},
        PatchKind.STRATEGIC,
        manager="kubectl-set",
    )


async def test_what_someone_rolled_out_in_between_is_kept_without_our_part(stage: Stage) -> None:
    ref = await stage.make(replicas=0)
    await rolled_out(stage, ref)
    wanted = await stage.state(ref)
    await stage.cluster.delete(ref)
    await stage.cluster.wait_deleted(ref)
    await stage.make(replicas=0)
    hold = await stage.take(ref)
    await rolled_out(stage, ref)
    released = await hold.release()
    assert not released.exact
    assert released.details == ("`containers[app].env` was added",)
    assert await stage.state(ref) == wanted


async def test_what_someone_rolled_out_in_between_goes_where_the_user_says_so(stage: Stage) -> None:
    ref = await stage.make(replicas=0)
    before = json.loads(await stage.state(ref))
    hold = await stage.take(ref)
    await rolled_out(stage, ref)
    asked: list[str] = []

    async def decide(conflict: object) -> Choice:
        asked.append(str(conflict))
        return Choice.FORCE

    assert (await hold.release(decide=decide)).exact
    assert len(asked) == 1
    assert json.loads(await stage.state(ref))["template"] == before["template"]


async def test_a_deployment_of_our_own_during_the_session_is_taken_again(stage: Stage) -> None:
    """Server-side apply takes the command back that a session had changed; `renew` has it again,
    and what was applied is what comes back in the end."""
    ref = await stage.make(replicas=0)
    hold = await stage.take(ref)
    manifest: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": ref.namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [
                        {
                            "name": "app",
                            "image": "busybox:1.36",
                            "command": SLEEP[:2],
                            "args": SLEEP[2:],
                            "env": [{"name": "NEW", "value": "1"}],
                        }
                    ],
                },
            },
        },
    }
    await stage.cluster.apply(manifest, force=True)
    assert await renew(hold)
    assert not await renew(hold)
    live = await stage.cluster.get(ref)
    container = live["spec"]["template"]["spec"]["containers"][0]
    assert container["command"][0] == AGENT_PATH
    assert container["command"][-3:] == SLEEP
    assert container["env"] == [{"name": "NEW", "value": "1"}]
    assert (await hold.release()).exact
    container = (await stage.cluster.get(ref))["spec"]["template"]["spec"]["containers"][0]
    assert (container["command"], container["args"]) == (SLEEP[:2], SLEEP[2:])
    # The fields are the applier's again: what is applied without them has them no more.
    bare = json.loads(json.dumps(manifest))
    del bare["spec"]["template"]["spec"]["containers"][0]["args"]
    container = (await stage.cluster.apply(bare))["spec"]["template"]["spec"]["containers"][0]
    assert "args" not in container


@pytest.mark.parametrize("done", [True, False], ids=["after", "before"])
async def test_a_death_at_any_step_is_put_back_by_the_next_start(stage: Stage, done: bool) -> None:
    ref = await stage.make(replicas=0)
    before = await stage.state(ref)
    died = True
    for at in range(3, 60, 2 if done else 3):
        fate = Fate(at, done=done)
        other = Stage(mortal(stage.cluster, fate), stage.namespace, stage.folder)
        try:
            hold = await _take(other, ref, MortalRecords(stage.folder, fate))
            await hold.release()
            died = False
        except Killed:
            pass
        attempts = await restore_all(stage.cluster, stage.records, clock=RealClock(), living=True)
        assert [one.problem for one in attempts if one.problem] == []
        assert await stage.state(ref) == before, f"step {at}"
        if not died:
            return
    raise AssertionError("the session never ends")


async def _take(stage: Stage, ref: ObjectRef, records: Records) -> Hold:
    made = Session("s1", "ada", "2026-01-02T03:04:05Z", "./web", "app", "", argv=("true",))
    return await take(
        stage.cluster,
        ref,
        made,
        records,
        patch=True,
        agents=agent,
        clock=RealClock(),
        tell=stage.told.append,
    )


async def test_a_read_only_root_and_a_user_without_rights_are_no_hindrance(stage: Stage) -> None:
    """The destination is an `emptyDir` that holds what the image has there."""
    ref = await stage.make(
        container={
            "securityContext": {
                "readOnlyRootFilesystem": True,
                "runAsUser": 65532,
                "runAsNonRoot": True,
                "allowPrivilegeEscalation": False,
            }
        }
    )
    before = await stage.state(ref)
    hold = await stage.take(ref, writable=("/etc",))
    (container,) = await complete(hold)
    script = "grep -c ^root: /etc/passwd && echo x > /etc/new && cat /etc/new"
    assert (await run_in(stage, container, "sh", "-c", script)).split() == ["1", "x"]
    assert (await hold.release()).exact
    assert await stage.state(ref) == before


async def test_a_workload_that_went_leaves_nothing_to_do(stage: Stage) -> None:
    ref = await stage.make(replicas=0)
    hold = await stage.take(ref)
    await stage.cluster.delete(ref)
    await stage.cluster.wait_deleted(ref)
    assert "is gone" in (await hold.release()).text
    assert not stage.records.all().records
    assert not [name for name in await stage.maps() if name.startswith("kindling-sync")]


async def test_pods_that_do_not_come_are_told_with_their_reason(stage: Stage) -> None:
    ref = await stage.make()
    await stage.cluster.patch(
        ref,
        {
            "spec": {
                "template": {
                    "spec": {"containers": [{"name": "app", "image": "localhost:1/none:1"}]}
                }
            }
        },
        PatchKind.STRATEGIC,
        manager="kubectl-set",
    )
    hold = await stage.take(ref)
    told: asyncio.Queue[str] = asyncio.Queue()
    hold.tell = lambda notice: told.put_nowait(str(notice))

    async def follow() -> None:
        async with aclosing(hold.containers()) as sets:
            async for containers in sets:
                assert not containers

    task = asyncio.create_task(follow())
    try:
        async with asyncio.timeout(LIMIT):
            while "Pull" not in await told.get():
                pass
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert any("Pull" in line for line in hold.waiting)
    await hold.release()
