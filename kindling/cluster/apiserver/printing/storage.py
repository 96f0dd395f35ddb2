"""Columns of volumes, claims and the kinds in storage.k8s.io/v1."""

from __future__ import annotations

from typing import Any

from kindling.cluster.apiserver.printing.column import AGE, NAME, Printer, age, column
from kindling.cluster.model.api import Obj

__all__ = ["PRINTERS"]

_DEFAULT = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_CLASS = "volume.beta.kubernetes.io/storage-class"
_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _modes(given: Any) -> str:
    asked = set(given or ())
    return ",".join(short for mode, short in _MODES.items() if mode in asked)


def _phase(obj: Obj) -> str:
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str(obj.get("status", {}).get("phase", ""))


def _class_of(obj: Obj) -> str:
    annotations = obj["metadata"].get("annotations") or {}
    return str(annotations.get(_CLASS) or obj.get("spec", {}).get("storageClassName") or "")


def _volume(obj: Obj, now: float) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    claim = spec.get("claimRef")
    return [
        obj["metadata"]["name"],
        (spec.get("capacity") or {}).get("storage", "0"),
        _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        _phase(obj),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class_of(obj),
        spec.get("volumeAttributesClassName") or "<unset>",
        status.get("reason", ""),
        age(obj, now),
        spec.get("volumeMode") or "<unset>",
    ]


def _claim(obj: Obj, now: float) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    bound = bool(spec.get("volumeName"))
    return [
        obj["metadata"]["name"],
        _phase(obj),
        spec.get("volumeName", ""),
        (status.get("capacity") or {}).get("storage", "0") if bound else "",
        _modes(status.get("accessModes")) if bound else "",
        _class_of(obj),
        spec.get("volumeAttributesClassName") or "<unset>",
        age(obj, now),
        spec.get("volumeMode") or "<unset>",
    ]


def _storage_class(obj: Obj, now: float) -> list[Any]:
    annotations = obj["metadata"].get("annotations") or {}
    default = any(annotations.get(key) == "true" for key in _DEFAULT)
    return [
        obj["metadata"]["name"] + (" (default)" if default else ""),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or "Immediate",
        bool(obj.get("allowVolumeExpansion")),
        age(obj, now),
    ]


def _csi_driver(obj: Obj, now: float) -> list[Any]:
    spec = obj.get("spec", {})
    requests = spec.get("tokenRequests")
    audiences = "<unset>"
    if requests is not None:
        audiences = ",".join(str(one.get("audience", "")) for one in requests)
    return [
        obj["metadata"]["name"],
        spec.get("attachRequired", True),
        spec.get("podInfoOnMount", False),
        spec.get("storageCapacity", False),
        audiences,
        spec.get("requiresRepublish", False),
        ",".join(spec.get("volumeLifecycleModes") or ()) or "<none>",
        age(obj, now),
    ]


def _csi_node(obj: Obj, now: float) -> list[Any]:
    drivers = obj.get("spec", {}).get("drivers") or ()
    return [obj["metadata"]["name"], len(drivers), age(obj, now)]


def _attachment(obj: Obj, now: float) -> list[Any]:
    spec = obj.get("spec", {})
    return [
        obj["metadata"]["name"],
        spec.get("attacher", ""),
        (spec.get("source") or {}).get("persistentVolumeName") or "",
        spec.get("nodeName", ""),
        obj.get("status", {}).get("attached", False),
        age(obj, now),
    ]


_ATTRIBUTES = column("VolumeAttributesClass", about="Its class of changeable attributes.")
_MODE = column("VolumeMode", wide=True, about="Whether it is a file system or a block device.")

PRINTERS: dict[str, Printer] = {
    "persistentvolumes": Printer(
        (
            NAME,
            column("Capacity", about="Its size."),
            column("Access Modes", about="Who may mount it at once."),
            column("Reclaim Policy", about="What becomes of it when its claim has gone."),
            column("Status", about="Whether it is bound."),
            column("Claim", about="The claim that has it."),
            column("StorageClass", about="The class that it belongs to."),
            _ATTRIBUTES,
            column("Reason", about="Why it failed."),
            AGE,
            _MODE,
        ),
        _volume,
    ),
    "persistentvolumeclaims": Printer(
        (
            NAME,
            column("Status", about="Whether it is bound."),
            column("Volume", about="The volume that it has."),
            column("Capacity", about="The size of that."),
            column("Access Modes", about="Who may mount it at once."),
            column("StorageClass", about="The class that is asked for."),
            _ATTRIBUTES,
            AGE,
            _MODE,
        ),
        _claim,
    ),
    "storageclasses.storage.k8s.io": Printer(
        (
            NAME,
            column("Provisioner", about="Who makes the volumes."),
            column("ReclaimPolicy", about="What becomes of them."),
            column("VolumeBindingMode", about="When they are made."),
            column("AllowVolumeExpansion", about="Whether they may grow."),
            AGE,
        ),
        _storage_class,
    ),
    "csidrivers.storage.k8s.io": Printer(
        (
            NAME,
            column("AttachRequired", sort="boolean", about="Whether volumes are attached first."),
            column("PodInfoOnMount", sort="boolean", about="Whether the driver is told of pods."),
            column("StorageCapacity", sort="boolean", about="Whether it reports capacity."),
            column("TokenRequests", about="Audiences of the tokens that it wants."),
            column("RequiresRepublish", sort="boolean", about="Whether it publishes again."),
            column("Modes", about="Lifecycles that it supports."),
            AGE,
        ),
        _csi_driver,
    ),
    "csinodes.storage.k8s.io": Printer(
        (NAME, column("Drivers", sort="integer", about="How many drivers it has."), AGE), _csi_node
    ),
    "volumeattachments.storage.k8s.io": Printer(
        (
            NAME,
            column("Attacher", about="Who attaches it."),
            column("PV", about="The volume."),
            column("Node", about="Where to."),
            column("Attached", sort="boolean", about="Whether it is."),
            AGE,
        ),
        _attachment,
    ),
}
