"""Columns of what belongs to the cluster as a whole: bindings, classes, leases, webhooks."""

from __future__ import annotations

from typing import Any

from kindling.cluster.apiserver.printing.column import AGE, NAME, Printer, age, column
from kindling.cluster.apiserver.printing.texts import condition
from kindling.cluster.model.api import Obj

__all__ = ["PRINTERS"]


def _binding(obj: Obj, now: float) -> list[Any]:
    role = obj.get("roleRef", {})
    named: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in obj.get("subjects") or ():
        name = str(subject.get("name", ""))
        if subject.get("kind") == "ServiceAccount" and subject.get("namespace"):
            name = f"{subject['namespace']}/{name}"
        named.get(subject.get("kind", ""), []).append(name)
    return [
        obj["metadata"]["name"],
        f"{role.get('kind', '')}/{role.get('name', '')}",
        age(obj, now),
        *(", ".join(names) for names in named.values()),
    ]


def _priority_class(obj: Obj, now: float) -> list[Any]:
    return [
        obj["metadata"]["name"],
        obj.get("value", 0),
        bool(obj.get("globalDefault")),
        age(obj, now),
        obj.get("preemptionPolicy") or "",
    ]


def _lease(obj: Obj, now: float) -> list[Any]:
    holder = obj.get("spec", {}).get("holderIdentity") or ""
    return [obj["metadata"]["name"], holder, age(obj, now)]


def _webhooks(obj: Obj, now: float) -> list[Any]:
    return [obj["metadata"]["name"], len(obj.get("webhooks") or ()), age(obj, now)]


def _api_service(obj: Obj, now: float) -> list[Any]:
    service = obj.get("spec", {}).get("service")
    told = f"{service.get('namespace')}/{service.get('name')}" if service else "Local"
    return [
        obj["metadata"]["name"],
        told,
        _availability(obj),
        age(obj, now),
    ]


def _availability(obj: Obj) -> str:
    available = condition(obj, "Available") or "Unknown"
    for found in obj.get("status", {}).get("conditions") or ():
        if found.get("type") == "Available" and available != "True" and found.get("reason"):
            return f"{available} ({found['reason']})"
    return available


_BINDING = Printer(
    (
        NAME,
        column("Role", about="The role that is given."),
        AGE,
        column("Users", wide=True, about="Users that have it."),
        column("Groups", wide=True, about="Groups that have it."),
        column("ServiceAccounts", wide=True, about="Service accounts that have it."),
    ),
    _binding,
)
_WEBHOOKS = Printer(
    (NAME, column("Webhooks", sort="integer", about="How many webhooks it holds."), AGE), _webhooks
)

PRINTERS: dict[str, Printer] = {
    "rolebindings.rbac.authorization.k8s.io": _BINDING,
    "clusterrolebindings.rbac.authorization.k8s.io": _BINDING,
    "priorityclasses.scheduling.k8s.io": Printer(
        (
            NAME,
            column("Value", sort="integer", about="The greater, the more important."),
            column("Global-Default", sort="boolean", about="Whether it is for pods without one."),
            AGE,
            column("PreemptionPolicy", about="Whether pods of it may end others."),
        ),
        _priority_class,
    ),
    "leases.coordination.k8s.io": Printer(
        (NAME, column("Holder", about="Who has it."), AGE), _lease
    ),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": _WEBHOOKS,
    "validatingwebhookconfigurations.admissionregistration.k8s.io": _WEBHOOKS,
    "apiservices.apiregistration.k8s.io": Printer(
        (
            NAME,
            column("Service", about="Who serves it."),
            column("Available", about="Whether it is served."),
            AGE,
        ),
        _api_service,
    ),
}
