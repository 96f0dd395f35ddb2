"""Columns of Event, in both of its API groups."""

from __future__ import annotations

from typing import Any

from kindling.cluster.apiserver.printing.column import NAME, Column, Printer, column, since
from kindling.cluster.model.api import Obj

__all__ = ["PRINTERS"]


def _event(obj: Obj, now: float) -> list[Any]:
    """One event, whose fields have other names in events.k8s.io/v1."""
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    series = obj.get("series") or {}
    moment, first, last = (
        obj.get("eventTime"),
        obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp"),
        obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp"),
    )
    count = obj.get("count") or obj.get("deprecatedCount") or 0
    first_seen = since(first, now) if first else since(moment, now)
    last_seen = since(last, now) if last else first_seen
    if series:
        last_seen = since(series.get("lastObservedTime"), now)
        count = series.get("count", 0)
    elif not count:
        # An event without a count happened once.
        count = 1
    kind, name = str(about.get("kind", "")).lower(), about.get("name", "")
    reporter = str(
        source.get("component")
        or obj.get("reportingComponent")
        or obj.get("reportingController")
        or ""
    )
    host = source.get("host") or obj.get("reportingInstance")
    message = str(obj.get("message") or obj.get("note") or "").strip()
    return [
        last_seen,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{name}" if name else kind,
        about.get("fieldPath", ""),
        f"{reporter}, {host}" if host else reporter,
        message,
        first_seen,
        count,
        obj["metadata"]["name"],
    ]


_PRINTER = Printer(
    (
        column("Last Seen", about="How long ago it happened last."),
        column("Type", about="Normal or Warning."),
        column("Reason", about="Why it happened, in one word."),
        column("Object", about="What it happened to."),
        column("Subobject", wide=True, about="Which part of that."),
        column("Source", wide=True, about="Who reports it."),
        column("Message", about="What happened."),
        column("First Seen", wide=True, about="How long ago it happened first."),
        column("Count", wide=True, about="How often it happened."),
        Column(NAME.name, NAME.type, NAME.format, NAME.description, 1),
    ),
    _event,
)

PRINTERS: dict[str, Printer] = {"events": _PRINTER, "events.events.k8s.io": _PRINTER}
