"""The way back, whatever became of the workload, the record, the pods and the cluster."""

from __future__ import annotations

import asyncio
import copy
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from kindling.errors import UsageError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ForbiddenError, UnreachableError
from kindling.kube.protocol import Cluster
from kindling.sync.notices import Notice, Remark
from kindling.sync.template.restore import Conflict
from kindling.sync.template.session import SESSION_ANNOTATION
from kindling.sync.workload.hold import Hold
from kindling.sync.workload.liveness import SILENT_AFTER, end_life
from kindling.sync.workload.records import Record, Records
from kindling.sync.workload.replacing import next_to_delete, replace_pods
from kindling.sync.workload.restoring import (
    Choice,
    restore,
    restore_all,
    restore_workload,
)
from kindling.sync.workload.taking import take
from kindling.testing.clock import FakeClock
from kindling.testing.cluster import FakeCluster
from tests.sync.workload.playing import (
    agents,
    controlled,
    deployment,
    ref_of,
    session,
    silent,
    stateful_set,
)

WEB = ObjectRef("apps/v1", "Deployment", "web", "default")
CLOCK = FakeClock()


async def held_by(
    cluster: Cluster, folder: Path, ref: ObjectRef = WEB, *, patch: bool = True, name: str = "s1"
) -> Hold:
    return await take(
        cluster,
        ref,
        session(name),
        Records(folder),
        patch=patch,
        agents=agents,
        clock=CLOCK,
        tell=silent,
    )


@pytest.fixture
def fake() -> FakeCluster:
    cluster = FakeCluster()
    cluster.put(deployment())
    return cluster


def live_of(cluster: FakeCluster) -> dict[str, Any]:
    (live,) = cluster.objects("Deployment")
    return cast("dict[str, Any]", live)


def rolled_out(cluster: FakeCluster) -> None:
    """Somebody sets another image while the session has it."""
    live = copy.deepcopy(live_of(cluster))
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
    cluster.put(live)


async def test_what_someone_rolled_out_stays_when_nobody_can_be_asked(
    fake: FakeCluster, tmp_path: Path
) -> None:
    hold = await held_by(fake, tmp_path)
    rolled_out(fake)
    released = await hold.release()
    assert not released.exact
    assert "keeps what was rolled out" in released.text
    assert released.details == ("`containers[app].image` was `busybox:1.36` and is `web:2`",)
    wanted = deployment()["spec"]["template"]
    wanted["spec"]["containers"][0]["image"] = "web:2"
    assert live_of(fake)["spec"]["template"] == wanted
    assert not live_of(fake)["metadata"].get("annotations")
    assert not Records(tmp_path).all().records


async def test_who_is_asked_chooses_once_though_others_go_on_writing(
    fake: FakeCluster, tmp_path: Path
) -> None:
    hold = await held_by(fake, tmp_path)
    rolled_out(fake)
    asked: list[str] = []

    async def decide(conflict: Conflict) -> Choice:
        asked.append(str(conflict))
        changed = copy.deepcopy(live_of(fake))
        changed["metadata"]["labels"] = {"team": "shop"}
        fake.put(changed)
        return Choice.FORCE

    released = await hold.release(decide=decide)
    assert released.exact
    assert len(asked) == 1
    assert "Someone changed the workload" in asked[0]
    assert live_of(fake)["spec"]["template"] == deployment()["spec"]["template"]
    assert live_of(fake)["metadata"]["labels"] == {"team": "shop"}


async def test_whoever_leaves_the_question_open_finds_it_again(
    fake: FakeCluster, tmp_path: Path
) -> None:
    hold = await held_by(fake, tmp_path)
    rolled_out(fake)

    async def decide(conflict: Conflict) -> Choice:
        raise KeyboardInterrupt(str(conflict))

    before = live_of(fake)
    with pytest.raises(KeyboardInterrupt):
        await hold.release(decide=decide)
    assert live_of(fake) == before
    assert len(Records(tmp_path).all().records) == 1
    (attempt,) = await restore_all(fake, Records(tmp_path), clock=CLOCK, decide=Choice.FORCE)
    assert attempt.released is not None
    assert attempt.released.exact


