"""A session's containers as pods come and go, and what is told of those that do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Cluster
from kindling.sync.notices import Notice, Remark
from kindling.sync.protocol import Container
from kindling.sync.template.patch import AGENT_PATH
from kindling.sync.workload.agents import RENEWED_ANNOTATION, session_config_map
from kindling.sync.workload.hold import RENEW_EVERY, Hold, WorkloadGoneError
from kindling.sync.workload.records import Records
from kindling.sync.workload.renewing import renew
from kindling.sync.workload.restoring import restore_all
from kindling.sync.workload.taking import take
from kindling.testing.clock import FakeClock
from kindling.testing.cluster import FakeCluster
from tests.sync.workload.playing import (
    Controller,
    agents,
    controlled,
    deployment,
    ref_of,
    session,
    stateful_set,
)

WEB = ObjectRef("apps/v1", "Deployment", "web", "default")
LIMIT = 60.0


@dataclass
class Room:
    """A cluster with controllers, and one session on its workload."""

    cluster: FakeCluster
    controller: Controller
    records: Records
    clock: FakeClock
    told: list[Notice]
    hold: Hold

    @property
    def remarks(self) -> list[str]:
        return [one.text for one in self.told if isinstance(one, Remark)]

    def template(self) -> dict[str, Any]:
        (live,) = self.cluster.objects(self.hold.ref.kind)
        template: dict[str, Any] = live["spec"]["template"]
        return template


@asynccontextmanager
async def room(folder: Path, manifest: dict[str, Any], *, patch: bool) -> AsyncIterator[Room]:
    cluster = FakeCluster()
    cluster.put(manifest)
    async with controlled(cluster) as controller:
        clock, told, records = FakeClock(), list[Notice](), Records(folder)
        hold = await take(
            cluster,
            ref_of(manifest),
            session(),
            records,
            patch=patch,
            agents=agents,
            clock=clock,
            tell=told.append,
        )
        yield Room(cluster, controller, records, clock, told, hold)
        await hold.release()


Sets = AsyncGenerator[tuple[Container, ...], None]


async def until_complete(hold: Hold, sets: Sets) -> tuple[Container, ...]:
    async with asyncio.timeout(LIMIT):
        async for containers in sets:
            if hold.complete:
                return containers
    raise AssertionError("the sets never end")


async def test_a_lost_connection_is_told_once_and_so_is_its_return(tmp_path: Path) -> None:
    async with (
        room(tmp_path, deployment(replicas=1), patch=False) as here,
        aclosing(here.hold.containers()) as sets,
    ):
        await until_complete(here.hold, sets)
        here.told.clear()
        returns: list[bool] = []
        here.hold.back = lambda: returns.append(here.hold.cut_off)
        task = asyncio.ensure_future(anext(sets))
        for round_ in (1, 2):
            here.cluster.go_away()
            for _ in range(4):
                await here.clock.advance(10)
            assert here.hold.cut_off
            assert not returns[round_ - 1 :]
            here.cluster.come_back()
            for _ in range(2):
                await here.clock.advance(10)
            assert returns == [False] * round_
        said = [one.text for one in here.told if isinstance(one, Remark)]
        assert said == 2 * [
            "The connection to the cluster is lost; what is saved goes over when it is back",
            "The connection to the cluster is back",
        ]
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("patch", [True, False], ids=["patched", "files"])
async def test_a_pod_that_is_replaced_is_another_container(tmp_path: Path, patch: bool) -> None:
    async with (
        room(tmp_path, deployment(replicas=2), patch=patch) as here,
        aclosing(here.hold.containers()) as sets,
    ):
        first = await until_complete(here.hold, sets)
        assert len(first) == 2
        assert {one.mounted for one in first} == {patch}
        assert {one.supervised for one in first} == {patch}
        here.cluster.remove(ObjectRef("v1", "Pod", first[0].pod, "default"))
        containers: tuple[Container, ...] = first
        async with asyncio.timeout(LIMIT):
            while len(containers) != 2 or containers == first:
                containers = await anext(sets)
        assert first[1] in containers
        assert first[0] not in containers
        record = here.records.get("s1")
        assert record is not None
        # Written down before anyone could put files into them.
        touched = {one.pod_uid for one in (*first, *containers)}
        assert set(record.touched) == (set() if patch else touched)


async def test_a_restarted_container_is_another_one_and_a_pod_on_its_way_out_is_none(
    tmp_path: Path,
) -> None:
    async with (
        room(tmp_path, deployment(replicas=1), patch=True) as here,
        aclosing(here.hold.containers()) as sets,
    ):
        (first,) = await until_complete(here.hold, sets)
        ref = ObjectRef("v1", "Pod", first.pod, "default")
        pod = await here.cluster.get(ref)
        statuses = [{**pod["status"]["containerStatuses"][0], "containerID": "fake://again"}]
        here.cluster.set_status(ref, {**pod["status"], "containerStatuses": statuses})
        async with asyncio.timeout(LIMIT):
            (again,) = await anext(sets)
        assert (again.pod_uid, again.id) == (first.pod_uid, "fake://again")
        statuses = [{**statuses[0], "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
        here.cluster.set_status(ref, {**pod["status"], "containerStatuses": statuses})
        async with asyncio.timeout(LIMIT):
            assert await anext(sets) == ()
        assert here.hold.waiting


async def test_pods_that_do_not_come_are_told_once_each_with_their_reason(tmp_path: Path) -> None:
    async with room(tmp_path, deployment(replicas=2), patch=True) as here:
        here.controller.breaks = lambda template: (
            "ImagePullBackOff" if "broken" in str(template) else ""
        )
        changed = dict(await here.cluster.get(WEB))
        template = here.template()
        container = {**template["spec"]["containers"][0], "image": "broken"}
        spec = {**template["spec"], "containers": [container]}
        changed["spec"] = {**changed["spec"], "template": {**template, "spec": spec}}
        here.cluster.put(changed)
        async with aclosing(here.hold.containers()) as sets, asyncio.timeout(LIMIT):
            async for containers in sets:
                assert not containers
                if len(here.hold.waiting) == 2:
                    break
        assert all("ImagePullBackOff" in line for line in here.hold.waiting)
        assert all(trouble.hopeless for trouble in here.hold.troubles)
        assert len([line for line in here.remarks if "ImagePullBackOff" in line]) == 2


async def test_no_replicas_are_complete_with_none(tmp_path: Path) -> None:
    async with (
        room(tmp_path, deployment(replicas=0), patch=True) as here,
        aclosing(here.hold.containers()) as sets,
    ):
        assert await until_complete(here.hold, sets) == ()


async def test_a_stateful_set_that_updates_on_delete_has_one_pod_less_at_most(
    tmp_path: Path,
) -> None:
    manifest = stateful_set(replicas=3, updateStrategy={"type": "OnDelete"})
    async with (
        room(tmp_path, manifest, patch=True) as here,
        aclosing(here.hold.containers()) as sets,
    ):
        containers = await until_complete(here.hold, sets)
        assert [one.pod for one in containers] == ["db-0", "db-1", "db-2"]
        deleted = [ref.name for verb, ref in here.cluster.writes if verb == "delete"]
        assert deleted == ["db-2", "db-1", "db-0"]


@pytest.mark.parametrize("patch", [True, False], ids=["patched", "files"])
async def test_what_someone_rolls_out_is_taken_again_and_comes_back_in_the_end(
    tmp_path: Path, patch: bool
) -> None:
    theirs = deployment(replicas=2)
    theirs["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "NEW", "value": "1"}]
    async with room(tmp_path, deployment(replicas=2), patch=patch) as here:
        async with aclosing(here.hold.containers()) as sets:
            first = await until_complete(here.hold, sets)
            here.cluster.put(theirs)
            containers = first
            async with asyncio.timeout(LIMIT):
                while here.hold.lost or not here.hold.complete or containers == first:
                    containers = await anext(sets)
        assert not {one.pod_uid for one in first} & {one.pod_uid for one in containers}
        assert any("rolled deployment/web out anew" in line for line in here.remarks)
        assert here.hold.record.recorded.before == theirs["spec"]["template"]
        assert here.records.get("s1") == here.hold.record
        command = here.template()["spec"]["containers"][0]["command"]
        assert (command[0] == AGENT_PATH) is patch
        assert (await here.hold.release()).exact
        assert here.template() == theirs["spec"]["template"]


async def test_the_command_alone_that_an_apply_takes_back_counts_as_lost(tmp_path: Path) -> None:
    """The annotation and the volumes stay, and yet nothing supervises any more."""
    async with room(tmp_path, deployment(replicas=1), patch=True) as here:
        async with aclosing(here.hold.containers()) as sets:
            await until_complete(here.hold, sets)
            changed = dict(await here.cluster.get(WEB))
            template = here.template()
            container = {**template["spec"]["containers"][0], "command": ["sh"], "args": ["y"]}
            spec = {**template["spec"], "containers": [container]}
            changed["spec"] = {**changed["spec"], "template": {**template, "spec": spec}}
            here.cluster.put(changed)
            async with asyncio.timeout(LIMIT):
                async for _ in sets:
                    if here.hold.record.recorded.session.argv == ("sh", "y"):
                        break
        assert await here.hold.release()
        container = here.template()["spec"]["containers"][0]
        assert (container["command"], container["args"]) == (["sh"], ["y"])
        assert set(here.template()["spec"]) == {"containers"}


async def test_somebody_who_rolls_it_out_again_and_again_gets_their_way(tmp_path: Path) -> None:
    """Such as a GitOps controller: two that never give in would roll out for ever."""
    async with room(tmp_path, deployment(replicas=1), patch=True) as here:
        fights = 0

        async def fight() -> None:
            nonlocal fights
            async with aclosing(here.cluster.watch("apps/v1", "Deployment")) as events:
                async for _ in events:
                    if AGENT_PATH in str(here.template()):
                        fights += 1
                        here.cluster.put(deployment(replicas=1))

        gave_in = asyncio.Event()

        def tell(notice: Notice) -> None:
            if "again and again" in str(notice):
                gave_in.set()

        async def follow() -> None:
            async with aclosing(here.hold.containers()) as sets:
                async for _ in sets:
                    pass

        here.hold.tell = tell
        tasks = [asyncio.create_task(fight()), asyncio.create_task(follow())]
        try:
            async with asyncio.timeout(LIMIT):
                await gave_in.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert 3 <= fights <= 10
        assert here.hold.lost


async def test_a_renewal_that_dies_is_put_back_to_what_was_rolled_out(tmp_path: Path) -> None:
    theirs = deployment(replicas=1)
    theirs["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
    async with room(tmp_path, deployment(replicas=1), patch=True) as here:
        here.cluster.put(theirs)
        assert await renew(here.hold)
        assert not await renew(here.hold)
        assert here.template()["spec"]["containers"][0]["image"] == "web:2"
        (attempt,) = await restore_all(here.cluster, here.records, clock=here.clock, living=True)
        assert attempt.released is not None
        assert attempt.released.exact
        assert here.template() == theirs["spec"]["template"]


async def test_a_session_gives_a_sign_of_life_each_minute_and_writes_nothing_else(
    tmp_path: Path,
) -> None:
    async with (
        room(tmp_path, deployment(replicas=1), patch=True) as here,
        aclosing(here.hold.containers()) as sets,
    ):
        await until_complete(here.hold, sets)
        here.cluster.writes.clear()
        ref = session_config_map("s1", "default")
        before = (await here.cluster.get(ref))["metadata"]["annotations"][RENEWED_ANNOTATION]
        task = asyncio.ensure_future(anext(sets))
        for _ in range(3):
            await here.clock.advance(RENEW_EVERY + 1)
        assert [(verb, r.name) for verb, r in here.cluster.writes] == [("patch", ref.name)] * 3
        after = (await here.cluster.get(ref))["metadata"]["annotations"][RENEWED_ANNOTATION]
        assert after > before
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_workload_that_goes_is_told_and_one_made_anew_is_taken(tmp_path: Path) -> None:
    async with room(tmp_path, deployment(replicas=1), patch=True) as here:
        async with aclosing(here.hold.containers()) as sets:
            first = await until_complete(here.hold, sets)
            here.cluster.remove(WEB)
            async with asyncio.timeout(LIMIT):
                while await anext(sets):
                    pass
            assert here.hold.lost
            assert "deployment/web is gone" in here.remarks
            uid = here.cluster.put(deployment(replicas=1))["metadata"]["uid"]
            second = await until_complete(here.hold, sets)
        assert second[0].mounted
        assert second != first
        assert here.hold.record.recorded.uid == uid
        (config,) = here.cluster.objects("ConfigMap")
        assert config["metadata"]["ownerReferences"][0]["uid"] == uid


async def test_a_workload_that_stays_away_ends_the_session_and_leaves_no_record(
    tmp_path: Path,
) -> None:
    async with room(tmp_path, deployment(replicas=1), patch=True) as here:
        here.hold.gone_after = 5.0
        async with aclosing(here.hold.containers()) as sets:
            await until_complete(here.hold, sets)
            here.cluster.remove(WEB)
            async with asyncio.timeout(LIMIT):
                while await anext(sets):
                    pass
            coming = asyncio.ensure_future(anext(sets))
            await here.clock.advance(4.0)
            assert not coming.done()
            await here.clock.advance(1.5)
            with pytest.raises(WorkloadGoneError, match="deployment/web is gone"):
                await asyncio.wait_for(coming, LIMIT)
        assert "nothing to put back" in (await here.hold.release()).text
        assert here.records.all().records == ()
        assert not here.cluster.objects("ConfigMap")


async def test_a_workload_that_is_replaced_in_time_keeps_its_session(tmp_path: Path) -> None:
    async with room(tmp_path, deployment(replicas=1), patch=True) as here:
        here.hold.gone_after = 5.0
        async with aclosing(here.hold.containers()) as sets:
            await until_complete(here.hold, sets)
            for _ in range(2):
                here.cluster.remove(WEB)
                async with asyncio.timeout(LIMIT):
                    while await anext(sets):
                        pass
                await here.clock.advance(4.0)
                here.cluster.put(deployment(replicas=1))
                await until_complete(here.hold, sets)


async def test_what_a_webhook_makes_of_the_patch_is_no_roll_out_of_others(tmp_path: Path) -> None:
    fake = FakeCluster()
    fake.put(deployment(replicas=1))

    class Hooked:
        def __getattr__(self, name: str) -> Any:
            return getattr(fake, name)

        async def patch(self, ref: ObjectRef, *args: Any, **more: Any) -> Any:
            answer = await fake.patch(ref, *args, **more)
            if ref != WEB or AGENT_PATH not in str(answer["spec"]):
                return answer
            spec = answer["spec"]["template"]["spec"]
            spec["volumes"][0]["configMap"]["defaultMode"] = 0o755
            return fake.put(answer)

    told: list[Notice] = []
    async with controlled(fake):
        hold = await take(
            cast("Cluster", Hooked()),
            WEB,
            session(),
            Records(tmp_path),
            patch=True,
            agents=agents,
            clock=FakeClock(),
            tell=told.append,
        )
        async with aclosing(hold.containers()) as sets:
            (container,) = await until_complete(hold, sets)
        assert container.mounted
        assert not await renew(hold)
        assert told == []
        assert Records(tmp_path).get("s1") == hold.record
        (config,) = fake.objects("ConfigMap")
        assert config["data"]["record"] == hold.record.to_json()
        assert (await hold.release()).exact
        (live,) = fake.objects("Deployment")
        assert live["spec"]["template"] == deployment()["spec"]["template"]
