"""Checking a value against a schema, in the words of the real server.

The server uses a branch of go-openapi (`kube-openapi/pkg/validation`); apiextensions-apiserver maps
its complaints to field errors (`pkg/apiserver/validation`). On an update, a part that did not
change is not looked at again ("ratcheting"), so that a stricter schema does not lock old objects
in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import orjson

from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes
from kindling.cluster.schema.custom import formats
from kindling.cluster.schema.custom.structural import Node, extra, int_or_string, items, nullable

__all__ = ["MISSING", "check"]


class Missing:
    """No value before."""


MISSING = Missing()


def check(
    node: Node, value: Any, path: str, before: Any = MISSING, *, whole: bool = False
) -> Iterator[Cause]:
    """What is wrong with a value. `before` is the value it replaces; the metadata of a `whole`
    object is not looked at."""
    if before is not MISSING and before == value:
        return
    if value is None and (nullable(node) or not node.get("type")):
        return
    yield from _type(node, value, path)
    yield from _combinations(node, value, path)
    if isinstance(value, str):
        yield from _string(node, value, path)
    elif isinstance(value, bool):
        pass
    elif isinstance(value, int | float):
        yield from _number(node, value, path)
    elif isinstance(value, list):
        yield from _list(node, value, path, before)
    yield from _enum(node, value, path)
    if isinstance(value, dict):
        yield from _object(node, value, path, before, whole=whole)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict) else "array"


def _type(node: Node, value: Any, path: str) -> Iterator[Cause]:
    if int_or_string(node):
        if not isinstance(value, str) and (isinstance(value, bool) or not isinstance(value, int)):
            found = _kind(value)
            text = f'{path} in body must be of type integer,string: "{found}"'
            yield causes.type_invalid(path, found, text)
        return
    wanted = node.get("type")
    if not wanted:
        return
    found = _kind(value)
    fits = found == wanted or (wanted == "number" and found == "integer")
    if wanted == "integer" and found == "number":
        fits = float(value).is_integer()
    if not fits:
        text = f'{path} in body must be of type {wanted}: "{found}"'
        yield causes.type_invalid(path, found, text)


def _number(node: Node, value: float, path: str) -> Iterator[Cause]:
    step = node.get("multipleOf")
    if step and not float(value / step).is_integer():
        yield causes.invalid(path, value, f"{path} in body should be a multiple of {step:g}")
    most, least = node.get("maximum"), node.get("minimum")
    if most is not None:
        if node.get("exclusiveMaximum") and value >= most:
            yield causes.invalid(path, value, f"{path} in body should be less than {most:g}")
        elif value > most:
            text = f"{path} in body should be less than or equal to {_plain(most)}"
            yield causes.invalid(path, value, text)
    if least is not None:
        if node.get("exclusiveMinimum") and value <= least:
            text = f"{path} in body should be greater than {_plain(least)}"
            yield causes.invalid(path, value, text)
        elif value < least:
            text = f"{path} in body should be greater than or equal to {_plain(least)}"
            yield causes.invalid(path, value, text)


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)


def _string(node: Node, value: str, path: str) -> Iterator[Cause]:
    most, least = node.get("maxLength"), node.get("minLength")
    if most is not None and len(value) > most:
        yield causes.too_long(path, most)
    if least is not None and len(value) < least:
        text = f"{path} in body should be at least {least} chars long"
        yield causes.invalid(path, value, text)
    pattern = node.get("pattern")
    if pattern and not _search(pattern, value):
        yield causes.invalid(path, value, f"{path} in body should match '{pattern}'")
    form = node.get("format")
    if form and not formats.matches(form, value):
        text = f"{path} in body must be of type {form}: {causes.quoted(value)}"
        yield causes.type_invalid(path, value, text)


@cache
def _pattern(text: str) -> re.Pattern[str] | None:
    # Go's RE2 knows a few things by other names; `$` there never means before a last newline.
    text = text.replace(r"\z", r"\Z").replace("[[:alnum:]]", "[0-9A-Za-z]")
    text = text.replace("[:alnum:]", "0-9A-Za-z").replace("[:alpha:]", "A-Za-z")
    text = text.replace("[:digit:]", "0-9").replace("[:space:]", r"\s")
    text = re.sub(r"(?<!\\)\$(?=$|\))", r"\\Z", text)
    try:
        return re.compile(text, re.ASCII)
    except re.error:
        return None


def _search(pattern: str, value: str) -> bool:
    compiled = _pattern(pattern)
    return compiled is None or compiled.search(value) is not None


def _enum(node: Node, value: Any, path: str) -> Iterator[Cause]:
    allowed = node.get("enum")
    if allowed and not any(type(one) is type(value) and one == value for one in allowed):
        words = [one if isinstance(one, str) else orjson.dumps(one).decode() for one in allowed]
        yield causes.not_supported(path, value, words)


def _list(node: Node, value: list[Any], path: str, before: Any) -> Iterator[Cause]:
    inner = items(node)
    if inner is not None:
        earlier = _items_before(node, before)
        for index, one in enumerate(value):
            old = earlier.get(_item_key(node, one), MISSING) if earlier else MISSING
            yield from check(inner, one, causes.at(path, index), old)
    most, least = node.get("maxItems"), node.get("minItems")
    if most is not None and len(value) > most:
        yield causes.too_many(path, len(value), most)
    if least is not None and len(value) < least:
        text = f"{path} in body should have at least {least} items"
        yield causes.invalid(path, len(value), text)
    if node.get("uniqueItems") and _repeated(value):
        yield causes.invalid(path, value, f"{path} in body shouldn't contain duplicates")


def _item_key(node: Node, item: Any) -> str:
    keys = node.get("x-kubernetes-list-map-keys", ())
    if isinstance(item, dict):
        item = [item.get(name) for name in keys]
    return orjson.dumps(item, option=orjson.OPT_SORT_KEYS).decode()


def _items_before(node: Node, before: Any) -> dict[str, Any]:
    if not isinstance(before, list) or node.get("x-kubernetes-list-type") not in ("map", "set"):
        return {}
    return {_item_key(node, one): one for one in before}


def _repeated(value: list[Any]) -> bool:
    seen = {orjson.dumps(one, option=orjson.OPT_SORT_KEYS) for one in value}
    return len(seen) < len(value)


def _object(
    node: Node, value: dict[str, Any], path: str, before: Any, *, whole: bool
) -> Iterator[Cause]:
    most, least = node.get("maxProperties"), node.get("minProperties")
    if most is not None and len(value) > most:
        yield causes.too_many(path, len(value), most)
    if least is not None and len(value) < least:
        text = f"{path} in body should have at least {least} properties"
        yield causes.invalid(path, len(value), text)
    properties = node.get("properties") or {}
    others = extra(node)
    earlier = before if isinstance(before, dict) else {}
    for name, one in value.items():
        told = properties.get(name, others)
        if told is None or (whole and name in ("apiVersion", "kind", "metadata")):
            continue
        yield from check(told, one, causes.child(path, name), earlier.get(name, MISSING))
    for name in node.get("required") or ():
        if name not in value:
            yield causes.required(causes.child(path, name))


def _combinations(node: Node, value: Any, path: str) -> Iterator[Cause]:
    """allOf, anyOf, oneOf and not. Complaints about the combination itself name no field; beside
    them go those of the alternative that came closest."""
    if all_of := node.get("allOf"):
        found = [list(check(one, value, path)) for one in all_of]
        wrong = [cause for told in found for cause in told]
        if wrong:
            yield from wrong
            yield _combined(path, "must validate all the schemas (allOf)", found)
    if (any_of := node.get("anyOf")) and not int_or_string(node):
        found = [list(check(one, value, path)) for one in any_of]
        if all(found):
            yield _combined(path, "must validate at least one schema (anyOf)")
            yield from min(found, key=len)
    if one_of := node.get("oneOf"):
        found = [list(check(one, value, path)) for one in one_of]
        valid = sum(1 for told in found if not told)
        if valid != 1:
            word = "must validate one and only one schema (oneOf). Found"
            if valid:
                yield _combined(path, f"{word} {valid} valid alternatives")
            else:
                yield _combined(path, f"{word} none valid")
                yield from min(found, key=len)
    if (refused := node.get("not")) and not list(check(refused, value, path)):
        yield _combined(path, "must not validate the schema (not)")


def _combined(path: str, words: str, found: list[list[Cause]] | None = None) -> Cause:
    if found is not None and not any(not told for told in found):
        words += ". None validated"
    return causes.invalid(causes.NOWHERE, "", f'"{path}" {words}')
