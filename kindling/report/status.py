"""Where every node stands, as text: of a running session, or of the last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kindling.report import words
from kindling.report.ink import Ink
from kindling.report.narrator import Tone

__all__ = ["StatusRow", "status_text"]

_TONES = {
    "failed": Tone.BAD,
    "unready": Tone.WARN,
    "running": Tone.NORMAL,
    "held": Tone.DIM,
    "idle": Tone.DIM,
    "done": Tone.GOOD,
}


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One node. `seconds` is how long its last run took, `age` how long ago it ended or changed."""

    node: str
    resource: str
    status: str
    verdict: str = ""
    seconds: float = 0.0
    age: float = 0.0
    detail: str = ""

    @classmethod
    def of_reply(cls, node: Mapping[str, Any], now: float) -> StatusRow:
        """A row from a node as a running session tells it (docs/json.md)."""
        failure = node.get("failure") or {}
        hold = node.get("hold") or {}
        waiting = words.listing(hold.get("waiting_for", ()))
        held = str(hold.get("reason", "")).replace("-", " ")
        detail = (
            failure.get("summary", "")
            or (f"{held}: {waiting}" if waiting else held)
            or "  ".join(node.get("endpoints", ()))
            or words.reasons_phrase(node.get("reasons", ()))
        )
        return cls(
            node=node["id"],
            resource=node.get("resource", ""),
            status=node["status"],
            verdict=node.get("verdict") or "",
            seconds=node.get("seconds") or 0.0,
            age=max(0.0, now - node.get("since", now)),
            detail=detail,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.node,
            "resource": self.resource,
            "status": self.status,
            "verdict": self.verdict or None,
            "seconds": round(self.seconds, 3),
            "age": round(self.age, 3),
            "detail": self.detail,
        }


def status_text(rows: Sequence[StatusRow], head: str, *, ink: Ink | None = None) -> str:
    """A line about the session, then one line per node."""
    pen = ink or Ink()
    node = max((len(row.node) for row in rows), default=0)
    state = max((len(_state(row)) for row in rows), default=0)
    ages = {row.node: f"{words.duration(row.age)} ago" if row.age else "" for row in rows}
    age = max(map(len, ages.values()), default=0)
    lines = [pen.bold(head)]
    for row in rows:
        detail = row.detail
        room = pen.width - node - state - age - 6
        if len(detail) > room > 10:
            detail = detail[: room - 2].rstrip() + ".."
        said = pen(f"{_state(row):<{state}}", _TONES.get(row.status, Tone.NORMAL))
        lines.append(f"{row.node:<{node}}  {said}  {ages[row.node]:>{age}}  {detail}".rstrip())
    return "\n".join(lines) + "\n"


def _state(row: StatusRow) -> str:
    word = row.verdict if row.status == "done" and row.verdict else row.status
    return f"{word} {words.duration(row.seconds)}" if row.seconds else word
