"""Whether a pod may go to a node, and if not, why, in the real scheduler's words. Pure.

Texts as in `pkg/scheduler/framework/plugins`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kindling.cluster.controllers.meta import labels, matches, name_of, namespace_of
from kindling.cluster.controllers.occupancy import Occupancy
from kindling.cluster.controllers.quantities import parse_quantity, requests_of
from kindling.cluster.model.api import Obj

__all__ = ["Misfit", "misfits", "tolerated", "unschedulable_message"]


_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a node does not take a pod. `final` ones would not go away if other pods did."""

    reason: str
    final: bool = True


def misfits(pod: Obj, node: Obj, there: Occupancy) -> list[Misfit]:
    """What speaks against the node with the pods `there`; empty for a fit. As in the real scheduler
    the first plugin that objects decides, and only lacking resources are told together."""
    spec = pod["spec"]
    node_spec = node.get("spec") or {}
    if node_spec.get("unschedulable") and not tolerated(
        spec, {"key": _UNSCHEDULABLE, "effect": "NoSchedule"}
    ):
        return [Misfit("node(s) were unschedulable")]
    for taint in node_spec.get("taints") or ():
        if taint["key"] == _UNSCHEDULABLE:
            continue  # it follows the field that was judged above, a moment later
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not tolerated(spec, taint):
            return [
                Misfit(
                    f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"
                )
            ]
    if not _selected(spec, node):
        return [Misfit("node(s) didn't match Pod's node affinity/selector")]
    if _ports_taken(spec, there.holding_ports):
        return [Misfit("node(s) didn't have free ports for the requested pod ports", final=False)]
    lacking = _lacking(pod, node, there)
    if lacking:
        return lacking
    return _topology(pod, node, there)


def tolerated(spec: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    for toleration in spec.get("tolerations") or ():
        if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
            continue
        if toleration.get("key") and toleration["key"] != taint.get("key"):
            continue
        if toleration.get("operator") == "Exists":
            return True
        if (toleration.get("value") or "") == (taint.get("value") or "") and toleration.get("key"):
            return True
    return False


def _selected(spec: Mapping[str, Any], node: Obj) -> bool:
    found = labels(node)
    if any(found.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if affinity is None:
        return True
    for term in affinity.get("nodeSelectorTerms") or ():
        expressions = term.get("matchExpressions") or ()
        fields = term.get("matchFields") or ()
        if not expressions and not fields:
            continue  # an empty term matches nothing
        if matches({"matchExpressions": expressions}, found) and matches(
            {"matchExpressions": fields}, {"metadata.name": name_of(node)}
        ):
            return True
    return False


def _ports(spec: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    return [
        (port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", int(port["hostPort"]))
        for container in spec.get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]


def _ports_taken(spec: Mapping[str, Any], there: Sequence[Obj]) -> bool:
    wanted = _ports(spec)
    if not wanted:
        return False
    taken = [port for other in there for port in _ports(other["spec"])]
    return any(
        mine[1:] == theirs[1:] and (mine[0] == theirs[0] or "0.0.0.0" in (mine[0], theirs[0]))
        for mine in wanted
        for theirs in taken
    )


def _lacking(pod: Obj, node: Obj, there: Occupancy) -> list[Misfit]:
    status = node.get("status") or {}
    capacity = status.get("allocatable") or status.get("capacity") or {}
    if not capacity:
        return []
    room = {name: parse_quantity(value) for name, value in capacity.items()}
    found: list[Misfit] = []
    if "pods" in room and len(there) + 1 > room["pods"]:
        found.append(Misfit("Too many pods", final=False))
    wanted = {name: amount for name, amount in requests_of(pod).items() if amount > 0}
    if not wanted:
        return found
    first = [name for name in ("cpu", "memory", "ephemeral-storage") if name in wanted]
    for name in first + sorted(set(wanted) - set(first)):
        held = room.get(name, Decimal(0))
        if name == "ephemeral-storage" and name not in room:
            continue
        if wanted[name] > held - there.used.get(name, Decimal(0)):
            found.append(Misfit(f"Insufficient {name}", final=wanted[name] > held))
    return found


def _topology(pod: Obj, node: Obj, there: Occupancy) -> list[Misfit]:
    """Required affinity to other pods; on one node a topology holds all pods or none."""
    affinity = pod["spec"].get("affinity") or {}
    key = "requiredDuringSchedulingIgnoredDuringExecution"
    known = labels(node)
    for constraint in pod["spec"].get("topologySpreadConstraints") or ():
        if constraint.get("whenUnsatisfiable") == "DoNotSchedule" and (
            constraint.get("topologyKey") not in known
        ):
            return [
                Misfit(
                    "node(s) didn't match pod topology spread constraints (missing required label)"
                )
            ]
    for term in (affinity.get("podAffinity") or {}).get(key) or ():
        if term.get("topologyKey") in known and (
            any(_term_matches(term, pod, other) for other in there.pods)
            # The first of a group that wants to be together has nobody to be with yet.
            or _term_matches(term, pod, pod)
        ):
            continue
        return [Misfit("node(s) didn't match pod affinity rules")]
    for term in (affinity.get("podAntiAffinity") or {}).get(key) or ():
        if term.get("topologyKey") in known and any(
            _term_matches(term, pod, other) for other in there.pods
        ):
            return [Misfit("node(s) didn't match pod anti-affinity rules", final=False)]
    for other in there.keeping_apart:
        theirs = (other["spec"].get("affinity") or {}).get("podAntiAffinity") or {}
        for term in theirs.get(key) or ():
            if term.get("topologyKey") in known and _term_matches(term, other, pod):
                return [
                    Misfit("node(s) didn't satisfy existing pods anti-affinity rules", final=False)
                ]
    return []


def _term_matches(term: Mapping[str, Any], owner: Obj, other: Obj) -> bool:
    spaces = term.get("namespaces") or ()
    everywhere = term.get("namespaceSelector") == {}
    if not everywhere and namespace_of(other) not in (spaces or (namespace_of(owner),)):
        return False
    return matches(term.get("labelSelector"), labels(other))


def unschedulable_message(
    found: Sequence[Sequence[Misfit]], *, before: str = "", nodes: int | None = None
) -> str:
    """The message of `FailedScheduling`: for each node its misfits. `before` is an objection that
    came before any node was looked at."""
    count = len(found) if nodes is None else nodes
    if not count:
        return "no nodes available to schedule pods"
    histogram: dict[str, int] = {}
    for misfit in (one for node in found for one in node):
        histogram[misfit.reason] = histogram.get(misfit.reason, 0) + 1
    told = before or ", ".join(sorted(f"{number} {reason}" for reason, number in histogram.items()))
    head = f"0/{count} nodes are available"
    final = sum(any(misfit.final for misfit in node) for node in found) if found else count
    rest = count - final
    help_ = [
        f"{number} {text}"
        for number, text in (
            (rest, "No preemption victims found for incoming pod"),
            (final, "Preemption is not helpful for scheduling"),
        )
        if number
    ]
    return f"{head}: {told}. preemption: {head}: {', '.join(help_)}."
