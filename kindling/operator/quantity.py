"""Sizes and amounts as Kubernetes writes them, as exact numbers, for comparing two of them."""

from __future__ import annotations

import re
from decimal import Decimal

from kindling.operator.definitions.core import QUANTITY_PATTERN

__all__ = ["amount"]

_NUMBER = re.compile(r"[+-]?[0-9.]+")
_SUFFIXES = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
} | {
    sign + extra: Decimal(base) ** power
    for base, extra in ((1000, ""), (1024, "i"))
    for power, sign in enumerate("kMGTPE" if base == 1000 else "KMGTPE", start=1)
}


def amount(quantity: str | int) -> Decimal | None:
    """How much `500m`, `1Gi` or `2` is; None for what is no quantity."""
    text = str(quantity)
    if not re.match(QUANTITY_PATTERN.removesuffix("$") + r"\Z", text):
        return None
    number = _NUMBER.match(text)
    assert number is not None
    suffix = text[number.end() :]
    if suffix in _SUFFIXES:
        return Decimal(number[0]) * _SUFFIXES[suffix]
    exponent = amount(suffix[1:])
    assert exponent is not None
    # An exponent so large is nobody's size, and would take the arithmetic apart.
    return Decimal(number[0]).scaleb(int(exponent)) if abs(exponent) < 100 else None