async def test_a_workload_made_anew_without_us_is_left_alone(
    fake: FakeCluster, tmp_path: Path
) -> None:
    for change in (None, "web:2"):
        hold = await held_by(fake, tmp_path)
        fake.remove(WEB)
        anew = deployment()
        if change:
            anew["spec"]["template"]["spec"]["containers"][0]["image"] = change
        fake.put(anew)
        fake.writes.clear()
        assert (await hold.release()).exact
        assert [verb for verb, ref in fake.writes if ref == WEB] == []
        assert live_of(fake)["spec"]["template"] == anew["spec"]["template"]
        assert not Records(tmp_path).all().records


async def test_a_workload_made_anew_from_an_export_with_us_in_it_is_put_back(
    fake: FakeCluster, tmp_path: Path
) -> None:
    hold = await held_by(fake, tmp_path)
    export = live_of(fake)
    fake.remove(WEB)
    for key in ("uid", "resourceVersion", "creationTimestamp", "generation"):
        del export["metadata"][key]
    fake.put(export)
    assert (await hold.release()).exact
    assert live_of(fake)["spec"]["template"] == deployment()["spec"]["template"]
    assert not live_of(fake)["metadata"].get("annotations")


@pytest.mark.parametrize("patch", [True, False], ids=["patched", "files"])
async def test_a_workload_or_namespace_that_is_gone_needs_nothing(
    tmp_path: Path, patch: bool
) -> None:
    for gone in (WEB, ObjectRef("v1", "Namespace", "default")):
        fake = FakeCluster()
        fake.put(deployment())
        hold = await held_by(fake, tmp_path, patch=patch)
        fake.remove(gone)
        released = await hold.release()
        assert released.exact
        assert "is gone, so there is nothing to put back" in released.text
        assert not Records(tmp_path).all().records


async def test_a_record_of_another_cluster_never_touches_this_one(
    fake: FakeCluster, tmp_path: Path
) -> None:
    hold = await held_by(fake, tmp_path)
    end_life("s1")
    other = FakeCluster(context="staging")
    other.uid = "another"
    other.put(live_of(fake))
    other.writes.clear()
    with pytest.raises(UsageError) as caught:
        await restore(other, hold.record, records=Records(tmp_path), clock=CLOCK)
    assert "of another cluster than `staging`" in caught.value.message
    assert "--context kind-fake" in caught.value.hint
    (attempt,) = await restore_all(other, Records(tmp_path), clock=CLOCK)
    assert attempt.released is None
    assert "of another cluster, reached by context `kind-fake`" in attempt.problem
    assert other.writes == []
    assert len(Records(tmp_path).all().records) == 1


async def test_a_cluster_made_anew_under_the_old_name_is_another_one(
    fake: FakeCluster, tmp_path: Path
) -> None:
    await held_by(fake, tmp_path)
    end_life("s1")
    anew = FakeCluster()
    anew.uid = "made-anew"
    (attempt,) = await restore_all(anew, Records(tmp_path), clock=CLOCK)
    assert attempt.released is None
    assert len(Records(tmp_path).all().records) == 1


async def test_what_a_living_session_has_is_left_alone(fake: FakeCluster, tmp_path: Path) -> None:
    hold = await held_by(fake, tmp_path)
    (attempt,) = await restore_all(fake, Records(tmp_path), clock=CLOCK)
    assert attempt.released is None
    assert "it still runs: process" in attempt.problem
    (attempt,) = await restore_workload(fake, WEB, Records(tmp_path), clock=CLOCK)
    assert "it still runs" in attempt.problem
    assert (await hold.release()).exact


async def test_what_a_session_elsewhere_has_is_left_alone_while_it_is_heard_of(
    fake: FakeCluster, tmp_path: Path
) -> None:
    """Its record is here, since a machine and a container share the folder of the project."""
    hold = await held_by(fake, tmp_path)
    end_life("s1")
    held = copy.deepcopy(live_of(fake))
    there = replace(hold.record.holder, host="devbox", boot="other")
    record = replace(hold.record, holder=there)
    records, clock = Records(tmp_path), FakeClock(epoch=CLOCK.time())
    records.save(record)
    ref = ObjectRef("v1", "ConfigMap", "kindling-sync-s1", "default")
    await fake.patch(ref, {"data": {"record": record.to_json()}})
    await clock.advance(SILENT_AFTER - 20)
    for attempts in (
        await restore_all(fake, records, clock=clock),
        await restore_all(fake, records, clock=clock, only=WEB, living=True),
        await restore_workload(fake, WEB, records, clock=clock),
        await restore_workload(fake, WEB, Records(tmp_path / "other"), clock=clock),
    ):
        (attempt,) = attempts
        assert attempt.lives
        assert attempt.released is None
        assert "it runs on devbox, and was heard of 180 s ago" in attempt.problem
    assert live_of(fake) == held
    await clock.advance(40)
    (attempt,) = await restore_all(fake, records, clock=clock)
    assert attempt.released is not None
    assert live_of(fake)["spec"]["template"] == deployment()["spec"]["template"]


