"""One session at a time has a workload; the record comes first; what fails is undone."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from kindling.errors import StoreError, UsageError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ConflictError, ForbiddenError, InvalidError, UnreachableError
from kindling.kube.protocol import Cluster, ClusterFacts
from kindling.sync.notices import Notice, Remark
from kindling.sync.template.patch import AGENT_PATH
from kindling.sync.template.session import SESSION_ANNOTATION, SecondSessionError, Session
from kindling.sync.workload.agents import RENEWED_ANNOTATION, session_config_map
from kindling.sync.workload.hold import Hold
from kindling.sync.workload.liveness import end_life
from kindling.sync.workload.records import Record, Records
from kindling.sync.workload.restoring import restore_all
from kindling.sync.workload.taking import session_name, take
from kindling.testing.clock import FakeClock
from kindling.testing.cluster import FakeCluster
from tests.sync.workload.playing import agents, deployment, ref_of, session, stateful_set

WEB = ObjectRef("apps/v1", "Deployment", "web", "default")
MAP = session_config_map("s1", "default")


@dataclass
class Desk:
    """Whoever starts sessions on one machine, from one project."""

    cluster: Cluster
    folder: Path
    clock: FakeClock = field(default_factory=FakeClock)
    told: list[Notice] = field(default_factory=list)

    @property
    def records(self) -> Records:
        return Records(self.folder)

    async def take(
        self, made: Session | None = None, ref: ObjectRef = WEB, *, patch: bool = True, **more: Any
    ) -> Hold:
        return await take(
            self.cluster,
            ref,
            made or session(),
            self.records,
            patch=patch,
            agents=agents,
            clock=self.clock,
            tell=self.told.append,
            **more,
        )

    def remarks(self) -> str:
        return "\n".join(one.text for one in self.told if isinstance(one, Remark))


@pytest.fixture
def fake() -> FakeCluster:
    cluster = FakeCluster()
    cluster.put(deployment())
    cluster.writes.clear()
    return cluster


@pytest.fixture
def desk(fake: FakeCluster, tmp_path: Path) -> Desk:
    return Desk(fake, tmp_path / "sync")


def template(cluster: FakeCluster) -> dict[str, Any]:
    (live,) = cluster.objects("Deployment")
    return cast("dict[str, Any]", live["spec"]["template"])


def on_behalf(cluster: FakeCluster, **calls: Any) -> Cluster:
    """The cluster with some calls replaced."""

    class Altered:
        def __getattr__(self, name: str) -> Any:
            return calls.get(name) or getattr(cluster, name)

    return cast("Cluster", Altered())


async def test_the_record_is_on_disk_then_in_the_cluster_then_the_patch_is_sent(
    fake: FakeCluster, desk: Desk
) -> None:
    seen: list[str] = []

    async def create(manifest: Mapping[str, Any], **more: Any) -> Any:
        assert desk.records.get("s1") is not None
        seen.append("map")
        return await fake.create(manifest, **more)

    async def patch(ref: ObjectRef, *args: Any, **more: Any) -> Any:
        assert any(item["metadata"]["name"] == MAP.name for item in fake.objects("ConfigMap"))
        seen.append("patch")
        return await fake.patch(ref, *args, **more)

    desk.cluster = on_behalf(fake, create=create, patch=patch)
    hold = await desk.take(project="shop")
    assert seen == ["map", "patch"]
    assert hold.template == template(fake)
    assert hold.container == "app"
    assert template(fake)["spec"]["containers"][0]["command"][0] == AGENT_PATH
    (config,) = fake.objects("ConfigMap")
    (live,) = fake.objects("Deployment")
    assert config["metadata"]["ownerReferences"][0]["uid"] == live["metadata"]["uid"]
    assert config["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "kindling",
        "kindling.dev/project": "shop",
    }
    assert base64.b64decode(config["binaryData"]["agent"]) == b"agent for x86_64"
    assert json.loads(config["data"]["record"])["recorded"]["uid"] == live["metadata"]["uid"]
    assert live["metadata"]["annotations"][SESSION_ANNOTATION] == "s1"
    await hold.release()


async def test_a_session_of_files_has_the_annotation_and_nothing_else(
    fake: FakeCluster, desk: Desk
) -> None:
    before = template(fake)
    hold = await desk.take(patch=False)
    assert template(fake) == before
    (live,) = fake.objects("Deployment")
    assert live["metadata"]["annotations"] == {SESSION_ANNOTATION: "s1"}
    with pytest.raises(SecondSessionError, match="`s1`"):
        await desk.take(session("s2"))
    await hold.release()
    (live,) = fake.objects("Deployment")
    assert not live["metadata"].get("annotations")


async def test_a_second_session_of_a_living_process_is_refused_by_name(
    fake: FakeCluster, desk: Desk
) -> None:
    await desk.take()
    writes = list(fake.writes)
    with pytest.raises(SecondSessionError) as caught:
        await desk.take(session("s2"))
    assert "`deployment/web` is held by session `s1` of ada@desk" in caught.value.message
    assert fake.writes == writes
    assert [one.session for one in desk.records.all().records] == ["s1"]
    end_life("s1")


async def died(desk: Desk, **holder: Any) -> None:
    """The session `s1` of `desk` is no longer this process's."""
    record = desk.records.get("s1")
    assert record is not None
    record = replace(record, holder=replace(record.holder, **holder))
    desk.records.save(record)
    await desk.cluster.patch(MAP, {"data": {"record": record.to_json()}})
    end_life("s1")


