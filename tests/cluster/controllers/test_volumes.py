"""Claims and volumes: binding, folders, protection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kindling.cluster.controllers.bootstrap import bootstrap
from kindling.cluster.controllers.kinds import CLAIMS, PODS, VOLUMES
from kindling.cluster.model.api import Obj
from tests.cluster.controllers.bed import Bed, pod_obj


def claim(name: str = "data", **spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            **spec,
        },
    }


def volume(name: str, size: str = "5Gi", **spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "by-hand",
            "hostPath": {"path": "/somewhere"},
            "persistentVolumeReclaimPolicy": "Retain",
            **spec,
        },
    }


def user(name: str = "one", claim_name: str = "data") -> Obj:
    mounted = {"name": "data", "persistentVolumeClaim": {"claimName": claim_name}}
    return pod_obj(name, volumes=[mounted])


def folder_of(made: Obj) -> Path:
    return Path(made["spec"]["hostPath"]["path"])


@pytest.fixture
async def ready(bed: Bed) -> Bed:
    await bootstrap(bed.api)
    await bed.settle()
    return bed


async def test_a_claim_waits_for_its_first_pod_and_gets_a_folder(ready: Bed) -> None:
    bed = ready
    await bed.create(CLAIMS, claim())
    live = bed.get(CLAIMS, "data")
    assert live["spec"]["storageClassName"] == "standard"
    assert live["status"]["phase"] == "Pending"
    assert live["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert bed.events("WaitForFirstConsumer") == [
        "waiting for first consumer to be created before binding"
    ]
    await bed.create(PODS, user())
    live = bed.get(CLAIMS, "data")
    assert live["status"] == {
        "phase": "Bound",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
    }
    made = bed.get(VOLUMES, live["spec"]["volumeName"])
    assert made["status"]["phase"] == "Bound"
    assert folder_of(made).is_dir()
    assert bed.get(PODS, "one")["spec"]["nodeName"] == "node"


async def test_a_claim_in_use_goes_after_its_pod_and_takes_the_folder_along(ready: Bed) -> None:
    bed = ready
    await bed.create(CLAIMS, claim())
    await bed.create(PODS, user())
    (made,) = bed.all(VOLUMES, None)
    folder = folder_of(made)
    (folder / "deep").mkdir()
    await bed.delete(CLAIMS, "data")
    assert bed.get(CLAIMS, "data")["metadata"]["deletionTimestamp"]
    assert folder.is_dir()
    await bed.delete(PODS, "one")
    assert bed.all(CLAIMS) == []
    assert bed.all(VOLUMES, None) == []
    assert not folder.exists()


async def test_the_smallest_volume_that_has_enough_is_taken(bed: Bed) -> None:
    for name, size in (("large", "9Gi"), ("small", "100Mi"), ("medium", "2Gi")):
        await bed.create(VOLUMES, volume(name, size))
    assert bed.get(VOLUMES, "large")["status"]["phase"] == "Available"
    await bed.create(CLAIMS, claim(storageClassName="by-hand"))
    live = bed.get(CLAIMS, "data")
    assert (live["spec"]["volumeName"], live["status"]["phase"]) == ("medium", "Bound")
    assert live["status"]["capacity"] == {"storage": "2Gi"}
    await bed.delete(CLAIMS, "data")
    assert bed.get(VOLUMES, "medium")["status"]["phase"] == "Released"  # retained, not reused
    await bed.create(CLAIMS, claim(storageClassName="by-hand"))
    assert bed.get(CLAIMS, "data")["spec"]["volumeName"] == "large"


async def test_a_volume_may_be_kept_for_a_claim_and_a_claim_may_name_one(bed: Bed) -> None:
    kept = {"namespace": "default", "name": "data"}
    await bed.create(VOLUMES, volume("kept", claimRef=kept))
    await bed.create(VOLUMES, volume("named"))
    await bed.create(CLAIMS, claim("other", storageClassName="by-hand", volumeName="named"))
    await bed.create(CLAIMS, claim(storageClassName="by-hand"))
    assert bed.get(CLAIMS, "data")["spec"]["volumeName"] == "kept"
    assert bed.get(CLAIMS, "other")["status"]["phase"] == "Bound"
    uid = bed.get(CLAIMS, "data")["metadata"]["uid"]
    assert bed.get(VOLUMES, "kept")["spec"]["claimRef"]["uid"] == uid


async def test_a_claim_that_nothing_fits_waits_for_a_volume(bed: Bed) -> None:
    await bed.create(CLAIMS, claim(storageClassName="by-hand"))
    assert bed.get(CLAIMS, "data")["status"]["phase"] == "Pending"
    await bed.create(VOLUMES, volume("late"))
    assert bed.get(CLAIMS, "data")["status"]["phase"] == "Bound"


async def test_a_claim_grows_by_being_told(ready: Bed) -> None:
    bed = ready
    await bed.create(CLAIMS, claim())
    await bed.create(PODS, user())
    change = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
    await bed.patch(CLAIMS, "data", change)
    assert bed.get(CLAIMS, "data")["status"]["capacity"] == {"storage": "3Gi"}


async def test_a_lost_volume_is_reported(bed: Bed) -> None:
    await bed.create(VOLUMES, volume("one"))
    await bed.create(CLAIMS, claim(storageClassName="by-hand"))
    await bed.delete(VOLUMES, "one")
    assert bed.get(VOLUMES, "one")["metadata"]["deletionTimestamp"]  # protected
    await bed.patch(VOLUMES, "one", {"metadata": {"finalizers": None}})
    assert bed.get(CLAIMS, "data")["status"]["phase"] == "Lost"


async def test_an_ephemeral_volume_lives_and_dies_with_its_pod(ready: Bed) -> None:
    bed = ready
    template = {"volumeClaimTemplate": {"spec": claim()["spec"]}}
    await bed.create(PODS, pod_obj(volumes=[{"name": "tmp", "ephemeral": template}]))
    assert bed.get(CLAIMS, "one-tmp")["status"]["phase"] == "Bound"
    assert bed.get(PODS, "one")["spec"]["nodeName"] == "node"
    await bed.delete(PODS, "one")
    assert bed.all(CLAIMS) == []


async def test_bootstrap_is_idempotent(ready: Bed) -> None:
    before = ready.api.revision
    await bootstrap(ready.api)
    await ready.settle()
    assert ready.api.revision == before
