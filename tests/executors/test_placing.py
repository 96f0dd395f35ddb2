"""What is made in a cluster before objects can be written there, and what is said where it may not
be made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kindling.errors import ClusterError
from kindling.executors.apply import ApplyExecutor
from kindling.executors.protocol import Job, Succeeded
from kindling.graph.node import Kind
from kindling.graph.spec import ApplySpec, ObjectRef
from kindling.kube.errors import ForbiddenError, UnknownKindError
from kindling.kube.protocol import Object
from kindling.objects.identity import object_spec
from kindling.objects.inject import OWNER_LABEL
from kindling.testing.cluster import FakeCluster
from kindling.testing.jobs import JobWorld
from tests.executors.environments import Stage, manifest

NAMESPACE = ObjectRef("v1", "Namespace", "team")
POOL: dict[str, Any] = {
    "apiVersion": "apps.example.com/v1alpha1",
    "kind": "GithubActionRunnerPool",
    "metadata": {"name": "jeff", "namespace": "default"},
    "spec": {
        "githubUsername": "jeff",
        "repository": "jeff/orders",
        "tokenSecretRef": {"name": "token"},
    },
}


class Closed(FakeCluster):
    """A cluster where we may not create namespaces."""

    async def create(self, manifest: Object, **more: Any) -> Object:
        if manifest["kind"] == "Namespace":
            raise ForbiddenError("Cannot create Namespace/team: forbidden")
        return await super().create(manifest, **more)


def apply_job(world: JobWorld, *manifests: dict[str, Any], namespace: str = "default") -> Job:
    return world.job(Kind.APPLY, ApplySpec(tuple(object_spec(m, namespace) for m in manifests)))


def config(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {}}


async def test_a_missing_namespace_is_made_once_and_stays_when_the_objects_go(
    tmp_path: Path,
) -> None:
    fake = FakeCluster()
    world = JobWorld(tmp_path, api=fake, project="mine")
    job = apply_job(world, *(config(name) for name in "abc"), namespace="team")
    outcome = await ApplyExecutor().run(job)
    assert isinstance(outcome, Succeeded)
    assert len(fake.objects("ConfigMap")) == 3
    live = await fake.get(NAMESPACE)
    assert live["metadata"]["labels"][OWNER_LABEL] == "mine"
    assert world.lines.text.count("Namespace/team: created, since it was missing") == 1

    assert await ApplyExecutor().undo(job, outcome.output) == ()
    assert fake.objects("ConfigMap") == ()
    await fake.get(NAMESPACE)


async def test_an_environment_gets_its_namespace_the_same_way(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    wanted = manifest()
    wanted["metadata"]["namespace"] = "team"
    await stage.output(stage.job(wanted))
    await stage.fake.get(NAMESPACE)
    assert "Namespace/team: created" in stage.world.lines.text
    await stage.away()


async def test_a_namespace_that_may_not_be_made_is_named_with_who_can(tmp_path: Path) -> None:
    job = apply_job(JobWorld(tmp_path, api=Closed()), config("a"), namespace="team")
    with pytest.raises(ClusterError) as caught:
        await ApplyExecutor().run(job)
    assert "There is no namespace `team` in the cluster `kind-fake`" in caught.value.message
    assert "kubectl create namespace team" in caught.value.hint


async def test_a_plan_makes_no_namespace_and_teaches_no_kind(tmp_path: Path) -> None:
    fake = FakeCluster()
    world = JobWorld(tmp_path, api=fake)
    job = apply_job(world, config("a"), POOL, namespace="team")
    lines = await ApplyExecutor().diff(job)
    assert [line.split()[0] for line in lines] == ["create", "create"]
    assert fake.writes == []


async def test_a_runner_pool_in_yaml_brings_its_definition(tmp_path: Path) -> None:
    fake = FakeCluster()
    world = JobWorld(tmp_path, api=fake)
    job = apply_job(world, config("a"), POOL)
    assert isinstance(await ApplyExecutor().run(job), Succeeded)
    assert [one["metadata"]["name"] for one in fake.objects("GithubActionRunnerPool")] == ["jeff"]
    name = "CustomResourceDefinition/githubactionrunnerpools.apps.example.com"
    assert world.lines.text.count(f"{name}: installed") == 1

    assert isinstance(await ApplyExecutor().run(apply_job(world, POOL)), Succeeded)
    assert world.lines.text.count(f"{name}: installed") == 1


async def test_a_kind_of_others_is_not_ours_to_teach(tmp_path: Path) -> None:
    other = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}
    with pytest.raises(UnknownKindError):
        await ApplyExecutor().run(apply_job(JobWorld(tmp_path, api=FakeCluster()), other))