@pytest.mark.parametrize("first", [True, False], ids=["patched", "files"])
@pytest.mark.parametrize("second", [True, False], ids=["patched", "files"])
async def test_what_a_dead_session_left_is_put_back_first_and_said_so(
    fake: FakeCluster, desk: Desk, first: bool, second: bool
) -> None:
    before = template(fake)
    await desk.take(patch=first)
    await died(desk, pid=1 << 30, started="1")
    hold = await desk.take(session("s2"), patch=second)
    assert "was held by session `s1`" in desk.remarks()
    assert hold.record.recorded.before == before
    assert [one.session for one in desk.records.all().records] == ["s2"]
    assert [one["metadata"]["name"] for one in fake.objects("ConfigMap")] == ["kindling-sync-s2"]
    await hold.release()
    assert template(fake) == before
    assert not fake.objects("ConfigMap")


@pytest.mark.parametrize("patch", [True, False], ids=["patched", "files"])
async def test_what_a_session_left_to_stay_is_the_next_ones_and_called_so(
    fake: FakeCluster, desk: Desk, patch: bool, tmp_path: Path
) -> None:
    """Also at once, on another machine: whoever brought it has said that it is over."""
    before = template(fake)
    first = await desk.take(patch=patch)
    await first.leave()
    (record,) = desk.records.all().records
    assert record.stays
    assert record.touched == first.record.touched
    await died(desk, **ELSEWHERE)
    other = Desk(fake, tmp_path / "other", desk.clock)
    hold = await other.take(session("s2"), patch=patch)
    assert "has what session `s1`" in other.remarks()
    assert "brought to stay (`--once`)" in other.remarks()
    assert "whose process ended" not in other.remarks()
    assert hold.record.recorded.before == before
    await hold.release()
    assert template(fake) == before


async def test_what_was_left_to_stay_is_put_back_when_that_is_asked_for(
    fake: FakeCluster, desk: Desk
) -> None:
    before = template(fake)
    await (await desk.take()).leave()
    (attempt,) = await restore_all(fake, desk.records, clock=desk.clock)
    assert attempt.released is not None
    assert attempt.released.exact
    assert template(fake) == before
    assert not desk.records.all().records


async def test_a_disk_that_is_full_at_the_end_takes_nothing_back(
    fake: FakeCluster, desk: Desk
) -> None:
    hold = await desk.take()

    class Full(Records):
        def save(self, record: Record) -> None:
            raise StoreError(f"The record of {record.session} cannot be written")

    hold.records = Full(desk.folder)
    await hold.leave()
    assert "cannot be written" in desk.remarks()
    assert template(fake) == hold.template
    (record,) = desk.records.all().records
    assert not record.stays


@pytest.mark.parametrize("patch", [True, False], ids=["patched", "files"])
async def test_pods_that_an_ending_cut_short_left_are_the_next_sessions_to_make_fresh(
    fake: FakeCluster, desk: Desk, patch: bool
) -> None:
    hold = await desk.take(patch=False)
    desk.records.save(replace(hold.record, touched=("pod-of-s1",)))
    gone = {"metadata": {"annotations": {SESSION_ANNOTATION: None}}}
    await fake.patch(WEB, gone)
    await died(desk, pid=1 << 30, started="1")
    hold = await desk.take(session("s2"), patch=patch)
    # A patch replaces every pod by itself.
    assert hold.record.touched == (() if patch else ("pod-of-s1",))
    assert [one.session for one in desk.records.all().records] == ["s2"]
    assert [one["metadata"]["name"] for one in fake.objects("ConfigMap")] == ["kindling-sync-s2"]
    end_life("s2")


async def test_a_dead_session_of_another_folder_is_known_by_its_config_map(
    fake: FakeCluster, desk: Desk, tmp_path: Path
) -> None:
    before = template(fake)
    await desk.take()
    await died(desk, pid=1 << 30, started="1")
    other = Desk(fake, tmp_path / "other")
    hold = await other.take(session("s2"))
    assert hold.record.recorded.before == before
    # What is left on disk of the first finds the second, and lets it be.
    (attempt,) = await restore_all(fake, desk.records, clock=desk.clock)
    assert attempt.released is not None
    assert "which has taken it over" in attempt.released.text
    assert hold.template == template(fake)
    await hold.release()
    assert template(fake) == before


