"""From objects to `Table`: which printer a kind has, and what goes along with each row.

The printers follow kubernetes `pkg/printers/internalversion/printers.go` in what they show; the
format of a Table is that of `meta.k8s.io/v1`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from kindling.cluster.apiserver.printing.column import AGE, NAME, Printer, age, column
from kindling.cluster.apiserver.printing.custom import custom_printer
from kindling.cluster.model.api import Api, Obj
from kindling.cluster.model.resource import ResourceType, builtin
from kindling.cluster.model.status import bad_request

__all__ = ["DEFAULT", "Printers"]

_DEFINITIONS = builtin("customresourcedefinitions", "apiextensions.k8s.io")


def _default(obj: Obj, now: float) -> list[Any]:
    return [obj["metadata"].get("name", ""), age(obj, now)]


DEFAULT = Printer((NAME, AGE), _default)
"""For kinds that have no columns of their own."""


def _scale(obj: Obj, now: float) -> list[Any]:
    wanted = (obj.get("spec") or {}).get("replicas", 0)
    there = (obj.get("status") or {}).get("replicas", 0)
    return [obj["metadata"].get("name", ""), wanted, there, age(obj, now)]


_SCALE = Printer(
    (
        NAME,
        column("Desired", sort="integer", about="How many are asked for."),
        column("Available", sort="integer", about="How many there are."),
        AGE,
    ),
    _scale,
)
"""For the scale of any kind."""


class Printers:
    """Makes tables. `now` is seconds since the epoch, for ages."""

    def __init__(self, api: Api, now: Callable[[], float] = time.time) -> None:
        self._api = api
        self._now = now
        self._custom: dict[ResourceType, tuple[Obj, Printer]] = {}

    def table(
        self,
        resource: ResourceType,
        items: Sequence[Obj],
        version: str = "v1",
        include: str = "Metadata",
    ) -> Obj:
        """A Table without metadata. `include` is `None`, `Metadata` or `Object`. Raises `ApiError`
        400 for another."""
        if include not in ("None", "Metadata", "Object"):
            raise bad_request(f"unrecognized includeObject value: {include[:100]!r}")
        scales = bool(items) and items[0].get("kind") == "Scale"
        printer = _SCALE if scales else self.printer(resource)
        now = self._now()
        rows: list[Obj] = []
        for item in items:
            row: Obj = {"cells": printer.cells(item, now)}
            if printer.conditions is not None and (conditions := printer.conditions(item)):
                row["conditions"] = conditions
            if include == "Object":
                row["object"] = item
            elif include == "Metadata":
                row["object"] = {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": f"meta.k8s.io/{version}",
                    "metadata": item.get("metadata", {}),
                }
            rows.append(row)
        return {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{version}",
            "metadata": {},
            "columnDefinitions": [column.definition() for column in printer.columns],
            "rows": rows,
        }

    def printer(self, resource: ResourceType) -> Printer:
        if not resource.custom:
            return _builtin_printers().get(resource.key, DEFAULT)
        definition = self._api.get(_DEFINITIONS, resource.key)
        if definition is None:
            return DEFAULT
        known = self._custom.get(resource)
        if known is None or known[0] is not definition:
            known = (definition, custom_printer(definition, resource.version) or DEFAULT)
            self._custom[resource] = known
        return known[1]


_printers: dict[str, Printer] = {}


def _builtin_printers() -> dict[str, Printer]:
    if not _printers:
        from kindling.cluster.apiserver.printing import (
            apps,
            batch,
            cluster,
            core,
            events,
            network,
            nodes,
            pods,
            storage,
        )

        for module in (apps, batch, cluster, core, events, network, nodes, pods, storage):
            _printers.update(module.PRINTERS)
    return _printers
