"""Custom resources: served as soon as they are defined, and gone with their definition."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.cluster.model.api import Obj, WriteOptions
from kindling.cluster.model.resource import ResourceType, builtin
from kindling.cluster.model.status import ApiError
from kindling.cluster.registry.served import version_rank
from tests.cluster.registry.bench import DEFINITIONS, Bench

ANYTHING = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}


def definition(plural: str = "foos", kind: str = "Foo", **more: Any) -> Obj:
    names = {"plural": plural, "kind": kind, "singular": kind.lower(), "listKind": f"{kind}List"}
    versions = [
        {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": ANYTHING,
            "subresources": {
                "status": {},
                "scale": {
                    "specReplicasPath": ".spec.size",
                    "statusReplicasPath": ".status.size",
                    "labelSelectorPath": ".status.selector",
                },
            },
        },
        {"name": "v1beta1", "served": True, "storage": False, "schema": ANYTHING},
    ]
    return {
        "group": "a.io",
        "scope": "Namespaced",
        "names": names | more,
        "versions": versions,
    }


async def define(bench: Bench, plural: str = "foos", kind: str = "Foo", **more: Any) -> Obj:
    return await bench.create(DEFINITIONS, f"{plural}.a.io", spec=definition(plural, kind, **more))


def foo(bench: Bench, version: str = "") -> ResourceType:
    found = bench.api.by_kind("a.io", "Foo", version)
    assert found is not None
    return found


def conditions(obj: Obj) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in obj["status"]["conditions"]}


async def test_a_definition_is_served_when_it_is_acknowledged(bench: Bench) -> None:
    assert bench.api.by_kind("a.io", "Foo") is None
    made = await define(bench, shortNames=["fo"], categories=["all"])
    assert conditions(made) == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
    }
    assert made["status"]["storedVersions"] == ["v1"]
    assert foo(bench).version == "v1"
    row = bench.api.resource("a.io", "v1beta1", "foos")
    assert row is not None
    assert (row.short_names, row.categories, row.custom) == (("fo",), ("all",), True)
    assert row.subresources == frozenset()
    assert foo(bench).subresources == {"status", "scale"}


async def test_one_object_is_seen_in_every_version(bench: Bench) -> None:
    await define(bench)
    await bench.create(foo(bench, "v1beta1"), "f", spec={"size": 1})
    assert bench.the(foo(bench), "f")["apiVersion"] == "a.io/v1"
    old = bench.the(foo(bench, "v1beta1"), "f")
    assert old["apiVersion"] == "a.io/v1beta1"
    await bench.put(foo(bench, "v1beta1"), old, spec={"size": 2})
    assert bench.the(foo(bench), "f")["spec"] == {"size": 2}


async def test_status_and_scale_of_custom_objects(bench: Bench) -> None:
    await define(bench)
    made = await bench.create(foo(bench), "f", spec={"size": 1}, status={"size": 9})
    assert "status" not in made
    assert made["metadata"]["generation"] == 1
    told = await bench.api.update(
        foo(bench), made | {"status": {"size": 1, "selector": "a=b"}, "spec": {}}, "status"
    )
    assert (told["spec"], told["metadata"]["generation"]) == ({"size": 1}, 1)
    scale = bench.api.scale(foo(bench), "f", "default")
    assert scale is not None
    assert (scale["spec"], scale["status"]) == (
        {"replicas": 1},
        {"replicas": 1, "selector": "a=b"},
    )
    await bench.api.patch(
        foo(bench), "f", {"spec": {"replicas": 5}}, "default", subresource="scale"
    )
    found = bench.the(foo(bench), "f")
    assert (found["spec"], found["metadata"]["generation"]) == ({"size": 5}, 2)
    with pytest.raises(ApiError) as caught:
        bench.api.scale(foo(bench, "v1beta1"), "f", "default")
    assert caught.value.code == 404


async def test_a_replacement_of_a_custom_object_names_its_version(bench: Bench) -> None:
    await define(bench)
    await bench.create(foo(bench), "f", spec={})
    bare = {"metadata": {"name": "f", "namespace": "default"}, "spec": {"size": 1}}
    with pytest.raises(ApiError) as caught:
        await bench.api.update(foo(bench), bare)
    assert caught.value.message == (
        'Foo.a.io "f" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified'
        " for an update"
    )


async def test_names_that_are_taken_are_not_served(bench: Bench) -> None:
    await define(bench)
    other = await define(bench, "bars", "Foo")
    assert conditions(other) == {
        "NamesAccepted": ("False", "ListKindConflict"),
        "Established": ("False", "NotAccepted"),
    }
    assert bench.api.resource("a.io", "v1", "bars") is None


async def test_a_definition_takes_its_objects_along(bench: Bench) -> None:
    await define(bench)
    await bench.create(foo(bench), "f", spec={})
    held = await bench.create(foo(bench), "g", spec={}, meta={"finalizers": ["a.io/x"]})
    watch = bench.api.watch([DEFINITIONS])
    going, gone = await bench.delete(DEFINITIONS, "foos.a.io", "")
    assert not gone
    assert conditions(going)["Terminating"] == ("True", "InstanceDeletionPending")
    objects = bench.api.watch([foo(bench)], since=going["metadata"]["resourceVersion"])
    while "deletionTimestamp" not in held["metadata"]:
        change = await anext(objects)
        if change.object["metadata"]["name"] == "g":
            held = change.object
    with pytest.raises(ApiError) as caught:
        await bench.create(foo(bench), "late", spec={})
    assert caught.value.code == 405
    assert bench.get(DEFINITIONS, "foos.a.io", "") is not None
    free = held["metadata"] | {"finalizers": []}
    await bench.put(foo(bench), held, metadata=free)
    changes = [str((await anext(watch)).type)]
    while changes[-1] != "DELETED":
        changes.append(str((await anext(watch)).type))
    assert bench.api.by_kind("a.io", "Foo") is None
    await watch.aclose()
    await objects.aclose()


async def test_definitions_are_served_again_after_a_restart(bench: Bench) -> None:
    await define(bench)
    await bench.create(foo(bench), "f", spec={"size": 1})
    await bench.reopen()
    assert bench.the(foo(bench), "f")["spec"] == {"size": 1}


async def test_a_deletion_that_was_cut_short_goes_on_after_a_restart(bench: Bench) -> None:
    await define(bench)
    held = await bench.create(foo(bench), "f", spec={}, meta={"finalizers": ["a.io/x"]})
    await bench.delete(DEFINITIONS, "foos.a.io", "")
    await bench.reopen()
    watch = bench.api.watch([DEFINITIONS])
    held = bench.the(foo(bench), "f")
    await bench.put(foo(bench), held, metadata=held["metadata"] | {"finalizers": []})
    async for change in watch:
        if str(change.type) == "DELETED":
            break
    assert bench.get(DEFINITIONS, "foos.a.io", "") is None
    await watch.aclose()


async def test_a_new_storage_version_is_written_with_the_next_update(bench: Bench) -> None:
    made = await define(bench)
    stored = await bench.create(foo(bench), "f", spec={})
    versions = [
        version | {"storage": version["name"] == "v1beta1"} for version in made["spec"]["versions"]
    ]
    changed = await bench.put(DEFINITIONS, made, spec=made["spec"] | {"versions": versions})
    assert changed["status"]["storedVersions"] == ["v1", "v1beta1"]
    assert bench.the(foo(bench), "f") == stored
    await bench.put(foo(bench), stored, spec={"size": 1})
    memory: Any = bench.api._memory
    assert memory.get(("foos.a.io", "default", "f"))["apiVersion"] == "a.io/v1beta1"


def test_versions_are_preferred_as_kubernetes_does() -> None:
    versions = ["foo1", "v1alpha1", "v10", "v2", "v1", "v12alpha1", "v3beta1", "v11beta2", "foo10"]
    assert sorted(versions, key=version_rank) == [
        "v10",
        "v2",
        "v1",
        "v11beta2",
        "v3beta1",
        "v12alpha1",
        "v1alpha1",
        "foo1",
        "foo10",
    ]


async def test_whoever_defines_a_rule_that_is_not_asked_is_told(cluster: Bench) -> None:
    node = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "x-kubernetes-validations": [{"rule": "self.?a.hasValue()"}, {"rule": "has(self.a)"}],
    }
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": node}}}
    spec = definition()
    spec["versions"] = [spec["versions"][0] | {"schema": schema}]
    told: list[str] = []
    await cluster.api.create(
        DEFINITIONS,
        {"metadata": {"name": "foos.a.io"}, "spec": spec},
        options=WriteOptions(warn=told.append),
    )
    assert len(told) == 1
    assert "x-kubernetes-validations[0]: not enforced here, since it needs `.?`" in told[0]


async def test_finalizers_of_custom_objects_need_no_prefix(cluster: Bench) -> None:
    await define(cluster)
    held = await cluster.create(foo(cluster), "f", spec={}, meta={"finalizers": ["mine"]})
    assert held["metadata"]["finalizers"] == ["mine"]
    with pytest.raises(ApiError, match="nor is it fully qualified"):
        await cluster.create(builtin("configmaps"), "c", meta={"finalizers": ["mine"]})
