"""`kindling secrets list`: names, times and places of secrets. Values never come here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from kindling.engine.secretrows import Row, Standing
from kindling.objects.secretnames import secret_name

__all__ = ["secrets_form", "secrets_table"]

_WORDS = {
    Standing.BOTH: "cluster and backup",
    Standing.DIFFERS: "cluster and backup, with different values",
    Standing.CLUSTER: "only in the cluster",
    Standing.BACKUP: "only in the backup",
    Standing.UNKNOWN: "in the backup",
}


def secrets_table(rows: Sequence[Row], *, places: bool) -> str:
    """One line a secret; with `places`, also of which cluster and namespace it is."""
    lines = [("NAME", "SET", *(("CLUSTER", "NAMESPACE") if places else ()), "WHERE")]
    for row in rows:
        at = row.set_at if row.set_at is not None else row.kept_at
        when = datetime.fromtimestamp(at or 0, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
        place = (row.place.context, row.place.namespace) if places else ()
        lines.append((row.place.name, when, *place, _WORDS[row.standing]))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "".join(f"{line.rstrip()}\n" for line in padded)


def secrets_form(rows: Sequence[Row], context: str, *, reachable: bool) -> dict[str, Any]:
    """The list as JSON (docs/json.md)."""
    return {
        "schema": 1,
        "type": "secrets",
        "context": context or None,
        "reachable": reachable,
        "secrets": [
            {
                "name": row.place.name,
                "secret": secret_name(row.place.name),
                "context": row.place.context,
                "namespace": row.place.namespace,
                "standing": row.standing.value,
                "set_at": row.set_at,
                "kept_at": row.kept_at,
            }
            for row in rows
        ],
    }
