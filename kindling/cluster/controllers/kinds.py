"""The resources that controllers work with, by name."""

from __future__ import annotations

from kindling.cluster.model.resource import builtin

__all__ = [
    "CLAIMS",
    "CLASSES",
    "CONFIG_MAPS",
    "CONTROLLER_REVISIONS",
    "CRON_JOBS",
    "DAEMON_SETS",
    "DEFINITIONS",
    "DEPLOYMENTS",
    "DISRUPTION_BUDGETS",
    "ENDPOINTS",
    "ENDPOINT_SLICES",
    "EVENTS",
    "INGRESS_CLASSES",
    "JOBS",
    "NAMESPACES",
    "NODES",
    "PODS",
    "POD_AUTOSCALERS",
    "REPLICATION_CONTROLLERS",
    "REPLICA_SETS",
    "SECRETS",
    "SERVICES",
    "SERVICE_ACCOUNTS",
    "STATEFUL_SETS",
    "VOLUMES",
]

CLAIMS = builtin("persistentvolumeclaims")
CLASSES = builtin("storageclasses", "storage.k8s.io")
CONFIG_MAPS = builtin("configmaps")
CONTROLLER_REVISIONS = builtin("controllerrevisions", "apps")
CRON_JOBS = builtin("cronjobs", "batch")
DAEMON_SETS = builtin("daemonsets", "apps")
DEFINITIONS = builtin("customresourcedefinitions", "apiextensions.k8s.io")
DEPLOYMENTS = builtin("deployments", "apps")
DISRUPTION_BUDGETS = builtin("poddisruptionbudgets", "policy")
ENDPOINTS = builtin("endpoints")
ENDPOINT_SLICES = builtin("endpointslices", "discovery.k8s.io")
EVENTS = builtin("events")
INGRESS_CLASSES = builtin("ingressclasses", "networking.k8s.io")
JOBS = builtin("jobs", "batch")
NAMESPACES = builtin("namespaces")
NODES = builtin("nodes")
PODS = builtin("pods")
POD_AUTOSCALERS = builtin("horizontalpodautoscalers", "autoscaling")
REPLICATION_CONTROLLERS = builtin("replicationcontrollers")
REPLICA_SETS = builtin("replicasets", "apps")
SECRETS = builtin("secrets")
SERVICES = builtin("services")
SERVICE_ACCOUNTS = builtin("serviceaccounts")
STATEFUL_SETS = builtin("statefulsets", "apps")
VOLUMES = builtin("persistentvolumes")
