"""A pod's status out of what its containers are doing. Pure.

Phases, reasons and messages follow the kubelet (`pkg/kubelet/kubelet_pods.go`,
`pkg/kubelet/status/generate.go`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kindling.cluster.model.api import Obj
from kindling.cluster.node.clock import stamp
from kindling.cluster.node.slot import Role, Slot

__all__ = ["PodView", "phase_of", "pod_status", "qos_class", "will_restart"]

_OURS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")


@dataclass(frozen=True, slots=True)
class PodView:
    """What there is to say of a pod beyond its containers. `failure` is reason and message of a pod
    that the node itself ended."""

    host_address: str
    address: str = ""
    has_sandbox: bool = False
    initialized: bool = False
    ending: bool = False
    failure: tuple[str, str] | None = None


def will_restart(pod: Obj, slot: Slot) -> bool:
    """Whether a container that ended is to run again, by its role and the restart policy."""
    if slot.terminated is None:
        return True
    policy = pod["spec"].get("restartPolicy") or "Always"
    match slot.role:
        case Role.EPHEMERAL:
            return False
        case Role.SIDECAR:
            return True
        case Role.INIT:
            return not slot.succeeded and policy != "Never"
        case Role.MAIN:
            return policy == "Always" or (policy == "OnFailure" and not slot.succeeded)


def phase_of(pod: Obj, slots: Sequence[Slot], view: PodView) -> str:
    if view.failure is not None:
        return "Failed"
    inits = [slot for slot in slots if slot.role is Role.INIT]
    mains = [slot for slot in slots if slot.role is Role.MAIN]
    begun = any(slot.run is not None or slot.terminated or slot.last for slot in mains)
    if not view.initialized and not begun:
        for slot in inits:
            failed = slot.run is None and slot.terminated is not None and not slot.succeeded
            if failed and (view.ending or not will_restart(pod, slot)):
                return "Failed"
        return "Failed" if view.ending and not mains else "Pending"
    over = [
        slot.run is None
        and slot.terminated is not None
        and (view.ending or not will_restart(pod, slot))
        for slot in mains
    ]
    if mains and all(over) and any(slot.run for slot in slots):
        return "Running"  # its sidecars are still to end
    if mains and all(over):
        return "Succeeded" if all(slot.succeeded for slot in mains) else "Failed"
    if view.ending and not any(slot.run for slot in mains) and any(over):
        return "Failed"
    waiting_first = any(
        slot.run is None and slot.terminated is None and slot.last is None for slot in mains
    )
    return "Pending" if waiting_first else "Running"


def pod_status(pod: Obj, slots: Sequence[Slot], view: PodView, now: float) -> Obj:
    """The whole status, keeping what others wrote (foreign conditions) and the times of conditions
    that did not change."""
    before: Obj = pod.get("status") or {}
    phase = phase_of(pod, slots, view)
    status = {
        key: value
        for key, value in before.items()
        if key in ("nominatedNodeName", "qosClass", "resize", "resourceClaimStatuses", "startTime")
    }
    status["phase"] = phase
    status.setdefault("qosClass", qos_class(pod))
    status.setdefault("startTime", stamp(now))
    if view.failure is not None:
        status["reason"], status["message"] = view.failure
    if view.host_address:
        status["hostIP"] = view.host_address
        status["hostIPs"] = [{"ip": view.host_address}]
    address = view.address or before.get("podIP", "")
    if address:
        status["podIP"] = address
        status["podIPs"] = [{"ip": address}]
    initial = "ContainerCreating"
    if any(slot.role in (Role.INIT, Role.SIDECAR) for slot in slots):
        initial = "PodInitializing"
    for field, roles in (
        ("initContainerStatuses", (Role.INIT, Role.SIDECAR)),
        ("containerStatuses", (Role.MAIN,)),
        ("ephemeralContainerStatuses", (Role.EPHEMERAL,)),
    ):
        entries = [slot.status(initial) for slot in slots if slot.role in roles]
        if field != "initContainerStatuses":
            entries.sort(key=lambda entry: str(entry["name"]))
        if entries:
            status[field] = entries
    status["conditions"] = _conditions(pod, slots, view, phase, now)
    return status


def _conditions(
    pod: Obj, slots: Sequence[Slot], view: PodView, phase: str, now: float
) -> list[Obj]:
    old: dict[str, Obj] = {
        one["type"]: one for one in (pod.get("status") or {}).get("conditions") or ()
    }
    result: list[Obj] = []

    def put(kind: str, holds: bool, reason: str = "", message: str = "") -> None:
        value = "True" if holds else "False"
        known = old.get(kind, {})
        condition: Obj = {
            "type": kind,
            "status": value,
            "lastProbeTime": None,
            "lastTransitionTime": known.get("lastTransitionTime")
            if known.get("status") == value
            else stamp(now),
        }
        if reason:
            condition["reason"] = reason
        if message:
            condition["message"] = message
        result.append(condition)

    put("PodReadyToStartContainers", view.has_sandbox)
    finished = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "")
    if view.initialized:
        put("Initialized", True, "PodCompleted" if phase == "Succeeded" else "")
    else:
        names = [
            slot.name
            for slot in slots
            if (slot.role is Role.INIT and not slot.succeeded)
            or (slot.role is Role.SIDECAR and not slot.started)
        ]
        message = f"containers with incomplete status: [{' '.join(names)}]"
        if names:
            put("Initialized", False, "ContainersNotInitialized", message)
        else:
            put("Initialized", True)
    unready = [
        slot.name for slot in slots if slot.role in (Role.MAIN, Role.SIDECAR) and not slot.ready
    ]
    text = f"containers with unready status: [{' '.join(unready)}]" if unready else ""
    reason = finished or ("ContainersNotReady" if unready else "")
    all_ready = not unready and not finished
    gates = _closed_gates(pod, old)
    if all_ready and gates:
        put("Ready", False, "ReadinessGatesNotReady", ", ".join(gates))
    else:
        put("Ready", all_ready, reason, "" if finished else text)
    put("ContainersReady", all_ready, reason, "" if finished else text)
    if "PodScheduled" not in old:
        put("PodScheduled", True)
    return [*result, *(one for kind, one in old.items() if kind not in _OURS)]


def _closed_gates(pod: Obj, conditions: dict[str, Obj]) -> list[str]:
    texts: list[str] = []
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        if kind not in conditions:
            texts.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif conditions[kind].get("status") != "True":
            texts.append(
                f'the status of pod readiness gate "{kind}" is not "True", but'
                f" {conditions[kind].get('status')}"
            )
    return texts


def qos_class(pod: Obj) -> str:
    """`Guaranteed`, `Burstable` or `BestEffort`, from cpu and memory of every container."""
    spec = pod["spec"]
    containers: Iterable[Obj] = [*(spec.get("initContainers") or ()), *spec["containers"]]
    some, equal = False, True
    for container in containers:
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        named = [key for key in ("cpu", "memory") if key in limits or key in requests]
        some = some or bool(named)
        for key in ("cpu", "memory"):
            equal = equal and key in limits and requests.get(key, limits[key]) == limits[key]
    if not some:
        return "BestEffort"
    return "Guaranteed" if equal else "Burstable"
