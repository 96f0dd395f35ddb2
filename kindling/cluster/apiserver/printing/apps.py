"""Columns of the kinds in apps/v1, and of ReplicationController."""

from __future__ import annotations

from typing import Any

from kindling.cluster.apiserver.printing.column import AGE, NAME, Printer, age, column
from kindling.cluster.apiserver.printing.texts import containers, labels, template_cells
from kindling.cluster.model.api import Obj

__all__ = ["PRINTERS"]

_CONTAINERS = column("Containers", wide=True, about="Names of the template's containers.")
_IMAGES = column("Images", wide=True, about="Images of the template's containers.")
_SELECTOR = column("Selector", wide=True, about="Which pods are meant.")


def _deployment(obj: Obj, now: float) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        obj["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj, now),
        *template_cells(obj),
    ]


def _replica_set(obj: Obj, now: float) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        obj["metadata"]["name"],
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj, now),
        *template_cells(obj),
    ]


def _stateful_set(obj: Obj, now: float) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        obj["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        age(obj, now),
        *containers(spec.get("template")),
    ]


def _daemon_set(obj: Obj, now: float) -> list[Any]:
    status = obj.get("status", {})
    pod = obj.get("spec", {}).get("template", {}).get("spec", {})
    return [
        obj["metadata"]["name"],
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        labels(pod.get("nodeSelector")),
        age(obj, now),
        *template_cells(obj),
    ]


def _controller_revision(obj: Obj, now: float) -> list[Any]:
    owner = next(
        (one for one in obj["metadata"].get("ownerReferences") or () if one.get("controller")), None
    )
    name = "<none>"
    if owner is not None:
        group = str(owner.get("apiVersion", "")).rpartition("/")[0]
        kind = str(owner.get("kind", "")).lower()
        name = f"{kind}.{group}/{owner['name']}" if group else f"{kind}/{owner['name']}"
    return [obj["metadata"]["name"], name, obj.get("revision", 0), age(obj, now)]


def _counted(name: str, about: str) -> Any:
    return column(name, sort="integer", about=about)


_REPLICA_SET = Printer(
    (
        NAME,
        _counted("Desired", "How many pods are wanted."),
        _counted("Current", "How many pods there are."),
        _counted("Ready", "How many pods are ready."),
        AGE,
        _CONTAINERS,
        _IMAGES,
        _SELECTOR,
    ),
    _replica_set,
)

PRINTERS: dict[str, Printer] = {
    "deployments.apps": Printer(
        (
            NAME,
            column("Ready", about="Ready pods of those that are wanted."),
            column("Up-to-date", about="Pods of the newest template."),
            column("Available", about="Pods that have been ready for long enough."),
            AGE,
            _CONTAINERS,
            _IMAGES,
            _SELECTOR,
        ),
        _deployment,
    ),
    "replicasets.apps": _REPLICA_SET,
    "replicationcontrollers": _REPLICA_SET,
    "statefulsets.apps": Printer(
        (
            NAME,
            column("Ready", about="Ready pods of those that are wanted."),
            AGE,
            _CONTAINERS,
            _IMAGES,
        ),
        _stateful_set,
    ),
    "daemonsets.apps": Printer(
        (
            NAME,
            _counted("Desired", "On how many nodes a pod should run."),
            _counted("Current", "On how many nodes one runs."),
            _counted("Ready", "How many of them are ready."),
            _counted("Up-to-date", "How many have the newest template."),
            _counted("Available", "How many have been ready for long enough."),
            column("Node Selector", about="Labels of the nodes that are meant."),
            AGE,
            _CONTAINERS,
            _IMAGES,
            _SELECTOR,
        ),
        _daemon_set,
    ),
    "controllerrevisions.apps": Printer(
        (
            NAME,
            column("Controller", about="Whose revision it is."),
            column("Revision", about="Its number."),
            AGE,
        ),
        _controller_revision,
    ),
}
