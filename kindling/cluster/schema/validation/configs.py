"""ConfigMaps, Secrets, namespaces, quotas and the like."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes, names
from kindling.cluster.schema.validation import common

__all__ = ["check_config_map", "check_namespace", "check_quota", "check_secret"]

_Obj = dict[str, Any]
_LIMIT = 1024 * 1024
_FROZEN = "field is immutable when `immutable` is set"
_NEEDED = {
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_DOCKER = {
    "kubernetes.io/dockercfg": ".dockercfg",
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
}
_ACCOUNT = "kubernetes.io/service-account.name"


def check_config_map(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    size = 0
    for key, value in data.items():
        yield from common.check_name(key, causes.key("data", key), names.config_key)
        if key in binary:
            text = "duplicate of key present in binaryData"
            yield causes.invalid(causes.key("data", key), key, text)
        size += len((value or "").encode())
    for key, value in binary.items():
        yield from common.check_name(key, causes.key("binaryData", key), names.config_key)
        size += _decoded(value or "")
    if size > _LIMIT:
        # The server names no field here.
        yield causes.too_long("", _LIMIT)
    if before is not None:
        yield from _frozen(obj, before, ("data", "binaryData"))


def check_secret(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:
    data = obj.get("data") or {}
    size = 0
    for key, value in data.items():
        yield from common.check_name(key, causes.key("data", key), names.config_key)
        size += _decoded(value or "")
    if size > _LIMIT:
        yield causes.too_long("data", _LIMIT)
    kind = obj.get("type", "")
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    if kind == "kubernetes.io/service-account-token" and not annotations.get(_ACCOUNT):
        yield causes.required(causes.key("metadata.annotations", _ACCOUNT))
    for key in _NEEDED.get(kind, ()):
        if key not in data:
            yield causes.required(causes.key("data", key))
    if kind == "kubernetes.io/basic-auth" and not data.keys() & {"username", "password"}:
        # The server's own path has a place holder in it that nothing was put into.
        yield causes.required("data[%s][username]")
        yield causes.required("data[%s][password]")
    if kind in _DOCKER:
        yield from _docker(data, _DOCKER[kind])
    if before is not None:
        if kind != before.get("type", ""):
            yield causes.immutable("type", kind)
        yield from _frozen(obj, before, ("data",))


def _decoded(value: str) -> int:
    """How many bytes a value in base64 stands for."""
    return len(value) * 3 // 4 - value.count("=", -2)


def _docker(data: _Obj, key: str) -> Iterator[Cause]:
    where = causes.key("data", key)
    if key not in data:
        yield causes.required(where)
        return
    try:
        json.loads(base64.b64decode(data[key] or ""))
    except ValueError:
        yield causes.invalid(where, "<secret contents redacted>", "invalid character in JSON")


def _frozen(obj: _Obj, before: _Obj, fields: tuple[str, ...]) -> Iterator[Cause]:
    if not before.get("immutable"):
        return
    if not obj.get("immutable"):
        yield causes.forbidden("immutable", _FROZEN)
    for field in fields:
        if (obj.get(field) or {}) != (before.get(field) or {}):
            yield causes.forbidden(field, _FROZEN)


def check_namespace(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:  # noqa: ARG001
    for index, name in enumerate((obj.get("spec") or {}).get("finalizers") or []):
        where = causes.at("spec.finalizers", index)
        yield from common.check_name(name, where, names.qualified_name)
        if "/" not in name and name != "kubernetes":
            text = "name is neither a standard finalizer name nor is it fully qualified"
            yield causes.invalid(where, name, text)


def check_quota(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:  # noqa: ARG001
    for name, amount in ((obj.get("spec") or {}).get("hard") or {}).items():
        if str(amount).startswith("-"):
            where = causes.key("spec.hard", name)
            yield causes.invalid(where, amount, "must be greater than or equal to 0")
