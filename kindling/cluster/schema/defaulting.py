"""Which defaults belong to which kind."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import orjson

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import ResourceType

__all__ = ["fill"]

_TABLE = {
    ("", "Endpoints"): "networking.default_endpoints",
    ("", "LimitRange"): "storage.default_limit_range",
    ("", "Namespace"): "storage.default_namespace",
    ("", "Node"): "storage.default_node",
    ("", "PersistentVolume"): "storage.default_volume",
    ("", "PersistentVolumeClaim"): "storage.default_claim",
    ("", "Pod"): "pods.default_pod",
    ("", "PodTemplate"): "workloads.default_pod_template",
    ("", "ReplicationController"): "workloads.default_replication_controller",
    ("", "Secret"): "storage.default_secret",
    ("", "Service"): "networking.default_service",
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): "policy.default_webhooks",
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): "policy.default_webhooks",
    ("apiextensions.k8s.io", "CustomResourceDefinition"): "policy.default_definition",
    ("apiregistration.k8s.io", "APIService"): "policy.default_api_service",
    ("apps", "DaemonSet"): "workloads.default_daemon_set",
    ("apps", "Deployment"): "workloads.default_deployment",
    ("apps", "ReplicaSet"): "workloads.default_replica_set",
    ("apps", "StatefulSet"): "workloads.default_stateful_set",
    ("autoscaling", "HorizontalPodAutoscaler"): "policy.default_autoscaler",
    ("batch", "CronJob"): "workloads.default_cron_job",
    ("batch", "Job"): "workloads.default_job",
    ("discovery.k8s.io", "EndpointSlice"): "networking.default_endpoint_slice",
    ("networking.k8s.io", "Ingress"): "networking.default_ingress",
    ("networking.k8s.io", "IngressClass"): "networking.default_ingress_class",
    ("networking.k8s.io", "NetworkPolicy"): "networking.default_network_policy",
    ("policy", "PodDisruptionBudget"): "policy.default_disruption_budget",
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): "policy.default_binding",
    ("rbac.authorization.k8s.io", "RoleBinding"): "policy.default_binding",
    ("scheduling.k8s.io", "PriorityClass"): "policy.default_priority_class",
    ("storage.k8s.io", "CSIDriver"): "storage.default_csi_driver",
    ("storage.k8s.io", "StorageClass"): "storage.default_storage_class",
}

_OF_VERSION = {
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): "policy.default_first_autoscaler",
}
"""Kinds of which an older version has fields of its own."""


def fill(resource: ResourceType, obj: Obj) -> Obj:
    """A copy of the object with the defaults of its kind; the object itself if there are none."""
    name = _OF_VERSION.get((resource.group, resource.version, resource.kind))
    name = name or _TABLE.get((resource.group, resource.kind))
    if name is None:
        return obj
    own: dict[str, Any] = orjson.loads(orjson.dumps(obj))
    _function(name)(own)
    return own


def _function(name: str) -> Callable[[dict[str, Any]], None]:
    module, _, function = name.partition(".")
    found: Callable[[dict[str, Any]], None] = getattr(
        import_module(f"kindling.cluster.schema.defaults.{module}"), function
    )
    return found
