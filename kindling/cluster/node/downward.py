"""What a container may ask about its own pod: `fieldRef` and `resourceFieldRef`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from kindling.cluster.model.api import Obj
from kindling.cluster.node.quantity import in_units, quantity

__all__ = ["FieldError", "PodFacts", "field_value", "resource_value"]

_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")


class FieldError(Exception):
    """A field that cannot be given; the text is what the kubelet says."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What the node knows about a pod besides its object."""

    node_name: str
    host_ip: str
    pod_ip: str
    allocatable: Mapping[str, str]
    """What stands in for a limit that is not set: cpu, memory, ephemeral-storage."""


def field_value(pod: Obj, path: str, facts: PodFacts) -> str:
    """The text of a `fieldPath`. Raises `FieldError` for one that is not offered."""
    metadata = pod.get("metadata", {})
    spec = pod.get("spec", {})
    plain: Mapping[str, Callable[[], object]] = {
        "metadata.name": lambda: metadata.get("name", ""),
        "metadata.namespace": lambda: metadata.get("namespace", ""),
        "metadata.uid": lambda: metadata.get("uid", ""),
        "metadata.labels": lambda: _lines(metadata.get("labels") or {}),
        "metadata.annotations": lambda: _lines(metadata.get("annotations") or {}),
        "spec.nodeName": lambda: spec.get("nodeName", facts.node_name),
        "spec.serviceAccountName": lambda: spec.get("serviceAccountName", ""),
        "status.hostIP": lambda: facts.host_ip,
        "status.hostIPs": lambda: facts.host_ip,
        "status.podIP": lambda: facts.pod_ip,
        "status.podIPs": lambda: facts.pod_ip,
    }
    if path in plain:
        return str(plain[path]())
    if found := _KEYED.fullmatch(path):
        return str((metadata.get(found[1]) or {}).get(found[2], ""))
    raise FieldError(f"unsupported fieldPath: {path}")


def _lines(values: Mapping[str, str]) -> str:
    """`key="value"` a line, sorted: the form of the downward API's files."""
    return "\n".join(f"{key}={json.dumps(values[key])}" for key in sorted(values))


def resource_value(pod: Obj, container: Obj, ref: Obj, facts: PodFacts) -> str:
    """The number of a `resourceFieldRef`, in units of its divisor; a limit that is not set is what
    the node has, a request that is not set is the limit, or nothing."""
    spec = pod.get("spec", {})
    if name := ref.get("containerName"):
        every = [*spec.get("containers", ()), *spec.get("initContainers", ())]
        container = next((one for one in every if one.get("name") == name), {})
        if not container:
            raise FieldError(f"container {name} not found")
    kind, _, resource = str(ref.get("resource", "")).partition(".")
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    if kind == "limits":
        value = limits.get(resource) or facts.allocatable.get(resource)
    elif kind == "requests":
        value = requests.get(resource) or limits.get(resource)
    else:
        raise FieldError(f"unsupported container resource : {ref.get('resource')}")
    amount = quantity(value) if value is not None else Decimal(0)
    return str(in_units(amount, ref.get("divisor")))
