"""Quantities of resources: `500m`, `1Gi`, `2e3`."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from kindling.cluster.model.api import Obj

__all__ = ["Amounts", "parse_quantity", "requests_of"]

Amounts = dict[str, Decimal]
"""How much of each resource, in its base unit (cores, bytes, pieces)."""

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


def parse_quantity(text: Any) -> Decimal:
    """A quantity as a number; 0 for what is none, which validation keeps away."""
    written = str(text).strip()
    for length in (2, 1):
        unit = _SUFFIXES.get(written[-length:])
        if unit is not None and len(written) > length:
            written, factor = written[:-length], unit
            break
    else:
        factor = Decimal(1)
    try:
        return Decimal(written) * factor
    except InvalidOperation:
        return Decimal(0)


def requests_of(pod: Obj) -> Amounts:
    """What a pod asks a node for: its containers and restartable init containers together, or more
    if an init container needs more, and its overhead."""
    spec = pod.get("spec") or {}
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _requests(container))
    sidecars: Amounts = {}
    largest: Amounts = {}
    for container in spec.get("initContainers") or ():
        asked = _requests(container)
        if container.get("restartPolicy") == "Always":
            _add(total, asked)
            _add(sidecars, asked)
            asked = dict(sidecars)
        else:
            _add(asked, sidecars)
        for name, amount in asked.items():
            largest[name] = max(largest.get(name, Decimal(0)), amount)
    for name, amount in largest.items():
        total[name] = max(total.get(name, Decimal(0)), amount)
    _add(total, {key: parse_quantity(value) for key, value in (spec.get("overhead") or {}).items()})
    return total


def _requests(container: Mapping[str, Any]) -> Amounts:
    resources = container.get("resources") or {}
    # A limit without a request is the request as well; the API server fills that in.
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: parse_quantity(value) for name, value in asked.items()}


def _add(total: Amounts, more: Mapping[str, Decimal]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, Decimal(0)) + amount
