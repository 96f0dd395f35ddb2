"""Columns of batch."""

from __future__ import annotations

from kindling.cluster.apiserver.printing.column import Printer

__all__ = ["PRINTERS"]

PRINTERS: dict[str, Printer] = {}
