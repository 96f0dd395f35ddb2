"""One text for all spellings of a pod template, so that two can be compared byte for byte.

What an API server fills in by itself (core/v1 defaults), what a client leaves empty, and the order
of keys are no difference. Templates that came from a server hold quantities in one spelling; here
they are compared as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kindling.objects.identity import Manifest, canonical

__all__ = ["normal", "template_bytes"]

_POD = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "terminationGracePeriodSeconds": 30,
}
_CONTAINER = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_PROBE = {
    "failureThreshold": 3,
    "initialDelaySeconds": 0,
    "periodSeconds": 10,
    "successThreshold": 1,
    "timeoutSeconds": 1,
}
_HTTP = {"path": "/", "scheme": "HTTP"}
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_EMPTY_IS_NONE = frozenset(
    {"annotations", "labels", "limits", "nodeSelector", "requests", "resources", "securityContext"}
)
"""Maps that mean the same when they are empty as when they are absent. Others do not: `emptyDir`,
and a selector that selects everything."""
_SOURCE_MODE = 0o644


def template_bytes(template: Manifest) -> bytes:
    """The text by which templates are compared."""
    return canonical(normal(template)).encode()


def normal(template: Manifest) -> dict[str, Any]:
    """The template without defaults, nulls and empty lists; a new value. Fields that are not known
    here stay."""
    result: dict[str, Any] = _bare(template)
    metadata = result.get("metadata", {})
    metadata.pop("creationTimestamp", None)
    if not metadata:
        result.pop("metadata", None)
    if isinstance(spec := result.get("spec"), dict):
        _pod(spec)
    settled: dict[str, Any] = _settled(result)
    return settled


def _bare(value: Any) -> Any:
    """Without nulls; new containers all the way down."""
    if isinstance(value, Mapping):
        return {key: _bare(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_bare(inner) for inner in value]
    return value


def _settled(value: Any) -> Any:
    """Without empty lists, and without those empty maps that say nothing."""
    if isinstance(value, dict):
        inner = {key: _settled(one) for key, one in value.items()}
        return {
            key: one
            for key, one in inner.items()
            if one != [] and not (one == {} and key in _EMPTY_IS_NONE)
        }
    if isinstance(value, list):
        return [_settled(one) for one in value]
    return value


def _pod(spec: dict[str, Any]) -> None:
    _drop(spec, _POD)
    if account := spec.pop("serviceAccount", None):
        spec.setdefault("serviceAccountName", account)
    for name in ("containers", "initContainers"):
        _each(spec, name, lambda one: _container(one, bool(spec.get("hostNetwork"))))
    _each(spec, "volumes", _volume)


def _container(container: dict[str, Any], host_network: bool) -> None:
    _drop(container, _CONTAINER)
    image = container.get("image")
    if isinstance(image, str):
        _drop(container, {"imagePullPolicy": _pull_policy(image)})
    for name in _PROBES:
        if isinstance(probe := container.get(name), dict):
            _drop(probe, _PROBE)
            _inside(probe, "httpGet", _HTTP)
            _inside(probe, "grpc", {"service": ""})
    for hook in _maps(container.get("lifecycle")):
        _inside(hook, "httpGet", _HTTP)

    def port(one: dict[str, Any]) -> None:
        _drop(one, {"protocol": "TCP"})
        if host_network:
            _drop(one, {"hostPort": one.get("containerPort")})

    def variable(one: dict[str, Any]) -> None:
        _drop(one, {"value": ""})
        if isinstance(source := one.get("valueFrom"), dict):
            _inside(source, "fieldRef", {"apiVersion": "v1"})

    _each(container, "ports", port)
    _each(container, "env", variable)
    _each(container, "volumeMounts", lambda one: _drop(one, {"readOnly": False}))
    resources = container.get("resources")
    if isinstance(resources, dict) and isinstance(limits := resources.get("limits"), dict):
        # What is limited and not requested is requested to its limit.
        _inside(resources, "requests", limits)


def _volume(volume: dict[str, Any]) -> None:
    for source in ("configMap", "secret", "projected", "downwardAPI"):
        _inside(volume, source, {"defaultMode": _SOURCE_MODE})
    _inside(volume, "hostPath", {"type": ""})

    def item(one: dict[str, Any]) -> None:
        _inside(one, "fieldRef", {"apiVersion": "v1"})

    def source_of(one: dict[str, Any]) -> None:
        _inside(one, "serviceAccountToken", {"expirationSeconds": 3600})
        for inner in _maps({"downwardAPI": one.get("downwardAPI")}):
            _each(inner, "items", item)

    if isinstance(projected := volume.get("projected"), dict):
        _each(projected, "sources", source_of)
    if isinstance(downward := volume.get("downwardAPI"), dict):
        _each(downward, "items", item)


def _pull_policy(image: str) -> str:
    name = image.rpartition("/")[2]
    if "@" in name:
        return "IfNotPresent"
    tag = name.partition(":")[2]
    return "Always" if tag in {"", "latest"} else "IfNotPresent"


def _drop(value: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    for key, default in defaults.items():
        if key in value and value[key] == default:
            del value[key]


def _inside(value: dict[str, Any], key: str, defaults: Mapping[str, Any]) -> None:
    if isinstance(inner := value.get(key), dict):
        _drop(inner, defaults)


def _each(value: dict[str, Any], key: str, do: Callable[[dict[str, Any]], None]) -> None:
    items = value.get(key)
    if isinstance(items, list):
        for item in items:
            if isinstance(item, dict):
                do(item)


def _maps(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, dict):
        return []
    return [inner for inner in value.values() if isinstance(inner, dict)]
