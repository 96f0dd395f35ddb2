"""The objects that a pod needs to be there, and whose changes concern it."""

from __future__ import annotations

from kindling.cluster.model.api import Obj

__all__ = ["references_of"]


def references_of(pod: Obj) -> frozenset[tuple[str, str]]:
    """The ConfigMaps, Secrets and claims that a pod names, as plural and name."""
    found: set[tuple[str, str]] = set()
    spec = pod["spec"]
    for volume in spec.get("volumes") or ():
        parts = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for part in parts:
            if one := part.get("configMap"):
                found.add(("configmaps", one.get("name", "")))
            if one := part.get("secret"):
                found.add(("secrets", one.get("secretName") or one.get("name", "")))
            if one := part.get("persistentVolumeClaim"):
                found.add(("persistentvolumeclaims", one.get("claimName", "")))
        if volume.get("ephemeral") is not None:
            claim = f"{pod['metadata'].get('name')}-{volume['name']}"
            found.add(("persistentvolumeclaims", claim))
    containers = [
        *(spec.get("initContainers") or ()),
        *(spec.get("containers") or ()),
        *(spec.get("ephemeralContainers") or ()),
    ]
    for container in containers:
        refs = list(container.get("envFrom") or ())
        refs += [one["valueFrom"] for one in container.get("env") or () if one.get("valueFrom")]
        for ref in refs:
            for field, plural in (
                ("configMapRef", "configmaps"),
                ("configMapKeyRef", "configmaps"),
                ("secretRef", "secrets"),
                ("secretKeyRef", "secrets"),
            ):
                if one := ref.get(field):
                    found.add((plural, one.get("name", "")))
    for ref in spec.get("imagePullSecrets") or ():
        found.add(("secrets", ref.get("name", "")))
    return frozenset(found)
