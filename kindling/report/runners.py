"""`kindling runners list`: pools and how their runners are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from kindling.engine.runnerpools import PoolRow
from kindling.report.safetext import plain

__all__ = ["runners_form", "runners_table"]


def runners_table(rows: Sequence[PoolRow], *, namespaces: bool) -> str:
    """One line a pool, and one more for each that is not ready, with the reason."""
    head = (
        "NAME",
        *(("NAMESPACE",) if namespaces else ()),
        "PROVIDER",
        "USER",
        "REPOSITORY",
        "READY",
    )
    lines: list[tuple[str, ...]] = [head]
    for row in rows:
        place = (row.namespace,) if namespaces else ()
        ready = f"{row.ready_runners}/{row.replicas}"
        words = (row.name, *place, row.provider, row.username, row.repository, ready)
        lines.append(tuple(map(plain, words)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = []
    told: tuple[PoolRow | None, ...] = (None, *rows)
    for line, one in zip(lines, told, strict=True):
        padded = (word.ljust(width) for word, width in zip(line, widths, strict=True))
        text.append("  ".join(padded).rstrip())
        if one is not None and not one.ready:
            text.append(f"  {plain(f'{one.reason}: {one.message}')}")
    return "".join(f"{line}\n" for line in text)


def runners_form(rows: Sequence[PoolRow], context: str) -> dict[str, Any]:
    """The list as JSON (docs/json.md)."""
    return {
        "schema": 1,
        "type": "runners",
        "context": context,
        "pools": [asdict(row) for row in rows],
    }
