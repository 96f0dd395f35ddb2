"""Persistent volumes, claims, storage classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes
from kindling.cluster.schema.quantity import parse_quantity
from kindling.cluster.schema.validation import common

__all__ = ["check_claim", "check_claim_spec", "check_storage_class", "check_volume"]

_Obj = dict[str, Any]
_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_SPEC_FIELDS = frozenset(
    [
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    ]
)
_STAYS = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for"
    " bound claims"
)


def check_claim(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    yield from check_claim_spec(spec, "spec")
    if before is None:
        return
    old = before.get("spec") or {}
    free = {"volumeAttributesClassName"}
    if not old.get("volumeName"):
        free.add("volumeName")
    if not old.get("storageClassName"):
        free.add("storageClassName")
    kept = {key: one for key, one in spec.items() if key not in free}
    earlier = {key: one for key, one in old.items() if key not in free}
    asked, had = _storage(spec), _storage(old)
    bound = (before.get("status") or {}).get("phase") == "Bound"
    if bound or asked == had:
        kept["resources"] = earlier.get("resources")
        kept = {key: one for key, one in kept.items() if one is not None}
    if kept != earlier:
        yield causes.forbidden("spec", _STAYS)
    elif asked is not None and had is not None and parse_quantity(asked) < parse_quantity(had):
        text = "field can not be less than previous value"
        yield causes.forbidden("spec.resources.requests.storage", text)


def _storage(spec: _Obj) -> Any:
    return ((spec.get("resources") or {}).get("requests") or {}).get("storage")


def check_claim_spec(spec: _Obj, path: str) -> Iterator[Cause]:
    modes = spec.get("accessModes") or []
    if not modes:
        yield causes.required(f"{path}.accessModes", "at least 1 access mode is required")
    if spec.get("selector"):
        yield from common.check_label_selector(spec["selector"], f"{path}.selector")
    for mode in modes:
        yield from common.one_of(mode, f"{path}.accessModes", _MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        text = "may not use ReadWriteOncePod with other access modes"
        yield causes.forbidden(f"{path}.accessModes", text)
    where = causes.key(f"{path}.resources", "storage")
    amount = _storage(spec)
    if amount is None:
        yield causes.required(where)
    elif parse_quantity(amount) <= 0:
        yield causes.invalid(where, amount, "must be greater than zero")
    if spec.get("storageClassName"):
        yield from common.check_name(spec["storageClassName"], f"{path}.storageClassName")
    known = ("Block", "Filesystem")
    yield from common.one_of(spec.get("volumeMode"), f"{path}.volumeMode", known)


def check_volume(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    modes = spec.get("accessModes") or []
    if not modes:
        yield causes.required("spec.accessModes")
    for mode in modes:
        yield from common.one_of(mode, "spec.accessModes", _MODES)
    capacity = spec.get("capacity") or {}
    if not capacity:
        yield causes.required("spec.capacity")
    if "storage" not in capacity or len(capacity) > 1:
        shown = causes.Literal("core.ResourceList{...}" if capacity else "core.ResourceList(nil)")
        yield causes.not_supported("spec.capacity", shown, ("storage",))
    elif parse_quantity(capacity["storage"]) <= 0:
        where = causes.key("spec.capacity", "storage")
        yield causes.invalid(where, capacity["storage"], "must be greater than zero")
    known = ("Delete", "Recycle", "Retain")
    policy = spec.get("persistentVolumeReclaimPolicy")
    yield from common.one_of(policy, "spec.persistentVolumeReclaimPolicy", known)
    sources = sorted(spec.keys() - _SPEC_FIELDS)
    if not sources:
        yield causes.required("spec", "must specify a volume type")
    for extra in sources[1:]:
        yield causes.forbidden(f"spec.{extra}", "may not specify more than 1 volume type")
    path = (spec.get("hostPath") or {}).get("path", "/")
    if not path:
        yield causes.required("spec.hostPath.path")
    if before is not None:
        old = before.get("spec") or {}
        if any(
            spec.get(name) != old.get(name) for name in {*sources, *(old.keys() - _SPEC_FIELDS)}
        ):
            text = "spec.persistentvolumesource is immutable after creation"
            yield causes.forbidden("spec.persistentvolumesource", text)
        if spec.get("volumeMode") != old.get("volumeMode"):
            yield causes.immutable("spec.volumeMode", spec.get("volumeMode"))


def check_storage_class(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:
    if not obj.get("provisioner"):
        yield causes.required("provisioner")
    known = ("Delete", "Retain")
    yield from common.one_of(obj.get("reclaimPolicy"), "reclaimPolicy", known)
    known = ("Immediate", "WaitForFirstConsumer")
    mode = obj.get("volumeBindingMode")
    if not mode:
        yield causes.required("volumeBindingMode")
    yield from common.one_of(mode, "volumeBindingMode", known)
    if before is None:
        return
    if (obj.get("parameters") or {}) != (before.get("parameters") or {}):
        yield causes.forbidden("parameters", "updates to parameters are forbidden.")
    if obj.get("provisioner") != before.get("provisioner"):
        yield causes.forbidden("provisioner", "updates to provisioner are forbidden.")
    if obj.get("reclaimPolicy") != before.get("reclaimPolicy"):
        yield causes.forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden.")
    if mode != before.get("volumeBindingMode"):
        yield causes.immutable("volumeBindingMode", mode)