async def test_a_session_elsewhere_that_cannot_be_asked_for_keeps_no_other(
    fake: FakeCluster, tmp_path: Path
) -> None:
    hold = await held_by(fake, tmp_path)
    end_life("s1")
    records = Records(tmp_path)
    records.save(replace(hold.record, holder=replace(hold.record.holder, boot="other")))

    class Refusing:
        def __getattr__(self, name: str) -> Any:
            return getattr(fake, name)

        async def get(self, ref: ObjectRef, **more: Any) -> Any:
            del ref, more
            raise UnreachableError("Cannot read it: no answer", transient=True)

    (attempt,) = await restore_all(cast("Cluster", Refusing()), records, clock=CLOCK)
    assert (attempt.problem, attempt.lives) == ("Cannot read it: no answer", False)
    assert records.get("s1") is not None


async def test_one_that_cannot_be_put_back_does_not_keep_the_others(
    fake: FakeCluster, tmp_path: Path
) -> None:
    fake.put(stateful_set())
    async with controlled(fake):
        await held_by(fake, tmp_path)
        await held_by(fake, tmp_path, ref_of(stateful_set()), name="s2")
        end_life("s1")
        end_life("s2")
        (tmp_path / "torn.json").write_text("{")

        class Refusing:
            def __getattr__(self, name: str) -> Any:
                return getattr(fake, name)

            async def get(self, ref: ObjectRef, **more: Any) -> Any:
                if ref == WEB:
                    raise UnreachableError("Cannot read it: no answer", transient=True)
                return await fake.get(ref, **more)

        told: list[Notice] = []
        refusing = cast("Cluster", Refusing())
        attempts = await restore_all(refusing, Records(tmp_path), clock=CLOCK, tell=told.append)
    assert [one.released is not None for one in attempts] == [False, True]
    assert attempts[0].problem == "Cannot read it: no answer"
    assert [one.session for one in Records(tmp_path).all().records] == ["s1"]
    assert any(isinstance(one, Remark) and "torn.json" in one.text for one in told)


async def test_another_machine_puts_back_by_the_copy_in_the_cluster(
    fake: FakeCluster, tmp_path: Path
) -> None:
    hold = await held_by(fake, tmp_path / "mine")
    end_life("s1")
    record = replace(hold.record, holder=replace(hold.record.holder, host="gone", boot="other"))
    ref = ObjectRef("v1", "ConfigMap", "kindling-sync-s1", "default")
    await fake.patch(ref, {"data": {"record": record.to_json()}})
    later = FakeClock(epoch=CLOCK.time() + SILENT_AFTER)
    (attempt,) = await restore_workload(fake, WEB, Records(tmp_path / "theirs"), clock=later)
    assert attempt.released is not None
    assert attempt.released.exact
    assert live_of(fake)["spec"]["template"] == deployment()["spec"]["template"]
    assert not fake.objects("ConfigMap")
    assert await restore_workload(fake, WEB, Records(tmp_path / "theirs"), clock=CLOCK) == ()


@pytest.mark.parametrize(("name", "namespace"), [("worker", "default"), ("web", "kube-system")])
async def test_a_copy_in_the_cluster_speaks_for_its_own_workload_alone(
    fake: FakeCluster, tmp_path: Path, name: str, namespace: str
) -> None:
    """Who may write a ConfigMap could have another workload written by whoever restores."""
    hold = await held_by(fake, tmp_path / "mine")
    end_life("s1")
    kept = replace(hold.record.recorded, name=name, namespace=namespace)
    holder = replace(hold.record.holder, host="gone", boot="other")
    record = replace(hold.record, recorded=kept, holder=holder)
    ref = ObjectRef("v1", "ConfigMap", "kindling-sync-s1", "default")
    await fake.patch(ref, {"data": {"record": record.to_json()}})
    with pytest.raises(UsageError, match="no record of what it was before"):
        await restore_workload(fake, WEB, Records(tmp_path / "theirs"), clock=CLOCK)


