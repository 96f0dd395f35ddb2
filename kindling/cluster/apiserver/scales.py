"""The `scale` view of an object: how many replicas are wanted, how many there are, and which."""

from __future__ import annotations

from typing import Any

from kindling.cluster.model.api import Api, Obj
from kindling.cluster.model.resource import ResourceType, builtin
from kindling.cluster.model.status import not_found

__all__ = ["scale_of", "selector_text"]

_DEFINITIONS = builtin("customresourcedefinitions", "apiextensions.k8s.io")


def scale_of(api: Api, resource: ResourceType, obj: Obj) -> Obj:
    """The `autoscaling/v1` Scale of an object. Raises `ApiError` 404 for a custom kind whose
    definition has none."""
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    spec_path, status_path, selector_path = _paths(api, resource)
    selector = _at(obj, selector_path)
    status: dict[str, Any] = {"replicas": _at(obj, status_path) or 0}
    text = selector if isinstance(selector, str) else selector_text(selector)
    if text:
        status["selector"] = text
    spec = {"replicas": replicas} if (replicas := _at(obj, spec_path)) is not None else {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": spec,
        "status": status,
    }


def selector_text(selector: Any) -> str:
    """A label selector, as an object or as a plain map, in the form of query parameters."""
    if not isinstance(selector, dict):
        return ""
    structured = "matchLabels" in selector or "matchExpressions" in selector
    labels = selector.get("matchLabels") if structured else selector
    parts = [f"{key}={value}" for key, value in sorted((labels or {}).items())]
    for rule in (selector.get("matchExpressions") or ()) if structured else ():
        key, values = rule.get("key", ""), ",".join(sorted(rule.get("values") or ()))
        match rule.get("operator"):
            case "In":
                parts.append(f"{key} in ({values})")
            case "NotIn":
                parts.append(f"{key} notin ({values})")
            case "Exists":
                parts.append(str(key))
            case "DoesNotExist":
                parts.append(f"!{key}")
    return ",".join(parts)


def _paths(api: Api, resource: ResourceType) -> tuple[str, str, str]:
    if not resource.custom:
        return "spec.replicas", "status.replicas", "spec.selector"
    definition = api.get(_DEFINITIONS, resource.key)
    for version in (definition or {}).get("spec", {}).get("versions", ()):
        scale = version.get("subresources", {}).get("scale")
        if version.get("name") == resource.version and scale:
            keys = ("specReplicasPath", "statusReplicasPath", "labelSelectorPath")
            spec, status, selector = (str(scale.get(key, "")).lstrip(".") for key in keys)
            return spec, status, selector
    raise not_found(resource.plural, "", resource.group)


def _at(obj: Any, path: str) -> Any:
    for step in path.split(".") if path else ():
        obj = obj.get(step) if isinstance(obj, dict) else None
    return obj if path else None
