"""What can be asked of a pod beside its own verbs: binding, eviction, ephemeral containers."""

from __future__ import annotations

from collections.abc import Iterable

from kindling.cluster.model.api import DeleteOptions, Obj
from kindling.cluster.model.status import ApiError, Cause, bad_request, conflict, invalid
from kindling.cluster.registry.scales import selector_text
from kindling.cluster.registry.selectors import parse_labels

__all__ = ["bound", "eviction_options", "guarding_budget", "success", "with_ephemeral"]


def success(code: int = 201) -> Obj:
    """The answer to a question that changes something and has no object of its own."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code}


def bound(pod: Obj, binding: Obj, now: str) -> Obj:
    """The pod on the node that a `Binding` names. Raises `ApiError` 409 or 422."""
    name = pod["metadata"]["name"]
    target = _object(binding, "target")
    causes = []
    if target.get("kind") not in (None, "", "Node"):
        said = f'Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"'
        causes.append(Cause("FieldValueNotSupported", said, "target.kind"))
    if not target.get("name"):
        causes.append(Cause("FieldValueRequired", "Required value", "target.name"))
    if causes:
        raise invalid("Binding", name, causes)
    if pod["metadata"].get("deletionTimestamp"):
        why = f"pod {name} is being deleted, cannot be assigned to a host"
        raise conflict("pods/binding", name, why=why)
    spec = pod.get("spec") or {}
    if spec.get("nodeName"):
        why = f'pod {name} is already assigned to node "{spec["nodeName"]}"'
        raise conflict("pods/binding", name, why=why)
    metadata = pod["metadata"]
    extra = _object(_object(binding, "metadata"), "annotations")
    if extra:
        metadata = metadata | {"annotations": (metadata.get("annotations") or {}) | extra}
    status = dict(pod.get("status") or {})
    conditions = [c for c in status.get("conditions") or () if c.get("type") != "PodScheduled"]
    conditions.append(
        {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": now,
        }
    )
    return pod | {
        "metadata": metadata,
        "spec": spec | {"nodeName": target["name"]},
        "status": status | {"conditions": conditions},
    }


def eviction_options(eviction: Obj, name: str, *, dry_run: bool) -> DeleteOptions:
    """How the pod of an `Eviction` is to be deleted. Raises `ApiError` 400."""
    if (_object(eviction, "metadata").get("name") or name) != name:
        raise bad_request("name in URL does not match name in Eviction object")
    options = _object(eviction, "deleteOptions")
    grace = options.get("gracePeriodSeconds")
    if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int)):
        raise bad_request("deleteOptions.gracePeriodSeconds: expected an integer")
    before = _object(options, "preconditions")
    return DeleteOptions(
        grace=grace,
        propagation=str(options.get("propagationPolicy") or ""),
        uid=str(before.get("uid") or ""),
        resource_version=str(before.get("resourceVersion") or ""),
        dry_run=dry_run or bool(options.get("dryRun")),
    )


def _object(obj: Obj, field: str) -> Obj:
    """A field that must be an object if it is there. Raises `ApiError` 400."""
    value = obj.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_request(f"{field}: expected an object")
    return value


def guarding_budget(pod: Obj, budgets: Iterable[Obj]) -> Obj | None:
    """The disruption budget that an eviction of this pod counts against, None where there is none
    or the pod is not running anyway. Raises `ApiError` 429 where it allows none."""
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed", "Pending") or pod["metadata"].get("deletionTimestamp"):
        return None
    labels = pod["metadata"].get("labels") or {}
    guarding = [
        budget
        for budget in budgets
        if (budget.get("spec") or {}).get("selector") is not None
        and parse_labels(selector_text(budget["spec"]["selector"])).matches_labels(labels)
    ]
    if not guarding:
        return None
    if len(guarding) > 1:
        raise ApiError(
            500,
            "InternalError",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does"
            " not support.",
        )
    budget = guarding[0]
    status = budget.get("status") or {}
    if status.get("disruptionsAllowed", 0) <= 0:
        name = budget["metadata"]["name"]
        said = (
            f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods and"
            f" has {status.get('currentHealthy', 0)} currently"
        )
        raise ApiError(
            429,
            "TooManyRequests",
            "Cannot evict pod as it would violate the pod's disruption budget.",
            causes=[Cause("DisruptionBudget", said)],
        )
    return budget


def with_ephemeral(pod: Obj, asked: Obj) -> Obj:
    """The pod with the ephemeral containers that were added to it; nothing else is taken over.
    Raises `ApiError` 422 when one that is there was changed or left out."""
    old = (pod.get("spec") or {}).get("ephemeralContainers") or []
    new = (asked.get("spec") or {}).get("ephemeralContainers") or []
    by_name = {container.get("name"): container for container in new}
    causes = []
    field = "spec.ephemeralContainers"
    for container in old:
        name = container["name"]
        if name not in by_name:
            said = f'Forbidden: existing ephemeral containers "{name}" may not be removed\n'
            causes.append(Cause("FieldValueForbidden", said, field))
        elif any(by_name[name].get(key) != value for key, value in container.items()):
            said = f'Forbidden: existing ephemeral containers "{name}" may not be changed\n'
            causes.append(Cause("FieldValueForbidden", said, field))
    if causes:
        raise invalid("Pod", pod["metadata"]["name"], causes)
    spec = dict(pod.get("spec") or {})
    if new:
        spec["ephemeralContainers"] = new
    return pod | {"spec": spec}