ELSEWHERE = {"host": "laptop", "boot": "another"}


async def test_a_session_of_another_machine_is_refused_with_the_way_out_once_it_is_silent(
    fake: FakeCluster, desk: Desk, tmp_path: Path
) -> None:
    await desk.take()
    await died(desk, **ELSEWHERE)
    other = Desk(fake, tmp_path / "other", desk.clock)
    with pytest.raises(SecondSessionError) as caught:
        await other.take(session("s2"))
    assert "which runs on laptop" in caught.value.message
    assert caught.value.hint == "Stop that session there first."
    await desk.clock.advance(7300)
    with pytest.raises(SecondSessionError) as caught:
        await other.take(session("s2"))
    assert "has not been heard of for 2 hours" in caught.value.message
    assert "`kindling sync --restore -d deployment/web -n default`" in caught.value.hint
    await fake.patch(MAP, {"metadata": {"annotations": {RENEWED_ANNOTATION: "yesterday"}}})
    with pytest.raises(SecondSessionError, match="has not been heard of at all"):
        await other.take(session("s2"))


async def test_an_annotation_of_nobody_that_is_known_is_respected(
    fake: FakeCluster, desk: Desk
) -> None:
    thing = deployment()
    thing["metadata"]["annotations"] = {SESSION_ANNOTATION: "mine"}
    fake.put(thing)
    with pytest.raises(SecondSessionError, match="session `mine`"):
        await desk.take()
    assert not desk.records.all().records


async def test_whoever_writes_in_between_is_read_again_and_recorded(
    fake: FakeCluster, desk: Desk
) -> None:
    """The patch applies to what was recorded, or not at all."""
    tries: list[str] = []

    async def patch(ref: ObjectRef, steps: Any, *args: Any, **more: Any) -> Any:
        if ref == WEB and len(tries) < 3:
            record = desk.records.get("s1")
            assert record is not None
            tries.append(record.recorded.before["spec"]["containers"][0]["image"])
            changed = deployment()
            changed["spec"]["template"]["spec"]["containers"][0]["image"] = f"web:{len(tries)}"
            fake.put(changed)
        return await fake.patch(ref, steps, *args, **more)

    desk.cluster = on_behalf(fake, patch=patch)
    hold = await desk.take()
    assert tries == ["busybox:1.36", "web:1", "web:2"]
    assert hold.record.recorded.before["spec"]["containers"][0]["image"] == "web:3"
    (config,) = fake.objects("ConfigMap")
    assert config["data"]["record"] == hold.record.to_json()
    assert desk.records.get("s1") == hold.record
    assert (await hold.release()).exact
    assert template(fake)["spec"]["containers"][0]["image"] == "web:3"


async def test_somebody_who_writes_without_end_is_named_as_the_reason(
    fake: FakeCluster, desk: Desk
) -> None:
    async def patch(ref: ObjectRef, steps: Any, *args: Any, **more: Any) -> Any:
        if ref == WEB and len(steps) > 1 and any(s["op"] == "add" for s in steps):
            changed = deployment()
            changed["metadata"]["labels"] = {"n": str(len(fake.writes))}
            fake.writes.append(("put", ref))
            fake.put(changed)
        return await fake.patch(ref, steps, *args, **more)

    before = template(fake)
    desk.cluster = on_behalf(fake, patch=patch)
    with pytest.raises((ConflictError, InvalidError)):
        await desk.take()
    assert template(fake) == before
    assert not fake.objects("ConfigMap")
    assert not desk.records.all().records


def refusing(name: str) -> Any:
    async def refuse(*args: Any, **more: Any) -> Any:
        del args, more
        raise ForbiddenError(f"Cannot {name}: it is forbidden", details=["RBAC says so"])

    return refuse


async def test_what_is_not_allowed_is_one_message_and_leaves_nothing(
    fake: FakeCluster, desk: Desk
) -> None:
    before = template(fake)
    for name in ("create", "patch"):
        desk.cluster = on_behalf(fake, **{name: refusing(name)})
        with pytest.raises(ForbiddenError) as caught:
            await desk.take()
        text = caught.value.render()
        assert f"not allowed in namespace `default`: Cannot {name}" in text
        assert text.count("not allowed in namespace") == 1
        assert "RBAC says so" in text
        assert "delete of ConfigMaps" in text
        assert "role `edit`" in text
        assert template(fake) == before
        assert not fake.objects("ConfigMap")
        assert not desk.records.all().records


