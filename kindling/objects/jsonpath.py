"""JSON paths as Kubernetes writes them: `{.spec.template.spec.containers[*].image}`.

Just what paths to images need: names, quoted names, indices, `*`, `..name` and equality filters.
Braces and the leading `$` or `.` may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kindling.errors import ConfigError

__all__ = ["JsonPath", "Location", "parse_json_path", "value_at"]

Location = tuple[str | int, ...]
"""Where a value stands: keys and indices from the root."""


@dataclass(frozen=True, slots=True)
class _Step:
    key: str | int | None = None
    """A name or an index; None for all children."""
    deep: bool = False
    """At any depth below, this value included."""
    filter: tuple[tuple[str, ...], str] | None = None
    """Only children whose value at these keys equals the text."""


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A path that may lead to several places."""

    text: str
    steps: tuple[_Step, ...]

    def find(self, value: Any) -> tuple[Location, ...]:
        """Every place in `value` that the path leads to, in document order."""
        found: list[Location] = [()]
        for step in self.steps:
            found = [
                (*base, *rest) for base in found for rest in _apply(step, value_at(value, base))
            ]
        return tuple(dict.fromkeys(found))


def value_at(value: Any, location: Location) -> Any:
    """What stands at a location that `find` gave."""
    for key in location:
        value = value[key]
    return value


def _children(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield from enumerate(value)


def _apply(step: _Step, value: Any) -> Iterator[Location]:
    if step.deep:
        for location, inner in _walk(value, ()):
            for rest in _apply(_Step(step.key, filter=step.filter), inner):
                yield (*location, *rest)
        return
    if step.filter is not None:
        keys, wanted = step.filter
        for key, child in _children(value):
            inner = child
            for name in keys:
                inner = inner.get(name) if isinstance(inner, Mapping) else None
            if inner == wanted or (inner is not None and str(inner) == wanted):
                yield (key,)
    elif step.key is None:
        for key, _ in _children(value):
            yield (key,)
    elif isinstance(step.key, str):
        if isinstance(value, Mapping) and step.key in value:
            yield (step.key,)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        at = step.key + len(value) if step.key < 0 else step.key
        if 0 <= at < len(value):
            yield (at,)


def _walk(value: Any, at: Location) -> Iterator[tuple[Location, Any]]:
    yield at, value
    for key, child in _children(value):
        yield from _walk(child, (*at, key))


_TOKEN = re.compile(
    r"""
      (?P<deep>\.\.)
    | \.(?P<star>\*)
    | \.?(?P<name>(?:[^.\[\]'"{}()?@*\s\\]|\\.)+)
    | \[\s*(?P<index>-?\d+)\s*\]
    | \[\s*(?P<all>\*)\s*\]
    | \[\s*(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\s*\]
    | \[\?\(\s*@(?P<keys>(?:\.[^.\s=!<>()]+)+)\s*==\s*(?P<wanted>'[^']*'|"[^"]*"|[^'"\s)]+)\s*\)\]
    """,
    re.VERBOSE,
)


@lru_cache(maxsize=256)
def parse_json_path(text: str) -> JsonPath:
    """Read a path.

    Raises:
        ConfigError: It is not a path we know how to follow; the message shows where it stops.
    """
    body = text.strip()
    if body.startswith("{") and body.endswith("}"):
        body = body[1:-1].strip()
    body = body.removeprefix("$")
    steps: list[_Step] = []
    at, deep = 0, False
    while at < len(body):
        if body[at] == "." and at == len(body) - 1 and not steps and not deep:
            break  # `{.}` is the whole object
        token = _TOKEN.match(body, at)
        if token is None or (deep and token["deep"]):
            raise _refuse(text, body[at:])
        at = token.end()
        if token["deep"]:
            deep = True
            continue
        steps.append(_step(token, deep))
        deep = False
    if deep or not steps:
        raise _refuse(text, "")
    return JsonPath(text, tuple(steps))


def _step(token: re.Match[str], deep: bool) -> _Step:
    if token["star"] or token["all"]:
        return _Step(None, deep)
    if (index := token["index"]) is not None:
        return _Step(int(index), deep)
    if (quoted := token["quoted"]) is not None:
        return _Step(re.sub(r"\\(.)", r"\1", quoted[1:-1]), deep)
    if (keys := token["keys"]) is not None:
        return _Step(None, deep, (tuple(keys[1:].split(".")), token["wanted"].strip("'\"")))
    return _Step(re.sub(r"\\(.)", r"\1", token["name"]), deep)


def _refuse(text: str, rest: str) -> ConfigError:
    where = f" at `{rest}`" if rest else ""
    return ConfigError(
        f"`{text}` is not a JSON path{where}",
        hint="A path to an image looks like `{.spec.template.spec.containers[*].image}`.",
    )
