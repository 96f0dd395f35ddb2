"""Blobs, and the crossing between Starlark values and Python values.

Tilt tells file contents (a blob) from a path (a string). Starlark values cross into Python as JSON,
so a blob must be a string; it is one that begins with a mark and its own length. The length makes a
blob that was built into a longer string (a path such as `"%s/x.yaml" % blob`) an ordinary string
again. Marks are stripped whenever a value comes in, so no builtin ever sees one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any

__all__ = ["Blob", "has_mark", "is_marked", "mark", "to_starlark", "unmark"]

_BEGIN, _END = "\ue000", "\ue001"
_MARK = re.compile(f"{_BEGIN}[0-9]+{_END}")


class Blob(str):
    """Text that is contents, not a path."""

    __slots__ = ()


def mark(text: str) -> str:
    """`text` as it travels through Starlark when it is a blob."""
    return f"{_BEGIN}{len(text)}{_END}{text}"


def is_marked(text: str) -> bool:
    """Whether `text` is one whole blob."""
    if not text.startswith(_BEGIN):
        return False
    length, end, rest = text[1:].partition(_END)
    return bool(end) and length.isdigit() and int(length) == len(rest)


def _unmark_text(text: str) -> str:
    if _BEGIN not in text:
        return text
    plain = _MARK.sub("", text)
    return Blob(plain) if is_marked(text) else plain


def has_mark(text: str) -> bool:
    """Whether a mark may be anywhere in `text`, which may be JSON."""
    return _BEGIN in text or "\\ue000" in text


def unmark(value: Any) -> Any:
    """A value from Starlark without marks: whole blobs become `Blob`, marks inside strings
    vanish."""
    if isinstance(value, str):
        return _unmark_text(value)
    if isinstance(value, list):
        return [unmark(item) for item in value]
    if isinstance(value, dict):
        return {_unmark_text(key): unmark(item) for key, item in value.items()}
    return value


def to_starlark(value: Any, wrap: Callable[[object], object]) -> Any:
    """A value for Starlark: blobs marked, tuples as lists, dataclasses of ours wrapped as
    opaque."""
    if isinstance(value, Blob):
        return mark(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [to_starlark(item, wrap) for item in value]
    if isinstance(value, dict):
        return {str(key): to_starlark(item, wrap) for key, item in value.items()}
    if is_dataclass(value):
        return wrap(value)
    raise TypeError(f"no Starlark value: {type(value).__name__}")
