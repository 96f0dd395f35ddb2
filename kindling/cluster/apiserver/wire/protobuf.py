"""Protobuf bodies: kubectl sends them for what it makes itself (`create deployment`, `create
token`, `auth can-i`) and does not fall back to JSON.

A body is `k8s\\0` and a `runtime.Unknown`, which names the kind and holds the object. The field
table (`fields.json`, by `scripts/api-protobuf`) gives numbers, names and types. What it cannot give
is which fields are pointers in Go: there an absent value and a zero are two things, everywhere else
a zero is how absence is written. `_TELLING` lists the scalars whose zero says something.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Any

import orjson

from kindling.cluster.model.status import bad_request

__all__ = ["MAGIC", "decode_protobuf"]

MAGIC = b"k8s\x00"
_DEEPEST = 100
_TELLING = frozenset(
    {
        "replicas",
        "minReplicas",
        "parallelism",
        "completions",
        "backoffLimit",
        "backoffLimitPerIndex",
        "ttlSecondsAfterFinished",
        "activeDeadlineSeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
        "startingDeadlineSeconds",
        "terminationGracePeriodSeconds",
        "gracePeriodSeconds",
        "tolerationSeconds",
        "stabilizationWindowSeconds",
        "runAsUser",
        "runAsGroup",
        "fsGroup",
        "defaultMode",
        "mode",
        "priority",
        "partition",
        "suspend",
        "automountServiceAccountToken",
        "enableServiceLinks",
        "allowPrivilegeEscalation",
        "allocateLoadBalancerNodePorts",
        "setHostnameAsFQDN",
        "hostUsers",
        "orphanDependents",
        "storageClassName",
    }
)
_ALWAYS = frozenset({("scheduling.v1.PriorityClass", "value")})
"""Scalars that are written even when they are zero, having no `omitempty`."""

Fields = dict[int, list[str]]


class _MalformedError(ValueError):
    pass


def decode_protobuf(body: bytes) -> dict[str, Any]:
    """The object as JSON would have given it. Raises `ApiError` 400 for what is not one, or of a
    kind that is not built in."""
    try:
        return _decode(body)
    except (_MalformedError, IndexError, struct.error, UnicodeDecodeError, OverflowError) as error:
        raise bad_request(f"the object provided is unrecognized: {error}") from None


def _decode(body: bytes) -> dict[str, Any]:
    if not body.startswith(MAGIC):
        raise _MalformedError("provided data does not appear to be a protobuf message")
    kind = api_version = ""
    raw = b""
    for number, value in _pieces(body[len(MAGIC) :]):
        if number == 1 and isinstance(value, bytes):
            for inner, text in _pieces(value):
                if isinstance(text, bytes) and inner == 1:
                    api_version = text.decode()
                elif isinstance(text, bytes) and inner == 2:
                    kind = text.decode()
        elif number == 2 and isinstance(value, bytes):
            raw = value
    group, _, version = api_version.rpartition("/")
    # `rbac.authorization.k8s.io` is `rbac` among the messages, and `` is `core`.
    package = group.partition(".")[0] or "core"
    name = f"{package}.{version}.{kind}"
    if kind in ("DeleteOptions", "Status"):
        name = f"meta.v1.{kind}"
    if name not in _table():
        raise _MalformedError(f'no kind "{kind[:100]}" is registered for "{api_version[:100]}"')
    return {"kind": kind, "apiVersion": api_version} | _message(name, raw, 0)


@lru_cache(maxsize=1)
def _table() -> dict[str, Fields]:
    text = files("kindling.cluster.apiserver.wire").joinpath("fields.json").read_bytes()
    messages = orjson.loads(text)["messages"]
    return {
        name: {int(number): entry for number, entry in fields.items()}
        for name, fields in messages.items()
    }


def _message(name: str, data: bytes, depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        raise _MalformedError("too many messages within messages")
    fields = _table()[name]
    result: dict[str, Any] = {}
    for number, value in _pieces(data):
        entry = fields.get(number)
        if entry is None:
            continue
        key, sort = entry[0], entry[1]
        if sort[0] == "m":
            _add_message(result, key, sort, entry[2], value, depth)
            continue
        for item in _scalars(sort, value):
            if sort.endswith("*"):
                result.setdefault(key, []).append(item)
            elif item or key in _TELLING or (name, key) in _ALWAYS:
                result[key] = item
    return result


def _add_message(
    result: dict[str, Any], key: str, sort: str, name: str, value: int | bytes, depth: int
) -> None:
    if not isinstance(value, bytes):
        raise _MalformedError(f"wrong wire type for {key}")
    if name.endswith("Entry") and sort.endswith("*") and set(_table()[name]) == {1, 2}:
        fields = _table()[name]
        if fields[1][0] == "key" and fields[2][0] == "value":
            _add_entry(result.setdefault(key, {}), fields, value, depth)
            return
    made = _value(name, value, depth + 1)
    if made is None:
        return
    if sort.endswith("="):
        result.update(made)
    elif sort.endswith("*"):
        result.setdefault(key, []).append(made)
    else:
        result[key] = made


def _add_entry(into: dict[str, Any], fields: Fields, data: bytes, depth: int) -> None:
    key: Any = ""
    value: Any = {} if fields[2][1] == "m" else ""
    for number, piece in _pieces(data):
        if number == 1 and isinstance(piece, bytes):
            key = piece.decode()
        elif number == 2 and fields[2][1] == "m" and isinstance(piece, bytes):
            value = _value(fields[2][2], piece, depth + 1)
        elif number == 2:
            value = next(iter(_scalars(fields[2][1], piece)), "")
    into[key] = value


def _value(name: str, data: bytes, depth: int) -> Any:
    """A message as JSON, which for some kinds is no object."""
    plain = _message(name, data, depth) if name not in ("meta.v1.FieldsV1",) else {}
    match name:
        case "meta.v1.Time" | "meta.v1.MicroTime":
            if not plain.get("seconds"):
                return None
            return _time(plain["seconds"], plain.get("nanos", 0), micro=name.endswith("MicroTime"))
        case "util.intstr.IntOrString":
            return plain.get("strVal", "") if plain.get("type") else plain.get("intVal", 0)
        case "api.resource.Quantity":
            return plain.get("string", "0")
        case "meta.v1.FieldsV1" | "runtime.RawExtension":
            raw = next((piece for number, piece in _pieces(data) if number == 1), b"")
            try:
                return orjson.loads(raw) if isinstance(raw, bytes) else None
            except orjson.JSONDecodeError:
                raise _MalformedError("raw JSON that is none") from None
        case _ if name.endswith(".ExtraValue"):
            return plain.get("items", [])
        case "meta.v1.Duration":
            return f"{plain.get('duration', 0) / 1e9:g}s"
        case _:
            return plain


def _time(seconds: int, nanos: int, *, micro: bool) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanos // 1000:06d}Z" if micro else f"{text}Z"


def _scalars(sort: str, value: int | bytes) -> Iterator[Any]:
    """One value; several where numbers are packed."""
    match sort[0], value:
        case "s", bytes():
            yield value.decode()
        case "y", bytes():
            yield base64.b64encode(value).decode()
        case "b", int():
            yield bool(value)
        case "i", int():
            yield value - (1 << 64) if value >> 63 else value
        case "i", bytes() if sort.endswith("*"):
            at = 0
            while at < len(value):
                number, at = _varint(value, at)
                yield number - (1 << 64) if number >> 63 else number
        case _:
            raise _MalformedError("wrong wire type")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift > 63:
            raise _MalformedError("proto: integer overflow")


def _pieces(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers with numbers or bytes, whatever they mean."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        match key & 7:
            case 0:
                value, at = _varint(data, at)
                yield key >> 3, value
            case 1:
                yield key >> 3, struct.unpack_from("<Q", data, at)[0]
                at += 8
            case 2:
                size, at = _varint(data, at)
                if at + size > len(data):
                    raise _MalformedError("unexpected EOF")
                yield key >> 3, data[at : at + size]
                at += size
            case 5:
                yield key >> 3, struct.unpack_from("<I", data, at)[0]
                at += 4
            case _:
                raise _MalformedError("proto: illegal wireType")
