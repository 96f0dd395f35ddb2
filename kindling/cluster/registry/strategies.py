"""How the kinds differ when they are created, changed and deleted.

After the strategies in k8s.io/kubernetes `pkg/registry/*/*/strategy.go`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.registry.autoscalers import is_v1

__all__ = [
    "counted",
    "created",
    "generation_after",
    "may_create_on_update",
    "needs_version",
    "orphans_by_default",
    "qos_class",
    "replaced",
    "status_replaced",
]

_GENERATION = frozenset(
    {
        "deployments.apps",
        "replicasets.apps",
        "statefulsets.apps",
        "daemonsets.apps",
        "replicationcontrollers",
        "jobs.batch",
        "cronjobs.batch",
        "ingresses.networking.k8s.io",
        "ingressclasses.networking.k8s.io",
        "networkpolicies.networking.k8s.io",
        "poddisruptionbudgets.policy",
        "endpointslices.discovery.k8s.io",
        "priorityclasses.scheduling.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
    }
)

_FIRST_STATUS: Mapping[str, Obj] = MappingProxyType(
    {
        "pods": {"phase": "Pending"},
        "namespaces": {"phase": "Active"},
        "persistentvolumes": {"phase": "Pending"},
        "persistentvolumeclaims": {"phase": "Pending"},
        "services": {"loadBalancer": {}},
        "deployments.apps": {},
        "replicasets.apps": {"replicas": 0},
        "replicationcontrollers": {"replicas": 0},
        "statefulsets.apps": {"replicas": 0, "availableReplicas": 0},
        "daemonsets.apps": {
            "currentNumberScheduled": 0,
            "numberMisscheduled": 0,
            "desiredNumberScheduled": 0,
            "numberReady": 0,
        },
        "jobs.batch": {},
        "cronjobs.batch": {},
        "ingresses.networking.k8s.io": {"loadBalancer": {}},
        "horizontalpodautoscalers.autoscaling": {"desiredReplicas": 0, "currentMetrics": None},
        "poddisruptionbudgets.policy": {
            "disruptionsAllowed": 0,
            "currentHealthy": 0,
            "desiredHealthy": 0,
            "expectedPods": 0,
        },
        "resourcequotas": {},
        "apiservices.apiregistration.k8s.io": {},
        "volumeattachments.storage.k8s.io": {"attached": False},
    }
)

_TEMPLATES = "deprecated.daemonset.template.generation"

_KEEPS_STATUS = frozenset({"nodes"})
"""A kubelet registers its node with the status in it."""

_NEEDS_VERSION = frozenset(
    {
        "customresourcedefinitions.apiextensions.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
        "apiservices.apiregistration.k8s.io",
        "leases.coordination.k8s.io",
        "csidrivers.storage.k8s.io",
        "csinodes.storage.k8s.io",
        "volumeattachments.storage.k8s.io",
        "poddisruptionbudgets.policy",
    }
)

_CREATE_ON_UPDATE = frozenset(
    {
        "endpoints",
        "events",
        "events.events.k8s.io",
        "leases.coordination.k8s.io",
        "limitranges",
        "services",
        "clusterroles.rbac.authorization.k8s.io",
        "clusterrolebindings.rbac.authorization.k8s.io",
        "roles.rbac.authorization.k8s.io",
        "rolebindings.rbac.authorization.k8s.io",
    }
)


def needs_version(resource: ResourceType) -> bool:
    """Whether a replacement must say which resourceVersion it replaces."""
    return resource.custom or resource.key in _NEEDS_VERSION


def may_create_on_update(resource: ResourceType) -> bool:
    return resource.key in _CREATE_ON_UPDATE


def orphans_by_default(resource: ResourceType) -> bool:
    """Jobs and replication controllers leave their pods behind unless the request says otherwise,
    as they did before there was garbage collection."""
    return resource.key in ("jobs.batch", "replicationcontrollers")


def created(resource: ResourceType, obj: Obj) -> Obj:
    """A new object with the status and generation that its kind begins with."""
    metadata = dict(obj["metadata"])
    if resource.custom or resource.key in _GENERATION:
        metadata["generation"] = 1
    else:
        metadata.pop("generation", None)
    new = obj | {"metadata": metadata}
    if resource.key == "jobs.batch":
        new["spec"] = _with_selector(metadata, new.get("spec") or {})
    if "status" not in resource.subresources or resource.key in _KEEPS_STATUS:
        return new
    new.pop("status", None)
    first = _FIRST_STATUS.get(resource.key)
    if is_v1(resource):
        first = {"currentReplicas": 0, "desiredReplicas": 0}
    if first is not None:
        new["status"] = dict(first)
    if resource.key == "pods":
        new["status"]["qosClass"] = qos_class(obj)
    if resource.key == "namespaces":
        spec = dict(new.get("spec") or {})
        if "kubernetes" not in (spec.get("finalizers") or ()):
            spec["finalizers"] = [*(spec.get("finalizers") or ()), "kubernetes"]
        new["spec"] = spec
    return new


def counted(resource: ResourceType, new: Obj, old: Obj | None) -> Obj:
    """A daemon set with the count of its templates in the annotation that its pods get as a label.
    A client may say where it begins, and has no say afterwards. Elsewhere, `new` itself."""
    if resource.key != "daemonsets.apps":
        return new
    annotations = dict(new["metadata"].get("annotations") or {})
    if old is None:
        count = _count(annotations.get(_TEMPLATES)) or 1
    else:
        count = _count((old["metadata"].get("annotations") or {}).get(_TEMPLATES))
        count += (new.get("spec") or {}).get("template") != (old.get("spec") or {}).get("template")
    annotations[_TEMPLATES] = str(count)
    return new | {"metadata": new["metadata"] | {"annotations": annotations}}


def _count(told: object) -> int:
    return int(told) if isinstance(told, str) and told.isascii() and told.isdecimal() else 0


def _with_selector(metadata: Obj, spec: Obj) -> Obj:
    """A job's spec with a selector that is its own, unless it says that it has one by itself."""
    if spec.get("manualSelector"):
        return spec
    uid, name = metadata["uid"], metadata.get("name", "")
    template = dict(spec.get("template") or {})
    about = dict(template.get("metadata") or {})
    mine = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    about["labels"] = mine | (about.get("labels") or {})
    selector = dict(spec.get("selector") or {})
    chosen = {"batch.kubernetes.io/controller-uid": uid} | (selector.get("matchLabels") or {})
    selector["matchLabels"] = chosen
    return spec | {"template": template | {"metadata": about}, "selector": selector}


