"""Which checks belong to which built-in kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import Cause
from kindling.cluster.schema import names
from kindling.cluster.schema.metadata import check_metadata, check_metadata_change

__all__ = ["check"]

_Check = Callable[[dict[str, Any], dict[str, Any] | None], Iterator[Cause]]
_RBAC = "rbac.authorization.k8s.io"
_TABLE = {
    ("", "ConfigMap"): "configs.check_config_map",
    ("", "Endpoints"): "services.check_endpoints",
    ("", "Namespace"): "configs.check_namespace",
    ("", "PersistentVolume"): "storage.check_volume",
    ("", "PersistentVolumeClaim"): "storage.check_claim",
    ("", "Pod"): "pod_objects.check_pod_object",
    ("", "PodTemplate"): "workloads.check_pod_template",
    ("", "ReplicationController"): "workloads.check_replication_controller",
    ("", "ResourceQuota"): "configs.check_quota",
    ("", "Secret"): "configs.check_secret",
    ("", "Service"): "services.check_service",
    ("apiextensions.k8s.io", "CustomResourceDefinition"): "definitions.check_custom_definition",
    ("apps", "DaemonSet"): "workloads.check_daemon_set",
    ("apps", "Deployment"): "workloads.check_deployment",
    ("apps", "ReplicaSet"): "workloads.check_replica_set",
    ("apps", "StatefulSet"): "workloads.check_stateful_set",
    ("autoscaling", "HorizontalPodAutoscaler"): "policy.check_autoscaler",
    ("batch", "CronJob"): "jobs.check_cron_job",
    ("batch", "Job"): "jobs.check_job",
    ("coordination.k8s.io", "Lease"): "policy.check_lease",
    ("discovery.k8s.io", "EndpointSlice"): "services.check_endpoint_slice",
    ("networking.k8s.io", "Ingress"): "services.check_ingress",
    ("networking.k8s.io", "IngressClass"): "services.check_ingress_class",
    ("networking.k8s.io", "NetworkPolicy"): "services.check_network_policy",
    ("policy", "PodDisruptionBudget"): "policy.check_disruption_budget",
    (_RBAC, "ClusterRole"): "policy.check_role",
    (_RBAC, "ClusterRoleBinding"): "policy.check_binding",
    (_RBAC, "Role"): "policy.check_role",
    (_RBAC, "RoleBinding"): "policy.check_binding",
    ("scheduling.k8s.io", "PriorityClass"): "policy.check_priority_class",
    ("storage.k8s.io", "StorageClass"): "storage.check_storage_class",
}
_NAMES: dict[tuple[str, str], Callable[[str], list[str]]] = {
    ("", "Namespace"): names.dns_label,
    ("", "Service"): names.dns_label_1035,
    ("apiregistration.k8s.io", "APIService"): names.path_segment,
    (_RBAC, "ClusterRole"): names.path_segment,
    (_RBAC, "ClusterRoleBinding"): names.path_segment,
    (_RBAC, "Role"): names.path_segment,
    (_RBAC, "RoleBinding"): names.path_segment,
}


def check(resource: ResourceType, obj: Obj, before: Obj | None) -> Iterator[Cause]:
    """What is wrong with a defaulted object of a built-in kind."""
    kind = (resource.group, resource.kind)
    if resource.verbs == ("create",):
        return
    metadata = obj.get("metadata") or {}
    # A definition's own check knows what its name must be.
    if kind != ("apiextensions.k8s.io", "CustomResourceDefinition"):
        yield from check_metadata(
            metadata,
            name_rule=_NAMES.get(kind, names.dns_subdomain),
            namespaced=resource.namespaced,
            core=resource.group != "apiregistration.k8s.io",
        )
    if before is not None:
        yield from check_metadata_change(metadata, before.get("metadata") or {})
    name = _TABLE.get(kind)
    if name is not None:
        yield from _function(name)(obj, before)


def _function(name: str) -> _Check:
    module, _, function = name.partition(".")
    found: _Check = getattr(import_module(f"kindling.cluster.schema.validation.{module}"), function)
    return found
