"""The kinds of object that the API serves, and the table of those that are built in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["BUILTIN", "ResourceType", "builtin"]

_ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One served resource: what discovery says of it, and the key under which it is stored.

    `subresources` holds those of `status`, `scale` and the pod's streams that are served. A
    resource with `verbs` of `create` alone is a question, and nothing of it is stored
    (`TokenReview`).
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    verbs: tuple[str, ...] = _ALL
    custom: bool = False

    @property
    def api_version(self) -> str:
        """`v1` or `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def key(self) -> str:
        """What its objects are stored under, whatever the version: `deployments.apps`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"


def _table() -> Mapping[tuple[str, str, str], ResourceType]:
    rows: list[ResourceType] = []

    def add(
        api: str,
        kind: str,
        plural: str,
        short: str = "",
        *,
        cluster: bool = False,
        sub: str = "",
        everything: bool = False,
        verbs: tuple[str, ...] = _ALL,
    ) -> None:
        group, _, version = api.rpartition("/")
        rows.append(
            ResourceType(
                group,
                version,
                kind,
                plural,
                namespaced=not cluster,
                singular=kind.lower(),
                short_names=tuple(short.split()),
                categories=("all",) if everything else (),
                subresources=frozenset(sub.split()),
                verbs=verbs,
            )
        )

    add("v1", "ConfigMap", "configmaps", "cm")
    add("v1", "Endpoints", "endpoints", "ep")
    add("v1", "Event", "events", "ev")
    add("v1", "LimitRange", "limitranges", "limits")
    singly = tuple(verb for verb in _ALL if verb != "deletecollection")
    add("v1", "Namespace", "namespaces", "ns", cluster=True, sub="status finalize", verbs=singly)
    add("v1", "Node", "nodes", "no", cluster=True, sub="status")
    add("v1", "PersistentVolume", "persistentvolumes", "pv", cluster=True, sub="status")
    add("v1", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", sub="status")
    add(
        "v1",
        "Pod",
        "pods",
        "po",
        everything=True,
        sub="status log exec attach portforward ephemeralcontainers binding eviction proxy",
    )
    add("v1", "PodTemplate", "podtemplates")
    add(
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        "rc",
        everything=True,
        sub="status scale",
    )
    add("v1", "ResourceQuota", "resourcequotas", "quota", sub="status")
    add("v1", "Secret", "secrets")
    add("v1", "Service", "services", "svc", everything=True, sub="status proxy")
    add("v1", "ServiceAccount", "serviceaccounts", "sa", sub="token")
    add("apps/v1", "ControllerRevision", "controllerrevisions")
    add("apps/v1", "DaemonSet", "daemonsets", "ds", everything=True, sub="status")
    add("apps/v1", "Deployment", "deployments", "deploy", everything=True, sub="status scale")
    add("apps/v1", "ReplicaSet", "replicasets", "rs", everything=True, sub="status scale")
    add("apps/v1", "StatefulSet", "statefulsets", "sts", everything=True, sub="status scale")
    add("batch/v1", "CronJob", "cronjobs", "cj", everything=True, sub="status")
    add("batch/v1", "Job", "jobs", everything=True, sub="status")
    add(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "hpa",
        everything=True,
        sub="status",
    )
    # Stored as v2, and so named first. kubectl makes autoscalers in v1.
    add(
        "autoscaling/v1",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "hpa",
        everything=True,
        sub="status",
    )
    add("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", sub="status")
    add("networking.k8s.io/v1", "Ingress", "ingresses", "ing", sub="status")
    add("networking.k8s.io/v1", "IngressClass", "ingressclasses", cluster=True)
    add("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", "netpol")
    add("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
    add("coordination.k8s.io/v1", "Lease", "leases")
    add("events.k8s.io/v1", "Event", "events", "ev")
    add("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", "pc", cluster=True)
    add("storage.k8s.io/v1", "StorageClass", "storageclasses", "sc", cluster=True)
    add("storage.k8s.io/v1", "CSIDriver", "csidrivers", cluster=True)
    add("storage.k8s.io/v1", "CSINode", "csinodes", cluster=True)
    add("storage.k8s.io/v1", "VolumeAttachment", "volumeattachments", cluster=True, sub="status")
    add("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", cluster=True)
    add("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", cluster=True)
    add("rbac.authorization.k8s.io/v1", "Role", "roles")
    add("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
    add(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "crd crds",
        cluster=True,
        sub="status",
    )
    add(
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        cluster=True,
    )
    add(
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        cluster=True,
    )
    add("apiregistration.k8s.io/v1", "APIService", "apiservices", cluster=True, sub="status")
    only_create = ("create",)
    add("authentication.k8s.io/v1", "TokenReview", "tokenreviews", cluster=True, verbs=only_create)
    add(
        "authentication.k8s.io/v1",
        "SelfSubjectReview",
        "selfsubjectreviews",
        cluster=True,
        verbs=only_create,
    )
    add(
        "authorization.k8s.io/v1",
        "SubjectAccessReview",
        "subjectaccessreviews",
        cluster=True,
        verbs=only_create,
    )
    add(
        "authorization.k8s.io/v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        cluster=True,
        verbs=only_create,
    )
    add(
        "authorization.k8s.io/v1",
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        cluster=True,
        verbs=only_create,
    )
    add(
        "authorization.k8s.io/v1",
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        verbs=only_create,
    )
    return MappingProxyType({(row.group, row.version, row.plural): row for row in rows})


BUILTIN: Mapping[tuple[str, str, str], ResourceType] = _table()
"""Every resource that is there without a CustomResourceDefinition, by group, version and plural."""


def builtin(plural: str, group: str = "") -> ResourceType:
    """The built-in resource of a plural and group: `builtin("deployments", "apps")`."""
    for row in BUILTIN.values():
        if row.plural == plural and row.group == group:
            return row
    raise KeyError(f"{plural}.{group}")
