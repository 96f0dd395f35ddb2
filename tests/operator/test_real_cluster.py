"""A real API server takes the definitions, upstream's manifests, and the children.

The one that stands for reference is a 1.20: it looks at no rule in the expression language, and has
no gRPC probes.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from kindling.kube.client import connect
from kindling.operator.containers import wait_for
from kindling.operator.controller.definitions import install_definitions
from kindling.operator.credentials import Known
from kindling.operator.desired import desired
from kindling.operator.pools.desired import Agent, desired_pool
from tests.operator.controller.place import own_context
from tests.operator.manifests import POOLS, UPSTREAM, Obj, definitions, documents, environment

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl"),
]


def kubectl(*args: str, objects: list[Obj] | None = None, fails: bool = False) -> str:
    """As JSON: in YAML, a hash such as `12e4` is a number to some."""
    given = {"apiVersion": "v1", "kind": "List", "items": objects}
    done = subprocess.run(
        ["kubectl", *args],
        input=None if objects is None else json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stderr if fails else done.stdout


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A namespace in a cluster that knows our kinds. They stay: other tests use them meanwhile."""
    name = f"operator-{uuid.uuid4().hex[:8]}"
    asyncio.run(_teach())
    try:
        kubectl("create", "namespace", name)
        yield name
    finally:
        kubectl("delete", "--ignore-not-found", "namespace", name)


async def _teach() -> None:
    cluster = await connect(own_context(), os.environ)
    try:
        await install_definitions(cluster)
    finally:
        await cluster.close()


def test_the_definitions_are_structural(namespace: str) -> None:
    assert namespace
    for one in definitions():
        live = json.loads(kubectl("get", "crd", one["metadata"]["name"], "-o", "json"))
        told = {row["type"]: row["status"] for row in live["status"]["conditions"]}
        assert told["NamesAccepted"] == "True"
        assert "NonStructuralSchema" not in told


def test_manifests_of_upstream_apply_unchanged(namespace: str) -> None:
    """With short names and columns."""
    objects = documents(UPSTREAM) + documents(POOLS)
    for one in objects:
        if one["spec"].get("ciProvider") == "":
            del one["spec"]["ciProvider"]  # this server takes any empty text for null
    kubectl("apply", "-n", namespace, "-f", "-", objects=objects)
    table = kubectl("get", "dse", "-n", namespace)
    assert table.split()[:6] == ["NAME", "IMAGE", "REPLICAS", "AVAILABLE", "READY", "AGE"]
    live = json.loads(kubectl("get", "dse", "everything", "-n", namespace, "-o", "json"))
    for dependency, given in zip(
        live["spec"]["dependencies"], documents(UPSTREAM)[1]["spec"]["dependencies"], strict=True
    ):
        assert dependency == given
    assert len(kubectl("get", "cirp,garp", "-n", namespace, "-o", "name").split()) == 3


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"service": {"port": 0}}, "spec.service.port"),
        ({"dependencies": [{"type": "oracle"}]}, "spec.dependencies[0].type"),
        ({"dependencies": [{"type": "redis", "storageSize": "big"}]}, "storageSize"),
        ({"deployment": {"image": "", "port": 1}}, "spec.deployment.image"),
    ],
)
def test_bad_values_are_refused_by_their_path(namespace: str, change: Obj, field: str) -> None:
    """Row 20."""
    obj = environment(namespace=namespace, **change)
    told = kubectl("apply", "--validate=false", "-f", "-", objects=[obj], fails=True)
    assert field in told.replace("dependencies.type", "dependencies[0].type")


def test_every_child_is_taken(namespace: str) -> None:
    """By server-side apply, as the controller will write them."""
    objects: list[Any] = []
    for obj in documents(UPSTREAM):
        placed = obj | {"metadata": obj["metadata"] | {"namespace": namespace}}
        placed["spec"]["deployment"].get("healthCheck", {}).update(type="tcp")
        made = desired(placed, Known(), lambda size: b"\x01" * size)
        assert made.problems == ()
        objects.extend(made.objects)
    for obj in documents(POOLS):
        placed = obj | {"metadata": obj["metadata"] | {"namespace": namespace}}
        made = desired_pool(placed, ("github-token", "gitlab-token"), Agent("a:1", ("agent",)))
        assert made.problems == ()
        objects.extend(made.objects)
    assert len(objects) > 60
    args = ("--server-side", "--dry-run=server", "--field-manager=kindling", "-f", "-")
    done = kubectl("apply", *args, objects=objects)
    assert len(done.splitlines()) == len(objects)


def test_a_wait_ends_when_the_port_opens_or_time_is_up(namespace: str) -> None:
    """Row 30: with the reason as the container's last word."""
    name = "kubernetes.default.svc"
    waits = [wait_for("open", name, 443), wait_for("closed", name, 444)]
    for one in waits[1:]:
        one["env"][2]["value"] = "1"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "waits", "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "containers": [one | {"imagePullPolicy": "IfNotPresent"} for one in waits],
        },
    }
    kubectl("apply", "-f", "-", objects=[pod])
    path = "jsonpath={.status.phase}"
    kubectl("wait", "-n", namespace, "pod/waits", f"--for={path}=Failed", "--timeout=90s")
    live = json.loads(kubectl("get", "pod", "waits", "-n", namespace, "-o", "json"))
    ends = {one["name"]: one["state"]["terminated"] for one in live["status"]["containerStatuses"]}
    assert ends["wait-for-open"]["exitCode"] == 0
    assert ends["wait-for-closed"]["exitCode"] == 1
    assert ends["wait-for-closed"]["message"].strip() == f"{name}:444 did not open within 1 s"
