"""The ConfigMap of a session: the agent for its pods, and a copy of the record for other machines.

It is made after the record on disk and before the patch, belongs to the workload (so that it never
outlives it), and goes when all is put back. Its annotation `kindling.dev/renewed` is written once a
minute: how other machines see that a session lives.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from kindling.errors import UsageError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import AlreadyExistsError, ForbiddenError, NotFoundError
from kindling.kube.protocol import Cluster, Object
from kindling.objects.inject import OWNER_LABEL
from kindling.sync.workload.records import Record

__all__ = [
    "AGENT_KEY",
    "CONFIG_MAP_PREFIX",
    "MANAGER",
    "RENEWED_ANNOTATION",
    "NotAllowedError",
    "architecture_of",
    "config_map",
    "find_record",
    "kubernetes_name",
    "moment",
    "needs",
    "put_config_map",
    "renewed",
    "session_config_map",
]

MANAGER = "kindling-sync"
"""The field manager of all that a session writes."""

AGENT_KEY = "agent"
CONFIG_MAP_PREFIX = "kindling-sync-"
"""What the ConfigMap of a session is called; the session's name follows."""

RENEWED_ANNOTATION = "kindling.dev/renewed"
_RECORD_KEY = "record"
_ARCHITECTURES: Mapping[str, str] = {"amd64": "x86_64", "arm64": "aarch64"}
_NAMES = {machine: name for name, machine in _ARCHITECTURES.items()}
_SELECTOR = "kubernetes.io/arch"


def session_config_map(session: str, namespace: str) -> ObjectRef:
    """The ConfigMap of a session."""
    return ObjectRef("v1", "ConfigMap", f"{CONFIG_MAP_PREFIX}{session}", namespace)


def config_map(
    record: Record, agent: bytes = b"", *, now: float, project: str = ""
) -> dict[str, Any]:
    """The manifest. Without an `agent` it holds the record alone."""
    ref = session_config_map(record.session, record.ref.namespace)
    labels = {"app.kubernetes.io/managed-by": "kindling"}
    if project:
        labels[OWNER_LABEL] = project
    kept = record.recorded
    manifest: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            "labels": labels,
            "annotations": {RENEWED_ANNOTATION: moment(now)},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": kept.kind, "name": kept.name, "uid": kept.uid}
            ],
        },
        "data": {_RECORD_KEY: record.to_json()},
    }
    if agent:
        manifest["binaryData"] = {AGENT_KEY: base64.b64encode(agent).decode("ascii")}
    return manifest


async def put_config_map(cluster: Cluster, manifest: Mapping[str, Any]) -> None:
    """Create it, or bring what is there up to date.

    Raises:
        ForbiddenError: The message says what a session needs.
        ClusterError: The API server refused it or did not answer.
    """
    metadata = manifest["metadata"]
    ref = ObjectRef("v1", "ConfigMap", metadata["name"], metadata["namespace"])
    try:
        try:
            await cluster.create(manifest, manager=MANAGER)
        except AlreadyExistsError:
            await cluster.patch(ref, manifest, manager=MANAGER)
    except ForbiddenError as error:
        raise needs(ref.namespace, error) from error


class NotAllowedError(ForbiddenError):
    """What a session may not do, with all that it needs."""


def needs(namespace: str, error: ForbiddenError, *, kept: bool = False) -> NotAllowedError:
    """One message for whatever a session is not allowed to do. `kept`: there is still something to
    be put back."""
    if isinstance(error, NotAllowedError):
        return error
    return NotAllowedError(
        f"A sync session is not allowed in namespace `{namespace}`: {error.message}",
        details=[
            *error.details,
            "It needs get, list, watch and patch of Deployments, StatefulSets and ReplicaSets,",
            "get, list, watch and delete of Pods with pods/exec, and get, create, patch and",
            "delete of ConfigMaps.",
        ],
        hint="Ask for the role `edit` in that namespace. "
        + ("`kindling sync --restore` puts back what is left." if kept else "Nothing is changed."),
    )


async def find_record(cluster: Cluster, session: str, namespace: str) -> Record | None:
    """The record of a session as its ConfigMap has it; None where there is none to read.

    Whoever may write a ConfigMap may have written this one: it speaks for its own session and its
    own namespace alone.
    """
    try:
        found = await cluster.get(session_config_map(session, namespace))
        record = Record.from_json(str((found.get("data") or {}).get(_RECORD_KEY, "")))
    except (NotFoundError, ForbiddenError, ValueError):
        return None
    ours = record.session == session and record.ref.namespace == namespace
    return record if ours else None


async def renewed(cluster: Cluster, session: str, namespace: str) -> float | None:
    """When the session was last heard of, in seconds of the epoch; None where nothing says so."""
    try:
        found = await cluster.get(session_config_map(session, namespace))
    except (NotFoundError, ForbiddenError):
        return None
    text = (found["metadata"].get("annotations") or {}).get(RENEWED_ANNOTATION, "")
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def moment(now: float) -> str:
    """A time as RFC 3339 writes it."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def architecture_of(
    cluster: Cluster,
    platforms: tuple[str, ...],
    template: Mapping[str, Any],
    pods: Callable[[], Any],
    machine: str = "",
) -> tuple[str, bool]:
    """The architecture of the nodes that the pods run on, as the agent has it (`x86_64`), and
    whether the pods must be kept on such nodes since the cluster has others too.

    `platforms` are those of the cluster's nodes, empty where they may not be looked at: then it is
    taken to be the common one. `pods` reads the workload's pods; `machine` is the answer where
    somebody knows it already.

    Raises:
        UsageError: The pods run on nodes for which there is no agent.
    """
    found = sorted({p.rpartition("/")[2] for p in platforms if p.startswith("linux/")})
    chosen = str(((template.get("spec") or {}).get("nodeSelector") or {}).get(_SELECTOR) or "")
    if chosen:
        found = [chosen]
    if machine or not found:
        return machine or "x86_64", len(found) > 1
    if len(found) == 1:
        return _machine(found[0]), False
    here: set[str] = set()
    items: tuple[Object, ...] = await pods()
    for name in sorted({str(pod["spec"].get("nodeName") or "") for pod in items} - {""}):
        try:
            node = await cluster.get(ObjectRef("v1", "Node", name))
        except (NotFoundError, ForbiddenError):
            continue
        info = (node.get("status") or {}).get("nodeInfo") or {}
        here.add(str(info.get("architecture") or ""))
    usable = [name for name in sorted(here or set(found)) if name in _ARCHITECTURES]
    return _machine(usable[0] if usable else sorted(here or set(found))[0]), True


def kubernetes_name(machine: str) -> str:
    """`amd64` of `x86_64`."""
    return _NAMES[machine]


def _machine(architecture: str) -> str:
    try:
        return _ARCHITECTURES[architecture]
    except KeyError:
        raise UsageError(
            f"The pods run on nodes of the architecture `{architecture}`, for which there is no "
            "sync agent",
            hint=f"It is there for {', '.join(_ARCHITECTURES)}. Files can be synced without "
            "`--restart` all the same.",
        ) from None
