"""Roles and bindings, scaling, disruption, priorities, leases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes, names
from kindling.cluster.schema.validation import common

__all__ = [
    "check_autoscaler",
    "check_binding",
    "check_disruption_budget",
    "check_lease",
    "check_priority_class",
    "check_role",
]

_Obj = dict[str, Any]
_GROUP = "rbac.authorization.k8s.io"


def check_role(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:  # noqa: ARG001
    """Role and ClusterRole; only the second may name paths that are no resources."""
    namespaced = obj.get("kind") == "Role"
    for index, rule in enumerate(obj.get("rules") or []):
        where = causes.at("rules", index)
        if not rule.get("verbs"):
            yield causes.required(f"{where}.verbs", "verbs must contain at least one value")
        if rule.get("nonResourceURLs"):
            if namespaced:
                text = "namespaced rules cannot apply to non-resource URLs"
                shown = causes.go_syntax(rule["nonResourceURLs"])
                yield causes.invalid(f"{where}.nonResourceURLs", causes.Literal(shown), text)
            if rule.keys() & {"apiGroups", "resources", "resourceNames"}:
                text = "rules cannot apply to both regular resources and non-resource URLs"
                shown = causes.go_syntax(rule["nonResourceURLs"])
                yield causes.invalid(f"{where}.nonResourceURLs", causes.Literal(shown), text)
            continue
        if "apiGroups" not in rule:
            text = "resource rules must supply at least one api group"
            yield causes.required(f"{where}.apiGroups", text)
        if not rule.get("resources"):
            text = "resource rules must supply at least one resource"
            yield causes.required(f"{where}.resources", text)


def check_binding(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:
    """RoleBinding and ClusterRoleBinding."""
    reference = obj.get("roleRef") or {}
    if reference.get("apiGroup", "") != _GROUP:
        yield causes.not_supported("roleRef.apiGroup", reference.get("apiGroup", ""), (_GROUP,))
    known = ("ClusterRole", "Role") if obj.get("kind") == "RoleBinding" else ("ClusterRole",)
    if reference.get("kind", "") not in known:
        yield causes.not_supported("roleRef.kind", reference.get("kind", ""), known)
    if not reference.get("name"):
        yield causes.required("roleRef.name")
    else:
        yield from common.check_name(reference["name"], "roleRef.name", names.path_segment)
    for index, subject in enumerate(obj.get("subjects") or []):
        yield from _subject(subject, causes.at("subjects", index), obj.get("kind", ""))
    if before is not None and reference != (before.get("roleRef") or {}):
        shown = causes.Literal(
            f"rbac.RoleRef{{APIGroup:{causes.quoted(reference.get('apiGroup', ''))},"
            f" Kind:{causes.quoted(reference.get('kind', ''))},"
            f" Name:{causes.quoted(reference.get('name', ''))}}}"
        )
        yield causes.invalid("roleRef", shown, "cannot change roleRef")


def _subject(subject: _Obj, path: str, kind: str) -> Iterator[Cause]:
    name = subject.get("name", "")
    if not name:
        yield causes.required(f"{path}.name")
    match subject.get("kind", ""):
        case "ServiceAccount":
            if name:
                yield from common.check_name(name, f"{path}.name")
            if subject.get("apiGroup"):
                yield causes.not_supported(f"{path}.apiGroup", subject["apiGroup"], ("",))
            if not subject.get("namespace") and kind == "ClusterRoleBinding":
                yield causes.required(f"{path}.namespace")
        case "User" | "Group":
            if subject.get("apiGroup") != _GROUP:
                group = subject.get("apiGroup", "")
                yield causes.not_supported(f"{path}.apiGroup", group, (_GROUP,))
        case other:
            known = ("ServiceAccount", "User", "Group")
            yield causes.not_supported(f"{path}.kind", other, known)


def check_autoscaler(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:  # noqa: ARG001
    spec = obj.get("spec") or {}
    least, most = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    if least < 1:
        text = "must be greater than or equal to 1"
        yield causes.invalid("spec.minReplicas", least, text)
    if most < 1:
        yield causes.invalid("spec.maxReplicas", most, "must be greater than 0")
    if most < least:
        text = "must be greater than or equal to `minReplicas`"
        yield causes.invalid("spec.maxReplicas", most, text)
    target = spec.get("scaleTargetRef") or {}
    for field in ("kind", "name"):
        if not target.get(field):
            yield causes.required(f"spec.scaleTargetRef.{field}")
        else:
            where = f"spec.scaleTargetRef.{field}"
            yield from common.check_name(target[field], where, names.path_segment)


def check_disruption_budget(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:  # noqa: ARG001
    spec = obj.get("spec") or {}
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if least is not None and most is not None:
        text = "minAvailable and maxUnavailable cannot be both set"
        yield causes.invalid("spec", causes.Literal("policy.PodDisruptionBudgetSpec{...}"), text)
    for field, value in (("minAvailable", least), ("maxUnavailable", most)):
        if value is None:
            continue
        yield from common.int_or_percent(value, f"spec.{field}")
        if (common.percent_of(value) or 0) > 100:
            yield causes.invalid(f"spec.{field}", value, "must not be greater than 100%")
    yield from common.check_label_selector(spec.get("selector") or {}, "spec.selector")
    known = ("AlwaysAllow", "IfHealthyBudget")
    yield from common.one_of(
        spec.get("unhealthyPodEvictionPolicy"), "spec.unhealthyPodEvictionPolicy", known
    )


def check_priority_class(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:
    name = (obj.get("metadata") or {}).get("name", "")
    if name.startswith("system-") and name not in (
        "system-cluster-critical",
        "system-node-critical",
    ):
        text = (
            "priority class names with 'system-' prefix are reserved for system use only. error:"
            f" {name} is not a known system priority class"
        )
        yield causes.forbidden("metadata.name", text)
    elif obj.get("value", 0) > 1_000_000_000 and not name.startswith("system-"):
        text = "maximum allowed value of a user defined priority is 1000000000"
        yield causes.forbidden("value", text)
    if before is not None:
        if obj.get("value", 0) != before.get("value", 0):
            text = "may not be changed in an update."
            yield causes.forbidden("value", text)
        if obj.get("preemptionPolicy") != before.get("preemptionPolicy"):
            yield causes.immutable("preemptionPolicy", obj.get("preemptionPolicy"))


def check_lease(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:  # noqa: ARG001
    spec = obj.get("spec") or {}
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        yield causes.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    yield from common.not_negative(spec.get("leaseTransitions"), "spec.leaseTransitions")
