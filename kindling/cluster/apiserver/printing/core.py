"""Columns of ConfigMap, Secret, Namespace, ServiceAccount, quotas and pod templates."""

from __future__ import annotations

from typing import Any

from kindling.cluster.apiserver.printing.column import AGE, NAME, Column, Printer, age, column
from kindling.cluster.apiserver.printing.texts import containers, labels
from kindling.cluster.model.api import Obj

__all__ = ["PRINTERS"]


def _config_map(obj: Obj, now: float) -> list[Any]:
    count = len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
    return [obj["metadata"]["name"], count, age(obj, now)]


def _secret(obj: Obj, now: float) -> list[Any]:
    data = obj.get("data") or ()
    return [obj["metadata"]["name"], obj.get("type", ""), len(data), age(obj, now)]


def _namespace(obj: Obj, now: float) -> list[Any]:
    return [obj["metadata"]["name"], obj.get("status", {}).get("phase", ""), age(obj, now)]


def _service_account(obj: Obj, now: float) -> list[Any]:
    return [obj["metadata"]["name"], len(obj.get("secrets") or ()), age(obj, now)]


def _pod_template(obj: Obj, now: float) -> list[Any]:  # noqa: ARG001
    template = obj.get("template") or {}
    chosen = template.get("metadata", {}).get("labels")
    return [obj["metadata"]["name"], *containers(template), labels(chosen)]


def _quota(obj: Obj, now: float) -> list[Any]:
    status = obj.get("status", {})
    hard, used = status.get("hard") or {}, status.get("used") or {}
    requests: list[str] = []
    limits: list[str] = []
    for name in sorted(hard):
        into = limits if name.startswith("limits.") or name == "limits" else requests
        into.append(f"{name}: {used.get(name, '0')}/{hard[name]}")
    return [obj["metadata"]["name"], ", ".join(requests), ", ".join(limits), age(obj, now)]


def _created(obj: Obj, now: float) -> list[Any]:  # noqa: ARG001
    return [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp")]


CREATED_AT = Column("Created At", "date", "", "When the object was created.")

PRINTERS: dict[str, Printer] = {
    "configmaps": Printer((NAME, column("Data", about="How many keys it has."), AGE), _config_map),
    "secrets": Printer(
        (
            NAME,
            column("Type", about="What kind of secret it is."),
            column("Data", about="How many keys it has."),
            AGE,
        ),
        _secret,
    ),
    "namespaces": Printer(
        (NAME, column("Status", about="Whether it is active or ending."), AGE), _namespace
    ),
    "serviceaccounts": Printer(
        (NAME, column("Secrets", about="How many secrets it names."), AGE), _service_account
    ),
    "podtemplates": Printer(
        (
            NAME,
            column("Containers", about="Names of the template's containers."),
            column("Images", about="Images of the template's containers."),
            column("Pod Labels", about="Labels of the pods."),
        ),
        _pod_template,
    ),
    "resourcequotas": Printer(
        (
            NAME,
            column("Request", about="What is used of what may be requested."),
            column("Limit", about="What is used of what limits may add up to."),
            AGE,
        ),
        _quota,
    ),
    "limitranges": Printer((NAME, CREATED_AT), _created),
    "roles.rbac.authorization.k8s.io": Printer((NAME, CREATED_AT), _created),
    "clusterroles.rbac.authorization.k8s.io": Printer((NAME, CREATED_AT), _created),
    "customresourcedefinitions.apiextensions.k8s.io": Printer((NAME, CREATED_AT), _created),
}
