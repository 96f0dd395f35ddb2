"""An operator that runs in the cluster, installed by the command line as a user would.

On the embedded cluster it runs from this machine's own files. Elsewhere from the image that
`scripts/image` builds, once for all tests here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Cluster
from kindling.operator.controller.run import holder
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.definitions.environment import KIND
from kindling.operator.install.manifests import INSTALLATION_LABEL, NAME, Installation
from tests.operator.install.conftest import LIMIT, environment, kindling, ready, until
from tests.target import embedded

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]
IMAGE = "kindling-operator-test:1"


@cache
def image() -> tuple[str, ...]:
    """The options that name the image, once the cluster has it."""
    if embedded() is not None:
        return ()
    load = os.environ.get("KINDLING_LOAD_COMMAND", "").split()
    if not load:
        pytest.skip("KINDLING_LOAD_COMMAND does not say how the node gets an image")
    subprocess.run([str(ROOT / "scripts" / "image"), IMAGE], check=True, capture_output=True)
    subprocess.run([*load, IMAGE], check=True, capture_output=True)
    return ("--image", IMAGE)


def run(*args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "kindling", "operator", *args],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_an_operator_in_the_cluster_acts_alone_and_another_takes_its_place(
    cluster: Cluster, ns: str, told: Installation
) -> None:
    """What kubectl applies becomes ready; one in a terminal stands by; when the pod is gone a new
    one goes on, and writes nothing to what did not change; a second install changes nothing."""
    assert told.namespace == ns
    where = ("--namespace", ns, "--only", ns, *image())
    run("install", *where, "--timeout", "300s")
    [first] = await pods(cluster, ns)
    assert await holder(cluster, ns) == f"{ns}/{first}"
    assert run("install", *where).startswith("as it should be: 12 of 12 objects\n")

    ref = ObjectRef(f"{GROUP}/{VERSION}", KIND, "shop", ns)
    await cluster.create(environment(ns))
    await until(cluster, ref, ready)

    async with kindling("operator", "run", "--namespace", ns) as other:
        assert f"{ns}/{first} acts" in await other.said("standing by")
        assert await other.stop() == 0

    versions = await written(cluster, ns)
    await cluster.delete(ObjectRef("v1", "Pod", first, ns))
    lease = ObjectRef("coordination.k8s.io/v1", "Lease", NAME, ns)
    await until(
        cluster,
        lease,
        lambda one: one["spec"].get("holderIdentity") not in ("", None, f"{ns}/{first}"),
    )
    deployment = ObjectRef("apps/v1", "Deployment", NAME, ns)
    await cluster.wait_deleted(ObjectRef("v1", "Pod", first, ns), timeout=LIMIT)
    await until(cluster, deployment, lambda one: one["status"].get("availableReplicas") == 1)
    # It has gone through all there is once it has done something new.
    await cluster.create(environment(ns, "second"))
    await until(cluster, ObjectRef(f"{GROUP}/{VERSION}", KIND, "second", ns), ready)
    assert await written(cluster, ns) == versions

    assert "deleted Deployment/kindling-operator" in run("uninstall", "--namespace", ns)
    assert ready(await cluster.get(ref))


async def pods(cluster: Cluster, namespace: str) -> list[str]:
    labels = ((INSTALLATION_LABEL, namespace),)
    listing = await cluster.list("v1", "Pod", namespace=namespace, labels=labels)
    return [item["metadata"]["name"] for item in listing.items]


async def written(cluster: Cluster, namespace: str) -> dict[str, str]:
    """The versions of the environment `shop` and of its children, as far as they have a status of
    their own only by their generation."""
    head = (await cluster.get(ObjectRef(f"{GROUP}/{VERSION}", KIND, "shop", namespace)))["metadata"]
    found = {"environment": str(head["resourceVersion"])}
    service = await cluster.get(ObjectRef("v1", "Service", "shop", namespace))
    found["service"] = str(service["metadata"]["resourceVersion"])
    deployment = await cluster.get(ObjectRef("apps/v1", "Deployment", "shop", namespace))
    found["deployment"] = str(deployment["metadata"]["generation"])
    return found
