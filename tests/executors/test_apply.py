"""What `apply`, `secret` and `cluster` decide, on a cluster in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kindling.errors import ClusterError, ExecutionError
from kindling.executors.apply import ApplyExecutor
from kindling.executors.cluster import ClusterExecutor
from kindling.executors.protocol import Failed, Job, ReadinessReport, Succeeded
from kindling.executors.secret import SecretExecutor
from kindling.graph.node import Kind
from kindling.graph.outcome import FailureKind, Output
from kindling.graph.spec import (
    ApplySpec,
    ClusterSpec,
    ImageInjection,
    ObjectRef,
    SecretSpec,
)
from kindling.kube.errors import InvalidError
from kindling.kube.protocol import RegistryHosting
from kindling.objects.identity import object_spec
from kindling.objects.inject import OWNER_LABEL
from kindling.testing.clock import FakeClock
from kindling.testing.cluster import FakeCluster
from kindling.testing.jobs import JobWorld


@pytest.fixture
def fake() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def world(tmp_path: Path, fake: FakeCluster) -> JobWorld:
    return JobWorld(tmp_path, api=fake, project="mine")


def config(name: str = "settings", **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def ref(name: str = "settings", kind: str = "ConfigMap") -> ObjectRef:
    return ObjectRef("v1", kind, name, "default")


def deployment(image: str = "api") -> dict[str, Any]:
    labels = {"app": "api"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "api", "image": image}]},
            },
        },
    }


def apply_job(world: JobWorld, *manifests: dict[str, Any], **more: Any) -> Job:
    inputs = more.pop("inputs", None)
    spec = ApplySpec(tuple(object_spec(m, "default") for m in manifests), **more)
    return world.job(Kind.APPLY, spec, inputs=inputs)


async def applied(world: JobWorld, *manifests: dict[str, Any], **more: Any) -> Output:
    outcome = await ApplyExecutor().run(apply_job(world, *manifests, **more))
    assert isinstance(outcome, Succeeded), outcome
    return outcome.output


async def refused(world: JobWorld, *manifests: dict[str, Any]) -> str:
    outcome = await ApplyExecutor().run(apply_job(world, *manifests))
    assert isinstance(outcome, Failed)
    assert outcome.failure.kind is FailureKind.REFUSED
    return "\n".join((outcome.failure.summary, *outcome.failure.details, outcome.failure.hint))


async def test_objects_are_written_in_install_order_and_carry_their_owner(
    world: JobWorld, fake: FakeCluster
) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "away"}}
    inside = {**config("b"), "metadata": {"name": "b", "namespace": "away"}}
    await applied(world, deployment(), inside, space)
    assert [written.kind for _, written in fake.writes] == ["Namespace", "ConfigMap", "Deployment"]
    live = await fake.get(ObjectRef("apps/v1", "Deployment", "api", "default"))
    assert live["metadata"]["labels"][OWNER_LABEL] == "mine"


async def test_the_output_changes_with_content_and_not_with_another_run(world: JobWorld) -> None:
    first = await applied(world, config(a="1"))
    assert (await applied(world, config(a="1"))).digest == first.digest
    assert (await applied(world, config(a="2"))).digest != first.digest


async def test_references_are_injected_and_a_roll_marks_the_template(
    world: JobWorld, fake: FakeCluster
) -> None:
    images = (ImageInjection("api", "push:api"),)
    pushed = Output("d", {"reference": "localhost:5000/api:dev", "roll": "sha256:abc"})
    await applied(world, deployment(), images=images, inputs={"push:api": pushed})
    live = await fake.get(ObjectRef("apps/v1", "Deployment", "api", "default"))
    template = live["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "localhost:5000/api:dev"
    assert template["metadata"]["annotations"] == {"kindling.dev/image-digest.0": "sha256:abc"}


async def test_an_image_without_reference_stops_before_anything_is_written(
    world: JobWorld, fake: FakeCluster
) -> None:
    with pytest.raises(ExecutionError, match="push:api"):
        await applied(world, deployment(), images=(ImageInjection("api", "push:api"),))
    assert fake.writes == []


async def test_an_unowned_object_is_taken_over_when_nobody_disagrees(
    world: JobWorld, fake: FakeCluster
) -> None:
    fake.put(config(theirs="1", same="1"), manager="kubectl")
    await applied(world, config(same="1", ours="1"))
    live = await fake.get(ref())
    assert live["data"] == {"theirs": "1", "same": "1", "ours": "1"}
    assert live["metadata"]["labels"] == {OWNER_LABEL: "mine"}


async def test_an_unowned_object_that_disagrees_is_refused_with_what_to_do(
    world: JobWorld, fake: FakeCluster
) -> None:
    fake.put(config(a="theirs"), manager="kubectl")
    text = await refused(world, config(a="ours"))
    assert "ConfigMap/settings" in text
    assert "`kubectl` owns [data.a]" in text
    assert f"{OWNER_LABEL}: mine" in text
    assert (await fake.get(ref()))["data"] == {"a": "theirs"}


async def test_another_projects_object_is_refused_even_without_conflict(
    world: JobWorld, fake: FakeCluster
) -> None:
    await applied(world, config(a="1"))
    world.project = "other"
    fake.writes.clear()
    assert "belongs to the project `mine`" in await refused(world, config(a="1"))
    assert fake.writes == []


async def test_what_people_changed_on_our_object_is_put_back_and_said(
    world: JobWorld, fake: FakeCluster
) -> None:
    await applied(world, config(a="1"))
    live = await fake.get(ref())
    fake.put({**live, "data": {"a": "2"}}, manager="kubectl-edit")
    await applied(world, config(a="1"))
    assert (await fake.get(ref()))["data"] == {"a": "1"}
    assert "put back [data.a], which `kubectl-edit` had changed" in world.lines.text


async def test_what_a_sync_session_has_for_its_time_is_no_drift_to_complain_of(
    world: JobWorld, fake: FakeCluster
) -> None:
    """The session takes it again after the apply."""
    await applied(world, config(a="1"))
    live = await fake.get(ref())
    fake.put({**live, "data": {"a": "2"}}, manager="kindling-sync")
    await applied(world, config(a="1"))
    assert (await fake.get(ref()))["data"] == {"a": "1"}
    assert "had changed" not in world.lines.text


async def test_a_controller_that_goes_on_writing_is_not_fought(
    world: JobWorld, fake: FakeCluster
) -> None:
    await applied(world, config(a="1"))
    live = await fake.get(ref())
    fake.put({**live, "data": {"a": "2"}}, manager="kube-controller-manager")
    assert "Remove these fields from the manifest" in await refused(world, config(a="1"))


async def test_an_immutable_field_is_recreated_only_with_consent(
    world: JobWorld, fake: FakeCluster
) -> None:
    before = await applied(world, deployment())
    changed = deployment()
    changed["spec"]["selector"] = {"matchLabels": {"app": "two"}}
    changed["spec"]["template"]["metadata"]["labels"] = {"app": "two"}
    with pytest.raises(InvalidError) as caught:
        await applied(world, changed)
    assert "recreate=True" in caught.value.hint
    fake.writes.clear()
    after = await applied(world, changed, recreate=True)
    assert [verb for verb, _ in fake.writes] == ["delete", "apply"]
    assert before.data["objects"][0]["uid"] != after.data["objects"][0]["uid"]


async def test_an_object_that_is_being_deleted_is_waited_for(
    world: JobWorld, fake: FakeCluster
) -> None:
    held = config(a="1")
    held["metadata"]["finalizers"] = ["test/held"]
    await applied(world, held)
    await fake.delete(ref())
    async with asyncio.TaskGroup() as group:
        again = group.create_task(applied(world, config(a="1")))
        await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not again.done()
        fake.remove(ref())
    assert "is being deleted" in world.lines.text
    assert (await fake.get(ref()))["data"] == {"a": "1"}


async def test_one_refusal_does_not_hide_the_others(world: JobWorld, fake: FakeCluster) -> None:
    for name in ("a", "b"):
        fake.put(config(name, key="theirs"), manager="kubectl")
    text = await refused(world, config("a", key="1"), config("b", key="1"), config("c"))
    assert "ConfigMap/a" in text
    assert "also: ConfigMap/b" in text


async def test_drift_is_named_by_its_first_field(world: JobWorld, fake: FakeCluster) -> None:
    job = apply_job(world, config(a="1"), config("other"))
    outcome = await ApplyExecutor().run(job)
    assert isinstance(outcome, Succeeded)
    assert (await ApplyExecutor().observe(job, outcome.output)).same
    await fake.patch(ref(), {"data": {"a": "2", "b": "new"}})
    fake.remove(ref("other"))
    seen = await ApplyExecutor().observe(job, outcome.output)
    assert seen.difference == (
        "drift: ConfigMap/settings in default has another data.a (and 1 more)"
    )


async def test_a_plan_writes_nothing(world: JobWorld, fake: FakeCluster) -> None:
    before = await applied(world, config("kept", a="1"), config("dropped"))
    fake.writes.clear()
    job = apply_job(world, config("kept", a="2"), config("new"), recreate=True)
    lines = await ApplyExecutor().diff(replace(job, previous=before))
    assert lines == (
        "change ConfigMap/kept in default: data.a",
        "create ConfigMap/new in default",
        "delete ConfigMap/dropped in default",
    )
    assert fake.writes == []


async def test_undo_goes_backwards_and_names_what_it_keeps(
    world: JobWorld, fake: FakeCluster
) -> None:
    keep = config("marked")
    keep["metadata"]["annotations"] = {"kindling.dev/down-policy": "keep"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "away"}}
    job = apply_job(world, space, keep, config("plain"), deployment())
    outcome = await ApplyExecutor().run(job)
    assert isinstance(outcome, Succeeded)
    fake.put(config("stranger"))
    recorded = Output(
        "", {"objects": [*outcome.output.data["objects"], {**_entry("stranger"), "uid": "x"}]}
    )
    fake.writes.clear()
    kept = await ApplyExecutor().undo(job, recorded)
    assert [w.kind for verb, w in fake.writes if verb == "delete"] == ["Deployment", "ConfigMap"]
    assert sorted(kept) == [
        "ConfigMap/marked in default was kept: its annotation `kindling.dev/down-policy: keep` "
        "says so",
        "ConfigMap/stranger in default was kept: it carries no project's label",
        "Namespace/away was kept: namespaces are never deleted",
    ]
    space_live = await fake.get(ObjectRef("v1", "Namespace", "away"))
    assert OWNER_LABEL not in space_live["metadata"].get("labels", {})


def _entry(name: str) -> dict[str, str]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "namespace": "default"}


async def test_an_api_server_that_goes_away_is_a_failure_worth_another_try(
    world: JobWorld, fake: FakeCluster
) -> None:
    fake.go_away()
    with pytest.raises(ClusterError) as caught:
        await applied(world, config())
    assert caught.value.transient


# Secrets and clusters -----------------------------------------------------------------------------


async def test_a_secret_is_created_once_and_never_written_again(
    world: JobWorld, fake: FakeCluster
) -> None:
    spec = SecretSpec("creds", "new-place", (("TOKEN", "hunter22"),))
    job = world.job(Kind.SECRET, spec)
    first = await SecretExecutor().run(job)
    assert isinstance(first, Succeeded)
    secret = ObjectRef("v1", "Secret", "creds", "new-place")
    await fake.patch(secret, {"data": {"TOKEN": "cmVhbA=="}})
    fake.writes.clear()
    second = await SecretExecutor().run(job)
    assert isinstance(second, Succeeded)
    assert second.output == first.output
    assert (await SecretExecutor().observe(job, first.output)).same
    assert len(await SecretExecutor().undo(job, first.output)) == 1
    assert fake.writes == []
    assert "hunter22" not in f"{first!r} {job!r} {world.lines.text}"


async def test_a_secret_that_is_gone_is_due_again(world: JobWorld, fake: FakeCluster) -> None:
    job = world.job(Kind.SECRET, SecretSpec("creds", "default"))
    first = await SecretExecutor().run(job)
    assert isinstance(first, Succeeded)
    fake.remove(ref("creds", "Secret"))
    seen = await SecretExecutor().observe(job, first.output)
    assert (seen.same, seen.difference) == (False, "Secret/creds in default is gone")


def cluster_job(world: JobWorld) -> Job:
    return world.job(Kind.CLUSTER, ClusterSpec("context", "kind-fake"))


async def test_the_cluster_says_who_it_is_and_what_registry_it_has(tmp_path: Path) -> None:
    fake = FakeCluster(registry=RegistryHosting("localhost:5000", "registry:5000"))
    outcome = await ClusterExecutor().run(cluster_job(JobWorld(tmp_path, api=fake)))
    assert isinstance(outcome, Succeeded)
    assert outcome.output.digest == fake.uid
    assert outcome.output.data["registry"] == {
        "host": "localhost:5000",
        "host_from_cluster": "registry:5000",
    }


async def test_a_cluster_made_anew_under_the_old_name_is_another(
    world: JobWorld, fake: FakeCluster
) -> None:
    job = cluster_job(world)
    outcome = await ClusterExecutor().run(job)
    assert isinstance(outcome, Succeeded)
    assert (await ClusterExecutor().observe(job, outcome.output)).same
    fake.uid = "another"
    seen = await ClusterExecutor().observe(job, outcome.output)
    assert (seen.same, "another cluster" in seen.difference) == (False, True)


async def test_reachability_is_followed(world: JobWorld, fake: FakeCluster) -> None:
    """One silence is a hiccup; two are an outage, told once; an answer ends it."""
    clock = world.clock
    assert isinstance(clock, FakeClock)
    outcome = await ClusterExecutor().run(cluster_job(world))
    assert outcome.live is not None
    reports: list[ReadinessReport] = []
    following = asyncio.create_task(outcome.live.follow(reports.append))
    fake.go_away()
    await clock.advance(5.5)
    assert reports == []
    await clock.advance(20)
    assert [report.ready for report in reports] == [False]
    fake.come_back()
    await clock.advance(20)
    assert [report.ready for report in reports] == [False, True]
    following.cancel()
    await asyncio.wait([following])


async def test_an_embedded_cluster_that_is_away_says_what_brings_it_back(tmp_path: Path) -> None:
    """Nobody else would start it again, and its address says nothing to its user."""
    fake = FakeCluster(product="kindling")
    world = JobWorld(tmp_path, api=fake)
    clock = world.clock
    assert isinstance(clock, FakeClock)
    outcome = await ClusterExecutor().run(cluster_job(world))
    assert outcome.live is not None
    reports: list[ReadinessReport] = []
    following = asyncio.create_task(outcome.live.follow(reports.append))
    fake.go_away()
    await clock.advance(20)
    (failure,) = [report.failure for report in reports]
    assert failure is not None
    assert "`kindling cluster start`" in failure.summary
    fake.come_back()
    await clock.advance(5.5)
    assert reports[-1].ready, "it is asked every five seconds at least"
    following.cancel()
    await asyncio.wait([following])
