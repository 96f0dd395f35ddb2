"""When the node of an environment is done, what it says while it is not, and what it takes away."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from kindling.executors.protocol import Failed, Succeeded
from kindling.graph.node import NodeId
from kindling.graph.outcome import FailureKind, Output
from kindling.graph.spec import ImageInjection, ObjectRef
from kindling.kube.errors import NotFoundError
from kindling.objects.inject import OWNER_LABEL
from tests.executors.environments import SHOP, Stage, deployment, manifest

POSTGRES = {"type": "postgres"}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    await made.away()


async def test_the_kind_is_taught_to_a_cluster_that_does_not_know_it(stage: Stage) -> None:
    await stage.output(stage.job(manifest()))
    await stage.output(stage.job(manifest()))
    said = [line for line in stage.world.lines.of("kindling") if "installed" in line]
    name = "CustomResourceDefinition/devstagingenvironments.apps.example.com"
    assert said.count(f"{name}: installed") == 1


async def test_it_is_done_when_the_children_are_written(stage: Stage) -> None:
    output = await stage.output(stage.job(manifest(POSTGRES)))
    assert [(o["kind"], o["name"]) for o in output.data["objects"]] == [
        ("Deployment", "shop"),
        ("Service", "shop"),
    ]
    assert {d["metadata"]["name"] for d in stage.fake.objects("Deployment")} == {
        "shop",
        "shop-postgres",
    }
    live = await stage.fake.get(SHOP)
    assert live["metadata"]["labels"][OWNER_LABEL] == "test"
    assert output.data["observedGeneration"] == live["metadata"]["generation"]
    assert f"{SHOP}: applied, reconciled by this session" in stage.world.lines.text


async def test_a_built_image_is_what_the_app_runs(stage: Stage) -> None:
    delivery = ImageInjection("shop", "push:shop", paths=("{.spec.deployment.image}",))
    wanted = manifest()
    wanted["spec"]["deployment"]["image"] = "shop"
    built = Output("d", {"reference": "localhost:5000/shop:kindling-1"})
    await stage.output(stage.job(wanted, images=(delivery,), inputs={NodeId("push:shop"): built}))
    app = await stage.fake.get(deployment("shop"))
    container = app["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "localhost:5000/shop:kindling-1"


async def test_the_same_again_has_the_same_digest_and_a_change_another(stage: Stage) -> None:
    first = await stage.output(stage.job(manifest()))
    again = await stage.output(stage.job(manifest()))
    wanted = manifest()
    wanted["spec"]["deployment"]["env"] = [{"name": "A", "value": "b"}]
    changed = await stage.output(stage.job(wanted))
    assert first.digest == again.digest != changed.digest


async def test_an_environment_of_another_project_is_left_alone(stage: Stage) -> None:
    await stage.output(stage.job(manifest()))
    other = replace(stage.world, project="other")
    outcome = await stage.run(replace(stage.job(manifest()), world=other))
    assert isinstance(outcome, Failed)
    assert outcome.failure.kind is FailureKind.REFUSED
    assert "belongs to the project `test`" in outcome.failure.summary


async def test_a_bad_field_is_named_and_nothing_is_written(stage: Stage) -> None:
    wanted = manifest({"type": "postgres"}, {"type": "postgres"})
    outcome = await stage.run(stage.job(wanted))
    assert isinstance(outcome, Failed)
    assert outcome.failure.summary.startswith("spec.dependencies[1]")
    assert stage.fake.writes == []


async def test_a_problem_that_only_the_operator_sees_fails_it_and_mending_makes_it_ready(
    stage: Stage,
) -> None:
    source = {"secretKeyRef": {"name": "own", "key": "password"}}
    wanted = manifest(
        {"type": "postgres", "env": [{"name": "POSTGRES_PASSWORD", "valueFrom": source}]}
    )
    outcome = await stage.run(stage.job(wanted))
    assert isinstance(outcome, Failed)
    assert "spec.dependencies[0].env" in outcome.failure.summary
    assert "Secret `own`" in outcome.failure.summary
    async with stage.following(outcome.live):
        await stage.clock.settle()
        stage.fake.put(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "own", "namespace": "default"},
                "data": {"password": "eA=="},
            }
        )
        await stage.until(lambda: len(stage.fake.objects("Deployment")) == 2)
    # The session runs it again as soon as it is ready; what was wrong is forgotten.
    await stage.output(stage.job(wanted))


async def test_a_problem_of_an_earlier_session_is_not_believed_once_it_is_mended(
    stage: Stage,
) -> None:
    source = {"secretKeyRef": {"name": "own", "key": "password"}}
    wanted = manifest(
        {"type": "postgres", "env": [{"name": "POSTGRES_PASSWORD", "valueFrom": source}]}
    )
    outcome = await stage.run(stage.job(wanted))
    assert isinstance(outcome, Failed)
    assert outcome.live is not None
    await outcome.live.close()
    await stage.away()
    secret = {"name": "own", "namespace": "default"}
    stage.fake.put(
        {"apiVersion": "v1", "kind": "Secret", "metadata": secret, "data": {"password": "eA=="}}
    )
    await stage.output(stage.job(wanted))


async def test_children_that_went_while_nobody_acted_are_waited_for(stage: Stage) -> None:
    await stage.output(stage.job(manifest()))
    await stage.away()
    stage.fake.remove(deployment("shop"))
    output = await stage.output(stage.job(manifest()))
    assert [o["kind"] for o in output.data["objects"]] == ["Deployment", "Service"]


async def test_without_an_operator_at_work_it_fails_and_says_whose_turn_it_is(
    stage: Stage,
) -> None:
    async def other(namespace: str) -> str:
        return f"operator-7f in {namespace}"

    stage.world.operator = other
    outcome = await stage.run(stage.job(manifest(), timeout=0.05))
    assert isinstance(outcome, Failed)
    assert outcome.failure.kind is FailureKind.TIMEOUT
    assert "operator-7f in default" in outcome.failure.details[0]
    assert outcome.live is not None
    await outcome.live.close()


async def test_it_is_ready_when_what_the_app_needs_is_up(stage: Stage) -> None:
    outcome = await stage.run(stage.job(manifest(POSTGRES)))
    assert isinstance(outcome, Succeeded)
    async with stage.following(outcome.live) as reports:
        await stage.until(lambda: reports)
        assert not reports[0].ready
        stage.play("shop-postgres")
        await stage.until(lambda: reports[-1].ready)


async def test_it_does_not_wait_for_the_app_itself(stage: Stage) -> None:
    outcome = await stage.run(stage.job(manifest()))
    assert isinstance(outcome, Succeeded)
    async with stage.following(outcome.live) as reports:
        stage.play("shop", ready=False, waiting="CrashLoopBackOff")
        await stage.clock.settle(60)
        assert reports == []


async def test_the_reason_of_the_very_pod_is_told(stage: Stage) -> None:
    outcome = await stage.run(stage.job(manifest(POSTGRES)))
    async with stage.following(outcome.live) as reports:
        stage.play("shop-postgres", ready=False, waiting="ImagePullBackOff", message="not found")
        await stage.until(lambda: reports and "ImagePullBackOff" in str(reports[-1].failure))
        assert reports[-1].failure is not None
        assert "pod shop-postgres-1-x" in reports[-1].failure.summary
        assert not reports[-1].ended


async def test_a_session_that_ends_by_itself_ends_for_a_hopeless_dependency(stage: Stage) -> None:
    outcome = await stage.run(stage.job(manifest(POSTGRES), once=True))
    async with stage.following(outcome.live) as reports:
        stage.play("shop-postgres", ready=False, waiting="ImagePullBackOff", message="not found")
        await stage.until(lambda: reports and reports[-1].ended)


async def test_a_session_that_ends_by_itself_does_not_wait_for_ever(stage: Stage) -> None:
    outcome = await stage.run(stage.job(manifest(POSTGRES), once=True))
    async with stage.following(outcome.live) as reports:
        stage.play("shop-postgres", ready=False)
        await stage.until(lambda: reports)
        await stage.clock.advance(301)
        await stage.until(lambda: reports[-1].ended)
        assert reports[-1].failure is not None
        assert "not ready within 300 s" in reports[-1].failure.summary


async def test_an_environment_as_it_was_left_needs_nothing(stage: Stage) -> None:
    job = stage.job(manifest(POSTGRES))
    output = await stage.output(job)
    stage.play("shop-postgres")
    await stage.away()
    stage.fake.writes.clear()
    seen = await stage.executor.observe(job, output)
    assert seen.same, seen.difference
    async with stage.following(seen.live) as reports:
        await stage.until(lambda: stage.operations)
        await stage.clock.settle(60)
        assert reports == []
    assert [ref for verb, ref in stage.fake.writes if ref.kind != "DevStagingEnvironment"] == []


async def test_what_went_or_changed_since_is_seen(stage: Stage) -> None:
    job = stage.job(manifest(POSTGRES))
    output = await stage.output(job)
    stage.play("shop-postgres", ready=False)
    await stage.away()
    seen = await stage.executor.observe(job, output)
    assert "shop-postgres" in seen.difference
    stage.fake.remove(ObjectRef("v1", "Service", "shop", "default"))
    seen = await stage.executor.observe(job, output)
    assert seen.difference == "drift: to create Service/shop in default"
    live = await stage.fake.get(SHOP)
    stage.fake.put({**live, "spec": {**live["spec"], "deployment": {"image": "x", "port": 1}}})
    assert "another spec.deployment" in (await stage.executor.observe(job, output)).difference
    stage.fake.remove(SHOP)
    assert (await stage.executor.observe(job, output)).difference == f"{SHOP} is gone"


async def test_it_goes_with_its_children_and_its_volumes_are_named(stage: Stage) -> None:
    job = stage.job(manifest({"type": "postgres", "storageSize": "1Gi"}))
    output = await stage.output(job)
    await stage.away()
    assert await stage.executor.undo(job, output) == ()
    for kind in ("DevStagingEnvironment", "Deployment", "PersistentVolumeClaim", "Secret"):
        assert stage.fake.objects(kind) == ()
    assert "the volume claim `shop-postgres-data` goes with" in stage.world.lines.text


async def test_what_carries_another_projects_label_is_kept(stage: Stage) -> None:
    job = stage.job(manifest())
    output = await stage.output(job)
    await stage.away()
    other = replace(stage.world, project="other")
    kept = await stage.executor.undo(replace(job, world=other), output)
    assert "belongs to the project `test`" in kept[0]
    assert await stage.fake.get(SHOP)


async def test_a_forecast_names_children_before_the_kind_is_known(stage: Stage) -> None:
    lines = await stage.executor.diff(stage.job(manifest(POSTGRES)))
    assert lines[0] == f"create {SHOP}"
    assert "create Deployment/shop-postgres in default" in lines
    assert "create Deployment/shop in default" in lines
    with pytest.raises(NotFoundError):
        await stage.fake.get(SHOP)


async def test_a_forecast_names_the_children_that_a_change_reaches(stage: Stage) -> None:
    output = await stage.output(stage.job(manifest(POSTGRES, {"type": "redis"})))
    await stage.away()
    wanted = manifest(POSTGRES)
    wanted["spec"]["deployment"]["port"] = 9090
    lines = await stage.executor.diff(replace(stage.job(wanted), previous=output))
    assert any(line.startswith(f"change {SHOP}: spec.") for line in lines)
    assert any(line.startswith("change Deployment/shop in default: spec.") for line in lines)
    assert any(line.startswith("change Service/shop in default: spec.") for line in lines)
    assert "delete Deployment/shop-redis in default" in lines
    assert not any("shop-postgres" in line for line in lines)


async def test_a_forecast_of_a_bad_field_says_that_it_fails(stage: Stage) -> None:
    wanted = manifest()
    wanted["spec"]["deployment"]["port"] = 0
    lines = await stage.executor.diff(stage.job(wanted))
    assert len(lines) == 1
    assert lines[0].startswith(f"fail {SHOP}: spec.deployment.port")


async def test_a_cut_leaves_no_task_behind(stage: Stage) -> None:
    async def nobody(namespace: str) -> str:
        return namespace

    stage.world.operator = nobody
    before = asyncio.all_tasks()
    task = asyncio.create_task(stage.run(stage.job(manifest())))
    await stage.clock.settle(40)
    task.cancel()
    await asyncio.wait([task])
    assert asyncio.all_tasks() == before


async def test_a_sync_session_on_the_app_holds_nothing_up(stage: Stage) -> None:
    """What the node wrote is written. That a session came later is no fault of the environment."""
    outcome = await stage.run(stage.job(manifest()))
    assert isinstance(outcome, Succeeded)
    async with stage.following(outcome.live) as reports:
        await stage.clock.settle()
        (live,) = stage.fake.objects("Deployment")
        taken = copy.deepcopy(dict(live))
        taken["metadata"].setdefault("annotations", {})["kindling.dev/session"] = "one"
        taken["spec"]["template"]["spec"]["containers"][0]["image"] = "another"
        stage.fake.put(taken)

        def held() -> bool:
            (shop,) = stage.fake.objects("DevStagingEnvironment")
            return any(one["type"] == "Held" for one in shop["status"]["conditions"])

        await stage.until(held)
        await stage.clock.settle(10)
        assert reports == []
