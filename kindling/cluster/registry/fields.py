"""The fields that each kind can be selected by, and how their values are read as text.

The lists are those of the API server's own conversion functions (`AddFieldLabelConversionFunc` in
k8s.io/kubernetes `pkg/apis/*/v1/conversion.go`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import bad_request
from kindling.cluster.registry.selectors import FieldSelector, parse_fields

__all__ = ["field_selector"]

_ALWAYS = ("metadata.name", "metadata.namespace")

_SUBJECT = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_EVENT = (
    *(f"involvedObject.{field}" for field in _SUBJECT),
    "reason",
    "reportingComponent",
    "source",
    "type",
)

_EXTRA: Mapping[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "replicationcontrollers": ("status.replicas",),
    "replicasets.apps": ("status.replicas",),
    "jobs.batch": ("status.successful",),
    "events": _EVENT,
    "events.events.k8s.io": (
        *(f"regarding.{field}" for field in _SUBJECT),
        *_EVENT,
        "reportingController",
    ),
}

_OWN_WORDS = frozenset(_EXTRA)
"""Kinds with a list of their own refuse with `field label not supported`, the others with the
general text."""


def field_selector(resource: ResourceType, text: str) -> FieldSelector:
    """The selector, checked against what the resource can be selected by. Raises `ApiError` 400."""
    if not text:
        return FieldSelector()
    selector = parse_fields(text, _value)
    allowed = _EXTRA.get(resource.key, ())
    for path, _, _ in selector.conditions:
        if path in _ALWAYS or path in allowed:
            continue
        if resource.key in _OWN_WORDS:
            raise bad_request(f"field label not supported: {path}")
        if resource.custom:
            raise bad_request(f"field label not supported: {path}")
        raise bad_request(
            f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'
        )
    return selector


def _value(obj: Obj, path: str) -> str:
    """Objects come in the stored version, so events are core ones here."""
    match path:
        case "source":
            return str((obj.get("source") or {}).get("component") or "")
        case "reportingController":
            path = "reportingComponent"
        case "spec.unschedulable" | "spec.hostNetwork":
            return "true" if _walk(obj, path) else "false"
        case "status.successful":
            return str((obj.get("status") or {}).get("succeeded") or 0)
        case "status.replicas":
            return str((obj.get("status") or {}).get("replicas") or 0)
        case "status.podIPs":
            ips = (obj.get("status") or {}).get("podIPs") or []
            return ",".join(str(ip.get("ip", "")) for ip in ips)
    if path.startswith("regarding."):
        path = "involvedObject." + path.removeprefix("regarding.")
    return _walk(obj, path)


def _walk(obj: Obj, path: str) -> str:
    value: Any = obj
    for step in path.split("."):
        if not isinstance(value, dict):
            return ""
        value = value.get(step)
    return "" if value is None or value is False else str(value)
