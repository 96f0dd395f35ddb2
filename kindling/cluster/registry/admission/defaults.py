"""The default storage class of a claim and the default class of an ingress."""

from __future__ import annotations

from collections.abc import Iterable

from kindling.cluster.model.api import Obj
from kindling.cluster.registry.memory import Memory

__all__ = ["admit_claim", "admit_ingress"]


def admit_claim(memory: Memory, claim: Obj) -> Obj:
    """A claim that names no storage class gets the default one; an empty name means none."""
    spec = claim.get("spec") or {}
    annotations = claim["metadata"].get("annotations") or {}
    if spec.get("storageClassName") is not None:
        return claim
    if "volume.beta.kubernetes.io/storage-class" in annotations:
        return claim
    name = _default(
        memory.current_all("storageclasses.storage.k8s.io"),
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    )
    return claim | {"spec": spec | {"storageClassName": name}} if name else claim


def admit_ingress(memory: Memory, ingress: Obj) -> Obj:
    """An ingress that names no class gets the default one."""
    spec = ingress.get("spec") or {}
    annotations = ingress["metadata"].get("annotations") or {}
    if spec.get("ingressClassName") is not None or "kubernetes.io/ingress.class" in annotations:
        return ingress
    name = _default(
        memory.current_all("ingressclasses.networking.k8s.io"),
        "ingressclass.kubernetes.io/is-default-class",
    )
    return ingress | {"spec": spec | {"ingressClassName": name}} if name else ingress


def _default(classes: Iterable[Obj], *marks: str) -> str:
    """Of several that are marked, the newest; the first by name among equally new ones."""
    marked = [
        (str(found["metadata"].get("creationTimestamp", "")), str(found["metadata"]["name"]))
        for found in classes
        if any((found["metadata"].get("annotations") or {}).get(mark) == "true" for mark in marks)
    ]
    if not marked:
        return ""
    newest = max(created for created, _ in marked)
    return min(name for created, name in marked if created == newest)
