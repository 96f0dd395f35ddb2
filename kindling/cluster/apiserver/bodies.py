"""Reading what clients send: JSON, YAML or protobuf, whatever its size, depth or humour."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson

from kindling.cluster.apiserver.wire.protobuf import decode_protobuf
from kindling.cluster.apiserver.yaml_body import YamlError, load_yaml
from kindling.cluster.model.status import bad_request, unsupported_media_type

__all__ = ["PROTOBUF", "Decoded", "decode", "decode_json", "decode_yaml", "media_type"]

_UNKNOWN_FORMAT = (
    "the body of the request was in an unknown format - accepted media types include:"
    " application/json, application/yaml, application/vnd.kubernetes.protobuf"
)
PROTOBUF = "application/vnd.kubernetes.protobuf"
_DEPTH = 200
"""Objects within objects; the deepest real ones (definitions' schemas) stay below 60."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A body, and the fields that stood in it twice, as the API words them."""

    value: Any
    duplicates: tuple[str, ...] = ()


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def decode(body: bytes, content_type: str, *, kind: str, duplicates: bool = False) -> Decoded:
    """The object in a body. `duplicates` looks for fields that are given twice, which costs a
    little. Raises `ApiError` 415 for a format that we do not read and 400, worded as the
    real decoder does, for what is not an object."""
    media = media_type(content_type) or "application/json"
    if media in ("application/json", "*/*"):
        value, repeated = _object_from_json(body, kind, duplicates)
    elif media == PROTOBUF:
        value, repeated = decode_protobuf(body), ()
    elif media in ("application/yaml", "application/x-yaml", "text/yaml"):
        value, repeated = decode_yaml(body), ()
    else:
        raise unsupported_media_type(_UNKNOWN_FORMAT)
    if not isinstance(value, dict):
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get"
            f" version/kind; json parse error: json: cannot unmarshal {_go_type(value)} into Go"
            " value of type struct"
        )
    return Decoded(value, repeated)


def _object_from_json(body: bytes, kind: str, duplicates: bool) -> tuple[Any, tuple[str, ...]]:
    try:
        value = decode_json(body)
    except ValueError as error:
        shown = body[:64].decode("utf-8", "replace") or "<empty>"
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get"
            f" version/kind; json parse error: {error} ({shown})"
        ) from None
    return value, _duplicates(body) if duplicates and body else ()


def decode_json(body: bytes) -> Any:
    """Raises `ValueError` with what is wrong; too deep is wrong too."""
    if not body.strip():
        raise ValueError("unexpected end of JSON input")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"invalid JSON: {error}") from None
    _check_depth(value)
    return value


def decode_yaml(body: bytes) -> Any:
    """YAML as the API reads it: plain JSON values, string keys, no dates. JSON is YAML, and much
    quicker to read. Raises `ApiError` 400."""
    if body.lstrip()[:1] in (b"{", b"["):
        try:
            return decode_json(body)
        except ValueError:
            pass  # flow style may still be YAML
    try:
        return load_yaml(body)
    except YamlError as error:
        raise bad_request(
            f"error decoding YAML: error converting YAML to JSON: yaml: {error}"
        ) from None


def _check_depth(value: Any) -> None:
    """Level by level, since this must not itself recurse."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(_DEPTH):
        if not level:
            return
        level = [
            inner
            for item in level
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, dict | list)
        ]
    raise ValueError("exceeded max depth")


def _go_type(value: Any) -> str:
    match value:
        case list():
            return "array"
        case str():
            return "string"
        case bool():
            return "bool"
        case None:
            return "null"
        case _:
            return "number"


class _Noted(dict[str, Any]):
    """An object that remembers which of its fields came twice."""

    repeated: tuple[str, ...] = ()


def _duplicates(body: bytes) -> tuple[str, ...]:
    found = False

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        result = dict(pairs)
        if len(result) == len(pairs):
            return result
        found = True
        noted = _Noted(result)
        seen: set[str] = set()
        noted.repeated = tuple(
            dict.fromkeys(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        )
        return noted

    try:
        value = json.loads(body, object_pairs_hook=note)
    except (ValueError, RecursionError):
        return ()
    if not found:
        return ()
    lines: list[str] = []
    _collect(value, "", lines)
    return tuple(lines)


def _collect(value: Any, path: str, lines: list[str]) -> None:
    if isinstance(value, dict):
        if isinstance(value, _Noted):
            lines += [f'duplicate field "{path}{name}"' for name in value.repeated]
        for name, item in value.items():
            _collect(item, f"{path}{name}.", lines)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            _collect(item, f"{path[:-1]}[{at}].", lines)
