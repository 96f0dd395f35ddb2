"""What pods and claims have to do with each other. Pure reading."""

from __future__ import annotations

from dataclasses import dataclass

from kindling.cluster.controllers.kinds import CLAIMS, CLASSES
from kindling.cluster.controllers.meta import (
    controlled_by,
    name_of,
    namespace_of,
    notes_of,
    terminating,
)
from kindling.cluster.model.api import Api, Obj

__all__ = ["Waiting", "binds_late", "claims_of", "class_of", "waiting_for_claims"]

_OLD_CLASS = "volume.beta.kubernetes.io/storage-class"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a pod has to wait for its volumes: an objection of the scheduler, or claims that bind
    once a node is chosen."""

    objection: str = ""
    unbound: tuple[str, ...] = ()


def claims_of(pod: Obj) -> list[tuple[str, bool]]:
    """The claims that a pod mounts; True for those that live and die with it."""
    found = []
    for volume in pod["spec"].get("volumes") or ():
        if (claim := volume.get("persistentVolumeClaim")) is not None:
            found.append((str(claim["claimName"]), False))
        elif volume.get("ephemeral") is not None:
            found.append((f"{name_of(pod)}-{volume['name']}", True))
    return found


def class_of(claim: Obj) -> str | None:
    """The storage class that a claim asks for; an empty one is asked for too, None is not."""
    if (old := notes_of(claim).get(_OLD_CLASS)) is not None:
        return old
    found = claim["spec"].get("storageClassName")
    return None if found is None else str(found)


def binds_late(api: Api, claim: Obj) -> bool:
    """Whether a claim waits for its first consumer."""
    name = class_of(claim)
    found = api.get(CLASSES, name) if name else None
    return found is not None and found.get("volumeBindingMode") == "WaitForFirstConsumer"


def waiting_for_claims(api: Api, pod: Obj) -> Waiting | None:
    """What a pod's volumes still wait for; None when all of them are bound."""
    late: list[str] = []
    for name, ephemeral in claims_of(pod):
        claim = api.get(CLAIMS, name, namespace_of(pod))
        if claim is None:
            if ephemeral:
                return Waiting(
                    f"waiting for ephemeral volume controller to create the"
                    f' persistentvolumeclaim "{name}"'
                )
            return Waiting(f'persistentvolumeclaim "{name}" not found')
        if ephemeral and not controlled_by(claim, pod):
            return Waiting(f'PVC "{name}" was not created for the pod "{name_of(pod)}"')
        if terminating(claim):
            return Waiting(f'persistentvolumeclaim "{name}" is being deleted')
        if (claim.get("status") or {}).get("phase") == "Lost":
            volume = claim["spec"].get("volumeName", "")
            return Waiting(
                f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"'
            )
        if (claim.get("status") or {}).get("phase") == "Bound":
            continue
        if not binds_late(api, claim):
            return Waiting("pod has unbound immediate PersistentVolumeClaims")
        late.append(name)
    return Waiting(unbound=tuple(late)) if late else None
