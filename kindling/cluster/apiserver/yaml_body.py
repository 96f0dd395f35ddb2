"""YAML from strangers, as plain JSON values.

The documents are put together here from the parser's events, and not by the library: its own
composer recurses in C and takes the process down with it when a document is deep enough, and what
aliases stand for must be counted before it is built. Scalars are read as go-yaml reads them (YAML
1.1), but for dates, which JSON does not have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

__all__ = ["YamlError", "load_yaml"]

_NODES = 500_000
"""Values in one document once its aliases are followed."""
_DEPTH = 200
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {
    word: value
    for value, words in ((True, "true yes on y"), (False, "false no off n"))
    for base in words.split()
    for word in (base, base.capitalize(), base.upper())
}
_INT = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|(0|[1-9][0-9_]*))")
_FLOAT = re.compile(r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")
_TAG = "tag:yaml.org,2002:"


class YamlError(ValueError):
    """A document that is no YAML, or that JSON cannot hold."""


@dataclass(slots=True)
class _Open:
    """A mapping or sequence that has begun."""

    value: dict[str, Any] | list[Any]
    anchor: str | None
    key: str | None = None
    nodes: int = 1
    height: int = 1
    merges: list[Any] | None = None


@dataclass(frozen=True, slots=True)
class _Anchored:
    value: Any
    nodes: int
    height: int


def load_yaml(body: bytes) -> Any:
    """The first document; None for an empty one. Raises `YamlError`."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Builder().build(yaml.parse(body, Loader=loader))
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        raise YamlError(" ".join(str(error).split())[:300]) from None


class _Builder:
    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._anchors: dict[str, _Anchored] = {}
        self._nodes = 0
        self._result: Any = None
        self._done = False

    def build(self, events: Any) -> Any:
        from yaml import events as kinds

        for event in events:
            match event:
                case kinds.ScalarEvent():
                    self._add(_scalar(event), 1, 0, event.anchor, merge=_merges(event))
                case kinds.MappingStartEvent():
                    self._begin({}, event.anchor)
                case kinds.SequenceStartEvent():
                    self._begin([], event.anchor)
                case kinds.MappingEndEvent() | kinds.SequenceEndEvent():
                    self._end()
                case kinds.AliasEvent():
                    found = self._anchors.get(str(event.anchor))
                    if found is None:
                        raise YamlError(f"anchor '{event.anchor}' value contains itself")
                    self._add(found.value, found.nodes, found.height, None)
                case kinds.DocumentEndEvent():
                    break
        return self._result

    def _begin(self, value: dict[str, Any] | list[Any], anchor: str | None) -> None:
        if len(self._open) >= _DEPTH:
            raise YamlError("exceeded max depth")
        if self._open and isinstance(self._open[-1].value, dict) and self._open[-1].key is None:
            raise YamlError("invalid map key: only scalars are keys in JSON")
        self._open.append(_Open(value, anchor))

    def _end(self) -> None:
        done = self._open.pop()
        if done.merges and isinstance(done.value, dict):
            for mapping in done.merges:
                for key, value in mapping.items():
                    done.value.setdefault(key, value)
        self._add(done.value, done.nodes, done.height, done.anchor, counted=True)

    def _add(
        self,
        value: Any,
        nodes: int,
        height: int,
        anchor: str | None,
        *,
        counted: bool = False,
        merge: bool = False,
    ) -> None:
        self._nodes += 1 if counted else nodes
        if self._nodes > _NODES:
            raise YamlError("document contains excessive aliasing")
        if len(self._open) + height > _DEPTH:
            raise YamlError("exceeded max depth")
        if anchor is not None:
            self._anchors[anchor] = _Anchored(value, nodes, height)
        if not self._open:
            self._result = value
            return
        holder = self._open[-1]
        holder.nodes += nodes
        holder.height = max(holder.height, height + 1)
        if isinstance(holder.value, list):
            holder.value.append(value)
        elif holder.key is None:
            if merge and holder.merges is None:
                holder.merges = []
                holder.key = "<<"
            else:
                holder.key = _key(value)
        elif holder.key == "<<" and holder.merges is not None:
            holder.key = None
            several = value if isinstance(value, list) else [value]
            if not all(isinstance(one, dict) for one in several):
                raise YamlError("map merge requires map or sequence of maps as the value")
            holder.merges += several
        else:
            holder.value[holder.key] = value
            holder.key = None


def _merges(event: Any) -> bool:
    return event.value == "<<" and event.style is None and event.tag is None


def _key(value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case int() | float():
            return str(value)
        case _:
            raise YamlError("invalid map key: only scalars are keys in JSON")


def _scalar(event: Any) -> Any:
    text: str = event.value
    tag = event.tag
    if tag is not None and tag != "!":
        if not tag.startswith(_TAG):
            raise YamlError(f"cannot decode the tag {tag[:100]}")
        kind = tag.removeprefix(_TAG)
        if kind in ("str", "binary", "timestamp"):
            return text
        value = _plain(text)
        if kind == "float" and isinstance(value, int | float):
            return float(value)
        wanted: dict[str, type] = {"int": int, "bool": bool, "null": type(None)}
        if kind in wanted and isinstance(value, wanted[kind]):
            return value
        raise YamlError(f"cannot decode !!{kind[:100]} `{text[:100]}`")
    if event.style is not None or tag == "!":
        return text
    return _plain(text)


def _plain(text: str) -> Any:
    """A scalar without quotes."""
    if text in _NULL:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text[0] not in "+-.0123456789" or len(text) > 400:
        return text
    if _INT.fullmatch(text):
        value = _integer(text.replace("_", ""))
        if value is not None:
            return value
    if _FLOAT.fullmatch(text) and any(sign.isdigit() for sign in text):
        value = float(text.replace("_", ""))
        if value in (float("inf"), float("-inf")):
            return text
        return value
    return text


def _integer(text: str) -> int | float | None:
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-")
    try:
        if digits[:2] in ("0b", "0x", "0o"):
            value = sign * int(digits, 0)
        elif len(digits) > 1 and digits[0] == "0":
            value = sign * int(digits, 8)
        else:
            value = sign * int(digits)
    except ValueError:
        return None
    return value if -(2**63) <= value < 2**64 else float(value)
