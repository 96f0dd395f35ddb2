"""Volumes, claims, storage classes; secrets, limits and the other small kinds of the core group."""

from __future__ import annotations

import base64
from typing import Any

from kindling.cluster.schema.defaults.pods import default_claim_spec

__all__ = [
    "default_claim",
    "default_csi_driver",
    "default_limit_range",
    "default_namespace",
    "default_node",
    "default_secret",
    "default_storage_class",
    "default_volume",
]


def default_volume(obj: dict[str, Any]) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    if "hostPath" in spec:
        spec["hostPath"].setdefault("type", "")
    if "iscsi" in spec:
        spec["iscsi"].setdefault("iscsiInterface", "default")
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def default_claim(obj: dict[str, Any]) -> None:
    default_claim_spec(obj.setdefault("spec", {}))
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def default_storage_class(obj: dict[str, Any]) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def default_csi_driver(obj: dict[str, Any]) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("attachRequired", True)
    spec.setdefault("podInfoOnMount", False)
    spec.setdefault("storageCapacity", False)
    spec.setdefault("fsGroupPolicy", "ReadWriteOnceWithFSType")
    spec.setdefault("volumeLifecycleModes", ["Persistent"])
    spec.setdefault("requiresRepublish", False)
    spec.setdefault("seLinuxMount", False)


def default_secret(obj: dict[str, Any]) -> None:
    """`stringData` is a way in, never stored: it wins over `data`."""
    obj.setdefault("type", "Opaque")
    if plain := obj.pop("stringData", None):
        data = obj.setdefault("data", {})
        for key, text in plain.items():
            data[key] = base64.b64encode(text.encode()).decode()


def default_namespace(obj: dict[str, Any]) -> None:
    metadata = obj.setdefault("metadata", {})
    if metadata.get("name"):
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]
    obj.setdefault("spec", {})
    obj.setdefault("status", {}).setdefault("phase", "Active")


def default_node(obj: dict[str, Any]) -> None:
    obj.setdefault("spec", {})
    status = obj.setdefault("status", {})
    if "capacity" in status:
        status.setdefault("allocatable", dict(status["capacity"]))
    status.setdefault("daemonEndpoints", {}).setdefault("kubeletEndpoint", {"Port": 0})
    info = status.setdefault("nodeInfo", {})
    for name in (
        "architecture",
        "bootID",
        "containerRuntimeVersion",
        "kernelVersion",
        "kubeProxyVersion",
        "kubeletVersion",
        "machineID",
        "operatingSystem",
        "osImage",
        "systemUUID",
    ):
        info.setdefault(name, "")


def default_limit_range(obj: dict[str, Any]) -> None:
    for limit in obj.get("spec", {}).get("limits", ()):
        if limit.get("type") != "Container":
            continue
        limits = limit.get("max", {}) | limit.get("default", {})
        requests = limit.get("min", {}) | limits | limit.get("defaultRequest", {})
        if limits:
            limit["default"] = limits
        if requests:
            limit["defaultRequest"] = requests
