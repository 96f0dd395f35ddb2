"""Who an object is, in which order objects are written, and its manifest as one line of text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, TypeVar

from kindling.errors import ConfigError
from kindling.graph.spec import ObjectRef, ObjectSpec

__all__ = [
    "Manifest",
    "Scope",
    "api_group",
    "canonical",
    "display_name",
    "install_order",
    "install_rank",
    "manifest_of",
    "object_ref",
    "object_spec",
    "removal_order",
    "same_object",
    "scope",
    "with_namespace",
]

Manifest = Mapping[str, Any]
"""A Kubernetes object as JSON values. Functions here never change one; they return a new one."""

T = TypeVar("T")


class Scope(Enum):
    """Where objects of a kind live."""

    CLUSTER = "cluster"
    NAMESPACED = "namespaced"
    UNKNOWN = "unknown"
    """A custom kind: only the API server knows."""


_INSTALL_ORDER = (
    "Namespace",
    "CustomResourceDefinition",
    "APIService",
    "PriorityClass",
    "RuntimeClass",
    "StorageClass",
    "IngressClass",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Endpoints",
    "EndpointSlice",
    "Service",
    "PodTemplate",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "VerticalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "Ingress",
)
"""What others need comes first; Helm and Tilt order alike. Kinds that are not listed come after all
of these (a custom resource needs its operator), except webhooks, which come last: one that is
registered before its server runs would refuse everything else."""

_RANKS = {kind: at for at, kind in enumerate(_INSTALL_ORDER)}
_LAST = frozenset({"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"})

_CLUSTER_SCOPED = frozenset(
    {
        ("", "ComponentStatus"),
        ("", "Namespace"),
        ("", "Node"),
        ("", "PersistentVolume"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apiregistration.k8s.io", "APIService"),
        ("authentication.k8s.io", "SelfSubjectReview"),
        ("authentication.k8s.io", "TokenReview"),
        ("authorization.k8s.io", "SelfSubjectAccessReview"),
        ("authorization.k8s.io", "SelfSubjectRulesReview"),
        ("authorization.k8s.io", "SubjectAccessReview"),
        ("certificates.k8s.io", "CertificateSigningRequest"),
        ("certificates.k8s.io", "ClusterTrustBundle"),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
        ("internal.apiserver.k8s.io", "StorageVersion"),
        ("networking.k8s.io", "IPAddress"),
        ("networking.k8s.io", "IngressClass"),
        ("networking.k8s.io", "ServiceCIDR"),
        ("node.k8s.io", "RuntimeClass"),
        ("policy", "PodSecurityPolicy"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("resource.k8s.io", "DeviceClass"),
        ("resource.k8s.io", "ResourceSlice"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "CSIDriver"),
        ("storage.k8s.io", "CSINode"),
        ("storage.k8s.io", "StorageClass"),
        ("storage.k8s.io", "VolumeAttachment"),
        ("storage.k8s.io", "VolumeAttributesClass"),
    }
)
"""Group and kind of everything built in that lives in no namespace, Kubernetes 1.16 to 1.34."""

_BUILT_IN_GROUPS = frozenset(
    {"", "apps", "autoscaling", "batch", "extensions", "policy"}
    | {group for group, _ in _CLUSTER_SCOPED if group}
    | {"coordination.k8s.io", "discovery.k8s.io", "events.k8s.io"}
)


def api_group(api_version: str) -> str:
    """The group of an apiVersion: `apps` of `apps/v1`, empty for `v1`."""
    group, slash, _ = api_version.partition("/")
    return group if slash else ""


def scope(api_version: str, kind: str) -> Scope:
    """Whether objects of a kind live in a namespace. Custom kinds are unknown here."""
    group = api_group(api_version)
    if (group, kind) in _CLUSTER_SCOPED:
        return Scope.CLUSTER
    return Scope.NAMESPACED if group in _BUILT_IN_GROUPS else Scope.UNKNOWN


def object_ref(manifest: Manifest, default_namespace: str = "") -> ObjectRef:
    """The identity of the object that `manifest` describes.

    An object of a namespaced kind without a namespace gets `default_namespace`; one that lives in
    none has none, whatever its manifest says. A custom kind keeps what its manifest says.

    Raises:
        ConfigError: It has no apiVersion, kind or name. The message does not name a place; callers
        know it.
    """
    api_version, kind = manifest.get("apiVersion"), manifest.get("kind")
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(kind, str) or not kind:
        raise ConfigError(
            "An object has no `kind`",
            hint="Every Kubernetes object has apiVersion, kind and metadata.name.",
        )
    if not isinstance(api_version, str) or not api_version:
        raise ConfigError(f"A {kind} has no `apiVersion`", hint="Such as `v1` or `apps/v1`.")
    if not isinstance(name, str) or not name:
        if isinstance(metadata, Mapping) and metadata.get("generateName"):
            raise ConfigError(
                f"A {kind} has `generateName` and no `name`",
                hint="Give it a fixed `metadata.name`: without one it cannot be updated.",
            )
        raise ConfigError(f"A {kind} has no `metadata.name`")
    assert isinstance(metadata, Mapping)
    namespace = metadata.get("namespace") or ""
    where = scope(api_version, kind)
    if where is Scope.CLUSTER:
        namespace = ""
    elif where is Scope.NAMESPACED:
        namespace = namespace or default_namespace
    return ObjectRef(api_version, kind, name, str(namespace))


def with_namespace(manifest: Manifest, namespace: str) -> Manifest:
    """The manifest with `namespace` where its kind is known to need one and it has none."""
    metadata = manifest.get("metadata")
    if (
        not namespace
        or not isinstance(metadata, Mapping)
        or metadata.get("namespace")
        or scope(str(manifest.get("apiVersion", "")), str(manifest.get("kind", "")))
        is not Scope.NAMESPACED
    ):
        return manifest
    return {**manifest, "metadata": {**metadata, "namespace": namespace}}


def canonical(manifest: Manifest) -> str:
    """The manifest as JSON text with sorted keys and no spaces: equal objects, equal text."""
    return json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def manifest_of(spec: ObjectSpec) -> dict[str, Any]:
    """The manifest that `spec` carries as text; a new value every time."""
    manifest: dict[str, Any] = json.loads(spec.manifest)
    return manifest


def object_spec(manifest: Manifest, default_namespace: str = "") -> ObjectSpec:
    """The object as a node's spec carries it. Raises ConfigError as `object_ref` does."""
    return ObjectSpec(
        object_ref(manifest, default_namespace),
        canonical(with_namespace(manifest, default_namespace)),
    )


