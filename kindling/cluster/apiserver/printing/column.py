"""Columns, printers, and the two columns that every kind has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kindling.cluster.apiserver.printing.durations import human_duration, seconds_since_epoch
from kindling.cluster.model.api import Obj

__all__ = ["AGE", "NAME", "Column", "Printer", "age", "column", "since"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Priority 0 is always shown, 1 with `-o wide`."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0

    def definition(self) -> Obj:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


@dataclass(frozen=True, slots=True)
class Printer:
    """The columns of a kind and the cells of one object, given the time of printing."""

    columns: tuple[Column, ...]
    cells: Callable[[Obj, float], list[Any]]
    conditions: Callable[[Obj], list[Obj]] | None = None
    """What `Table` says of a row besides: that a pod has run to its end."""


def column(name: str, *, wide: bool = False, sort: str = "string", about: str = "") -> Column:
    return Column(name, sort, "", about, 1 if wide else 0)


NAME = Column("Name", "string", "name", "Name must be unique within a namespace.")
AGE = Column("Age", "string", "", "How long ago the object was created.")


def since(timestamp: str | None, now: float) -> str:
    """How long ago, in the short form of kubectl; `<unknown>` without a time."""
    moment = seconds_since_epoch(timestamp)
    return "<unknown>" if moment is None else human_duration(now - moment)


def age(obj: Obj, now: float) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)
