"""Pods, and the templates of pods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["default_claim_spec", "default_pod", "default_pod_spec", "default_template"]

_LISTS = ("initContainers", "containers", "ephemeralContainers")
_SOURCES = ("configMap", "downwardAPI", "projected", "secret")


def default_template(owner: dict[str, Any]) -> None:
    """The `template` of a workload's spec."""
    template = owner.setdefault("template", {})
    default_pod_spec(template.setdefault("spec", {}))


def default_pod(pod: dict[str, Any]) -> None:
    """A pod itself. Requests follow limits here alone, not in templates."""
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    for container in _containers(spec, ("initContainers", "containers")):
        resources = container["resources"]
        if resources.get("limits"):
            resources["requests"] = resources["limits"] | resources.get("requests", {})
    pod.setdefault("status", {}).setdefault("phase", "Pending")


def default_pod_spec(spec: dict[str, Any]) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    # The older name of the account is kept in step for clients that know no other.
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in _containers(spec, _LISTS):
        _container(container, host_network=spec.get("hostNetwork") is True)
    for volume in spec.get("volumes", ()):
        _volume(volume)
    for constraint in spec.get("topologySpreadConstraints", ()):
        constraint.setdefault("nodeAffinityPolicy", "Honor")
        constraint.setdefault("nodeTaintsPolicy", "Ignore")


def _containers(spec: dict[str, Any], names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for name in names:
        yield from spec.get(name, ())


def _container(container: dict[str, Any], *, host_network: bool) -> None:
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", pull_policy(container.get("image", "")))
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
        if host_network and "containerPort" in port:
            port.setdefault("hostPort", port["containerPort"])
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            _probe(container[name])
    for hook in container.get("lifecycle", {}).values():
        if isinstance(hook, dict) and "httpGet" in hook:
            _http_get(hook["httpGet"])
    for variable in container.get("env", ()):
        _field_reference(variable.get("valueFrom", {}))


def pull_policy(image: str) -> str:
    """`Always` for the tag `latest`, which an image without tag and digest has."""
    if "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _probe(probe: dict[str, Any]) -> None:
    probe.setdefault("timeoutSeconds", 1)
    probe.setdefault("periodSeconds", 10)
    probe.setdefault("successThreshold", 1)
    probe.setdefault("failureThreshold", 3)
    if "httpGet" in probe:
        _http_get(probe["httpGet"])
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")


def _http_get(action: dict[str, Any]) -> None:
    action.setdefault("path", "/")
    action.setdefault("scheme", "HTTP")


def _field_reference(source: dict[str, Any]) -> None:
    if "fieldRef" in source:
        source["fieldRef"].setdefault("apiVersion", "v1")
    if "resourceFieldRef" in source:
        source["resourceFieldRef"].setdefault("divisor", "0")


def _volume(volume: dict[str, Any]) -> None:
    if not volume.keys() - {"name"}:
        volume["emptyDir"] = {}
    for name in _SOURCES:
        if name in volume:
            volume[name].setdefault("defaultMode", 0o644)
    for item in volume.get("downwardAPI", {}).get("items", ()):
        _field_reference(item)
    for source in volume.get("projected", {}).get("sources", ()):
        for item in source.get("downwardAPI", {}).get("items", ()):
            _field_reference(item)
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    if "image" in volume:
        volume["image"].setdefault("pullPolicy", pull_policy(volume["image"].get("reference", "")))
    if "ephemeral" in volume:
        template = volume["ephemeral"].get("volumeClaimTemplate", {})
        template.setdefault("metadata", {})
        default_claim_spec(template.setdefault("spec", {}))
    for name, filled in _VENDOR_DEFAULTS.items():
        if name in volume:
            for field, value in filled.items():
                volume[name].setdefault(field, value)


_VENDOR_DEFAULTS: dict[str, dict[str, Any]] = {
    "azureDisk": {
        "cachingMode": "ReadWrite",
        "fsType": "ext4",
        "kind": "Shared",
        "readOnly": False,
    },
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"keyring": "/etc/ceph/keyring", "pool": "rbd", "user": "admin"},
    "scaleIO": {"fsType": "xfs", "storageMode": "ThinProvisioned"},
}


def default_claim_spec(spec: dict[str, Any]) -> None:
    """The spec of a PersistentVolumeClaim, or of a template of them."""
    spec.setdefault("resources", {})
    spec.setdefault("volumeMode", "Filesystem")
    # The two say the same, and each is filled in from the other.
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source and not reference:
        spec["dataSourceRef"] = dict(source)
    elif reference and not source and not reference.get("namespace"):
        spec["dataSource"] = dict(reference)
