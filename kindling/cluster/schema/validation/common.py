"""Checks that many kinds share."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes, names
from kindling.cluster.schema.metadata import check_labels

__all__ = [
    "check_label_selector",
    "check_name",
    "in_range",
    "int_or_percent",
    "ip_address",
    "is_selector",
    "matches_labels",
    "not_negative",
    "one_of",
    "percent_of",
    "port",
    "shown_either",
    "shown_selector",
]

_PERCENT = re.compile(r"([0-9]+)%")
_PERCENT_TEXT = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or"
    " '93%', regex used for validation is '[0-9]+%')"
)
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_BAD_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def not_negative(value: Any, path: str) -> Iterator[Cause]:
    if isinstance(value, int) and value < 0:
        yield causes.invalid(path, value, "must be greater than or equal to 0")


def in_range(value: Any, path: str, low: int, high: int) -> Iterator[Cause]:
    if isinstance(value, int) and not low <= value <= high:
        yield causes.invalid(path, value, f"must be between {low} and {high}, inclusive")


def one_of(value: Any, path: str, known: Iterable[str]) -> Iterator[Cause]:
    if value and value not in tuple(known):
        yield causes.not_supported(path, value, known)


def port(value: Any, path: str) -> Iterator[Cause]:
    """A port by number or by name."""
    if isinstance(value, str):
        for text in names.port_name(value):
            yield causes.invalid(path, value, text)
    else:
        for text in names.port_number(value or 0):
            yield causes.invalid(path, value or 0, text)


def ip_address(value: str, path: str) -> Iterator[Cause]:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        yield causes.invalid(path, value, _BAD_IP)


def check_name(value: str, path: str, rule: Any = names.dns_subdomain) -> Iterator[Cause]:
    for text in rule(value):
        yield causes.invalid(path, value, text)


def percent_of(value: Any) -> int | None:
    """The number of a percentage; None for anything else."""
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    return int(found.group(1)) if found else None


def int_or_percent(value: Any, path: str) -> Iterator[Cause]:
    if isinstance(value, str):
        if percent_of(value) is None:
            yield causes.invalid(path, shown_either(value), _PERCENT_TEXT)
    else:
        yield from not_negative(value, path)


def check_label_selector(selector: Mapping[str, Any], path: str) -> Iterator[Cause]:
    yield from check_labels(selector.get("matchLabels") or {}, f"{path}.matchLabels")
    for index, one in enumerate(selector.get("matchExpressions") or []):
        where = causes.at(f"{path}.matchExpressions", index)
        operator, values = one.get("operator", ""), one.get("values") or []
        if operator not in _OPERATORS:
            yield causes.invalid(f"{where}.operator", operator, "not a valid selector operator")
        elif operator in ("In", "NotIn") and not values:
            text = "must be specified when `operator` is 'In' or 'NotIn'"
            yield causes.required(f"{where}.values", text)
        elif operator in ("Exists", "DoesNotExist") and values:
            text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            yield causes.forbidden(f"{where}.values", text)
        for text in names.qualified_name(one.get("key", "")):
            yield causes.invalid(f"{where}.key", one.get("key", ""), text)
        for place, value in enumerate(values):
            for text in names.label_value(value):
                yield causes.invalid(causes.at(f"{where}.values", place), value, text)


def is_selector(selector: Mapping[str, Any]) -> bool:
    """Whether a label selector can be evaluated at all."""
    return not any(True for _ in check_label_selector(selector, ""))


def shown_either(value: Any) -> causes.Literal:
    """An integer or text as Go prints the struct that holds one of both."""
    text, number = (value, 0) if isinstance(value, str) else ("", value or 0)
    kind = int(isinstance(value, str))
    told = f"Type:{kind}, IntVal:{number}, StrVal:{causes.quoted(text)}"
    return causes.Literal(f"intstr.IntOrString{{{told}}}")


def matches_labels(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector (as an object) takes these labels."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for one in selector.get("matchExpressions") or []:
        value, values = labels.get(one.get("key", "")), one.get("values") or []
        fits = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not fits.get(one.get("operator", ""), False):
            return False
    return True


def shown_selector(selector: Mapping[str, Any]) -> causes.Literal:
    """A label selector as Go prints its struct."""
    labels = selector.get("matchLabels")
    told = causes.go_syntax(dict(labels)) if labels else "map[string]string(nil)"
    rules = "[]v1.LabelSelectorRequirement(nil)"
    if expressions := selector.get("matchExpressions"):
        inner = ", ".join(_shown_requirement(one) for one in expressions)
        rules = f"[]v1.LabelSelectorRequirement{{{inner}}}"
    return causes.Literal(f"v1.LabelSelector{{MatchLabels:{told}, MatchExpressions:{rules}}}")


def _shown_requirement(one: Mapping[str, Any]) -> str:
    values = one.get("values")
    told = causes.go_syntax(values) if values else "[]string(nil)"
    key, operator = causes.quoted(one.get("key", "")), causes.quoted(one.get("operator", ""))
    return f"v1.LabelSelectorRequirement{{Key:{key}, Operator:{operator}, Values:{told}}}"