def replaced(resource: ResourceType, new: Obj, old: Obj) -> Obj:
    """`new` with what the main endpoint leaves alone taken from `old`."""
    if "status" in resource.subresources:
        new = {field: value for field, value in new.items() if field != "status"}
        if "status" in old:
            new["status"] = old["status"]
    if resource.key == "namespaces":
        spec = dict(new.get("spec") or {})
        spec.pop("finalizers", None)
        if finalizers := (old.get("spec") or {}).get("finalizers"):
            spec["finalizers"] = finalizers
        new = new | {"spec": spec}
    return new


def status_replaced(resource: ResourceType, new: Obj, old: Obj) -> Obj:
    """`old` with the status of `new`, and so much of its metadata as the status endpoint takes:
    none for custom resources, all but a few fields for the others."""
    if resource.custom:
        metadata = dict(old["metadata"])
        if "managedFields" in new["metadata"]:
            metadata["managedFields"] = new["metadata"]["managedFields"]
    else:
        metadata = dict(new["metadata"])
        kept = ["ownerReferences"]
        if resource.group == "apps":
            kept.append("labels")
        for field in kept:
            metadata.pop(field, None)
            if field in old["metadata"]:
                metadata[field] = old["metadata"][field]
    made = {field: value for field, value in old.items() if field != "status"}
    made["metadata"] = metadata
    if "status" in new:
        made["status"] = new["status"]
        quality = (old.get("status") or {}).get("qosClass")
        if resource.key == "pods" and quality and "qosClass" not in (new["status"] or {}):
            made["status"] = new["status"] | {"qosClass": quality}
    return made


def generation_after(resource: ResourceType, new: Obj, old: Obj) -> int | None:
    """The generation after a change: one more when what is asked for changed, None for kinds that
    do not count."""
    before = old["metadata"].get("generation")
    if before is None:
        return None
    if resource.custom:
        left_out = {"metadata", "apiVersion", "kind"}
        if "status" in resource.subresources:
            left_out.add("status")
        changed = _without(new, left_out) != _without(old, left_out)
    elif resource.group == "admissionregistration.k8s.io":
        changed = new.get("webhooks") != old.get("webhooks")
    elif resource.key == "endpointslices.discovery.k8s.io":
        left_out = {"metadata", "apiVersion", "kind"}
        changed = _without(new, left_out) != _without(old, left_out) or new["metadata"].get(
            "labels"
        ) != old["metadata"].get("labels")
    else:
        changed = new.get("spec") != old.get("spec")
        if resource.key == "deployments.apps":
            # The revision annotations are part of what a deployment asks for.
            changed = changed or (new["metadata"].get("annotations") or {}) != (
                old["metadata"].get("annotations") or {}
            )
    return int(before) + 1 if changed else int(before)


def _without(obj: Obj, fields: set[str]) -> Obj:
    return {field: value for field, value in obj.items() if field not in fields}


def qos_class(pod: Obj) -> str:
    """The quality of service class: `Guaranteed` where every container has limits for processor and
    memory and asks for as much, `BestEffort` where none names either, else `Burstable`."""
    spec: Any = pod.get("spec") or {}
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    guaranteed, anything = bool(containers), False
    for container in containers:
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        for name in ("cpu", "memory"):
            limit, request = limits.get(name), requests.get(name)
            anything = anything or _some(limit) or _some(request)
            if not _some(limit) or (request is not None and request != limit):
                guaranteed = False
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _some(quantity: object) -> bool:
    return quantity is not None and str(quantity) not in ("", "0")
