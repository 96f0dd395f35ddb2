"""A pod's containers as its status remembers them, for a node that begins anew.

Whatever ran when the cluster ended, however it ended, is gone. A container that the status calls
running has an end that nobody saw, and restarts as its policy says.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kindling.cluster.model.api import Obj
from kindling.cluster.node.slot import Role, Slot, unknown_end
from kindling.cluster.node.status import will_restart

__all__ = ["slots_of"]


def slots_of(pod: Obj, folder: Path, now: float) -> list[Slot]:
    """Every container of the pod's spec, in the order of its fields, with its past."""
    slots = list(_slots(pod))
    status = pod.get("status") or {}
    known = {
        entry["name"]: entry
        for field in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
        for entry in status.get(field) or ()
    }
    for slot in slots:
        if entry := known.get(slot.name):
            _remember(slot, entry, now)
        # A start that the status does not know of has left its log.
        logs = (folder / "logs" / slot.name).glob("*.log")
        slot.attempts = max(
            [slot.attempts, *(int(log.stem) + 1 for log in logs if log.stem.isdigit())]
        )
    if any(slot.role is Role.MAIN and will_restart(pod, slot) for slot in slots):
        for slot in slots:
            # A new sandbox is made ready from the first init container on, as by the kubelet.
            if slot.role is Role.INIT and slot.succeeded:
                slot.last, slot.terminated = slot.terminated, None
    return slots


def _slots(pod: Obj) -> Iterator[Slot]:
    spec = pod["spec"]
    for container in spec.get("initContainers") or ():
        stays = container.get("restartPolicy") == "Always"
        yield Slot(container, Role.SIDECAR if stays else Role.INIT)
    for container in spec.get("containers") or ():
        yield Slot(container, Role.MAIN)
    for container in spec.get("ephemeralContainers") or ():
        yield Slot(container, Role.EPHEMERAL)


def _remember(slot: Slot, entry: Obj, now: float) -> None:
    state, last = entry.get("state") or {}, entry.get("lastState") or {}
    slot.image = entry.get("image", "")
    slot.image_id = entry.get("imageID", "")
    slot.container_id = entry.get("containerID", "")
    slot.last = last.get("terminated")
    if running := state.get("running"):
        slot.terminated = unknown_end(running.get("startedAt", ""), now)
        if slot.container_id:
            slot.terminated["containerID"] = slot.container_id
    elif ended := state.get("terminated"):
        slot.terminated = ended
    elif slot.last:
        slot.terminated, slot.last = slot.last, None
    if slot.terminated or slot.last:
        slot.attempts = int(entry.get("restartCount") or 0) + 1
