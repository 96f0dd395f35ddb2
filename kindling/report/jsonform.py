"""Values as JSON, in the shape that docs/json.md promises.

A field is never renamed or given another meaning under one schema number; fields may be added.
"""

from __future__ import annotations

from typing import Any

from kindling.engine.notices import (
    ChangesSeen,
    KindlingfileFailed,
    KindlingfileLoaded,
    LogLine,
    Message,
    NodeChanged,
    NodeView,
    Notice,
    SessionEnded,
    SessionStarted,
)
from kindling.graph.event import Hold
from kindling.graph.outcome import Failure, Verdict
from kindling.report.safetext import plain

__all__ = ["SCHEMA", "failure_json", "hold_json", "node_json", "notice_json"]

SCHEMA = 1
"""Raised when a reader written for the number before would misread what we write."""

Json = dict[str, Any]


def hold_json(hold: Hold) -> Json:
    return {"reason": hold.reason.value, "waiting_for": list(hold.waiting_for)}


def failure_json(failure: Failure) -> Json:
    return {
        "kind": failure.kind.value,
        "summary": failure.summary,
        "details": list(failure.details),
        "hint": failure.hint,
        "transient": failure.transient,
    }


def node_json(view: NodeView) -> Json:
    """One node. Fields that say nothing (no hold, no failure, no verdict yet) are null."""
    return {
        "id": view.id,
        "kind": view.kind.value,
        "resource": view.resource,
        "status": view.status.value,
        "since": _seconds(view.since),
        "attempt": view.attempt,
        "hold": hold_json(view.hold) if view.hold else None,
        "verdict": view.verdict.value if view.verdict else None,
        "seconds": _seconds(view.seconds),
        "reasons": list(view.reasons),
        "doing": view.doing,
        "failure": failure_json(view.failure) if view.failure else None,
        "endpoints": list(view.endpoints),
        "labels": list(view.labels),
        "needs": list(view.needs),
        "where": view.where,
    }


def notice_json(notice: Notice) -> Json:
    """One notice: `schema`, `type` and `at` first, then what its type carries."""
    match notice:
        case SessionStarted():
            return _form(
                "session_started",
                notice.at,
                session=notice.session,
                command=notice.command,
                kindlingfile=notice.kindlingfile,
                target=notice.target,
            )
        case KindlingfileLoaded():
            return _form(
                "kindlingfile_loaded",
                notice.at,
                seconds=_seconds(notice.seconds),
                nodes=[node_json(view) for view in notice.nodes],
                added=list(notice.added),
                removed=list(notice.removed),
                changed=list(notice.changed),
                target=notice.target,
            )
        case KindlingfileFailed():
            return _form("kindlingfile_failed", notice.at, text=notice.text, first=notice.first)
        case ChangesSeen():
            return _form(
                "changes_seen",
                notice.at,
                paths=list(notice.paths),
                total=notice.total,
                nodes=list(notice.nodes),
            )
        case NodeChanged():
            return _form("node_changed", notice.at, node=node_json(notice.view))
        case LogLine():
            return _form(
                "log",
                notice.at,
                node=notice.node,
                resource=notice.resource,
                stream=notice.stream,
                text=plain(notice.text),
            )
        case Message():
            return _form("message", notice.at, level=notice.level.value, text=notice.text)
        case SessionEnded():
            return _form(
                "session_ended",
                notice.at,
                exit_code=notice.exit_code,
                seconds=_seconds(notice.seconds),
                counts={verdict.value: notice.counts.get(verdict, 0) for verdict in Verdict},
                failed=[node_json(view) for view in notice.failed],
                held=[node_json(view) for view in notice.held],
                endpoints=list(notice.endpoints),
                kept=list(notice.kept),
                error=notice.error,
                interrupted=notice.interrupted,
            )


def _form(kind: str, at: float, **fields: Any) -> Json:
    return {"schema": SCHEMA, "type": kind, "at": _seconds(at), **fields}


def _seconds(value: float) -> float:
    """To the millisecond: more digits are noise."""
    return round(value, 3)
