"""Columns of Pod: what its containers say, put into one word."""

from __future__ import annotations

from typing import Any

from kindling.cluster.apiserver.printing.column import AGE, NAME, Printer, age, column
from kindling.cluster.apiserver.printing.durations import human_duration, seconds_since_epoch
from kindling.cluster.apiserver.printing.texts import condition
from kindling.cluster.model.api import Obj

__all__ = ["PRINTERS", "pod_summary"]

_COLUMNS = (
    NAME,
    column("Ready", about="How many of the pod's containers are ready."),
    column("Status", about="The state of the pod's containers in one word."),
    column("Restarts", about="How often containers of the pod were restarted, and when last."),
    AGE,
    column("IP", wide=True, about="The pod's address."),
    column("Node", wide=True, about="Where the pod runs."),
    column("Nominated Node", wide=True, about="Where a preempting pod is to run."),
    column("Readiness Gates", wide=True, about="How many of the further gates are open."),
)


def pod_summary(pod: Obj, now: float) -> tuple[str, str, str]:
    """Ready (`1/2`), status (`Init:0/1`, `CrashLoopBackOff`) and restarts (`3 (5m ago)`)."""
    spec, status = pod.get("spec", {}), pod.get("status", {})
    phase = str(status.get("phase", ""))
    reason = str(status.get("reason") or phase)
    for found in status.get("conditions") or ():
        if found.get("type") == "PodScheduled" and found.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    inits = {container["name"]: container for container in spec.get("initContainers") or ()}
    sidecars = {name for name, one in inits.items() if one.get("restartPolicy") == "Always"}
    total = len(spec.get("containers") or ()) + len(sidecars)
    ready = restarts = sidecar_restarts = 0
    last = sidecar_last = 0.0
    initializing = False
    for at, one in enumerate(status.get("initContainerStatuses") or ()):
        sidecar = one.get("name") in sidecars
        count, ended = int(one.get("restartCount", 0)), _last_end(one)
        restarts, last = restarts + count, max(last, ended)
        if sidecar:
            sidecar_restarts, sidecar_last = sidecar_restarts + count, max(sidecar_last, ended)
        state = one.get("state") or {}
        ended_now = state.get("terminated")
        if ended_now is not None and not ended_now.get("exitCode"):
            continue
        if sidecar and one.get("started"):
            ready += bool(one.get("ready"))
            continue
        waiting = (state.get("waiting") or {}).get("reason", "")
        if ended_now is not None:
            reason = f"Init:{_end_reason(ended_now)}"
        elif waiting and waiting != "PodInitializing":
            reason = f"Init:{waiting}"
        else:
            reason = f"Init:{at}/{len(inits)}"
        initializing = True
        break
    if not initializing or condition(pod, "Initialized") == "True":
        restarts, last = sidecar_restarts, sidecar_last
        running = False
        for one in reversed(status.get("containerStatuses") or []):
            restarts, last = restarts + int(one.get("restartCount", 0)), max(last, _last_end(one))
            state = one.get("state") or {}
            if waiting := (state.get("waiting") or {}).get("reason"):
                reason = waiting
            elif (ended_now := state.get("terminated")) is not None:
                reason = _end_reason(ended_now)
            elif one.get("ready") and state.get("running") is not None:
                running = True
                ready += 1
        if reason == "Completed" and running:
            reason = "Running" if condition(pod, "Ready") == "True" else "NotReady"
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif phase not in ("Succeeded", "Failed"):
            reason = "Terminating"
    told = str(restarts)
    if restarts and last:
        told = f"{restarts} ({human_duration(now - last)} ago)"
    return f"{ready}/{total}", reason, told


def _last_end(status: Obj) -> float:
    ended = (status.get("lastState") or {}).get("terminated") or {}
    return seconds_since_epoch(ended.get("finishedAt")) or 0.0


def _end_reason(ended: Obj) -> str:
    if reason := ended.get("reason"):
        return str(reason)
    if signal := ended.get("signal"):
        return f"Signal:{signal}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _cells(pod: Obj, now: float) -> list[Any]:
    spec, status = pod.get("spec", {}), pod.get("status", {})
    addresses = status.get("podIPs") or [{"ip": status.get("podIP", "")}]
    gates = spec.get("readinessGates") or ()
    open_gates = sum(condition(pod, gate.get("conditionType", "")) == "True" for gate in gates)
    return [
        pod["metadata"]["name"],
        *pod_summary(pod, now),
        age(pod, now),
        addresses[0].get("ip") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        f"{open_gates}/{len(gates)}" if gates else "<none>",
    ]


def _row_conditions(pod: Obj) -> list[Obj]:
    done = {
        "Succeeded": "The pod has completed successfully.",
        "Failed": "The pod failed.",
    }
    phase = pod.get("status", {}).get("phase", "")
    if phase not in done:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": done[phase]}]


PRINTERS: dict[str, Printer] = {"pods": Printer(_COLUMNS, _cells, _row_conditions)}
