"""The same objects end the same way on a real cluster and with our controllers.

The real one is 1.20; what later versions do differently is named below, and nothing else may
differ.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from kindling.cluster.controllers.bootstrap import bootstrap
from kindling.cluster.controllers.kinds import (
    CLAIMS,
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINTS,
    EVENTS,
    JOBS,
    PODS,
    REPLICA_SETS,
    SERVICES,
    STATEFUL_SETS,
)
from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import ResourceType
from tests.cluster.controllers.bed import Bed

pytestmark = pytest.mark.cluster

COMPARED = (
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    DAEMON_SETS,
    JOBS,
    CONTROLLER_REVISIONS,
    CLAIMS,
    PODS,
    ENDPOINTS,
)
LATER = {
    "labels": {
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-name",
        "pod-template-generation",  # from the annotation below
    },
    "annotations": {
        "volume.kubernetes.io/storage-provisioner",
        # The API server's, out of a field that apps/v1 has no more; ours does without.
        "deprecated.daemonset.template.generation",
    },
    "status": {"ready", "terminating", "uncountedTerminatedPods"},
    "conditions": {"SuccessCriteriaMet"},
}
TOLD_BY = {
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemonset-controller",
    "job-controller",
}


def container(*command: str) -> Obj:
    return {"name": "main", "image": "busybox:1.36", "command": list(command)}


def template(app: str, *command: str, **spec: Any) -> Obj:
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container(*command)], **spec}
    return {"metadata": {"labels": {"app": app}}, "spec": spec}


def obj(version: str, kind: str, name: str, **spec: Any) -> Obj:
    meta = {"name": name, "labels": {"own": "yes"}, "annotations": {"note": "kept"}}
    return {"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec}


def manifests() -> list[tuple[ResourceType, Obj]]:
    def select(app: str) -> Obj:
        return {"matchLabels": {"app": app}}

    sleep = ("sleep", "3600")
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}},
        },
    }
    ports = [{"name": "web", "port": 80, "targetPort": 8080}]
    return [
        (
            SERVICES,
            obj("v1", "Service", "db", clusterIP="None", selector={"app": "db"}, ports=ports),
        ),
        (
            DEPLOYMENTS,
            obj("apps/v1", "Deployment", "web", replicas=2, selector=select("web"),
                template=template("web", *sleep)),
        ),
        (
            STATEFUL_SETS,
            obj("apps/v1", "StatefulSet", "db", replicas=2, serviceName="db", selector=select("db"),
                template=template("db", *sleep), volumeClaimTemplates=[claim]),
        ),
        (
            DAEMON_SETS,
            obj("apps/v1", "DaemonSet", "agent", selector=select("agent"),
                template=template("agent", *sleep)),
        ),
        (
            JOBS,
            obj("batch/v1", "Job", "work", backoffLimit=2,
                template=template("work", "true", restartPolicy="Never")),
        ),
    ]  # fmt: skip


def normal(value: Any, names: dict[str, str]) -> Any:
    """A value without what is random in it."""
    if isinstance(value, dict):
        return {normal(key, names): normal(inner, names) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [normal(inner, names) for inner in value]
    if not isinstance(value, str):
        return value
    for found, stands_for in names.items():
        value = value.replace(found, stands_for)
    value = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "UID", value)
    value = re.sub(r"\b(web)-[a-z0-9]{8,10}-[a-z0-9]{5}\b", r"\1-HASH-POD", value)
    value = re.sub(r"\b(web|db|agent)-[a-z0-9]{8,10}\b", r"\1-HASH", value)
    return re.sub(r"\b(agent|work)-[a-z0-9]{5}\b", r"\1-POD", value)


def picture(found: Obj, names: dict[str, str]) -> Obj:
    """What of an object its controllers have decided."""
    meta = found["metadata"]
    status = found.get("status") or {}
    labels = {
        key: "HASH" if key.endswith("hash") and "-" not in value else value
        for key, value in (meta.get("labels") or {}).items()
        if key not in LATER["labels"]
    }
    kept = {
        "name": meta["name"],
        "labels": labels,
        "annotations": sorted(set(meta.get("annotations") or {}) - LATER["annotations"]),
        "owners": meta.get("ownerReferences"),
    }
    if found["kind"] != "Pod":
        kept["status"] = {
            key: value
            for key, value in status.items()
            if (isinstance(value, int | str))
            and key not in LATER["status"]
            and (found["kind"], key) != ("StatefulSet", "availableReplicas")
            and not key.endswith("Time")
        }
        kept["conditions"] = sorted(
            (one["type"], one["status"], one.get("reason", ""), one.get("message", ""))
            for one in status.get("conditions") or ()
            if one["type"] not in LATER["conditions"] and found["kind"] != "Job"
        )
    else:
        spec = found["spec"]
        kept["spec"] = {key: spec.get(key) for key in ("hostname", "subdomain")}
        place = (spec.get("affinity") or {}).get("nodeAffinity")
        kept["pinned"] = place is not None and spec["nodeName"] in json.dumps(place)
    if found["kind"] == "ControllerRevision":
        kept["revision"] = found["revision"]
        kept["data"] = sorted(found["data"]["spec"]["template"])
    if found["kind"] == "Endpoints":
        kept["subsets"] = [
            [(one.get("hostname"), one["targetRef"]["name"]) for one in subset["addresses"]]
            for subset in found.get("subsets") or ()
        ]
        kept["ports"] = [subset["ports"] for subset in found.get("subsets") or ()]
    result: Obj = normal(kept, names)
    return result


def told(events: list[Obj], names: dict[str, str]) -> list[tuple[str, str, str]]:
    """What the controllers said, each thing once."""
    found = {
        (
            event["source"].get("component", ""),
            event["reason"],
            # 1.20 did not say from how many.
            normal(re.sub(r" from \d+ to", " to", event["message"]), names),
        )
        for event in events
        if (event.get("source") or {}).get("component") in TOLD_BY
    }
    return sorted(found)


def kubectl(*words: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        ["kubectl", *words], input=stdin, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def namespace() -> Iterator[str]:
    if shutil.which("kubectl") is None:
        pytest.skip("there is no `kubectl` program")
    name = f"controllers-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def on_the_cluster(namespace: str) -> tuple[dict[str, list[Obj]], list[tuple[str, str, str]]]:
    items = [made for _, made in manifests()]
    listing = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    kubectl("create", "-n", namespace, "-f", "-", stdin=listing)
    limit = "--timeout=90s"
    for what in ("deployment/web", "statefulset/db", "daemonset/agent"):
        kubectl("rollout", "status", "-n", namespace, what, limit)
    kubectl("wait", "-n", namespace, "--for=condition=complete", "job/work", limit)
    # A second revision, and back.
    for image in ("docker.io/library/busybox:1.36", "busybox:1.36"):
        kubectl("set", "image", "-n", namespace, "deployment/web", f"main={image}")
        kubectl("rollout", "status", "-n", namespace, "deployment/web", limit)
    names = {namespace: "SPACE"}
    node = kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    names[node] = "NODE"
    found: dict[str, list[Obj]] = {}
    for resource in COMPARED:
        text = kubectl("get", "-n", namespace, resource.plural, "-o", "json")
        found[resource.plural] = [picture(one, names) for one in json.loads(text)["items"]]
    events = json.loads(kubectl("get", "-n", namespace, "events", "-o", "json"))["items"]
    return found, told(events, names)


async def with_ours(bed: Bed) -> tuple[dict[str, list[Obj]], list[tuple[str, str, str]]]:
    await bootstrap(bed.api)
    bed.node.verdict = lambda pod: (
        "succeeded" if pod["metadata"]["labels"]["app"] == "work" else "ready"
    )
    for resource, made in manifests():
        made["metadata"]["namespace"] = "default"
        await bed.create(resource, made)
    for image in ("docker.io/library/busybox:1.36", "busybox:1.36"):
        changed = template("web", "sleep", "3600")
        changed["spec"]["containers"][0]["image"] = image
        await bed.patch(DEPLOYMENTS, "web", {"spec": {"template": changed}})
    names = {"default/": "SPACE/"}
    found = {
        resource.plural: [picture(one, names) for one in bed.all(resource)] for resource in COMPARED
    }
    return found, told(bed.all(EVENTS), names)


async def test_controllers_leave_what_real_ones_leave(bed: Bed, namespace: str) -> None:
    theirs, they_told = await asyncio.to_thread(on_the_cluster, namespace)
    ours, we_told = await with_ours(bed)
    for plural, real in theirs.items():
        for one in (real, ours[plural]):
            one.sort(key=lambda found: json.dumps(found, sort_keys=True))
    assert ours == theirs
    assert we_told == they_told
