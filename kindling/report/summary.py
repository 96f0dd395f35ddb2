"""The JSON report of a session (`--report PATH`; docs/json.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kindling import __version__
from kindling.engine.notices import NodeStatus, Notice
from kindling.graph.outcome import Verdict
from kindling.report.files import write_whole
from kindling.report.jsonform import SCHEMA, node_json
from kindling.report.record import Record

__all__ = ["SummaryReporter", "summary_json"]

_TAIL_LINES = 50


class SummaryReporter:
    """Collects a session and writes `path` when it ends.

    Raises (from `close` alone):
        HostError: The file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._record = Record(_TAIL_LINES)
        self._written = False

    def notice(self, notice: Notice) -> None:
        self._record.take(notice)

    def close(self) -> None:
        if not self._written:
            self._written = True
            text = json.dumps(summary_json(self._record), indent=2)
            write_whole(self._path, text.encode() + b"\n")


def summary_json(record: Record) -> dict[str, Any]:
    """The report as JSON. `exit_code` is null when the session never said that it ended."""
    end = record.ended
    seconds = end.seconds if end else max(0.0, record.now - record.started)
    nodes = []
    for view in record.views:
        form = node_json(view)
        if view.status is NodeStatus.FAILED:
            form["log_tail"] = list(record.tail(view.id, _TAIL_LINES))
        nodes.append(form)
    failed = [view.id for view in record.views if view.status is NodeStatus.FAILED]
    held = [view.id for view in record.views if view.status is NodeStatus.HELD]
    counts = end.counts if end else {}
    return {
        "schema": SCHEMA,
        "type": "session_report",
        "kindling": __version__,
        "session": record.session,
        "command": record.command,
        "kindlingfile": record.kindlingfile,
        "target": record.target,
        "started": round(record.started, 3),
        "seconds": round(seconds, 3),
        "exit_code": end.exit_code if end else None,
        "interrupted": bool(end and end.interrupted),
        "error": (end.error if end else "") or record.error,
        "counts": {verdict.value: counts.get(verdict, 0) for verdict in Verdict},
        "failed": failed,
        "held": held,
        "critical_path": [
            {"node": step.node, "seconds": round(step.seconds, 3)}
            for step in record.critical_path()
        ],
        "endpoints": list(record.endpoints),
        "kept": list(end.kept) if end else [],
        "nodes": nodes,
    }
