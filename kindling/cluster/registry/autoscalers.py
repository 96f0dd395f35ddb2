"""HorizontalPodAutoscalers of autoscaling/v1, which kubectl 1.32 makes, and of v2, which is stored.

v1 has a target for the use of the processor and nothing else; the rest of a v2 object goes into
annotations there, so that nothing is lost on the way (k8s.io/kubernetes `pkg/apis/autoscaling/v1`,
`conversion.go`).
"""

from __future__ import annotations

import json
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import ResourceType

__all__ = ["KEY", "STORED_AS", "in_v1", "in_v2", "is_v1"]

KEY = "horizontalpodautoscalers.autoscaling"
STORED_AS = "autoscaling/v2"

_PREFIX = "autoscaling.alpha.kubernetes.io/"
_IN_SPEC, _IN_STATUS = ("metrics", "behavior"), ("conditions", "current-metrics")
_NOTES = tuple(_PREFIX + name for name in (*_IN_SPEC, *_IN_STATUS))
_DEFAULT_TARGET = 80


def is_v1(resource: ResourceType) -> bool:
    return resource.key == KEY and resource.version == "v1"


def in_v1(obj: Obj) -> Obj:
    """A stored autoscaler as v1 shows it."""
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    annotations = dict(obj["metadata"].get("annotations") or {})
    others = []
    for metric in spec.pop("metrics", None) or ():
        aim = _processor(metric, "target").get("averageUtilization")
        if aim is not None and "targetCPUUtilizationPercentage" not in spec:
            spec["targetCPUUtilizationPercentage"] = aim
        else:
            others.append(metric)
    measured = []
    for metric in status.pop("currentMetrics", None) or ():
        use = _processor(metric, "current").get("averageUtilization")
        if use is not None and "currentCPUUtilizationPercentage" not in status:
            status["currentCPUUtilizationPercentage"] = use
        else:
            measured.append(metric)
    rest = (others, spec.pop("behavior", None), status.pop("conditions", None), measured)
    for name, value in zip(_NOTES, rest, strict=True):
        if value:
            annotations[name] = json.dumps(value, separators=(",", ":"))
    status.setdefault("currentReplicas", 0)
    status.setdefault("desiredReplicas", 0)
    return _with(obj, "autoscaling/v1", annotations, spec, status)


def in_v2(obj: Obj) -> Obj:
    """An autoscaler of v1 as it is stored. Annotations that cannot be read are dropped."""
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    annotations = dict(obj["metadata"].get("annotations") or {})
    others, behavior, conditions, measured = (
        _read(annotations.pop(name, "null"), dict if name.endswith("behavior") else list)
        for name in _NOTES
    )
    aim = spec.pop("targetCPUUtilizationPercentage", None)
    if aim is None and not others:
        aim = _DEFAULT_TARGET
    metrics = [] if aim is None else [_metric("target", {"type": "Utilization"}, aim)]
    spec["metrics"] = [*metrics, *(others or ())]
    if behavior:
        spec["behavior"] = behavior
    use = status.pop("currentCPUUtilizationPercentage", None)
    current = [] if use is None else [_metric("current", {}, use)]
    status["currentMetrics"] = [*current, *(measured or ())] or None
    if conditions:
        status["conditions"] = conditions
    status.setdefault("desiredReplicas", 0)
    return _with(obj, STORED_AS, annotations, spec, status)


def _with(obj: Obj, version: str, annotations: Obj, spec: Obj, status: Obj) -> Obj:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "annotations"}
    if annotations:
        metadata["annotations"] = annotations
    return obj | {"apiVersion": version, "metadata": metadata, "spec": spec, "status": status}


def _processor(metric: Obj, side: str) -> Obj:
    """What is aimed at or measured for the processor; empty for other metrics."""
    resource = metric.get("resource") or {}
    return resource.get(side) or {} if resource.get("name") == "cpu" else {}


def _metric(side: str, kind: Obj, percent: int) -> Obj:
    told = {"name": "cpu", side: kind | {"averageUtilization": percent}}
    return {"type": "Resource", "resource": told}


def _read(text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, kind) else None
