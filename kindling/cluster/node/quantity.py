"""Amounts as Kubernetes writes them: `500m`, `128Mi`, `1.5`, `2e3`."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from typing import Any

__all__ = ["in_units", "quantity"]

_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([a-zA-Z]*)")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def quantity(text: Any) -> Decimal:
    """The amount in its base unit (cores, bytes). Raises `ValueError` for what is no quantity."""
    found = _NUMBER.fullmatch(str(text).strip())
    if found is None:
        raise ValueError(f"{text!r} is not a quantity")
    number, suffix = Decimal(found[1]), found[2]
    if suffix in _BINARY:
        return number * (1 << _BINARY[suffix])
    if suffix in _DECIMAL:
        return number.scaleb(_DECIMAL[suffix])
    raise ValueError(f"{text!r} is not a quantity")


def in_units(amount: Decimal, divisor: Any) -> int:
    """How many divisors an amount is, rounded up as `resourceFieldRef` does."""
    unit = quantity(divisor or "1")
    if not unit:
        unit = Decimal(1)
    return int((amount / unit).to_integral_value(ROUND_CEILING))