def same_object(one: ObjectRef, other: ObjectRef) -> bool:
    """Whether two references mean one object; another version of one API group does not matter."""
    return (one.kind, one.name, one.namespace, api_group(one.api_version)) == (
        other.kind,
        other.name,
        other.namespace,
        api_group(other.api_version),
    )


def display_name(ref: ObjectRef) -> str:
    """The text by which people know an object: `deployment/api`, `deployment/api in staging`."""
    place = f" in {ref.namespace}" if ref.namespace and ref.namespace != "default" else ""
    return f"{ref.kind.lower()}/{ref.name}{place}"


def install_rank(kind: str) -> int:
    """The place of a kind in the install order; lower comes first."""
    if kind in _LAST:
        return len(_INSTALL_ORDER) + 1
    return _RANKS.get(kind, len(_INSTALL_ORDER))


def install_order(objects: Iterable[T]) -> tuple[T, ...]:
    """Specs, references or manifests in the order objects are written; stable within a kind."""
    return tuple(sorted(objects, key=lambda item: install_rank(_kind_of(item))))


def removal_order(objects: Iterable[T]) -> tuple[T, ...]:
    """The reverse of the install order."""
    return tuple(reversed(install_order(objects)))


def _kind_of(item: object) -> str:
    if isinstance(item, ObjectSpec):
        return item.ref.kind
    if isinstance(item, ObjectRef):
        return item.kind
    if isinstance(item, Mapping):
        return str(item.get("kind", ""))
    raise TypeError(f"not an object: {item!r}")
