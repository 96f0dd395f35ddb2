"""Label and field selectors as clients write them, and whether an object matches.

The grammar and the words of the errors follow k8s.io/apimachinery `pkg/labels` and `pkg/fields`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.status import bad_request
from kindling.cluster.schema.names import label_value, qualified_name

__all__ = ["FieldSelector", "LabelSelector", "Requirement", "parse_fields", "parse_labels"]

_TOKEN = re.compile(r"\s*(!=|==|=|!|<|>|\(|\)|,|[^\s!=<>(),]+)")
_SPECIAL = frozenset({"!=", "==", "=", "!", "<", ">", "(", ")", ","})


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label. `operator` is `in`, `notin`, `exists`, `!`, `gt` or `lt`."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, Any]) -> bool:
        """A label that is not there fulfils `notin` and `!`, and nothing else."""
        match self.operator:
            case "in":
                return self.key in labels and labels[self.key] in self.values
            case "notin":
                return self.key not in labels or labels[self.key] not in self.values
            case "exists":
                return self.key in labels
            case "!":
                return self.key not in labels
        try:
            number = int(labels[self.key])
        except (KeyError, ValueError):
            return False
        bound = int(next(iter(self.values)))
        return number > bound if self.operator == "gt" else number < bound


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All of these must hold; none is everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, obj: Obj) -> bool:
        if not self.requirements:
            return True
        return self.matches_labels(obj.get("metadata", {}).get("labels") or {})

    def matches_labels(self, labels: Mapping[str, Any]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Conditions (field, equal or not, value), all of which must hold.

    `lookup` gives a field's value as text; an absent field is the empty text.
    """

    conditions: tuple[tuple[str, bool, str], ...] = ()
    lookup: Callable[[Obj, str], str] | None = None

    def matches(self, obj: Obj) -> bool:
        look = self.lookup or _path
        return all((look(obj, path) == value) is equal for path, equal, value in self.conditions)

    def exact(self, path: str) -> str | None:
        """The value that a field must have, if one must."""
        return next((v for p, equal, v in self.conditions if equal and p == path), None)


def _path(obj: Obj, path: str) -> str:
    value: Any = obj
    for step in path.split("."):
        if not isinstance(value, dict):
            return ""
        value = value.get(step)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def parse_labels(text: str) -> LabelSelector:
    """A label selector: `a=b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a`, `!a`, `a>1`, joined by
    commas. Raises `ApiError` 400."""
    if not text.strip():
        return LabelSelector()
    return LabelSelector(tuple(_LabelParser(text).parse()))


class _LabelParser:
    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        position = 0
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                break
            self._tokens.append(found.group(1))
            position = found.end()
        self._at = 0

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def parse(self) -> list[Requirement]:
        found: list[Requirement] = []
        while True:
            token = self._peek()
            if token == "":
                return found
            if token != "!" and token in _SPECIAL:
                raise bad_request(f"found '{token}', expected: !, identifier, or 'end of string'")
            found.append(self._requirement())
            token = self._next()
            if token == "":
                return found
            if token != ",":
                raise bad_request(f"found '{token}', expected: ',' or 'end of string'")
            after = self._peek()
            if after != "!" and (after == "" or after in _SPECIAL):
                raise bad_request(f"found '{after}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        absent = self._peek() == "!"
        if absent:
            self._next()
        key = self._next()
        if key == "" or key in _SPECIAL:
            raise _unparsable(f"found '{key}', expected: identifier")
        if told := qualified_name(key):
            raise _unparsable(f'<nil>: Invalid value: "{key}": {"; ".join(told)}')
        if absent:
            return Requirement(key, "!")
        operator = self._peek()
        if operator in ("", ","):
            return Requirement(key, "exists")
        self._next()
        match operator:
            case "=" | "==":
                return Requirement(key, "in", self._checked(key, [self._value()]))
            case "!=":
                return Requirement(key, "notin", self._checked(key, [self._value()]))
            case "in" | "notin":
                return Requirement(key, operator, self._checked(key, self._values()))
            case ">" | "<":
                value = self._value()
                if not re.fullmatch(r"[+-]?\d+", value):
                    raise _unparsable(
                        f"values[0]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the"
                        " value must be an integer"
                    )
                return Requirement(key, "gt" if operator == ">" else "lt", frozenset({value}))
        raise _unparsable(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")

    def _checked(self, key: str, values: Iterable[str]) -> frozenset[str]:
        for index, value in enumerate(sorted(values)):
            if told := label_value(value):
                said = f'values[{index}][{key}]: Invalid value: "{value}": {"; ".join(told)}'
                raise _unparsable(said)
        return frozenset(values)

    def _value(self) -> str:
        token = self._peek()
        if token in ("", ","):
            return ""
        self._next()
        if token in _SPECIAL:
            raise _unparsable(f"found '{token}', expected: identifier")
        return token

    def _values(self) -> set[str]:
        token = self._next()
        if token != "(":
            raise _unparsable(f"found '{token}' expected: '('")
        token = self._peek()
        if token == ")":
            self._next()
            return {""}
        if token != "," and (token == "" or token in _SPECIAL):
            raise _unparsable(f"found '{token}', expected: ',', ')' or identifier")
        values: set[str] = set()
        while True:
            token = self._next()
            if token == ",":
                if not values:
                    values.add("")
                if self._peek() in (",", ")"):
                    values.add("")
            elif token == "" or token in _SPECIAL:
                raise _unparsable(f"found '{token}', expected: ',', or identifier")
            else:
                values.add(token)
                if self._peek() not in (",", ")"):
                    raise _unparsable(f"found '{self._peek()}', expected: ',' or ')'")
            if self._peek() == ")":
                self._next()
                return values


def _unparsable(why: str) -> Exception:
    return bad_request(f"unable to parse requirement: {why}")


def parse_fields(text: str, lookup: Callable[[Obj, str], str] | None = None) -> FieldSelector:
    r"""A field selector: `a.b=c`, `a.b==c`, `a.b!=c`, joined by commas; `\,`, `\=` and `\\` stand
    for themselves in a value. Raises `ApiError` 400."""
    conditions: list[tuple[str, bool, str]] = []
    for part in _split(text):
        if not part:
            continue
        found = re.match(r"((?:[^=!\\]|\\.)*?)(!=|==|=)(.*)", part, re.DOTALL)
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        path, operator, value = found.groups()
        conditions.append((path, operator != "!=", _unescape(value)))
    return FieldSelector(tuple(conditions), lookup)


def _split(text: str) -> list[str]:
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == ",":
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def _unescape(value: str) -> str:
    if "\\" not in value and "=" not in value:
        return value
    out, at = [], 0
    while at < len(value):
        character = value[at]
        if character == "\\":
            at += 1
            if at >= len(value) or value[at] not in "\\,=":
                told = value[at - 1 : at + 1]
                raise bad_request(f"invalid field selector: invalid escape sequence: {told}")
            character = value[at]
        elif character in ",=":
            raise bad_request(
                f"invalid field selector: unescaped character in value: {ord(character)}"
            )
        out.append(character)
        at += 1
    return "".join(out)
