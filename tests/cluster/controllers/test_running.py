"""Controllers begin from whatever there is, and none takes another down."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from kindling.cluster.controllers.controller import Controller
from kindling.cluster.controllers.deployment import DeploymentController
from kindling.cluster.controllers.kinds import (
    DEPLOYMENTS,
    ENDPOINTS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICES,
)
from kindling.cluster.controllers.replica_set import ReplicaSetController
from kindling.cluster.controllers.scheduler import Scheduler
from kindling.cluster.controllers.work import Key
from kindling.cluster.model.api import Change, DeleteOptions
from tests.cluster.controllers.bed import (
    Bed,
    bed_in,
    deployment,
    namespace_obj,
    on_memory_disk,
)
from tests.cluster.controllers.test_endpoints import service, web_pod
from tests.cluster.controllers.test_jobs import job


async def test_what_happened_while_they_were_away_is_made_up_for(bed: Bed) -> None:
    """Deletions that nobody saw included."""
    await bed.create(DEPLOYMENTS, deployment("gone"))
    await bed.create(DEPLOYMENTS, deployment("stays"))
    await bed.create(JOBS, job())
    await bed.create(SERVICES, service())
    await bed.create(PODS, web_pod("one"))
    await bed.create(NAMESPACES, namespace_obj("leaving"))
    (work,) = (pod for pod in bed.pods() if "job-name" in pod["metadata"]["labels"])
    await bed.stop_controllers()
    background = DeleteOptions(propagation="Background")
    await bed.api.delete(DEPLOYMENTS, "gone", "default", background)
    await bed.api.delete(SERVICES, "web", "default")
    await bed.api.delete(NAMESPACES, "leaving")
    (lost, *_) = (pod for pod in bed.pods() if pod["metadata"]["name"].startswith("stays-"))
    await bed.api.delete(PODS, lost["metadata"]["name"], "default", DeleteOptions(grace=0))
    await bed.node.set_state(bed.get(PODS, work["metadata"]["name"]), "succeeded")
    await bed.api.patch(DEPLOYMENTS, "stays", {"spec": {"replicas": 5}}, "default")
    await bed.restart_controllers()
    owners = [pod["metadata"].get("labels", {}).get("app") for pod in bed.pods()]
    assert owners.count("gone") == 0
    assert owners.count("stays") == 5
    assert len(bed.all(REPLICA_SETS)) == 1
    assert bed.all(ENDPOINTS) == []
    assert bed.api.get(NAMESPACES, "leaving") is None
    assert bed.get(JOBS, "work")["status"]["succeeded"] == 1
    before = bed.api.revision
    await bed.stop_controllers()
    await bed.restart_controllers()
    assert bed.api.revision == before  # and there is nothing left to do


@pytest.mark.parametrize("moment", range(0, 40, 5))
async def test_cut_off_at_any_moment_a_rollout_is_finished_later(bed: Bed, moment: int) -> None:
    await bed.api.create(DEPLOYMENTS, deployment(replicas=4), "default")
    change = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "2"}]}}}}
    for _ in range(moment):
        await asyncio.sleep(0.0002)
    await bed.api.patch(DEPLOYMENTS, "web", change, "default")
    for _ in range(moment):
        await asyncio.sleep(0.0002)
    await bed.stop_controllers()
    await bed.restart_controllers()
    images = [pod["spec"]["containers"][0]["image"] for pod in bed.pods()]
    assert images == ["2"] * 4
    sets = {
        one["spec"]["template"]["spec"]["containers"][0]["image"] for one in bed.all(REPLICA_SETS)
    }
    assert len(bed.all(REPLICA_SETS)) == len(sets)


class Broken(Controller):
    name = "broken"
    kinds = (PODS,)

    async def reconcile(self, key: Key) -> float | None:
        raise RuntimeError(f"on purpose: {key}")


class Confused(Controller):
    name = "confused"
    kinds = (PODS,)

    def keys(self, change: Change) -> Iterable[Key]:
        raise RuntimeError(f"on purpose: {change.type}")


async def test_a_controller_that_fails_says_so_and_harms_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    controllers = (Broken, Confused, Scheduler, DeploymentController, ReplicaSetController)
    with (
        tempfile.TemporaryDirectory(dir=on_memory_disk()) as folder,
        caplog.at_level(logging.WARNING),
    ):
        async with bed_in(Path(folder), controllers=controllers) as bed:
            await bed.create(DEPLOYMENTS, deployment())
            assert len([pod for pod in bed.pods() if pod["spec"].get("nodeName")]) == 3
            assert bed.controllers.failing == ("broken",)
    said = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("broken default/web-") for line in said)
    assert "confused cannot tell what a change concerns" in said