async def test_a_session_of_files_can_do_without_a_config_map(
    fake: FakeCluster, desk: Desk
) -> None:
    desk.cluster = on_behalf(fake, create=refusing("create"))
    hold = await desk.take(patch=False)
    assert "no other machine can see" in desk.remarks()
    assert (await hold.release()).exact


async def test_a_disk_that_refuses_the_record_keeps_the_cluster_untouched(
    fake: FakeCluster, desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    desk.folder = tmp_path / "file"
    with pytest.raises(StoreError):
        await desk.take()
    assert fake.writes == []


async def test_a_cluster_that_goes_away_leaves_the_record_for_the_next_start(
    fake: FakeCluster, desk: Desk
) -> None:
    before = template(fake)

    async def patch(ref: ObjectRef, *args: Any, **more: Any) -> Any:
        await fake.patch(ref, *args, **more)
        fake.go_away()
        raise UnreachableError("gone", transient=True)

    desk.cluster = on_behalf(fake, patch=patch)
    with pytest.raises(UnreachableError):
        await desk.take()
    assert "may still have a part of session `s1`" in desk.remarks()
    with pytest.raises(UnreachableError):
        await restore_all(fake, desk.records, clock=desk.clock)
    assert len(desk.records.all().records) == 1
    fake.come_back()
    (attempt,) = await restore_all(fake, desk.records, clock=desk.clock)
    assert attempt.released is not None
    assert attempt.released.exact
    assert template(fake) == before
    assert not desk.records.all().records


async def test_a_start_that_is_interrupted_is_undone(fake: FakeCluster, desk: Desk) -> None:
    before = template(fake)
    reached = asyncio.Event()

    async def patch(ref: ObjectRef, *args: Any, **more: Any) -> Any:
        answer = await fake.patch(ref, *args, **more)
        if ref == WEB and not reached.is_set():
            reached.set()
            await asyncio.Event().wait()
        return answer

    desk.cluster = on_behalf(fake, patch=patch)
    task = asyncio.create_task(desk.take())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert template(fake) == before
    assert not desk.records.all().records
    assert not fake.objects("ConfigMap")


async def test_what_no_session_can_have_is_refused_untouched(tmp_path: Path) -> None:
    paused = deployment(paused=True)
    below = stateful_set(updateStrategy={"rollingUpdate": {"partition": 2}})
    for thing, made, words in (
        (paused, session(), "is paused"),
        (below, session(), "partition of 2"),
        (deployment(), replace(session(), container="nope"), "no container `nope`"),
        (deployment(), replace(session(), name="../x"), "cannot be the name of a session"),
    ):
        fake = FakeCluster()
        fake.put(thing)
        desk = Desk(fake, tmp_path)
        with pytest.raises(UsageError, match=words):
            await desk.take(made, ref_of(thing))
        assert fake.writes == []
        assert not desk.records.all().records


async def test_pods_on_nodes_of_several_kinds_are_kept_on_one(
    fake: FakeCluster, desk: Desk
) -> None:
    """The agent is there for one architecture: that of the nodes the pods run on."""
    before = template(fake)

    async def facts() -> ClusterFacts:
        return replace(await fake.facts(), node_platforms=("linux/amd64", "linux/arm64"))

    async def pods_of(*args: Any) -> Sequence[Any]:
        del args
        return ({"spec": {"nodeName": "n1"}},)

    info = {"nodeInfo": {"architecture": "arm64", "operatingSystem": "linux"}}
    fake.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": info})
    desk.cluster = on_behalf(fake, facts=facts, pods_of=pods_of)
    hold = await desk.take()
    assert template(fake)["spec"]["nodeSelector"] == {"kubernetes.io/arch": "arm64"}
    (config,) = fake.objects("ConfigMap")
    assert base64.b64decode(config["binaryData"]["agent"]) == b"agent for aarch64"
    await hold.release()
    assert template(fake) == before
    hold = await desk.take(machine="x86_64")
    assert template(fake)["spec"]["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    await hold.release()


async def test_nodes_without_an_agent_are_refused_by_name(fake: FakeCluster, desk: Desk) -> None:
    async def facts() -> ClusterFacts:
        return replace(await fake.facts(), node_platforms=("linux/riscv64",))

    desk.cluster = on_behalf(fake, facts=facts)
    with pytest.raises(UsageError, match="`riscv64`"):
        await desk.take()
    assert fake.writes == []
    assert (await desk.take(patch=False)).record.patched is False
    end_life("s1")


def test_sessions_have_names_of_their_own() -> None:
    names = {session_name(ObjectRef("apps/v1", "Deployment", "a.b" * 60, "x")) for _ in range(20)}
    assert len(names) == 20
    assert all(len(name) < 60 and "." not in name for name in names)
