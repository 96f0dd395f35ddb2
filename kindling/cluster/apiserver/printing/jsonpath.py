"""The JSONPath of printer columns: fields, quoted fields, indexes, slices, `*`, `..`, unions and
filters (`[?(@.type=="Ready")]`), as client-go `util/jsonpath` understands them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["JsonPathError", "find", "parse"]

Step = Callable[[list[Any]], list[Any]]

_FIELD = re.compile(r"(?:[^.\[\]\\'\"]|\\.)+")
_SLICE = re.compile(r"(-?\d*):(-?\d*)(?::(-?\d*))?")
_FILTER = re.compile(
    r"^\?\(\s*(?P<left>@[^=!<>]*?|'[^']*'|\"[^\"]*\")\s*"
    r"(?:(?P<operator>==|!=|<=|>=|<|>)\s*(?P<right>.+?)\s*)?\)$",
    re.DOTALL,
)


class JsonPathError(ValueError):
    """A path that is not understood."""


def parse(text: str) -> tuple[Step, ...]:
    """The steps of `.spec.containers[*].image`. Raises `JsonPathError`."""
    text = text.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    if text[:1] in ("$", "@"):
        text = text[1:]
    steps: list[Step] = []
    at = 0
    while at < len(text):
        if text.startswith("..", at):
            steps.append(_descend)
            at += 2
            if at < len(text) and text[at] not in "[.":
                at = _field(text, at, steps)
        elif text[at] == ".":
            at += 1
            if at < len(text) and text[at] == "[":
                continue
            at = _field(text, at, steps)
        elif text[at] == "[":
            end = _closing(text, at)
            steps.append(_bracket(text[at + 1 : end].strip()))
            at = end + 1
        elif at == 0:
            at = _field(text, at, steps)
        else:
            raise JsonPathError(f"unexpected {text[at]!r} in {text!r}")
    return tuple(steps)


def find(steps: Iterable[Step], obj: Any) -> list[Any]:
    """Every value that the path leads to; none where a field is missing."""
    values = [obj]
    for step in steps:
        values = step(values)
    return values


def _field(text: str, at: int, steps: list[Step]) -> int:
    found = _FIELD.match(text, at)
    if found is None:
        if at >= len(text):
            return at
        raise JsonPathError(f"expected a field in {text!r}")
    name = re.sub(r"\\(.)", r"\1", found.group())
    steps.append(_all if name == "*" else _named((name,)))
    return found.end()


def _closing(text: str, start: int) -> int:
    depth, quote = 0, ""
    for at in range(start, len(text)):
        sign = text[at]
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign == "[":
            depth += 1
        elif sign == "]":
            depth -= 1
            if depth == 0:
                return at
    raise JsonPathError(f"unterminated array in {text!r}")


def _bracket(inside: str) -> Step:
    if inside == "*":
        return _all
    if inside.startswith("?"):
        return _filter(inside)
    if inside[:1] in ("'", '"'):
        return _named(tuple(_quoted(inside)))
    if found := _SLICE.fullmatch(inside):
        bounds = [int(part) if part else None for part in found.groups()]
        return _slice(slice(*bounds))
    try:
        indexes = tuple(int(part) for part in inside.split(","))
    except ValueError:
        raise JsonPathError(f"invalid array index {inside}") from None
    return _indexed(indexes)


def _quoted(inside: str) -> list[str]:
    return [single or double for single, double in re.findall(r"'([^']*)'|\"([^\"]*)\"", inside)]


def _named(names: tuple[str, ...]) -> Step:
    def step(values: list[Any]) -> list[Any]:
        return [
            value[name]
            for value in values
            if isinstance(value, dict)
            for name in names
            if name in value
        ]

    return step


def _indexed(indexes: tuple[int, ...]) -> Step:
    def step(values: list[Any]) -> list[Any]:
        return [
            value[index]
            for value in values
            if isinstance(value, list)
            for index in indexes
            if -len(value) <= index < len(value)
        ]

    return step


def _slice(bounds: slice) -> Step:
    def step(values: list[Any]) -> list[Any]:
        return [item for value in values if isinstance(value, list) for item in value[bounds]]

    return step


def _all(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if isinstance(value, dict):
            found += value.values()
        elif isinstance(value, list):
            found += value
    return found


def _descend(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    waiting = list(reversed(values))
    while waiting:
        value = waiting.pop()
        found.append(value)
        if isinstance(value, dict):
            waiting += reversed(list(value.values()))
        elif isinstance(value, list):
            waiting += reversed(value)
    return found


def _filter(inside: str) -> Step:
    found = _FILTER.match(inside)
    if found is None:
        raise JsonPathError(f"unrecognized filter {inside!r}")
    left = _operand(found["left"])
    operator = found["operator"]
    right = _operand(found["right"]) if operator else None

    def step(values: list[Any]) -> list[Any]:
        kept: list[Any] = []
        for value in values:
            for item in value if isinstance(value, list) else ():
                ours = left(item)
                if right is None:
                    if ours:
                        kept.append(item)
                elif ours and (theirs := right(item)) and _compare(ours[0], operator, theirs[0]):
                    kept.append(item)
        return kept

    return step


def _operand(text: str) -> Callable[[Any], list[Any]]:
    text = text.strip()
    if text.startswith("@"):
        steps = parse(text)
        return lambda item: find(steps, item)
    constant: Any
    if text[:1] in ("'", '"') and text[-1:] == text[:1] and len(text) > 1:
        constant = text[1:-1]
    elif text in ("true", "false"):
        constant = text == "true"
    else:
        try:
            constant = float(text) if "." in text else int(text)
        except ValueError:
            raise JsonPathError(f"unrecognized value {text!r} in a filter") from None
    return lambda _: [constant]


def _compare(ours: Any, operator: str, theirs: Any) -> bool:
    if operator in ("==", "!="):
        same = ours == theirs and isinstance(ours, bool) == isinstance(theirs, bool)
        return same is (operator == "==")
    numbers = all(isinstance(value, int | float) for value in (ours, theirs))
    if not numbers and not (isinstance(ours, str) and isinstance(theirs, str)):
        return False
    match operator:
        case "<":
            return bool(ours < theirs)
        case "<=":
            return bool(ours <= theirs)
        case ">":
            return bool(ours > theirs)
        case _:
            return bool(ours >= theirs)
