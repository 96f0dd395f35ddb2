"""The volumes of a pod."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes, names
from kindling.cluster.schema.quantity import parse_quantity
from kindling.cluster.schema.validation import common

__all__ = ["check_volumes"]

_HOST_PATHS = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_NEEDED = {
    "hostPath": ("path",),
    "nfs": ("server", "path"),
    "persistentVolumeClaim": ("claimName",),
    "secret": ("secretName",),
    "configMap": ("name",),
    "csi": ("driver",),
    "image": ("reference",),
}
_ORDER = (
    "emptyDir",
    "hostPath",
    "secret",
    "nfs",
    "persistentVolumeClaim",
    "downwardAPI",
    "configMap",
    "projected",
    "csi",
    "ephemeral",
    "image",
)
"""The first of these that a volume has counts; each further one is refused."""
_Obj = dict[str, Any]


def check_volumes(volumes: list[_Obj], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, one in enumerate(volumes):
        where = causes.at(path, index)
        name = one.get("name", "")
        found = list(_source(one, where))
        if not name:
            found.append(causes.required(f"{where}.name"))
        else:
            wrong = names.dns_label(name)
            found += [causes.invalid(f"{where}.name", name, text) for text in wrong]
            if not wrong and name in seen:
                found.append(causes.duplicate(f"{where}.name", name))
        yield from found
        if not found:
            seen.add(name)


def _source(one: _Obj, path: str) -> Iterator[Cause]:
    kinds = [name for name in one if name != "name"]
    if not kinds:
        yield causes.required(path, "must specify a volume type")
        return
    kinds.sort(key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    for extra in kinds[1:]:
        yield causes.forbidden(f"{path}.{extra}", "may not specify more than 1 volume type")
    kind = kinds[0]
    told, where = one[kind] or {}, f"{path}.{kind}"
    for field in _NEEDED.get(kind, ()):
        if not told.get(field):
            yield causes.required(f"{where}.{field}")
    if kind == "emptyDir" and "sizeLimit" in told and parse_quantity(told["sizeLimit"]) < 0:
        text = "SizeLimit field must be a valid resource quantity"
        yield causes.forbidden(f"{where}.sizeLimit", text)
    if kind == "hostPath":
        if ".." in told.get("path", "").split("/"):
            yield causes.invalid(f"{where}.path", told["path"], "must not contain '..'")
        yield from common.one_of(told.get("type"), f"{where}.type", _HOST_PATHS)
    if kind in ("secret", "configMap", "downwardAPI", "projected"):
        yield from _mode(told.get("defaultMode"), f"{where}.defaultMode")
        yield from _items(told, where, reference=kind == "downwardAPI")
    if kind == "projected":
        yield from _projected(told, where)


def _mode(mode: int | None, path: str) -> Iterator[Cause]:
    if mode is not None and not 0 <= mode <= 0o777:
        text = "must be a number between 0 and 0777 (octal), both inclusive"
        yield causes.invalid(path, mode, text)


def _items(told: _Obj, path: str, *, reference: bool) -> Iterator[Cause]:
    for index, item in enumerate(told.get("items") or []):
        where = causes.at(f"{path}.items", index)
        if not reference and not item.get("key"):
            yield causes.required(f"{where}.key")
        if reference and "fieldRef" not in item and "resourceFieldRef" not in item:
            text = "one of fieldRef and resourceFieldRef is required"
            yield causes.required(where, text)
        place = item.get("path", "")
        if not place:
            yield causes.required(f"{where}.path")
        elif place.startswith("/"):
            yield causes.invalid(f"{where}.path", place, "must be a relative path")
        elif ".." in place.split("/"):
            yield causes.invalid(f"{where}.path", place, "must not contain '..'")
        elif place.startswith(".."):
            yield causes.invalid(f"{where}.path", place, "must not start with '..'")
        yield from _mode(item.get("mode"), f"{where}.mode")


def _projected(told: _Obj, path: str) -> Iterator[Cause]:
    known = ("secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle")
    for index, source in enumerate(told.get("sources") or []):
        where = causes.at(f"{path}.sources", index)
        found = [name for name in known if name in source]
        for extra in found[1:]:
            text = "may not specify more than 1 volume type"
            yield causes.forbidden(f"{where}.{extra}", text)
        for name in ("secret", "configMap"):
            if name in source:
                if not source[name].get("name"):
                    yield causes.required(f"{where}.{name}.name")
                yield from _items(source[name], f"{where}.{name}", reference=False)
        if "downwardAPI" in source:
            yield from _items(source["downwardAPI"], f"{where}.downwardAPI", reference=True)
        token = source.get("serviceAccountToken")
        if token is not None:
            place = f"{where}.serviceAccountToken"
            if token.get("expirationSeconds", 3600) < 600:
                text = "may not specify a duration less than 10 minutes"
                seconds = token["expirationSeconds"]
                yield causes.invalid(f"{place}.expirationSeconds", seconds, text)
            if not token.get("path"):
                yield causes.required(f"{place}.path")