async def test_a_session_without_any_record_is_refused_with_what_to_do(
    fake: FakeCluster, tmp_path: Path
) -> None:
    thing = live_of(fake)
    thing["metadata"]["annotations"] = {SESSION_ANNOTATION: "lost"}
    fake.put(thing)
    with pytest.raises(UsageError) as caught:
        await restore_workload(fake, WEB, Records(tmp_path), clock=CLOCK)
    assert "there is no record of what it was before" in caught.value.message
    assert "kubectl rollout undo deployment/web -n default" in caught.value.hint
    fake.remove(WEB)
    assert await restore_workload(fake, WEB, Records(tmp_path), clock=CLOCK) == ()


async def test_a_deployment_that_was_paused_meanwhile_is_told_of(
    fake: FakeCluster, tmp_path: Path
) -> None:
    hold = await held_by(fake, tmp_path)
    thing = copy.deepcopy(live_of(fake))
    thing["spec"]["paused"] = True
    fake.put(thing)
    released = await hold.release()
    assert not released.exact
    assert "kubectl rollout resume deployment/web" in released.details[-1]
    assert live_of(fake)["spec"]["template"] == deployment()["spec"]["template"]


# Pods ---------------------------------------------------------------------------------------------


async def test_pods_that_were_replaced_already_are_not_made_fresh_again(tmp_path: Path) -> None:
    fake = FakeCluster()
    fake.put(deployment(replicas=2))
    async with controlled(fake):
        hold = await held_by(fake, tmp_path, patch=False)
        async with aclosing(hold.containers()) as sets:
            containers = await anext(sets)
        assert hold.complete
        gone, stays = (ObjectRef("v1", "Pod", one.pod, "default") for one in containers)
        fake.remove(gone)
        await asyncio.sleep(0)
        fake.writes.clear()
        assert (await hold.release()).exact
    assert [ref for verb, ref in fake.writes if verb == "delete" and ref.kind == "Pod"] == [stays]


def pod(name: str, *, ready: bool) -> dict[str, Any]:
    status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
    return {"metadata": {"name": name}, "status": status}


def test_a_pod_that_serves_goes_only_while_all_others_do() -> None:
    a, b, c = (pod(f"db-{n}", ready=True) for n in (0, 2, 10))
    broken = pod("db-3", ready=False)
    assert next_to_delete([a, b, c], [a, b, c], 3) == [c]
    assert next_to_delete([a, b], [a, b], 3) == []
    assert next_to_delete([a, b, broken], [a, broken], 3) == [broken]
    assert next_to_delete([a, b, c], [], 3) == []
    assert next_to_delete([a, broken], [a], 1) == [a]


async def test_pods_that_do_not_come_back_keep_the_others_serving(tmp_path: Path) -> None:
    """Whatever keeps new pods from coming must not take the last old ones away."""
    fake = FakeCluster()
    fake.put(deployment(replicas=3))
    clock = FakeClock()
    async with controlled(fake) as controller:
        hold = await held_by(fake, tmp_path, patch=False)
        hold.clock = clock
        async with aclosing(hold.containers()) as sets:
            async for _ in sets:
                if hold.complete:
                    break
        controller.breaks = lambda template: "ImagePullBackOff" if template else ""
        task = asyncio.create_task(hold.release())
        await clock.settle(500)
        await clock.advance(121)
        released = await task
    assert not released.exact
    assert "not all of its pods could be made fresh" in released.text
    assert len([line for line in released.details if "still has what was synced" in line]) == 2
    serving = [p for p in fake.objects("Pod") if p["status"]["conditions"]]
    assert len(serving) == 2


