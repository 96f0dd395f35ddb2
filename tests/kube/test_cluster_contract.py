"""What every cluster behind the Protocol does: one suite for the fake and, marked `cluster`, a real
one.

Both come with a namespace of their own, and with `foreign`, which writes as another manager does.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest

from kindling.graph.spec import ObjectRef
from kindling.kube.client import KubeCluster, connect
from kindling.kube.contexts import choose_target, read_kubeconfig
from kindling.kube.discovery import resource_path
from kindling.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    FieldConflictError,
    InvalidError,
    NotFoundError,
    TimeLimitError,
    UnknownKindError,
)
from kindling.kube.protocol import Cluster, EventKind, Object, PatchKind, PodSource
from kindling.testing.cluster import FakeCluster


@dataclass(frozen=True, slots=True)
class Subject:
    """A cluster under test."""

    cluster: Cluster
    namespace: str
    foreign: Callable[[Object], Awaitable[None]]


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    namespace = f"kube-contract-{uuid.uuid4().hex[:8]}"
    if request.param == "fake":
        fake = FakeCluster()
        await fake.apply(_namespace(namespace))

        async def put(manifest: Object) -> None:
            fake.put(manifest, manager="somebody")

        yield Subject(fake, namespace, put)
        return
    cluster = await connect(choose_target(read_kubeconfig()).context)
    try:
        await cluster.apply(_namespace(namespace))
        yield Subject(cluster, namespace, lambda manifest: _foreign(cluster, manifest))
    finally:
        await cluster.delete(ObjectRef("v1", "Namespace", namespace))
        await cluster.close()


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


async def _foreign(cluster: KubeCluster, manifest: Object) -> None:
    resource = await cluster.resource(manifest["apiVersion"], manifest["kind"])
    metadata = manifest["metadata"]
    await cluster._wire.request(
        "PATCH",
        resource_path(resource, metadata["namespace"], metadata["name"]),
        "write as somebody else",
        params=[("fieldManager", "somebody"), ("force", "true")],
        body=manifest,
        content_type="application/apply-patch+yaml",
        timeout=10.0,
    )


def config(namespace: str, name: str = "a", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def config_ref(namespace: str, name: str = "a") -> ObjectRef:
    return ObjectRef("v1", "ConfigMap", name, namespace)


def deployment(namespace: str, label: str = "web") -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": label}},
            "template": {
                "metadata": {"labels": {"app": label}},
                "spec": {
                    "containers": [
                        {"name": "web", "image": "none", "ports": [{"containerPort": 80}]}
                    ]
                },
            },
        },
    }


def pod(namespace: str, name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {
            "nodeSelector": {"kindling.dev/none": "such"},
            "containers": [{"name": "main", "image": "none"}],
        },
    }


async def test_a_cluster_says_who_it_is(subject: Subject) -> None:
    facts = await subject.cluster.facts()
    assert facts.uid
    assert facts.version.startswith("v1.")
    assert facts.context == subject.cluster.context
    assert facts.uid == (await subject.cluster.facts()).uid
    await subject.cluster.ready()


async def test_applying_twice_changes_nothing(subject: Subject) -> None:
    first = await subject.cluster.apply(config(subject.namespace, key="1"))
    again = await subject.cluster.apply(config(subject.namespace, key="1"))
    assert first["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]
    live = await subject.cluster.get(config_ref(subject.namespace))
    assert (live["kind"], live["data"]) == ("ConfigMap", {"key": "1"})


async def test_a_field_that_is_applied_no_more_goes(subject: Subject) -> None:
    await subject.cluster.apply(config(subject.namespace, one="1", two="2"))
    left = await subject.cluster.apply(config(subject.namespace, two="2"))
    assert left["data"] == {"two": "2"}


async def test_fields_of_another_manager_are_kept_and_conflicts_named(subject: Subject) -> None:
    await subject.foreign(config(subject.namespace, theirs="1", shared="1"))
    merged = await subject.cluster.apply(config(subject.namespace, ours="1", shared="1"))
    assert merged["data"] == {"theirs": "1", "ours": "1", "shared": "1"}
    with pytest.raises(FieldConflictError) as caught:
        await subject.cluster.apply(config(subject.namespace, theirs="2"))
    assert [(c.manager, c.fields) for c in caught.value.conflicts] == [
        ("somebody", ("data.theirs",))
    ]
    taken = await subject.cluster.apply(config(subject.namespace, theirs="2"), force=True)
    assert taken["data"]["theirs"] == "2"


async def test_our_own_patch_conflicts_with_our_apply_under_our_name(subject: Subject) -> None:
    """The API server takes one name for two managers when it writes in two ways."""
    await subject.cluster.apply(config(subject.namespace, key="1"))
    await subject.cluster.patch(config_ref(subject.namespace), {"data": {"key": "2"}})
    with pytest.raises(FieldConflictError) as caught:
        await subject.cluster.apply(config(subject.namespace, key="3"))
    assert [c.manager for c in caught.value.conflicts] == ["kindling"]


async def test_what_one_manager_of_ours_applied_is_foreign_to_the_other(subject: Subject) -> None:
    """The operator and a session have a name each."""
    await subject.cluster.apply(config(subject.namespace, key="1"), manager="kindling-operator")
    with pytest.raises(FieldConflictError) as caught:
        await subject.cluster.apply(config(subject.namespace, key="2"))
    assert [c.manager for c in caught.value.conflicts] == ["kindling-operator"]
    left = await subject.cluster.apply(config(subject.namespace), manager="kindling-operator")
    assert not left.get("data")


async def test_a_change_of_an_older_version_is_refused(subject: Subject) -> None:
    first = await subject.cluster.create(config(subject.namespace, key="1"), manager="first")
    ref, version = config_ref(subject.namespace), first["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "data": {"key": "2"}}
    assert (await subject.cluster.patch(ref, patch))["data"] == {"key": "2"}
    with pytest.raises(ConflictError) as caught:
        await subject.cluster.patch(ref, {**patch, "data": {"key": "3"}})
    assert caught.value.transient
    assert (await subject.cluster.get(ref))["data"] == {"key": "2"}


async def test_a_json_patch_applies_whole_or_not_at_all(subject: Subject) -> None:
    """Its test of the version is how a change applies to what was read and to nothing else."""
    made = await subject.cluster.create(config(subject.namespace, key="1"))
    ref, version = config_ref(subject.namespace), made["metadata"]["resourceVersion"]
    steps = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "add", "path": "/metadata/annotations/kindling.dev~1test", "value": "x"},
        {"op": "remove", "path": "/data/key"},
        {"op": "add", "path": "/data/other", "value": "2"},
    ]
    changed = await subject.cluster.patch(ref, steps, PatchKind.JSON, manager="somebody")
    assert changed["data"] == {"other": "2"}
    assert changed["metadata"]["annotations"] == {"kindling.dev/test": "x"}
    with pytest.raises(InvalidError):
        await subject.cluster.patch(ref, steps, PatchKind.JSON, manager="somebody")
    now = await subject.cluster.get(ref)
    assert now["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]


async def test_the_status_is_written_by_itself(subject: Subject) -> None:
    made = await subject.cluster.apply(deployment(subject.namespace, "web"))
    ref = ObjectRef("apps/v1", "Deployment", made["metadata"]["name"], subject.namespace)
    told = {"type": "Told", "status": "True", "reason": "Said", "message": "by a test"}
    patch = {"spec": {"paused": True}, "status": {"conditions": [told]}}
    changed = await subject.cluster.patch(
        ref, patch, PatchKind.MERGE, subresource="status", manager="kindling-operator"
    )
    assert "Told" in [one["type"] for one in changed["status"]["conditions"]]
    assert not changed["spec"].get("paused")
    assert changed["metadata"]["generation"] == made["metadata"]["generation"]


async def test_a_dry_run_answers_and_writes_nothing(subject: Subject) -> None:
    answer = await subject.cluster.apply(config(subject.namespace, key="1"), dry_run=True)
    assert answer["data"] == {"key": "1"}
    with pytest.raises(NotFoundError):
        await subject.cluster.get(config_ref(subject.namespace))


async def test_what_is_not_there_is_not_found(subject: Subject) -> None:
    with pytest.raises(NotFoundError):
        await subject.cluster.get(config_ref(subject.namespace, "missing"))
    with pytest.raises(NotFoundError, match="no such object"):
        await subject.cluster.apply(config("kube-contract-nowhere", key="1"))


async def test_an_unknown_kind_is_told_from_a_missing_object(subject: Subject) -> None:
    with pytest.raises(UnknownKindError) as caught:
        await subject.cluster.resource("v1", "ConfigMapp")
    assert caught.value.hint == "Did you mean `ConfigMap`?"
    with pytest.raises(UnknownKindError):
        await subject.cluster.get(ObjectRef("example.org/v1", "Thing", "a", subject.namespace))


async def test_creating_what_exists_is_refused_and_changes_nothing(subject: Subject) -> None:
    await subject.cluster.create(config(subject.namespace, key="1"))
    with pytest.raises(AlreadyExistsError):
        await subject.cluster.create(config(subject.namespace, key="2"))
    assert (await subject.cluster.get(config_ref(subject.namespace)))["data"] == {"key": "1"}


async def test_an_immutable_field_is_named(subject: Subject) -> None:
    await subject.cluster.apply(deployment(subject.namespace, "web"))
    with pytest.raises(InvalidError) as caught:
        await subject.cluster.apply(deployment(subject.namespace, "other"))
    assert caught.value.immutable == ("spec.selector",)


async def test_deleting_by_uid_spares_a_namesake(subject: Subject) -> None:
    made = await subject.cluster.apply(config(subject.namespace, key="1"))
    ref = config_ref(subject.namespace)
    assert not await subject.cluster.delete(ref, uid="11111111-2222-3333-4444-555555555555")
    assert await subject.cluster.delete(ref, uid=made["metadata"]["uid"])
    await subject.cluster.wait_deleted(ref, timeout=10.0)
    assert not await subject.cluster.delete(ref)


async def test_an_object_with_a_finalizer_stays_until_it_is_released(subject: Subject) -> None:
    manifest = config(subject.namespace, key="1")
    manifest["metadata"]["finalizers"] = ["kindling.dev/held"]
    await subject.cluster.apply(manifest)
    ref = config_ref(subject.namespace)
    assert await subject.cluster.delete(ref)
    assert (await subject.cluster.get(ref))["metadata"]["deletionTimestamp"]
    with pytest.raises(TimeLimitError):
        await subject.cluster.wait_deleted(ref, timeout=0.05)
    await subject.cluster.patch(ref, {"metadata": {"finalizers": None}})
    await subject.cluster.wait_deleted(ref, timeout=10.0)


async def test_labels_and_fields_select(subject: Subject) -> None:
    for name, label in (("a", "x"), ("b", "y")):
        manifest = config(subject.namespace, name)
        manifest["metadata"]["labels"] = {"side": label}
        await subject.cluster.apply(manifest)

    async def names(**selectors: Any) -> list[str]:
        listing = await subject.cluster.list(
            "v1", "ConfigMap", namespace=subject.namespace, **selectors
        )
        assert all(item["kind"] == "ConfigMap" for item in listing.items)
        return sorted(item["metadata"]["name"] for item in listing.items)

    assert {"a", "b"} <= set(await names())
    assert await names(labels=(("side", "y"),)) == ["b"]
    assert await names(fields=(("metadata.name", "a"),)) == ["a"]


@pytest.mark.parametrize("shared", [False, True])
async def test_a_watch_lists_first_and_then_tells_every_change(
    subject: Subject, *, shared: bool
) -> None:
    cluster, namespace = subject.cluster, subject.namespace
    watch = cluster.follow if shared else cluster.watch
    manifest = config(namespace, key="1")
    manifest["metadata"]["labels"] = {"watched": "yes"}
    await cluster.apply(manifest)
    seen: list[tuple[EventKind, str]] = []
    labels = (("watched", "yes"),)
    async with (
        asyncio.timeout(20),
        aclosing(watch("v1", "ConfigMap", namespace=namespace, labels=labels)) as events,
    ):
        async for event in events:
            if event.kind is EventKind.SYNCED:
                seen += [(event.kind, _name(item)) for item in event.items]
                await cluster.apply({**manifest, "data": {"key": "2"}})
                await cluster.apply(config(namespace, "unwatched"))
                await cluster.delete(config_ref(namespace))
                continue
            seen.append((event.kind, _name(event.object)))
            if event.kind is EventKind.DELETED:
                break
    assert seen == [
        (EventKind.SYNCED, "a"),
        (EventKind.MODIFIED, "a"),
        (EventKind.DELETED, "a"),
    ]


def _name(item: Object) -> str:
    return str(item["metadata"]["name"])


async def test_pods_are_found_by_owner_and_by_selector(subject: Subject) -> None:
    cluster, namespace = subject.cluster, subject.namespace
    top = await cluster.apply(config(namespace, "top"))
    middle = await cluster.apply(
        {**config(namespace, "middle"), "metadata": _owned_by(top, "middle", namespace)}
    )
    await cluster.apply(
        {**pod(namespace, "owned"), "metadata": _owned_by(middle, "owned", namespace)}
    )
    await cluster.apply(pod(namespace, "labelled", labels={"app": "x"}))
    await cluster.apply(pod(namespace, "stranger"))
    owners = (config_ref(namespace, "top"),)
    found = await cluster.pods_of(PodSource(owners))
    assert [_name(item) for item in found] == ["owned"]
    found = await cluster.pods_of(PodSource(owners, selectors=((("app", "x"),),)))
    assert sorted(_name(item) for item in found) == ["labelled", "owned"]


def _owned_by(owner: Object, name: str, namespace: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": namespace,
        "ownerReferences": [
            {
                "apiVersion": owner["apiVersion"],
                "kind": owner["kind"],
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
            }
        ],
    }
