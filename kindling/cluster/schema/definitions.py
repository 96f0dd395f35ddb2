"""The definitions of the built-in kinds as an API server of Kubernetes 1.32 publishes them.

The tables in `data/` are made by `scripts/api-schema` (source and licence: `data/NOTICE`). A line
is parsed when its definition is first asked for, since a start touches few of them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

__all__ = ["definition", "definition_name", "definition_names", "descriptions", "references"]

_DATA = Path(__file__).parent / "data"


def _lines(name: str) -> dict[str, bytes]:
    table: dict[str, bytes] = {}
    for line in (_DATA / name).read_bytes().splitlines():
        key, _, text = line.partition(b"\t")
        table[key.decode()] = text
    return table


@cache
def _definitions() -> dict[str, bytes]:
    return _lines("definitions.jsonl")


@cache
def _descriptions() -> dict[str, bytes]:
    return _lines("descriptions.jsonl")


def definition_names() -> tuple[str, ...]:
    """Every definition, in the order of names: `io.k8s.api.core.v1.Pod`."""
    return tuple(_definitions())


@cache
def definition(name: str) -> dict[str, Any]:
    """One definition in the terms of OpenAPI v2, without prose; a `$ref` is a bare name. Raises
    `KeyError`. Not to be changed."""
    parsed: dict[str, Any] = orjson.loads(_definitions()[name])
    return parsed


def descriptions(name: str) -> dict[str, str]:
    """What a definition (under the empty name) and its fields are, in English."""
    parsed: dict[str, str] = orjson.loads(_descriptions().get(name, b"{}"))
    return parsed


@cache
def _by_kind() -> MappingProxyType[tuple[str, str, str], str]:
    table: dict[tuple[str, str, str], str] = {}
    for name, text in _definitions().items():
        # Most definitions are no kinds, and need not be parsed for this.
        if b"x-kubernetes-group-version-kind" in text:
            for one in definition(name)["x-kubernetes-group-version-kind"]:
                table[one["group"], one["version"], one["kind"]] = name
    return MappingProxyType(table)


def definition_name(group: str, version: str, kind: str) -> str | None:
    """The definition of a kind, lists and options of requests included."""
    return _by_kind().get((group, version, kind))


def references(node: Any) -> set[str]:
    """The definitions that a node mentions directly."""
    if isinstance(node, list):
        return {name for one in node for name in references(one)}
    if not isinstance(node, dict):
        return set()
    target = node.get("$ref")
    found = {target} if isinstance(target, str) else set()
    return found.union(*(references(value) for value in node.values()))