@pytest.mark.parametrize("on_delete", [False, True], ids=["files alone", "patched, on delete"])
async def test_pods_that_could_not_be_made_fresh_are_so_by_a_later_restore(
    tmp_path: Path, on_delete: bool
) -> None:
    """Row 68: what a session left in a pod is gone once its workload can be without that pod, and
    its record until then says in which; the template is its owner's again from the first end on."""
    fake = FakeCluster()
    there = stateful_set(replicas=2) if on_delete else deployment(replicas=2)
    if on_delete:
        there["spec"]["updateStrategy"] = {"type": "OnDelete"}
    fake.put(there)
    clock, records, ref = FakeClock(), Records(tmp_path), ref_of(there)
    async with controlled(fake) as controller:
        hold = await held_by(fake, tmp_path, ref, patch=on_delete)
        async with aclosing(hold.containers()) as sets:
            async for _ in sets:
                if hold.complete:
                    break
        old = {pod["metadata"]["uid"] for pod in fake.objects("Pod")}
        assert len(old) == 2
        fine = controller.breaks
        controller.breaks = lambda template: "ImagePullBackOff" if template else ""
        hold.clock = clock
        task = asyncio.create_task(hold.release())
        await clock.settle(500)
        await clock.advance(121)
        assert not (await task).exact
        (kept,) = records.all().records
        assert set(kept.touched) & old
        assert not kept.patched
        theirs = {"theirs": "1"} if on_delete else {}
        # A change of a Deployment would replace its pods by itself.
        if on_delete:
            change = {"spec": {"template": {"metadata": {"labels": theirs}}}}
            await fake.patch(ref, change, manager="they")
        controller.breaks = fine
        for pod in fake.objects("Pod"):
            if not pod["status"].get("conditions"):
                await fake.delete(ObjectRef("v1", "Pod", pod["metadata"]["name"], "default"))
        (attempt,) = await restore_all(fake, records, clock=CLOCK)
        assert attempt.released is not None
        assert attempt.released.exact
        assert not old & {pod["metadata"]["uid"] for pod in fake.objects("Pod")}
    (live,) = fake.objects(ref.kind)
    assert live["spec"]["template"]["metadata"]["labels"].items() >= theirs.items()
    assert records.all().records == ()
    assert await restore_all(fake, records, clock=CLOCK) == ()


async def test_a_broken_pod_of_a_stateful_set_does_not_block_the_way_back(tmp_path: Path) -> None:
    """Kubernetes waits for it to be ready before it replaces any, for ever."""
    fake = FakeCluster()
    fake.put(stateful_set(replicas=1))
    async with controlled(fake):
        hold = await held_by(fake, tmp_path, ref_of(stateful_set()))
        async with aclosing(hold.containers()) as sets:
            async for _ in sets:
                if hold.complete:
                    break
        (old,) = fake.objects("Pod")
        # Played here alone: the controller does not replace it by itself.
        stuck = copy.deepcopy(dict(old))
        stuck["status"]["conditions"] = []
        fake.put(stuck)
        record: Record = hold.record
        fake.writes.clear()
        left = await replace_pods(
            fake,
            record.ref,
            lambda one: one["metadata"]["uid"] == old["metadata"]["uid"],
            clock=CLOCK,
            serving=False,
        )
        assert left == ()
        assert ("delete", ObjectRef("v1", "Pod", "db-0", "default")) in fake.writes
        await hold.release()


async def test_a_config_map_that_may_not_be_deleted_keeps_nothing_else_from_being_put_back(
    fake: FakeCluster, tmp_path: Path
) -> None:
    before = copy.deepcopy(live_of(fake)["spec"]["template"])
    await held_by(fake, tmp_path)
    end_life("s1")

    class Refusing:
        def __getattr__(self, name: str) -> Any:
            return getattr(fake, name)

        async def delete(self, ref: ObjectRef, **more: Any) -> Any:
            del more
            raise ForbiddenError(f"Cannot delete {ref}: it is forbidden", details=["RBAC says so"])

    told: list[Notice] = []
    (attempt,) = await restore_all(
        cast("Cluster", Refusing()), Records(tmp_path), clock=CLOCK, tell=told.append
    )
    assert attempt.released is not None
    assert attempt.released.exact
    assert live_of(fake)["spec"]["template"] == before
    assert not Records(tmp_path).all().records
    (said,) = (one for one in told if isinstance(one, Remark))
    assert said.warning
    assert "it stays" in said.text
    assert said.details == ("RBAC says so",)


async def test_what_somebody_left_who_may_not_read_the_uid_of_the_cluster_is_put_back_by_others(
    fake: FakeCluster, tmp_path: Path
) -> None:
    """Their record has the address of the server in the place of its uid."""
    hold = await held_by(fake, tmp_path)
    end_life("s1")
    facts = await fake.facts()
    records = Records(tmp_path)
    records.save(replace(hold.record, cluster="server https://elsewhere:6443"))
    (other,) = await restore_all(fake, records, clock=CLOCK)
    assert other.released is None
    assert "another cluster" in other.problem
    records.save(replace(hold.record, cluster=f"server {facts.server}"))
    (ours,) = await restore_all(fake, records, clock=CLOCK)
    assert ours.released is not None
    assert ours.released.exact
    assert not records.all().records
