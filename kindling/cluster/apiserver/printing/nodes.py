"""Columns of Node."""

from __future__ import annotations

from typing import Any

from kindling.cluster.apiserver.printing.column import AGE, NAME, Printer, age, column
from kindling.cluster.apiserver.printing.texts import condition
from kindling.cluster.model.api import Obj

__all__ = ["PRINTERS"]

_ROLE = "node-role.kubernetes.io/"


def _node(obj: Obj, now: float) -> list[Any]:
    status = obj.get("status", {})
    info = status.get("nodeInfo", {})
    ready = condition(obj, "Ready")
    states = ["Unknown" if not ready else "Ready" if ready == "True" else "NotReady"]
    if obj.get("spec", {}).get("unschedulable"):
        states.append("SchedulingDisabled")
    labels = obj["metadata"].get("labels") or {}
    roles = {key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE)}
    roles |= {labels.get("kubernetes.io/role", "")}
    addresses = {one.get("type"): one.get("address") for one in status.get("addresses") or ()}
    return [
        obj["metadata"]["name"],
        ",".join(states),
        ",".join(sorted(roles - {""})) or "<none>",
        age(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP") or "<none>",
        addresses.get("ExternalIP") or "<none>",
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


PRINTERS: dict[str, Printer] = {
    "nodes": Printer(
        (
            NAME,
            column("Status", about="Whether it takes pods."),
            column("Roles", about="What it is for."),
            AGE,
            column("Version", about="The version of its agent."),
            column("Internal-IP", wide=True, about="Its address inside the cluster."),
            column("External-IP", wide=True, about="Its address from outside."),
            column("OS-Image", wide=True, about="The system that it runs."),
            column("Kernel-Version", wide=True, about="The kernel that it runs."),
            column("Container-Runtime", wide=True, about="What runs its containers."),
        ),
        _node,
    )
}
