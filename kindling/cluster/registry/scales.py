"""The scale subresource: an `autoscaling/v1` `Scale` in place of the whole object."""

from __future__ import annotations

from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import Cause, bad_request, invalid

__all__ = ["ScalePaths", "scale_of", "selector_text", "with_replicas"]

ScalePaths = tuple[str, str, str]
"""Of a custom resource: where the wanted and the real number of replicas and the selector are, as
`.spec.replicas`; the selector's may be empty."""


def scale_of(resource: ResourceType, obj: Obj, paths: ScalePaths | None) -> Obj:
    """The scale of an object."""
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    if paths is not None:
        wanted, real = _at(obj, paths[0]), _at(obj, paths[1])
        selector = str(_at(obj, paths[2]) or "") if paths[2] else ""
    else:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        wanted, real = spec.get("replicas"), status.get("replicas")
        chosen = spec.get("selector") or {}
        if resource.key == "replicationcontrollers":
            chosen = {"matchLabels": chosen}
        selector = selector_text(chosen)
    wanted, real = _number(wanted), _number(real)
    found: Obj = {"replicas": real} | ({"selector": selector} if selector else {})
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: metadata[field] for field in kept if field in metadata},
        "spec": {"replicas": wanted} if wanted else {},
        "status": found,
    }


def with_replicas(obj: Obj, scale: Obj, paths: ScalePaths | None) -> Obj:
    """The object as the scale asks for it. Raises `ApiError` 400 or 422."""
    if scale.get("apiVersion") != "autoscaling/v1" or scale.get("kind") != "Scale":
        raise bad_request(
            f'{scale.get("kind")} in version "{scale.get("apiVersion")}" cannot be handled as a'
            " Scale"
        )
    spec = scale.get("spec") or {}
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else None
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request("Scale.spec.replicas: expected an integer")
    if replicas < 0:
        said = f"Invalid value: {replicas}: must be greater than or equal to 0"
        cause = Cause("FieldValueInvalid", said, "spec.replicas")
        raise invalid("Scale", obj["metadata"]["name"], [cause], "autoscaling")
    return _put(obj, (paths[0] if paths is not None else ".spec.replicas"), replicas)


def _steps(path: str) -> list[str]:
    return [step for step in path.split(".") if step]


def _at(obj: Obj, path: str) -> Any:
    value: Any = obj
    for step in _steps(path):
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


def _put(obj: Obj, path: str, value: Any) -> Obj:
    step, *rest = _steps(path)
    if not rest:
        return obj | {step: value}
    inner = obj.get(step)
    return obj | {step: _put(inner if isinstance(inner, dict) else {}, ".".join(rest), value)}


def _number(value: Any) -> int:
    """Custom resources may hold anything where their replicas should be."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def selector_text(selector: Obj) -> str:
    """A label selector as one line: `app=web,tier in (a,b)`."""
    parts: list[tuple[str, str]] = [
        (key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()
    ]
    for requirement in selector.get("matchExpressions") or ():
        key = str(requirement.get("key", ""))
        values = ",".join(sorted(requirement.get("values") or ()))
        match requirement.get("operator"):
            case "In":
                parts.append((key, f"{key} in ({values})"))
            case "NotIn":
                parts.append((key, f"{key} notin ({values})"))
            case "Exists":
                parts.append((key, key))
            case "DoesNotExist":
                parts.append((key, f"!{key}"))
    return ",".join(text for _, text in sorted(parts))
