"""Pods, and the templates of pods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes, names
from kindling.cluster.schema.metadata import check_labels, check_metadata_annotations
from kindling.cluster.schema.validation import common
from kindling.cluster.schema.validation.containers import (
    check_containers,
    check_ephemeral_containers,
)
from kindling.cluster.schema.validation.volumes import check_volumes

__all__ = ["check_pod", "check_pod_change", "check_pod_spec", "check_template"]

_RESTART = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_MAX = 2**31 - 1
_CHANGEABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions"
    " to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it"
    " was previously negative)"
)
_Obj = dict[str, Any]


def check_pod(pod: _Obj) -> Iterator[Cause]:
    spec = pod.get("spec") or {}
    yield from check_pod_spec(spec, "spec")
    volumes = {one.get("name", ""): one for one in spec.get("volumes") or []}
    yield from check_ephemeral_containers(spec, volumes, "spec")


def check_template(template: _Obj, path: str) -> Iterator[Cause]:
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    yield from check_labels(metadata.get("labels") or {}, f"{path}.metadata.labels")
    yield from check_metadata_annotations(
        metadata.get("annotations") or {}, f"{path}.metadata.annotations"
    )
    yield from check_pod_spec(spec, f"{path}.spec")
    if spec.get("ephemeralContainers"):
        text = "ephemeral containers not allowed in pod template"
        yield causes.forbidden(f"{path}.spec.ephemeralContainers", text)


def check_pod_spec(spec: _Obj, path: str) -> Iterator[Cause]:
    volumes: list[_Obj] = spec.get("volumes") or []
    yield from check_volumes(volumes, f"{path}.volumes")
    by_name = {one.get("name", ""): one for one in volumes}
    yield from check_containers(spec, by_name, path)
    yield from _policy(spec, path)
    for key, value in (spec.get("nodeSelector") or {}).items():
        for text in names.qualified_name(key):
            yield causes.invalid(f"{path}.nodeSelector", key, text)
        for text in names.label_value(value):
            yield causes.invalid(f"{path}.nodeSelector", value, text)
    yield from _security(spec, path)
    yield from _spread(spec.get("topologySpreadConstraints") or [], path)
    yield from _identity(spec, path)
    yield from _tolerations(spec.get("tolerations") or [], f"{path}.tolerations")
    for index, alias in enumerate(spec.get("hostAliases") or []):
        where = causes.at(f"{path}.hostAliases", index)
        yield from common.ip_address(alias.get("ip", ""), f"{where}.ip")
        for place, name in enumerate(alias.get("hostnames") or []):
            yield from common.check_name(name, causes.at(f"{where}.hostnames", place))


def _policy(spec: _Obj, path: str) -> Iterator[Cause]:
    for field, known in (("restartPolicy", _RESTART), ("dnsPolicy", _DNS)):
        if not spec.get(field):
            yield causes.required(f"{path}.{field}")
        else:
            yield from common.one_of(spec[field], f"{path}.{field}", known)
    if spec.get("dnsPolicy") == "None" and not (spec.get("dnsConfig") or {}).get("nameservers"):
        text = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        yield causes.required(f"{path}.dnsConfig.nameservers", text)


def _security(spec: _Obj, path: str) -> Iterator[Cause]:
    told = spec.get("securityContext") or {}
    where = f"{path}.securityContext"
    if spec.get("hostNetwork"):
        for index, one in enumerate(spec.get("containers") or []):
            for place, port in enumerate(one.get("ports") or []):
                if port.get("hostPort") != port.get("containerPort"):
                    at = causes.at(f"{path}.containers", index)
                    text = "must match `hostPort` when `hostNetwork` is true"
                    field = f"{causes.at(f'{at}.ports', place)}.containerPort"
                    yield causes.invalid(field, port.get("containerPort"), text)
    for field in ("fsGroup", "runAsUser", "runAsGroup"):
        yield from common.in_range(told.get(field), f"{where}.{field}", 0, _MAX)
    for index, number in enumerate(told.get("supplementalGroups") or []):
        yield from common.in_range(number, causes.at(f"{where}.supplementalGroups", index), 0, _MAX)
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        text = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield causes.invalid(f"{path}.shareProcessNamespace", True, text)


def _identity(spec: _Obj, path: str) -> Iterator[Cause]:
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is None:
        yield causes.required(f"{path}.terminationGracePeriodSeconds")
    if spec.get("serviceAccountName"):
        yield from common.check_name(spec["serviceAccountName"], f"{path}.serviceAccountName")
    if spec.get("nodeName"):
        yield from common.check_name(spec["nodeName"], f"{path}.nodeName")
    yield from common.in_range(
        spec.get("activeDeadlineSeconds"), f"{path}.activeDeadlineSeconds", 1, _MAX
    )
    for field in ("hostname", "subdomain"):
        if spec.get(field):
            yield from common.check_name(spec[field], f"{path}.{field}", names.dns_label)
    for field in ("priorityClassName", "runtimeClassName"):
        if spec.get(field):
            yield from common.check_name(spec[field], f"{path}.{field}")


def _spread(constraints: list[_Obj], path: str) -> Iterator[Cause]:
    for index, one in enumerate(constraints):
        where = causes.at(f"{path}.topologySpreadConstraints", index)
        if one.get("maxSkew", 0) <= 0:
            text = "must be greater than 0"
            yield causes.invalid(f"{where}.maxSkew", one.get("maxSkew", 0), text)
        if not one.get("topologyKey"):
            yield causes.required(f"{where}.topologyKey", "can not be empty")
        known = ("DoNotSchedule", "ScheduleAnyway")
        if one.get("whenUnsatisfiable") not in known:
            value = one.get("whenUnsatisfiable", "")
            yield causes.not_supported(f"{where}.whenUnsatisfiable", value, known)


def _tolerations(tolerations: list[_Obj], path: str) -> Iterator[Cause]:
    for index, one in enumerate(tolerations):
        where = causes.at(path, index)
        key, operator = one.get("key", ""), one.get("operator", "")
        if key:
            for text in names.qualified_name(key):
                yield causes.invalid(f"{where}.key", key, text)
        elif operator != "Exists":
            text = (
                'operator must be Exists when `key` is empty, which means "match all values and all'
                ' keys"'
            )
            yield causes.invalid(f"{where}.operator", operator, text)
        if "tolerationSeconds" in one and one.get("effect") != "NoExecute":
            text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            yield causes.invalid(f"{where}.effect", one.get("effect", ""), text)
        if operator in ("", "Equal"):
            for text in names.label_value(one.get("value", "")):
                yield causes.invalid(f"{where}.operator", one["value"], text)
        elif operator == "Exists":
            if one.get("value"):
                text = "value must be empty when `operator` is 'Exists'"
                yield causes.invalid(f"{where}.operator", _shown_toleration(one), text)
        else:
            yield causes.not_supported(f"{where}.operator", operator, ("Equal", "Exists"))
        yield from common.one_of(one.get("effect"), f"{where}.effect", _EFFECTS)


def _shown_toleration(one: _Obj) -> causes.Literal:
    fields = ("key", "operator", "value", "effect")
    told = ", ".join(f"{name.capitalize()}:{causes.quoted(one.get(name, ''))}" for name in fields)
    return causes.Literal(f"core.Toleration{{{told}, TolerationSeconds:(*int64)(nil)}}")


def check_pod_change(pod: _Obj, before: _Obj) -> Iterator[Cause]:
    """Of a pod's spec little may change once it is there. Images, the deadline (only to a shorter
    one) and further tolerations may; an unschedulable gate may go; ephemeral containers have an
    endpoint of their own."""
    spec, old = pod.get("spec") or {}, before.get("spec") or {}
    for kind in ("containers", "initContainers"):
        if len(spec.get(kind) or []) != len(old.get(kind) or []):
            yield causes.forbidden(f"spec.{kind}", "pod updates may not add or remove containers")
            return
    deadline, earlier = spec.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds")
    if earlier is not None:
        if deadline is None:
            text = "must not update from a positive integer to nil value"
            yield causes.invalid("spec.activeDeadlineSeconds", None, text)
            return
        if deadline > earlier:
            text = "must be less than or equal to previous value"
            yield causes.invalid("spec.activeDeadlineSeconds", deadline, text)
            return
    yield from _only_added(spec.get("tolerations") or [], old.get("tolerations") or [])
    changed, left = _frozen(spec, old), _frozen(old, old)
    if changed != left:
        yield causes.forbidden("spec", f"{_CHANGEABLE}\n{_difference(left, changed)}")


def _only_added(tolerations: list[_Obj], before: list[_Obj]) -> Iterator[Cause]:
    def bare(one: _Obj) -> _Obj:
        return {key: value for key, value in one.items() if key != "tolerationSeconds"}

    kept = [bare(one) for one in tolerations]
    if any(bare(one) not in kept for one in before):
        text = "existing toleration can not be modified except its tolerationSeconds"
        yield causes.forbidden("spec.tolerations", text)


def _frozen(spec: _Obj, old: _Obj) -> _Obj:
    """What may not change: the spec without all that may. A first binding to a node counts as what
    may change, since the scheduler does that through its own endpoint."""
    out = {
        key: value
        for key, value in spec.items()
        if key
        not in ("activeDeadlineSeconds", "tolerations", "ephemeralContainers", "schedulingGates")
    }
    if old.get("terminationGracePeriodSeconds", 0) < 0:
        out.pop("terminationGracePeriodSeconds", None)
    if not old.get("nodeName"):
        out.pop("nodeName", None)
    if old.get("schedulingGates"):
        out.pop("nodeSelector", None)
        out.pop("affinity", None)
    for kind in ("containers", "initContainers"):
        if kind in out:
            out[kind] = [
                {key: value for key, value in one.items() if key != "image"} for one in out[kind]
            ]
    return out


def _difference(before: _Obj, after: _Obj) -> str:
    lines: list[str] = []
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            for sign, side in (("-", before), ("+", after)):
                if key in side:
                    lines.append(f"{sign} \t{key}: {json.dumps(side[key], sort_keys=True)},")
    return "\n".join(["  core.PodSpec{", *lines, "  }", ""])
