"""What a delete does to one object: removes it, or begins to.

After k8s.io/apiserver `pkg/registry/rest/delete.go` and `pkg/registry/generic/registry/store.go`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from kindling.cluster.model.api import DeleteOptions, Obj
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError, Cause, conflict, forbidden, invalid
from kindling.cluster.registry.strategies import orphans_by_default

__all__ = [
    "Verdict",
    "check_preconditions",
    "gone_by_update",
    "judge",
    "namespace_refusal",
    "timestamp",
]

_ORPHAN = "orphan"
_FOREGROUND = "foregroundDeletion"
_DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
_IMMORTAL = frozenset({"default", "kube-system", "kube-public"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the object. `remove`: it goes now. Else `obj` is its next state, or the same
    as before when nothing is to be written."""

    obj: Obj
    remove: bool


def timestamp(seconds: float) -> str:
    """RFC 3339 to the second, as the API has it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_preconditions(resource: ResourceType, old: Obj, options: DeleteOptions) -> None:
    """Raises `ApiError` 409."""
    metadata = old["metadata"]
    if options.uid and options.uid != metadata["uid"]:
        raise conflict(
            resource.kind,
            metadata["name"],
            resource.group,
            f"the UID in the precondition ({options.uid}) does not match the UID in record"
            f" ({metadata['uid']}). The object might have been deleted and then recreated",
        )
    if options.resource_version and options.resource_version != metadata["resourceVersion"]:
        raise conflict(
            resource.kind,
            metadata["name"],
            resource.group,
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match"
            f" the ResourceVersion in record ({metadata['resourceVersion']}). The object might have"
            " been modified",
        )


def judge(resource: ResourceType, old: Obj, options: DeleteOptions, now: float) -> Verdict:
    """What a delete does. Raises `ApiError` 403, 409 or 422."""
    if options.propagation not in ("", "Foreground", "Background", "Orphan"):
        said = (
            f'Unsupported value: "{options.propagation}": supported values: "Foreground",'
            ' "Background", "Orphan", "nil"'
        )
        cause = Cause("FieldValueNotSupported", said, "propagationPolicy")
        raise invalid("DeleteOptions", "", [cause], "meta.k8s.io")
    if resource.key == "namespaces" and old["metadata"]["name"] in _IMMORTAL:
        raise forbidden("namespaces", old["metadata"]["name"], "this namespace may not be deleted")
    check_preconditions(resource, old, options)
    if resource.key == "namespaces":
        return _namespace(resource, old, options, now)
    metadata = dict(old["metadata"])
    graceful, pending, grace = _grace(resource, old, metadata, options, now)
    if pending:
        return Verdict(old, False)
    finalizers = _finalizers(resource, metadata, options)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    new = old | {"metadata": metadata}
    if graceful:
        return Verdict(new, grace == 0 and not finalizers)
    if not finalizers:
        return Verdict(old, True)
    _mark(metadata, now)
    if resource.key == _DEFINITIONS:
        new = _terminating(new, now)
    return Verdict(new, False)


def gone_by_update(resource: ResourceType, new: Obj) -> bool:
    """Whether an object that is being deleted goes with this update, which leaves it without
    finalizers."""
    metadata = new["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if resource.key == "namespaces":
        return not (new.get("spec") or {}).get("finalizers")
    return bool(metadata.get("deletionGracePeriodSeconds") == 0)


def _grace(
    resource: ResourceType, old: Obj, metadata: Obj, options: DeleteOptions, now: float
) -> tuple[bool, bool, int]:
    """Whether the object ends gracefully, whether it already does and this changes nothing, and
    the seconds. Puts them into `metadata`."""
    if "deletionTimestamp" in metadata:
        left = metadata.get("deletionGracePeriodSeconds")
        if left is None:
            return False, False, 0
        if options.grace is None or options.grace >= left:
            return False, True, left
        at = datetime.fromisoformat(metadata["deletionTimestamp"]).timestamp()
        metadata["deletionTimestamp"] = timestamp(at - left + options.grace)
        metadata["deletionGracePeriodSeconds"] = options.grace
        return True, False, options.grace
    if resource.key != "pods":
        return False, False, 0
    spec = old.get("spec") or {}
    grace = options.grace
    if grace is None:
        grace = spec.get("terminationGracePeriodSeconds")
        grace = 30 if grace is None else grace
    phase = (old.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        grace = 0
    if grace < 0:
        grace = 1
    if grace == 0:
        return False, False, 0
    metadata["deletionTimestamp"] = timestamp(now + grace)
    metadata["deletionGracePeriodSeconds"] = grace
    _count(metadata)
    return True, False, grace


def _mark(metadata: Obj, now: float) -> None:
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = timestamp(now)
        _count(metadata)
    metadata["deletionGracePeriodSeconds"] = 0


def _count(metadata: Obj) -> None:
    if metadata.get("generation"):
        metadata["generation"] += 1


def _finalizers(resource: ResourceType, metadata: Obj, options: DeleteOptions) -> list[str]:
    had: list[str] = list(metadata.get("finalizers") or ())
    if options.propagation:
        orphan = options.propagation == "Orphan"
        foreground = options.propagation == "Foreground"
    else:
        foreground = _FOREGROUND in had
        orphan = _ORPHAN in had or (not foreground and orphans_by_default(resource))
    want = [name for name in had if name not in (_ORPHAN, _FOREGROUND)]
    if orphan:
        want.append(_ORPHAN)
    if foreground:
        want.append(_FOREGROUND)
    return had if set(want) == set(had) else want


def _namespace(resource: ResourceType, old: Obj, options: DeleteOptions, now: float) -> Verdict:
    metadata = dict(old["metadata"])
    if "deletionTimestamp" in metadata:
        finalizers = (old.get("spec") or {}).get("finalizers") or metadata.get("finalizers")
        return Verdict(old, not finalizers)
    metadata["deletionTimestamp"] = timestamp(now)
    finalizers = _finalizers(resource, metadata, options)
    if finalizers:
        metadata["finalizers"] = finalizers
    status = (old.get("status") or {}) | {"phase": "Terminating"}
    return Verdict(old | {"metadata": metadata, "status": status}, False)


def _terminating(definition: Obj, now: float) -> Obj:
    status = dict(definition.get("status") or {})
    conditions = [c for c in status.get("conditions") or () if c.get("type") != "Terminating"]
    conditions.append(
        {
            "type": "Terminating",
            "status": "True",
            "lastTransitionTime": timestamp(now),
            "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will"
            " begin soon",
        }
    )
    return definition | {"status": status | {"conditions": conditions}}


def namespace_refusal(resource: ResourceType, name: str, namespace: str) -> ApiError:
    """Nothing new in a namespace that is being deleted."""
    error = forbidden(
        resource.plural,
        name,
        f"unable to create new content in namespace {namespace} because it is being terminated",
        resource.group,
    )
    cause = Cause(
        "NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace"
    )
    return ApiError(
        error.code,
        error.reason,
        error.message,
        name=error.name,
        group=error.group,
        kind=error.kind,
        causes=[cause],
    )
