"""Rules in the Common Expression Language (`x-kubernetes-validations`).

They are evaluated by the `common-expression-language` package (a binding of cel-rust), which is
imported when the first rule is seen. What Kubernetes adds to the language (the string, list, regex,
URL, IP and quantity libraries) is given to it as functions. A rule that needs more than that
(optional field selection, `cel.bind`, two-variable comprehensions) is stored and not enforced;
`unsupported` says which.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from kindling.cluster.schema.custom import cel_functions
from kindling.cluster.schema.custom.structural import Node, extra, items
from kindling.cluster.schema.times import parse_time

if TYPE_CHECKING:
    from cel import Program

__all__ = ["Rule", "RuleError", "evaluate", "mentions_old", "rule", "to_cel", "unsupported"]

Rule = Any
_BEYOND = re.compile(r"\.\?|\[\?|\boptional\.|\bcel\.bind\b|\.transformList\(|\.transformMap\(")
_WORDS = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_ESCAPES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_UNIT = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class RuleError(ValueError):
    """A rule that cannot be compiled or evaluated, in the evaluator's words."""


@cache
def rule(text: str) -> Program | None:
    """The compiled rule; None where the evaluator does not reach that far. Raises `RuleError` for
    one that is wrong."""
    if unsupported(text):
        return None
    return _compiled(text)


@cache
def _compiled(text: str) -> Program:
    import cel

    try:
        return cel.compile(text)
    except Exception as error:
        raise RuleError(str(error)) from None


def unsupported(text: str) -> str:
    """What a rule needs and this evaluator does not have; empty when there is nothing."""
    if found := _BEYOND.search(text):
        return found.group()
    try:
        used = _compiled(text).functions()
    except RuleError:
        return ""
    names = [name for name in used if re.fullmatch(r"[A-Za-z]\w*", name)]
    return next((name for name in names if name not in _known()), "")


@cache
def _known() -> frozenset[str]:
    own = (
        "size has all exists exists_one filter map contains startsWith endsWith matches int uint"
        " double string bool bytes duration timestamp type dyn getFullYear getMonth getDate"
        " getDayOfMonth getDayOfWeek getDayOfYear getHours getMinutes getSeconds getMilliseconds"
        " existsOne"
    )
    return frozenset(own.split()) | cel_functions.FUNCTIONS.keys()


def mentions_old(program: Program) -> bool:
    """A rule about the way from one state to the next."""
    return "oldSelf" in program.variables()


def evaluate(program: Program, values: dict[str, Any]) -> Any:
    """Run a rule. Raises `RuleError`."""
    functions: dict[str, Callable[..., Any]] = dict(cel_functions.FUNCTIONS)
    import cel

    try:
        return program.execute(cel.Context(variables=values, functions=functions))
    except Exception as error:
        raise RuleError(str(error)) from None


def escaped(name: str) -> str:
    """A property's name as an expression writes it."""
    if name in _WORDS:
        return f"__{name}__"
    for sign, word in _ESCAPES:
        name = name.replace(sign, word)
    return name


def to_cel(node: Node, value: Any) -> Any:
    """A value as rules see it: names escaped, times and durations by their format."""
    if isinstance(value, dict):
        properties, others = node.get("properties") or {}, extra(node)
        out: dict[str, Any] = {}
        for name, one in value.items():
            if name in properties:
                out[escaped(name)] = to_cel(properties[name], one)
            else:
                out[name] = to_cel(others or {}, one)
        return out
    if isinstance(value, list):
        inner = items(node) or {}
        return [to_cel(inner, one) for one in value]
    if isinstance(value, str):
        return _text(node.get("format"), value)
    if node.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _text(form: object, value: str) -> Any:
    try:
        if form in ("date-time", "datetime"):
            return parse_time(value)
        if form == "duration":
            parts = re.findall(r"([\d.]+)(h|ms|m|us|µs|ns|s)", value)
            seconds = sum(float(number) * _UNIT[unit] for number, unit in parts)
            return timedelta(seconds=-seconds if value.startswith("-") else seconds)
    except ValueError:
        return value
    return value
