"""Manifests of requests are applied as they stand, and mistakes in them are named."""

from __future__ import annotations

import json

import pytest

from kindling.agent.applying import MANAGER, apply_manifests, read_manifests
from kindling.agent.orders import RefusedError
from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ForbiddenError
from kindling.kube.protocol import FIELD_MANAGER
from kindling.testing.cluster import FakeCluster

GROUP = "apps.example.com/v1alpha1"
DSE = f"""\
apiVersion: {GROUP}
kind: DevStagingEnvironment
metadata:
  name: jeff-api
spec:
  deployment: {{image: "registry:5000/api:jeff-abc", port: 8080}}
"""


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster(namespace="ci")
    made.add_kind(GROUP, "DevStagingEnvironment")
    return made


async def test_row_46_an_environment_is_created_changed_and_left_alone(
    cluster: FakeCluster,
) -> None:
    said: list[str] = []
    for text in (DSE, DSE, DSE.replace("8080", "9090")):
        assert await apply_manifests(text, cluster, said.append) == 0
    name = "devstagingenvironment/jeff-api"
    assert said == [f"{name} created", f"{name} unchanged", f"{name} configured"]
    [live] = cluster.objects("DevStagingEnvironment")
    assert live["metadata"]["namespace"] == "ci"
    assert live["spec"]["deployment"]["port"] == 9090


async def test_the_job_wins_over_who_wrote_before(cluster: FakeCluster) -> None:
    other = json.loads(json.dumps(read_manifests(DSE)[0]))
    other["spec"]["deployment"]["port"] = 1
    other["metadata"]["namespace"] = "ci"
    await cluster.apply(other, manager=FIELD_MANAGER)
    assert MANAGER != FIELD_MANAGER
    await apply_manifests(DSE, cluster, lambda _: None)
    live = await cluster.get(ObjectRef(GROUP, "DevStagingEnvironment", "jeff-api", "ci"))
    assert live["spec"]["deployment"]["port"] == 8080


async def test_several_documents_and_lists_are_applied_in_order(cluster: FakeCluster) -> None:
    more = {"apiVersion": "v1", "kind": "List", "items": [json.loads(json.dumps(MAP))]}
    said: list[str] = []
    await apply_manifests(f"---\n---\n{DSE}---\n{json.dumps(more)}", cluster, said.append)
    assert said == ["devstagingenvironment/jeff-api created", "configmap/a created"]


MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no object"),
        ("---\n", "no object"),
        ("a: [", "line [12]:"),
        ("a: !!python/object/apply:os.system [id]", "no valid YAML"),
        ("- a\n", "document 1"),
        (f"{DSE}---\nkind: X\nmetadata: {{name: a}}\n", r"document 2 .* `apiVersion`"),
        ("apiVersion: v1\nmetadata: {name: a}\n", "`kind`"),
        ("apiVersion: v1\nkind: ConfigMap\n", r"`metadata\.name`"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a}\n", r"`metadata\.name`"),
    ],
)
def test_a_manifest_that_is_none_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(RefusedError, match=told):
        read_manifests(text)


async def test_what_the_agent_may_not_apply_is_explained(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise ForbiddenError("Cannot read ConfigMap/a: forbidden")

    monkeypatch.setattr(cluster, "get", refuse)
    with pytest.raises(ClusterError) as refused:
        await apply_manifests(json.dumps(MAP), cluster, lambda _: None)
    assert "DevStagingEnvironments in its own namespace" in refused.value.hint
