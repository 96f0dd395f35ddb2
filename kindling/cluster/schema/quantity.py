"""Amounts with a suffix: `100m`, `1.5Gi`, `2e3` (apimachinery `pkg/api/resource`)."""

from __future__ import annotations

import re
from decimal import ROUND_UP, Decimal

__all__ = ["FORMAT_WRONG", "canonical", "parse_quantity"]

FORMAT_WRONG = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
SUFFIX_WRONG = "unable to parse quantity's suffix"
_AMOUNT = re.compile(r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)([A-Za-z]*[-+]?[0-9]*)")
_EXPONENT = re.compile(r"[eE]([-+]?[0-9]+)")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_NANO = Decimal(1).scaleb(-9)
_LARGEST = Decimal(2**63 - 1)


def _split(text: str) -> tuple[Decimal, str]:
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ValueError(FORMAT_WRONG)
    sign, digits, suffix = match.groups()
    number = Decimal(digits)
    if suffix in _BINARY:
        number *= Decimal(2) ** _BINARY[suffix]
    elif suffix in _DECIMAL:
        number = number.scaleb(_DECIMAL[suffix])
    elif exponent := _EXPONENT.fullmatch(suffix):
        power = int(exponent.group(1))
        if abs(power) > 40:
            raise ValueError(SUFFIX_WRONG)
        number = number.scaleb(power)
    else:
        raise ValueError(SUFFIX_WRONG)
    # Nothing finer than nano is kept: it rounds away from zero, and what is too large is capped.
    number = min(number.quantize(_NANO, rounding=ROUND_UP) if number < 10**15 else number, _LARGEST)
    return (-number if sign == "-" else number), suffix


def parse_quantity(text: str | int | float) -> Decimal:
    """The amount in units. Raises `ValueError` with the server's words."""
    return _split(str(text).strip())[0]


def canonical(value: str | int | float) -> str:
    """The form in which the server stores an amount: the largest suffix of the same family that
    leaves a whole number (`1000m` is `1`, `1024Mi` is `1Gi`, `0.5` is `500m`). Raises
    `ValueError`."""
    text = str(value).strip()
    number, suffix = _split(text)
    if number == 0:
        return "0"
    if suffix in _BINARY and abs(number) >= 1024 and number == number.to_integral_value():
        whole = int(number)
        for name, power in reversed(_BINARY.items()):
            if whole % (1 << power) == 0:
                return f"{whole >> power}{name}"
        return str(whole)
    if _EXPONENT.fullmatch(suffix):
        return _with_exponent(number)
    scaled = number
    for name, power in reversed(_DECIMAL.items()):
        scaled = number.scaleb(-power)
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}{name}"
    return str(int(scaled))


def _with_exponent(number: Decimal) -> str:
    for power in range(18, -10, -3):
        scaled = number.scaleb(-power)
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}e{power}" if power else str(int(scaled))
    raise AssertionError(number)
