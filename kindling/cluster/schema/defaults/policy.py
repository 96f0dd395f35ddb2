"""Scaling, disruption, roles, webhooks, definitions of custom kinds, and the like."""

from __future__ import annotations

from typing import Any

__all__ = [
    "default_api_service",
    "default_autoscaler",
    "default_binding",
    "default_definition",
    "default_disruption_budget",
    "default_first_autoscaler",
    "default_priority_class",
    "default_webhooks",
]

_RBAC = "rbac.authorization.k8s.io"


def default_binding(obj: dict[str, Any]) -> None:
    """RoleBinding and ClusterRoleBinding."""
    obj.setdefault("roleRef", {}).setdefault("apiGroup", _RBAC)
    for subject in obj.get("subjects", ()):
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", _RBAC)


def default_autoscaler(obj: dict[str, Any]) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if behavior is not None:
        percent = {"type": "Percent", "value": 100, "periodSeconds": 15}
        pods = {"type": "Pods", "value": 4, "periodSeconds": 15}
        up = behavior.setdefault("scaleUp", {})
        up.setdefault("stabilizationWindowSeconds", 0)
        up.setdefault("policies", [pods, dict(percent)])
        down = behavior.setdefault("scaleDown", {})
        down.setdefault("policies", [percent])
        for rules in (up, down):
            rules.setdefault("selectPolicy", "Max")
    status = obj.setdefault("status", {})
    status.setdefault("desiredReplicas", 0)


def default_first_autoscaler(obj: dict[str, Any]) -> None:
    """In autoscaling/v1. What is aimed at is filled in when it becomes a v2."""
    obj.setdefault("spec", {}).setdefault("minReplicas", 1)
    status = obj.setdefault("status", {})
    for name in ("currentReplicas", "desiredReplicas"):
        status.setdefault(name, 0)


def default_disruption_budget(obj: dict[str, Any]) -> None:
    obj.setdefault("spec", {})
    status = obj.setdefault("status", {})
    for name in ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"):
        status.setdefault(name, 0)


def default_priority_class(obj: dict[str, Any]) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")
    obj.setdefault("value", 0)


def default_webhooks(obj: dict[str, Any]) -> None:
    """Both kinds of webhook configuration."""
    for hook in obj.get("webhooks", ()):
        hook.setdefault("failurePolicy", "Fail")
        hook.setdefault("matchPolicy", "Equivalent")
        hook.setdefault("namespaceSelector", {})
        hook.setdefault("objectSelector", {})
        hook.setdefault("timeoutSeconds", 10)
        if obj.get("kind") == "MutatingWebhookConfiguration":
            hook.setdefault("reinvocationPolicy", "Never")
        service = hook.get("clientConfig", {}).get("service")
        if service is not None:
            service.setdefault("port", 443)
        for rule in hook.get("rules", ()):
            rule.setdefault("scope", "*")


def default_api_service(obj: dict[str, Any]) -> None:
    service = obj.setdefault("spec", {}).get("service")
    if service is not None:
        service.setdefault("port", 443)
    obj.setdefault("status", {})


def default_definition(obj: dict[str, Any]) -> None:
    """CustomResourceDefinition. Which names are accepted, and the conditions, is a controller's."""
    spec = obj.setdefault("spec", {})
    names = spec.setdefault("names", {})
    if names.get("kind"):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", names["kind"] + "List")
    spec.setdefault("conversion", {}).setdefault("strategy", "None")
    service = spec["conversion"].get("webhook", {}).get("clientConfig", {}).get("service")
    if service is not None:
        service.setdefault("port", 443)
