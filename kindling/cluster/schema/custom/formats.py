"""Formats of strings that the server checks (go-openapi `strfmt`); others are not looked at."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import uuid
from collections.abc import Callable
from datetime import date
from urllib.parse import urlsplit

from kindling.cluster.schema.times import parse_time

__all__ = ["matches"]

_HOSTNAME = re.compile(
    r"([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_EMAIL = re.compile(r"[^@\s<>]+@[^@\s<>]+")
_MAC = re.compile(r"([0-9a-fA-F]{2}[:-]){5}([0-9a-fA-F]{2})|([0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4}")
_COLOUR = re.compile(r"#?([A-Fa-f0-9]{6}|[A-Fa-f0-9]{3})")
_RGB = re.compile(r"rgb\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)")
_DURATION = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_NAMED_DURATION = re.compile(
    r"(\d+)\s*(ns|nano|us|micro|ms|milli|s|sec|second|m|min|minute|h|hr|hour|d|day|w|wk|week)s?"
)


def _date(text: str) -> bool:
    return bool(re.fullmatch(r"\d{4}-\d{2}-\d{2}", text)) and bool(date.fromisoformat(text))


def _duration(text: str) -> bool:
    body = text.lstrip("+-")
    if body == "0" or (body and not _DURATION.sub("", body)):
        return True
    return _NAMED_DURATION.fullmatch(text) is not None


def _ip(version: int) -> Callable[[str], bool]:
    return lambda text: ipaddress.ip_address(text).version == version


def _base64(text: str) -> bool:
    base64.b64decode(text, validate=True)
    return True


def _uri(text: str) -> bool:
    return bool(urlsplit(text).scheme)


def _uuid(number: int) -> Callable[[str], bool]:
    return lambda text: uuid.UUID(text).version == number or number == 0


_CHECKS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": lambda text: re.fullmatch(r"[0-9a-fA-F]{24}", text) is not None,
    "byte": _base64,
    "cidr": lambda text: "/" in text and bool(ipaddress.ip_network(text, strict=False)),
    "date": _date,
    "date-time": lambda text: bool(parse_time(text)),
    "datetime": lambda text: bool(parse_time(text)),
    "duration": _duration,
    "email": lambda text: _EMAIL.fullmatch(text) is not None,
    "hexcolor": lambda text: _COLOUR.fullmatch(text) is not None,
    "hostname": lambda text: len(text) <= 255 and _HOSTNAME.fullmatch(text) is not None,
    "ipv4": _ip(4),
    "ipv6": _ip(6),
    "mac": lambda text: _MAC.fullmatch(text) is not None,
    "rgbcolor": lambda text: _RGB.fullmatch(text) is not None,
    "uri": _uri,
    "uuid": _uuid(0),
    "uuid3": _uuid(3),
    "uuid4": _uuid(4),
    "uuid5": _uuid(5),
}


def matches(name: str, text: str) -> bool:
    """Whether a text has a format. An unknown format is never a fault."""
    check = _CHECKS.get(name)
    if check is None:
        return True
    try:
        return check(text)
    except (ValueError, binascii.Error):
        return False
