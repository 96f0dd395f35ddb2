"""Creating, replacing and patching: versions, generations, names, and what changes nothing."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from kindling.cluster.model.api import Obj, PatchType, WriteOptions
from kindling.cluster.model.resource import builtin
from kindling.cluster.model.status import ApiError
from tests.cluster.registry.bench import CONFIG_MAPS, DEPLOYMENTS, DRY, NAMESPACES, PODS, Bench

TEMPLATE: Obj = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "main", "image": "app:1"}]},
}
SPEC: Obj = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE}


async def test_a_write_is_seen_when_it_returns_and_not_before(bench: Bench) -> None:
    """A read shows nothing that a power cut could take back."""
    writing = asyncio.ensure_future(bench.create(CONFIG_MAPS, "a"))
    await asyncio.sleep(0)
    assert bench.get(CONFIG_MAPS, "a") is None
    made = await writing
    assert bench.get(CONFIG_MAPS, "a") == made
    assert made["metadata"]["resourceVersion"] == str(bench.api.revision)
    assert re.fullmatch(r"[0-9a-f-]{36}", made["metadata"]["uid"])
    assert made["metadata"]["creationTimestamp"] == "2023-11-14T22:13:20Z"


async def test_of_two_racing_creates_one_wins(bench: Bench) -> None:
    results = await asyncio.gather(
        *(bench.create(CONFIG_MAPS, "a") for _ in range(5)), return_exceptions=True
    )
    refused = [found for found in results if isinstance(found, ApiError)]
    assert [error.reason for error in refused] == ["AlreadyExists"] * 4
    assert refused[0].message == 'configmaps "a" already exists'
    assert bench.get(CONFIG_MAPS, "a") is not None


async def test_of_racing_updates_from_one_version_one_wins(bench: Bench) -> None:
    made = await bench.create(CONFIG_MAPS, "a")
    results = await asyncio.gather(
        *(bench.put(CONFIG_MAPS, made, data={"n": str(n)}) for n in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(found, dict) for found in results) == 1
    conflicts = [found for found in results if isinstance(found, ApiError)]
    assert {error.code for error in conflicts} == {409}
    assert conflicts[0].message == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; please'
        " apply your changes to the latest version and try again"
    )


async def test_racing_patches_all_land(bench: Bench) -> None:
    """A patch without a version is made on what is there, however many come at once."""
    await bench.create(CONFIG_MAPS, "a", data={})
    await asyncio.gather(
        *(bench.api.patch(CONFIG_MAPS, "a", {"data": {f"k{n}": "x"}}, "default") for n in range(20))
    )
    assert len(bench.the(CONFIG_MAPS, "a")["data"]) == 20


async def test_a_patch_with_an_old_version_conflicts(bench: Bench) -> None:
    made = await bench.create(CONFIG_MAPS, "a", data={})
    version = made["metadata"]["resourceVersion"]
    await bench.put(CONFIG_MAPS, made, data={"x": "1"})
    patch = {"metadata": {"resourceVersion": version}, "data": {"y": "2"}}
    with pytest.raises(ApiError) as caught:
        await bench.api.patch(CONFIG_MAPS, "a", patch, "default")
    assert caught.value.code == 409


async def test_an_update_that_changes_nothing_writes_nothing(bench: Bench) -> None:
    made = await bench.create(CONFIG_MAPS, "a", data={"x": "1"})
    before = bench.api.revision
    assert await bench.put(CONFIG_MAPS, made) == made
    without_owners = {k: v for k, v in made["metadata"].items() if k != "managedFields"}
    assert await bench.put(CONFIG_MAPS, made, metadata=without_owners) == made
    assert bench.api.revision == before


async def test_a_dry_run_answers_and_leaves_no_trace(bench: Bench) -> None:
    answer = await bench.api.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, "default", DRY)
    assert answer["metadata"]["uid"]
    assert bench.get(CONFIG_MAPS, "a") is None
    assert bench.api.revision == 0


async def test_names_are_made_up_from_a_prefix(bench: Bench) -> None:
    made = await bench.api.create(CONFIG_MAPS, {"metadata": {"generateName": "a-"}}, "default")
    assert re.fullmatch(r"a-[bcdfghjklmnpqrstvwxz2456789]{5}", made["metadata"]["name"])


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "metadata.name: Required value: name or generateName is required"),
        (
            {"name": "x", "finalizers": ["abc"]},
            'metadata.finalizers[0]: Invalid value: "abc": name is neither a standard finalizer'
            " name nor is it fully qualified",
        ),
    ],
)
async def test_wrong_metadata_is_refused_in_the_servers_words(
    cluster: Bench, metadata: Obj, message: str
) -> None:
    with pytest.raises(ApiError) as caught:
        await cluster.api.create(CONFIG_MAPS, {"metadata": metadata}, "default")
    assert caught.value.code == 422
    name = metadata.get("name", "")
    assert caught.value.message == f'ConfigMap "{name}" is invalid: {message}'


async def test_a_wrong_name_is_refused_kind_by_kind(cluster: Bench) -> None:
    """A config map may have dots, a namespace and a service may not."""
    await cluster.create(CONFIG_MAPS, "a.b")
    for resource in (NAMESPACES, builtin("services")):
        with pytest.raises(ApiError, match=r"metadata\.name: Invalid value"):
            await cluster.create(resource, "a.b", spec={"ports": [{"port": 1}]})
    await cluster.create(builtin("clusterroles", "rbac.authorization.k8s.io"), "system:a:b")


async def test_the_spec_counts_generations_and_the_status_does_not(cluster: Bench) -> None:
    made = await cluster.create(DEPLOYMENTS, "web", spec=SPEC)
    assert made["metadata"]["generation"] == 1
    scaled = await cluster.put(DEPLOYMENTS, made, spec=made["spec"] | {"replicas": 2})
    assert scaled["metadata"]["generation"] == 2
    told = await cluster.api.update(
        DEPLOYMENTS, scaled | {"status": {"replicas": 2}, "spec": {}}, "status"
    )
    assert told["metadata"]["generation"] == 2
    assert told["status"] == {"replicas": 2}
    assert told["spec"] == scaled["spec"]


async def test_the_main_endpoint_leaves_the_status_alone(cluster: Bench) -> None:
    made = await cluster.create(DEPLOYMENTS, "web", spec=SPEC, status={"replicas": 9})
    assert made["status"] == {}
    changed = await cluster.put(DEPLOYMENTS, made, status={"replicas": 9})
    assert changed["status"] == {}


async def test_a_deployments_annotations_count_as_what_it_asks_for(cluster: Bench) -> None:
    made = await cluster.create(DEPLOYMENTS, "web", spec=SPEC)
    meta = made["metadata"] | {"annotations": {"a": "b"}}
    assert (await cluster.put(DEPLOYMENTS, made, metadata=meta))["metadata"]["generation"] == 2


async def test_unknown_fields_are_dropped_told_or_refused(cluster: Bench) -> None:
    obj = {"metadata": {"name": "web"}, "spec": SPEC | {"replica": 1}}
    strict = WriteOptions(field_validation="Strict")
    with pytest.raises(ApiError) as caught:
        await cluster.api.create(DEPLOYMENTS, obj, "default", strict)
    assert caught.value.code == 400
    assert 'strict decoding error: unknown field "spec.replica"' in caught.value.message
    told: list[str] = []
    warn = WriteOptions(field_validation="Warn", warn=told.append)
    made = await cluster.api.create(DEPLOYMENTS, obj, "default", warn)
    assert told == ['unknown field "spec.replica"']
    assert "replica" not in made["spec"]


async def test_nothing_is_made_in_a_namespace_that_is_not_there(cluster: Bench) -> None:
    with pytest.raises(ApiError) as caught:
        await cluster.create(CONFIG_MAPS, "a", "nowhere")
    assert (caught.value.code, caught.value.message) == (404, 'namespaces "nowhere" not found')


async def test_the_namespace_of_object_and_request_must_agree(cluster: Bench) -> None:
    with pytest.raises(ApiError, match="does not match the namespace sent on the request"):
        await cluster.create(CONFIG_MAPS, "a", meta={"namespace": "other"})


async def test_an_apply_creates_then_owns(cluster: Bench) -> None:
    me = WriteOptions(field_manager="me")
    patch = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}}

    async def apply(manager: str, data: Obj) -> Obj:
        return await cluster.api.patch(
            CONFIG_MAPS,
            "a",
            patch | {"data": data},
            "default",
            patch_type=PatchType.APPLY,
            options=WriteOptions(field_manager=manager),
        )

    made = await apply("me", {"a": "1"})
    assert made["metadata"]["uid"]
    before = cluster.api.revision
    assert await apply("me", {"a": "1"}) == made
    assert cluster.api.revision == before
    with pytest.raises(ApiError) as caught:
        await apply("you", {"a": "2"})
    assert caught.value.code == 409
    assert me.force is False


async def test_the_scale_changes_replicas_alone(cluster: Bench) -> None:
    await cluster.create(DEPLOYMENTS, "web", spec=SPEC)
    scale = cluster.api.scale(DEPLOYMENTS, "web", "default")
    assert scale is not None
    assert scale["spec"] == {"replicas": 1}
    assert scale["status"] == {"replicas": 0, "selector": "app=web"}
    after = await cluster.api.update(DEPLOYMENTS, scale | {"spec": {"replicas": 3}}, "scale")
    assert (after["kind"], after["spec"]) == ("Scale", {"replicas": 3})
    found = cluster.the(DEPLOYMENTS, "web")
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (3, 2)
    with pytest.raises(ApiError, match="must be greater than or equal to 0"):
        await cluster.api.patch(
            DEPLOYMENTS, "web", {"spec": {"replicas": -1}}, "default", subresource="scale"
        )


async def test_a_pod_is_bound_once(cluster: Bench) -> None:
    await cluster.pod()
    binding = {"metadata": {"name": "web", "namespace": "default"}, "target": {"name": "node"}}
    assert (await cluster.api.update(PODS, binding, "binding"))["status"] == "Success"
    pod = cluster.the(PODS, "web")
    assert pod["spec"]["nodeName"] == "node"
    assert pod["status"]["conditions"][0]["type"] == "PodScheduled"
    with pytest.raises(ApiError) as caught:
        await cluster.api.update(PODS, binding, "binding")
    assert caught.value.message.endswith('pod web is already assigned to node "node"')


async def test_ephemeral_containers_are_added_and_never_taken_away(cluster: Bench) -> None:
    pod = await cluster.pod(node="n")
    spec = pod["spec"] | {"ephemeralContainers": [{"name": "dbg", "image": "busybox"}]}
    with_one = await cluster.api.update(PODS, pod | {"spec": spec}, "ephemeralcontainers")
    assert with_one["spec"]["ephemeralContainers"][0]["name"] == "dbg"
    with pytest.raises(ApiError, match="may not be removed"):
        await cluster.api.update(PODS, with_one | {"spec": pod["spec"]}, "ephemeralcontainers")


async def test_both_kinds_of_event_are_one_object(cluster: Bench) -> None:
    events, newer = builtin("events"), builtin("events", "events.k8s.io")
    await cluster.create(
        events,
        "a.1",
        involvedObject={"kind": "Pod", "name": "web", "namespace": "default"},
        message="it began",
        reason="Started",
        type="Normal",
    )
    seen = cluster.the(newer, "a.1")
    assert (seen["apiVersion"], seen["note"]) == ("events.k8s.io/v1", "it began")
    assert seen["regarding"]["name"] == "web"
    assert "message" not in seen


async def test_a_job_has_a_selector_of_its_own(cluster: Bench) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    made = await cluster.create(builtin("jobs", "batch"), "j", spec={"template": template})
    uid = made["metadata"]["uid"]
    assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert made["spec"]["template"]["metadata"]["labels"] == {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "j",
        "controller-uid": uid,
        "job-name": "j",
    }


async def test_a_patch_that_makes_no_object_of_its_kind_is_told_as_a_patch(cluster: Bench) -> None:
    await cluster.create(DEPLOYMENTS, "web", spec=SPEC)
    strict = WriteOptions(field_validation="Strict")
    with pytest.raises(ApiError) as caught:
        await cluster.api.patch(
            DEPLOYMENTS,
            "web",
            {"spec": {"foo": 1}},
            "default",
            patch_type=PatchType.STRATEGIC,
            options=strict,
        )
    assert (caught.value.code, caught.value.message) == (
        422,
        ' "" is invalid: patch: Invalid value: "map[spec:map[foo:1]]": strict decoding error:'
        ' unknown field "spec.foo"',
    )
    with pytest.raises(ApiError) as caught:
        await cluster.api.patch(DEPLOYMENTS, "web", {"spec": {"replicas": "x"}}, "default")
    assert caught.value.code == 422
    assert "cannot unmarshal string" in caught.value.message


async def test_a_pods_quality_outlives_a_status_without_it(cluster: Bench) -> None:
    pod = await cluster.pod()
    told = await cluster.api.update(PODS, pod | {"status": {"phase": "Running"}}, "status")
    assert told["status"] == {"phase": "Running", "qosClass": "BestEffort"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("web", []),
        (
            "web.v2",
            [
                "metadata.name: this is used in Pod names and hostnames, which can result in"
                " surprising behavior; a DNS label is recommended: [must not contain dots]"
            ],
        ),
    ],
)
async def test_a_name_that_makes_no_good_host_is_warned_of_once(
    cluster: Bench, name: str, told: list[str]
) -> None:
    labels = {"app": "a"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "a", "image": "b"}]},
    }
    spec = {"selector": {"matchLabels": labels}, "template": template}
    heard: list[str] = []
    options = WriteOptions(warn=heard.append)
    made = await cluster.api.create(
        DEPLOYMENTS, {"metadata": {"name": name}, "spec": spec}, "default", options=options
    )
    assert heard == told
    await cluster.api.update(
        DEPLOYMENTS, made | {"spec": made["spec"] | {"replicas": 3}}, options=options
    )
    assert heard == told


async def test_what_is_noted_as_last_applied_is_what_was_sent(cluster: Bench) -> None:
    note = "kubectl.kubernetes.io/last-applied-configuration"
    await cluster.create(CONFIG_MAPS, "a", data={"x": "1"}, meta={"annotations": {note: "{}"}})
    sent = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "2"}}
    made = await cluster.api.patch(
        CONFIG_MAPS,
        "a",
        sent,
        "default",
        patch_type=PatchType.APPLY,
        options=WriteOptions(field_manager="kubectl", force=True),
    )
    assert json.loads(made["metadata"]["annotations"][note]) == sent
    fresh = await cluster.api.patch(
        CONFIG_MAPS,
        "b",
        sent | {"metadata": {"name": "b"}},
        "default",
        patch_type=PatchType.APPLY,
        options=WriteOptions(field_manager="kubectl"),
    )
    assert fresh["metadata"]["namespace"] == "default"


@pytest.mark.parametrize("sent", [[], [{}]])
async def test_who_owns_fields_is_forgotten_when_a_client_says_so(
    cluster: Bench, sent: list[Obj]
) -> None:
    made = await cluster.create(CONFIG_MAPS, "a", data={"x": "1"})
    assert made["metadata"]["managedFields"]
    bare = await cluster.put(CONFIG_MAPS, made, metadata=made["metadata"] | {"managedFields": sent})
    assert "managedFields" not in bare["metadata"]
    assert int(bare["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


async def test_a_daemon_set_counts_its_templates_whatever_clients_say(cluster: Bench) -> None:
    name = "deprecated.daemonset.template.generation"
    daemon_sets = builtin("daemonsets", "apps")
    labels = {"app": "a"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "a", "image": "b"}]},
    }
    spec = {"selector": {"matchLabels": labels}, "template": template}
    made = await cluster.create(daemon_sets, "d", spec=spec)
    assert made["metadata"]["annotations"] == {name: "1"}
    bare = {k: v for k, v in made["metadata"].items() if k != "annotations"}
    kept = await cluster.put(daemon_sets, made, metadata=bare)
    assert kept == made
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "c"}]}}}}
    changed = await cluster.api.patch(daemon_sets, "d", patch, "default")
    assert changed["metadata"]["annotations"] == {name: "2"}
    begun = await cluster.create(daemon_sets, "e", spec=spec, meta={"annotations": {name: "7"}})
    assert begun["metadata"]["annotations"] == {name: "7"}
