"""The functions that Kubernetes adds to the expression language (apiserver `pkg/cel/library`).

A method's receiver is the first argument. Quantities, addresses and URLs are plain texts here, and
their methods read them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kindling.cluster.schema.quantity import parse_quantity

__all__ = ["FUNCTIONS"]


def _split(text: str, sign: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if not sign:
        return list(text) if limit < 0 else [*text[: limit - 1], text[limit - 1 :]]
    return text.split(sign, limit - 1 if limit > 0 else -1)


def _replace(text: str, old: str, new: str, limit: int = -1) -> str:
    return text.replace(old, new, limit)


def _substring(text: str, start: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    if not 0 <= start <= stop <= len(text):
        raise ValueError(f"index out of range: {start}")
    return text[start:stop]


def _index(where: Any, what: Any, start: int = 0) -> int:
    if isinstance(where, str):
        return where.find(what, start)
    return where.index(what) if what in where else -1


def _last_index(where: Any, what: Any) -> int:
    if isinstance(where, str):
        return where.rfind(what)
    return len(where) - 1 - where[::-1].index(what) if what in where else -1


def _find(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found.group() if found else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [one.group() for one in re.finditer(pattern, text)]
    return found if limit < 0 else found[:limit]


def _least(*values: Any) -> Any:
    return min(values[0] if len(values) == 1 and isinstance(values[0], list) else values)


def _most(*values: Any) -> Any:
    return max(values[0] if len(values) == 1 and isinstance(values[0], list) else values)


def _works(function: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            function(text)
        except ValueError:
            return False
        return True

    return check


def _url(text: str) -> str:
    parts = urlsplit(text)
    if not (parts.scheme or text.startswith("/")):
        raise ValueError("URL parse error during conversion from string")
    return text


def _format(text: str, values: list[Any]) -> str:
    rest = iter(values)

    def put(match: re.Match[str]) -> str:
        if match.group() == "%%":
            return "%"
        value = next(rest)
        if match.group().endswith(("d", "f", "e", "x", "X", "o")):
            return str(match.group() % value)
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value)

    return re.sub(r"%(?:\.\d+)?[sdfexXo%]", put, text)


def _compare(one: str, other: str) -> int:
    left, right = parse_quantity(one), parse_quantity(other)
    return (left > right) - (left < right)


def _plain_ip(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _plain_cidr(text: str) -> str:
    ipaddress.ip_network(text, strict=False)
    return text


def _within(cidr: str, other: str) -> bool:
    network = ipaddress.ip_network(cidr, strict=False)
    return ipaddress.ip_address(other.partition("/")[0]) in network


def _quantity(text: str) -> str:
    parse_quantity(text)
    return text


_TABLE: dict[str, Callable[..., Any]] = {
    "asApproximateFloat": lambda one: float(parse_quantity(one)),
    "asInteger": lambda one: int(parse_quantity(one)),
    "charAt": lambda text, place: text[place : place + 1],
    "cidr": _plain_cidr,
    "compareTo": _compare,
    "containsCIDR": _within,
    "containsIP": _within,
    "find": _find,
    "findAll": _find_all,
    "format": _format,
    "getEscapedPath": lambda url: urlsplit(url).path,
    "getHost": lambda url: urlsplit(url).netloc.rpartition("@")[2],
    "getHostname": lambda url: urlsplit(url).hostname or "",
    "getPort": lambda url: str(urlsplit(url).port or ""),
    "getQuery": lambda url: parse_qs(urlsplit(url).query),
    "getScheme": lambda url: urlsplit(url).scheme,
    "indexOf": _index,
    "ip": _plain_ip,
    "isCIDR": _works(_plain_cidr),
    "isGreaterThan": lambda one, other: _compare(one, other) > 0,
    "isIP": _works(_plain_ip),
    "isInteger": lambda one: parse_quantity(one) == int(parse_quantity(one)),
    "isLessThan": lambda one, other: _compare(one, other) < 0,
    "isQuantity": _works(parse_quantity),
    "isSorted": lambda values: values == sorted(values),
    "isURL": _works(_url),
    "join": lambda values, sign="": sign.join(values),
    "lastIndexOf": _last_index,
    "lowerAscii": lambda text: text.lower(),
    "max": _most,
    "min": _least,
    "prefixLength": lambda cidr: ipaddress.ip_network(cidr, strict=False).prefixlen,
    "quantity": _quantity,
    "replace": _replace,
    "reverse": lambda value: value[::-1],
    "sign": lambda one: _compare(one, "0"),
    "split": _split,
    "substring": _substring,
    "sum": lambda values: sum(values),
    "trim": lambda text: text.strip(),
    "upperAscii": lambda text: text.upper(),
    "url": _url,
}
FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(_TABLE)
"""By the names that rules use, for functions and methods alike."""
