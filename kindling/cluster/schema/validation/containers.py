"""Containers: names, images, ports, environment, mounts, resources, security."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes, names
from kindling.cluster.schema.quantity import parse_quantity
from kindling.cluster.schema.validation import common
from kindling.cluster.schema.validation.probes import check_handler, check_probe

__all__ = ["check_containers", "check_ephemeral_containers", "check_resources"]

_PULL = ("Always", "IfNotPresent", "Never")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_MESSAGES = ("FallbackToLogsOnError", "File")
_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_MAPS = ("metadata.annotations", "metadata.labels")
_RESOURCES = ("cpu", "ephemeral-storage", "memory")
_MAX_ID = 2**31 - 1
_NOT_TEMPORARY = (
    "ports",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "resources",
    "resizePolicy",
)
_Obj = dict[str, Any]


def check_containers(spec: _Obj, volumes: dict[str, _Obj], path: str) -> Iterator[Cause]:
    """Init containers and containers share one space of names."""
    containers: list[_Obj] = spec.get("containers") or []
    if not containers:
        yield causes.required(f"{path}.containers")
    seen: set[str] = set()
    for index, one in enumerate(containers):
        where = causes.at(f"{path}.containers", index)
        yield from _common(one, where, volumes, seen)
        yield from _lifecycle_and_probes(one, where)
        if one.get("restartPolicy"):
            yield causes.forbidden(
                f"{where}.restartPolicy", "may not be set for non-init containers"
            )
    yield from _host_ports(containers, f"{path}.containers")
    for index, one in enumerate(spec.get("initContainers") or []):
        where = causes.at(f"{path}.initContainers", index)
        yield from _common(one, where, volumes, seen)
        yield from _init(one, where)


def _init(one: _Obj, path: str) -> Iterator[Cause]:
    """Only an init container that stays (`restartPolicy: Always`, a sidecar) is watched."""
    policy = one.get("restartPolicy")
    if policy is not None and policy != "Always":
        yield causes.not_supported(f"{path}.restartPolicy", policy, ("Always",))
    if policy == "Always":
        yield from _lifecycle_and_probes(one, path)
        return
    if one.get("lifecycle"):
        text = "may not be set for init containers without restartPolicy=Always"
        yield causes.forbidden(f"{path}.lifecycle", text)
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if one.get(name):
            text = "may not be set for init containers without restartPolicy=Always"
            yield causes.forbidden(f"{path}.{name}", text)


def check_ephemeral_containers(spec: _Obj, volumes: dict[str, _Obj], path: str) -> Iterator[Cause]:
    ephemeral: list[_Obj] = spec.get("ephemeralContainers") or []
    others = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    seen = {one.get("name", "") for one in others}
    known = {one.get("name") for one in spec.get("containers") or []}
    for index, one in enumerate(ephemeral):
        where = causes.at(f"{path}.ephemeralContainers", index)
        yield from _common(one, where, volumes, seen)
        target = one.get("targetContainerName")
        if target and target not in known:
            yield causes.not_found(f"{where}.targetContainerName", target)
        for name in _NOT_TEMPORARY:
            if one.get(name):
                text = "cannot be set for an Ephemeral Container"
                yield causes.forbidden(f"{where}.{name}", text)
        if one.get("restartPolicy"):
            text = "may not be set for ephemeral containers"
            yield causes.forbidden(f"{where}.restartPolicy", text)


def _common(one: _Obj, path: str, volumes: dict[str, _Obj], seen: set[str]) -> Iterator[Cause]:
    name = one.get("name", "")
    if not name:
        yield causes.required(f"{path}.name")
    else:
        yield from common.check_name(name, f"{path}.name", names.dns_label)
        if name in seen:
            yield causes.duplicate(f"{path}.name", name)
        seen.add(name)
    image = one.get("image", "")
    if not image:
        yield causes.required(f"{path}.image")
    elif image != image.strip():
        text = "must not have leading or trailing whitespace"
        yield causes.invalid(f"{path}.image", image, text)
    policy = one.get("terminationMessagePolicy", "File")
    if policy not in _MESSAGES:
        text = "must be 'File' or 'FallbackToLogsOnError'"
        yield causes.invalid(f"{path}.terminationMessagePolicy", policy, text)
    yield from _ports(one.get("ports") or [], f"{path}.ports")
    yield from _environment(one, path)
    yield from _mounts(one, volumes, path)
    yield from common.one_of(one.get("imagePullPolicy"), f"{path}.imagePullPolicy", _PULL)
    yield from check_resources(one.get("resources") or {}, f"{path}.resources")
    yield from _security(one.get("securityContext") or {}, f"{path}.securityContext")


def _lifecycle_and_probes(one: _Obj, path: str) -> Iterator[Cause]:
    for hook in ("postStart", "preStop"):
        handler = (one.get("lifecycle") or {}).get(hook)
        if handler is not None:
            yield from check_handler(handler, f"{path}.lifecycle.{hook}", probe=False)
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if one.get(name) is not None:
            yield from check_probe(one[name], f"{path}.{name}", once=name != "readinessProbe")


def _ports(ports: list[_Obj], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, one in enumerate(ports):
        where = causes.at(path, index)
        if name := one.get("name"):
            wrong = names.port_name(name)
            for text in wrong:
                yield causes.invalid(f"{where}.name", name, text)
            if not wrong and name in seen:
                yield causes.duplicate(f"{where}.name", name)
            seen.add(name)
        if not one.get("containerPort"):
            yield causes.required(f"{where}.containerPort")
        else:
            yield from common.port(one["containerPort"], f"{where}.containerPort")
        if one.get("hostPort"):
            yield from common.port(one["hostPort"], f"{where}.hostPort")
        if not one.get("protocol"):
            yield causes.required(f"{where}.protocol")
        else:
            yield from common.one_of(one["protocol"], f"{where}.protocol", _PROTOCOLS)


def _host_ports(containers: list[_Obj], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, one in enumerate(containers):
        for place, told in enumerate(one.get("ports") or []):
            number = told.get("hostPort")
            if not number:
                continue
            mark = f"{told.get('protocol', '')}/{told.get('hostIP', '')}/{number}"
            if mark in seen:
                where = causes.at(f"{causes.at(path, index)}.ports", place)
                yield causes.duplicate(f"{where}.hostPort", mark)
            seen.add(mark)


def _environment(one: _Obj, path: str) -> Iterator[Cause]:
    for index, told in enumerate(one.get("env") or []):
        where = causes.at(f"{path}.env", index)
        name = told.get("name", "")
        if not name:
            yield causes.required(f"{where}.name")
        else:
            yield from common.check_name(name, f"{where}.name", names.env_name)
        if "valueFrom" in told:
            yield from _source(told, f"{where}.valueFrom")
    for index, told in enumerate(one.get("envFrom") or []):
        where = causes.at(f"{path}.envFrom", index)
        if told.get("prefix"):
            yield from common.check_name(told["prefix"], f"{where}.prefix", names.env_name)
        sources = [name for name in ("configMapRef", "secretRef") if name in told]
        if not sources:
            # The server leaves out the index here, and with two sources as well.
            text = "must specify one of: `configMapRef` or `secretRef`"
            yield causes.invalid(f"{path}.envFrom", "", text)
        elif len(sources) > 1:
            text = "may not have more than one field specified at a time"
            yield causes.invalid(f"{path}.envFrom", "", text)
        for name in sources:
            if not told[name].get("name"):
                yield causes.required(f"{where}.{name}.name")
            else:
                yield from common.check_name(told[name]["name"], f"{where}.{name}.name")


def _source(variable: _Obj, path: str) -> Iterator[Cause]:
    told: _Obj = variable["valueFrom"]
    known = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")
    sources = [name for name in known if name in told]
    if "fieldRef" in told:
        yield from _field_reference(told["fieldRef"], f"{path}.fieldRef")
    if "resourceFieldRef" in told:
        resource = told["resourceFieldRef"].get("resource", "")
        where = f"{path}.resourceFieldRef.resource"
        wanted = [f"{kind}.{name}" for kind in ("limits", "requests") for name in _RESOURCES]
        if not resource:
            yield causes.required(where)
        elif resource not in wanted and not resource.startswith(
            ("limits.hugepages-", "requests.hugepages-")
        ):
            yield causes.not_supported(where, resource, wanted)
    for name in ("configMapKeyRef", "secretKeyRef"):
        if name in told:
            where = f"{path}.{name}"
            yield from common.check_name(told[name].get("name", ""), f"{where}.name")
            key = told[name].get("key", "")
            if not key:
                yield causes.required(f"{where}.key")
            else:
                yield from common.check_name(key, f"{where}.key", names.config_key)
    if not sources:
        text = (
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or"
            " `secretKeyRef`"
        )
        yield causes.invalid(path, "", text)
    elif variable.get("value"):
        yield causes.invalid(path, "", "may not be specified when `value` is not empty")
    elif len(sources) > 1:
        yield causes.invalid(path, "", "may not have more than one field specified at a time")


def _field_reference(told: _Obj, path: str) -> Iterator[Cause]:
    field = told.get("fieldPath", "")
    where = f"{path}.fieldPath"
    if not told.get("apiVersion"):
        yield causes.required(f"{path}.apiVersion")
    elif not field:
        yield causes.required(where)
    elif "[" in field and field.endswith("']"):
        base, _, key = field.partition("['")
        if base not in _MAPS:
            yield causes.invalid(where, field, "does not support subscript")
            return
        for text in names.qualified_name(key.removesuffix("']").lower()):
            yield causes.invalid(where, key.removesuffix("']"), text)
    elif field in _MAPS:
        yield causes.not_supported(where, field, sorted(_FIELDS))
    elif field not in _FIELDS and field not in ("spec.restartPolicy", "spec.schedulerName"):
        text = f"error converting fieldPath: field label not supported: {field}"
        yield causes.invalid(where, field, text)


def _mounts(one: _Obj, volumes: dict[str, _Obj], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    devices = {told.get("name") for told in one.get("volumeDevices") or []}
    for index, told in enumerate(one.get("volumeMounts") or []):
        where = causes.at(f"{path}.volumeMounts", index)
        name, place = told.get("name", ""), told.get("mountPath", "")
        if not name:
            yield causes.required(f"{where}.name")
        elif name not in volumes:
            yield causes.not_found(f"{where}.name", name)
        if not place:
            yield causes.required(f"{where}.mountPath")
        if place in seen:
            yield causes.invalid(f"{where}.mountPath", place, "must be unique")
        seen.add(place)
        if name and name in devices:
            text = "must not already exist in volumeDevices"
            yield causes.invalid(f"{where}.name", name, text)
        # The server itself leaves out the index here.
        for field in ("subPath", "subPathExpr"):
            if told.get(field):
                yield from _descending(told[field], f"{path}.volumeMounts.{field}")
        if told.get("subPath") and told.get("subPathExpr"):
            text = "subPathExpr and subPath are mutually exclusive"
            yield causes.invalid(f"{where}.subPathExpr", told["subPathExpr"], text)


def _descending(place: str, path: str) -> Iterator[Cause]:
    if place.startswith("/"):
        yield causes.invalid(path, place, "must be a relative path")
    if ".." in place.split("/"):
        yield causes.invalid(path, place, "must not contain '..'")


def check_resources(told: _Obj, path: str) -> Iterator[Cause]:
    limits, requests = told.get("limits") or {}, told.get("requests") or {}
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            where = causes.key(f"{path}.{kind}", name)
            yield from _resource_name(name, where)
            if parse_quantity(amount) < 0:
                yield causes.invalid(where, amount, "must be greater than or equal to 0")
            elif "/" in name and parse_quantity(amount) % 1:
                yield causes.invalid(where, amount, "must be an integer")
    for name, amount in requests.items():
        limit = limits.get(name)
        if limit is None:
            if "/" in name and "kubernetes.io/" not in name:
                text = "Limit must be set for non overcommitable resources"
                yield causes.required(f"{path}.limits", text)
        elif "/" in name and "kubernetes.io/" not in name:
            if parse_quantity(amount) != parse_quantity(limit):
                text = f"must be equal to {name} limit of {limit}"
                yield causes.invalid(f"{path}.requests", amount, text)
        elif parse_quantity(amount) > parse_quantity(limit):
            text = f"must be less than or equal to {name} limit of {limit}"
            yield causes.invalid(f"{path}.requests", amount, text)


def _resource_name(name: str, path: str) -> Iterator[Cause]:
    if "/" in name:
        yield from common.check_name(name, path, names.qualified_name)
    elif name not in _RESOURCES and not name.startswith("hugepages-"):
        yield causes.invalid(path, name, "must be a standard resource type or fully qualified")


def _security(told: _Obj, path: str) -> Iterator[Cause]:
    for field in ("runAsUser", "runAsGroup"):
        yield from common.in_range(told.get(field), f"{path}.{field}", 0, _MAX_ID)
    if told.get("allowPrivilegeEscalation") is False:
        text = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        if told.get("privileged"):
            yield causes.invalid(path, causes.Literal("core.SecurityContext{...}"), text)
        elif "CAP_SYS_ADMIN" in ((told.get("capabilities") or {}).get("add") or ()):
            text = (
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add`"
                " CAP_SYS_ADMIN"
            )
            yield causes.invalid(path, causes.Literal("core.SecurityContext{...}"), text)
