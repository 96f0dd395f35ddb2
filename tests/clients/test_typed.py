"""The typed client of the `kubernetes` package: verbs, patches, pages, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.packages import ApiException, client, utils, watch

pytestmark = pytest.mark.cluster
Fresh = Callable[[str], str]


def deployment(name: str) -> Any:
    labels = {"app": name}
    container = client.V1Container(
        name="main",
        image="busybox:1.36",
        env=[client.V1EnvVar(name="A", value="1")],
        resources=client.V1ResourceRequirements(requests={"cpu": "100m", "memory": "64Mi"}),
    )
    return client.V1Deployment(
        metadata=client.V1ObjectMeta(name=name, labels=labels),
        spec=client.V1DeploymentSpec(
            replicas=0,
            selector=client.V1LabelSelector(match_labels=labels),
            template=client.V1PodTemplateSpec(
                metadata=client.V1ObjectMeta(labels=labels),
                spec=client.V1PodSpec(containers=[container]),
            ),
        ),
    )


def _is_settled(item: Any) -> bool:
    kinds = {condition.type for condition in item.status.conditions or []}
    return item.status.observed_generation == 1 and {"Available", "Progressing"} <= kinds


def test_objects_come_back_as_models_with_the_servers_defaults(
    api: Any, namespace: str, fresh: Fresh
) -> None:
    apps, name = client.AppsV1Api(api), fresh("web")
    made = apps.create_namespaced_deployment(namespace, deployment(name))
    assert made.metadata.uid
    assert made.metadata.creation_timestamp.tzinfo is not None
    assert made.metadata.generation == 1
    assert made.spec.strategy.rolling_update.max_surge == "25%"
    assert made.spec.revision_history_limit == 10
    template = made.spec.template.spec
    assert (template.dns_policy, template.restart_policy) == ("ClusterFirst", "Always")
    assert template.containers[0].image_pull_policy == "IfNotPresent"
    assert template.containers[0].resources.requests == {"cpu": "100m", "memory": "64Mi"}
    read = apps.read_namespaced_deployment(name, namespace)
    assert (read.api_version, read.kind) == ("apps/v1", "Deployment")
    assert read.spec == made.spec
    gone = apps.delete_namespaced_deployment(name, namespace)
    assert (gone["status"], gone["details"]["name"]) == ("Success", name)


def test_a_model_that_was_read_can_be_written_back(api: Any, namespace: str, fresh: Fresh) -> None:
    apps, name = client.AppsV1Api(api), fresh("web")
    apps.create_namespaced_deployment(namespace, deployment(name))
    watcher = watch.Watch()
    for event in watcher.stream(apps.list_namespaced_deployment, namespace, timeout_seconds=30):
        read = event["object"]
        if read.metadata.name == name and _is_settled(read):
            watcher.stop()  # nobody writes to it any more
    read = apps.read_namespaced_deployment(name, namespace)
    read.spec.template.spec.containers[0].env.append(client.V1EnvVar(name="B", value="2"))
    written = apps.replace_namespaced_deployment(name, namespace, read)
    assert [item.name for item in written.spec.template.spec.containers[0].env] == ["A", "B"]
    assert written.metadata.generation == 2
    with pytest.raises(ApiException) as caught:
        apps.replace_namespaced_deployment(name, namespace, read)
    assert (caught.value.status, caught.value.reason) == (409, "Conflict")
    status = json.loads(caught.value.body)
    assert (status["kind"], status["reason"]) == ("Status", "Conflict")
    assert "the object has been modified" in status["message"]


def test_the_scale_of_a_deployment_is_an_object_of_its_own(
    api: Any, namespace: str, fresh: Fresh
) -> None:
    apps, name = client.AppsV1Api(api), fresh("web")
    apps.create_namespaced_deployment(namespace, deployment(name))
    scale = apps.read_namespaced_deployment_scale(name, namespace)
    assert (scale.kind, scale.spec.replicas) == ("Scale", None)  # as zero is written
    assert scale.status.selector == f"app={name}"
    paused = {"spec": {"template": {"spec": {"nodeSelector": {"kindling.dev/none": "such"}}}}}
    apps.patch_namespaced_deployment(name, namespace, paused)
    patched = apps.patch_namespaced_deployment_scale(name, namespace, {"spec": {"replicas": 2}})
    assert patched.spec.replicas == 2
    assert apps.read_namespaced_deployment(name, namespace).spec.replicas == 2
    apps.delete_namespaced_deployment(name, namespace)


@pytest.mark.parametrize(
    ("content_type", "body", "names"),
    [
        (
            "application/json-patch+json",
            [{"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": 0}],
            ["A", "B"],
        ),
        ("application/strategic-merge-patch+json", None, ["B", "A"]),
        ("application/merge-patch+json", None, ["B"]),
    ],
)
def test_each_kind_of_patch_does_what_its_name_says(
    api: Any, namespace: str, fresh: Fresh, content_type: str, body: Any, names: list[str]
) -> None:
    apps, name = client.AppsV1Api(api), fresh("web")
    apps.create_namespaced_deployment(namespace, deployment(name))
    entry = {"name": "B", "value": "2"}
    if body is None:
        container = {"name": "main", "image": "busybox:1.36", "env": [entry]}
        body = {"spec": {"template": {"spec": {"containers": [container]}}}}
    else:
        body = [{**body[0], "value": entry}]
    patched = apps.patch_namespaced_deployment(name, namespace, body, _content_type=content_type)
    assert [item.name for item in patched.spec.template.spec.containers[0].env] == names


def test_server_side_apply_is_a_patch_with_a_manager(
    core: Any, namespace: str, fresh: Fresh
) -> None:
    name = fresh("map")
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"a": "1"},
    }
    settings = {"field_manager": "one", "_content_type": "application/apply-patch+yaml"}
    made = core.patch_namespaced_config_map(name, namespace, body, **settings)
    (entry,) = made.metadata.managed_fields
    assert (entry.manager, entry.operation) == ("one", "Apply")
    assert entry.fields_v1 == {"f:data": {"f:a": {}}}
    settings["field_manager"] = "two"
    with pytest.raises(ApiException) as caught:
        core.patch_namespaced_config_map(name, namespace, {**body, "data": {"a": "2"}}, **settings)
    assert caught.value.status == 409
    forced = core.patch_namespaced_config_map(
        name, namespace, {**body, "data": {"a": "2"}}, force=True, **settings
    )
    assert forced.data == {"a": "2"}


def test_pages_hold_what_was_there_when_the_first_was_asked_for(
    core: Any, namespace: str, fresh: Fresh
) -> None:
    label = fresh("paged")
    for number in range(7):
        core.create_namespaced_config_map(
            namespace, {"metadata": {"name": f"{label}-{number}", "labels": {"set": label}}}
        )
    seen: list[str] = []
    versions: set[str] = set()
    token: str | None = None
    while True:
        page = core.list_namespaced_config_map(
            namespace, label_selector=f"set={label}", limit=3, _continue=token
        )
        assert len(page.items) <= 3
        seen += [item.metadata.name for item in page.items]
        versions.add(page.metadata.resource_version)
        if token is None:
            core.create_namespaced_config_map(
                namespace, {"metadata": {"name": f"{label}-9", "labels": {"set": label}}}
            )
        token = page.metadata._continue
        if not token:
            break
    assert seen == [f"{label}-{number}" for number in range(7)]
    assert len(versions) == 1


def test_a_page_that_nobody_gave_is_refused(core: Any, namespace: str) -> None:
    with pytest.raises(ApiException) as caught:
        core.list_namespaced_config_map(namespace, limit=3, _continue="nonsense")
    assert caught.value.status == 400
    assert "continue key is not valid" in json.loads(caught.value.body)["message"]


def test_documents_of_a_file_are_made_in_order_and_twice_is_an_error(
    api: Any, core: Any, namespace: str, tmp_path: Path, fresh: Fresh
) -> None:
    name = fresh("file")
    text = "\n---\n".join(
        f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}}}"
        for kind in ("ConfigMap", "Secret", "ServiceAccount")
    )
    path = tmp_path / "all.yaml"
    path.write_text(text, encoding="utf-8")
    made = utils.create_from_yaml(api, str(path), namespace=namespace)
    assert [item.kind for (item,) in made] == ["ConfigMap", "Secret", "ServiceAccount"]
    with pytest.raises(utils.FailToCreateError) as caught:
        utils.create_from_yaml(api, str(path), namespace=namespace)
    assert [error.status for error in caught.value.api_exceptions] == [409, 409, 409]
    assert core.read_namespaced_secret(name, namespace).type == "Opaque"


def test_refusals_name_every_field(core: Any, namespace: str) -> None:
    with pytest.raises(ApiException) as caught:
        core.create_namespaced_service(
            namespace, {"metadata": {"name": "Bad_Name"}, "spec": {"ports": [{"port": 70000}]}}
        )
    assert (caught.value.status, caught.value.reason) == (422, "Unprocessable Entity")
    details = json.loads(caught.value.body)["details"]
    assert {"metadata.name", "spec.ports[0].port"} <= {
        cause["field"] for cause in details["causes"]
    }


def test_a_collection_is_deleted_by_selector(core: Any, namespace: str, fresh: Fresh) -> None:
    label = fresh("group")
    for number in range(3):
        core.create_namespaced_config_map(
            namespace, {"metadata": {"name": f"{label}-{number}", "labels": {"group": label}}}
        )
    core.create_namespaced_config_map(namespace, {"metadata": {"name": f"{label}-kept"}})
    core.delete_collection_namespaced_config_map(namespace, label_selector=f"group={label}")
    left = core.list_namespaced_config_map(namespace).items
    assert [item.metadata.name for item in left if item.metadata.name.startswith(label)] == [
        f"{label}-kept"
    ]


def test_preconditions_and_dry_runs_spare_the_object(
    core: Any, namespace: str, fresh: Fresh
) -> None:
    name = fresh("map")
    core.create_namespaced_config_map(namespace, {"metadata": {"name": name}}, dry_run="All")
    with pytest.raises(ApiException) as caught:
        core.read_namespaced_config_map(name, namespace)
    assert caught.value.status == 404
    core.create_namespaced_config_map(namespace, {"metadata": {"name": name}})
    wrong = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="another"))
    with pytest.raises(ApiException) as caught:
        core.delete_namespaced_config_map(name, namespace, body=wrong)
    assert caught.value.status == 409
    core.delete_namespaced_config_map(name, namespace, dry_run="All")
    assert core.read_namespaced_config_map(name, namespace).metadata.name == name
