"""Applying the rules of a schema to a value (`pkg/apiserver/schema/cel`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes
from kindling.cluster.schema.custom import cel
from kindling.cluster.schema.custom.checking import MISSING
from kindling.cluster.schema.custom.structural import Node, embedded, extra, items

__all__ = ["check_rules", "has_rules", "rules_of", "unenforced_rules"]

_FIELD = "x-kubernetes-validations"
_ROOT = ("apiVersion", "kind", "metadata")
_METADATA = ("name", "generateName")


def rules_of(node: Node) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = node.get(_FIELD) or []
    return found


def has_rules(node: Node) -> bool:
    """Whether there is any rule in a schema."""
    if rules_of(node):
        return True
    below = [*(node.get("properties") or {}).values(), extra(node), items(node)]
    return any(has_rules(one) for one in below if one)


def unenforced_rules(crd: Obj) -> tuple[str, ...]:
    """The rules of a definition that are stored and not asked, each with what it would need: for
    a warning to whoever makes the definition."""
    found: list[str] = []

    def walk(node: Node, path: str) -> None:
        for index, told in enumerate(rules_of(node)):
            if missing := cel.unsupported(told.get("rule", "").strip()):
                where = causes.at(f"{path}.{_FIELD}", index)
                found.append(f"{where}: not enforced here, since it needs `{missing}`")
        for name, one in (node.get("properties") or {}).items():
            walk(one, causes.key(f"{path}.properties", name))
        for name, inner in (("items", items(node)), ("additionalProperties", extra(node))):
            if inner:
                walk(inner, f"{path}.{name}")

    for index, version in enumerate(crd["spec"].get("versions") or []):
        node = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        walk(node, f"{causes.at('spec.versions', index)}.schema.openAPIV3Schema")
    return tuple(found)


def check_rules(
    node: Node, value: Any, path: str, before: Any = MISSING, *, whole: bool = False
) -> Iterator[Cause]:
    """What the rules of a schema say about a value. A rule that looks back (`oldSelf`) is only
    asked where there is a value before; any other is not asked again about what did not change."""
    whole = whole or embedded(node)
    for told in rules_of(node):
        yield from _one(node, told, value, path, before, whole=whole)
    if isinstance(value, dict):
        yield from _fields(node, value, path, before)
    elif isinstance(value, list) and (inner := items(node)) is not None:
        earlier = _earlier(node, before)
        for index, one in enumerate(value):
            old = earlier.get(_mark(node, one), MISSING)
            yield from check_rules(inner, one, causes.at(path, index), old)


def _fields(node: Node, value: dict[str, Any], path: str, before: Any) -> Iterator[Cause]:
    properties, others = node.get("properties") or {}, extra(node)
    old = before if isinstance(before, dict) else {}
    for name, one in value.items():
        told = properties.get(name)
        where = causes.child(path, name)
        if told is None:
            told, where = others, causes.key(path, name)
        if told:
            yield from check_rules(told, one, where, old.get(name, MISSING))


def _mark(node: Node, item: Any) -> str:
    keys = node.get("x-kubernetes-list-map-keys", ())
    return repr([item.get(name) for name in keys]) if isinstance(item, dict) else repr(item)


def _earlier(node: Node, before: Any) -> dict[str, Any]:
    """Items of the list before, by what tells them apart; of other lists there are none."""
    if not isinstance(before, list) or node.get("x-kubernetes-list-type") != "map":
        return {}
    return {_mark(node, one): one for one in before}


def _seen(node: Node, value: Any, *, whole: bool) -> Any:
    seen = cel.to_cel(node, value)
    if whole and isinstance(seen, dict):
        metadata = value.get("metadata") or {}
        for name in ("apiVersion", "kind"):
            seen[name] = value.get(name, "")
        seen["metadata"] = {name: metadata[name] for name in _METADATA if name in metadata}
    return seen


def _one(
    node: Node, told: dict[str, Any], value: Any, path: str, before: Any, *, whole: bool
) -> Iterator[Cause]:
    if value is None:
        return
    text = told.get("rule", "").strip()
    try:
        program = cel.rule(text)
        if program is None:
            return
        looks_back = cel.mentions_old(program)
        if looks_back and (before is MISSING or before is None):
            return
        if not looks_back and before is not MISSING and before == value:
            return
        values = {"self": _seen(node, value, whole=whole)}
        if looks_back:
            values["oldSelf"] = _seen(node, before, whole=whole)
        if cel.evaluate(program, values) is True:
            return
        message = _message(told, values)
    except cel.RuleError as error:
        yield causes.invalid(path, node.get("type", ""), f"{error} evaluating rule: {text}")
        return
    yield _cause(node, told, path, message)


def _message(told: dict[str, Any], values: dict[str, Any]) -> str:
    if expression := told.get("messageExpression"):
        try:
            program = cel.rule(expression.strip())
            made = None if program is None else cel.evaluate(program, values)
        except cel.RuleError:
            made = None
        if isinstance(made, str) and made.strip() and "\n" not in made:
            return made
    if message := told.get("message", "").strip():
        return str(message)
    return f"failed rule: {told.get('rule', '').strip()}"


def _cause(node: Node, told: dict[str, Any], path: str, message: str) -> Cause:
    if place := told.get("fieldPath", ""):
        place = re.sub(r"\['([^']*)'\]", r".\1", place).removeprefix(".")
        path = causes.child(path, place)
    match told.get("reason"):
        case "FieldValueForbidden":
            return causes.forbidden(path, message)
        case "FieldValueRequired":
            return causes.required(path, message)
        case "FieldValueDuplicate":
            return causes.duplicate(path, node.get("type", ""))
        case _:
            return causes.invalid(path or causes.NOWHERE, node.get("type", ""), message)
