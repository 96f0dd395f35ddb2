"""What every node looks like just now, and the notices that say so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from kindling.engine.notices import (
    Level,
    LogLine,
    Message,
    NodeChanged,
    NodeStatus,
    NodeView,
    Notice,
    Reporter,
)
from kindling.engine.redact import Redactor
from kindling.engine.settle import Settled
from kindling.executors.protocol import Clock, LogSink, ReadinessReport
from kindling.graph.dag import Graph
from kindling.graph.event import HoldReason
from kindling.graph.hold import holds
from kindling.graph.node import Node, NodeId
from kindling.graph.outcome import Verdict
from kindling.graph.state import State

__all__ = ["Board"]


class Board:
    """One `NodeView` per node that takes part; every change of one is told to the reporter, once.

    All text passes the redactor here, so that no listener ever sees a secret.
    """

    def __init__(self, reporter: Reporter, clock: Clock, redactor: Redactor) -> None:
        self._reporter = reporter
        self._clock = clock
        self._redactor = redactor
        self._views: dict[NodeId, NodeView] = {}
        self._failed: dict[NodeId, None] = {}
        self._said: set[str] = set()
        self._links: dict[NodeId, tuple[str, ...]] = {}

    @property
    def views(self) -> Mapping[NodeId, NodeView]:
        """Every view, in graph order."""
        return MappingProxyType(self._views)

    @property
    def failed(self) -> tuple[NodeView, ...]:
        """The nodes that failed, the first one first."""
        return tuple(self._views[id_] for id_ in self._failed if id_ in self._views)

    def load(self, graph: Graph, selected: Collection[NodeId]) -> None:
        """Show exactly the selected nodes of `graph`; those that were there keep their state."""
        now = self._clock.time()
        self._links = {id_: tuple(url for url, _ in graph[id_].links) for id_ in selected}
        self._views = {
            id_: replace(
                self._views.get(id_) or self._fresh(graph[id_], now),
                resource=graph[id_].resource,
                labels=graph[id_].labels,
                needs=tuple(graph.predecessors(id_)),
                where=str(graph[id_].where),
            )
            for id_ in graph.order
            if id_ in selected
        }

    def _fresh(self, node: Node, now: float) -> NodeView:
        return NodeView(
            id=node.id,
            kind=node.kind,
            resource=node.resource,
            status=NodeStatus.IDLE,
            since=now,
            endpoints=self._links[node.id],
            labels=node.labels,
        )

    def update(self, id_: NodeId, **changes: Any) -> None:
        """Change fields of one view and tell it, if anything differs. A node unknown here is
        ignored: it left the graph while its last news was under way."""
        view = self._views.get(id_)
        if view is None:
            return
        if changes.get("status", view.status) is not view.status:
            changes.setdefault("since", self._clock.time())
        if (failure := changes.get("failure")) is not None:
            changes["failure"] = self._redactor.failure(failure)
        if "reasons" in changes:
            changes["reasons"] = self._redactor.lines(changes["reasons"])
        if all(getattr(view, name) == value for name, value in changes.items()):
            return
        new = replace(view, **changes)
        self._views[id_] = new
        if new.status is NodeStatus.FAILED:
            self._failed[id_] = None
        else:
            self._failed.pop(id_, None)
        self.tell(NodeChanged(self._clock.time(), new))

    def settled(self, id_: NodeId, settled: Settled) -> None:
        """Show how an attempt ended."""
        changes: dict[str, Any] = {
            "status": _STATUS[settled.verdict],
            "verdict": settled.verdict,
            "seconds": settled.seconds,
            "doing": "",
            "failure": settled.failure,
        }
        if settled.verdict is not Verdict.CANCELLED:
            changes["reasons"] = settled.reasons
        data = settled.output.data if settled.output else {}
        urls = [str(url) for url in (data.get("url"), *data.get("urls", ())) if url]
        if urls and id_ in self._views:
            changes["endpoints"] = tuple(dict.fromkeys([*urls, *self._links.get(id_, ())]))
        self.update(id_, **changes)

    def health(self, id_: NodeId, report: ReadinessReport) -> None:
        """Show that a settled node's part of the world became healthy, or ceased to be."""
        before = self._views[id_].status
        if before not in (NodeStatus.DONE, NodeStatus.UNREADY, NodeStatus.FAILED):
            return
        if report.ready:
            status = NodeStatus.DONE
        elif report.ended or before is NodeStatus.FAILED:
            # What failed and is still not there has not become any better.
            status = NodeStatus.FAILED
        else:
            status = NodeStatus.UNREADY
        self.update(id_, status=status, failure=report.failure)

    def show_holds(self, state: State, skip: Collection[NodeId] = ()) -> None:
        """Show what holds the nodes that are due. `skip`: nodes that wait for another try."""
        held = holds(state)
        for id_, view in list(self._views.items()):
            hold = held.get(id_)
            if view.status is NodeStatus.RUNNING or id_ in skip:
                continue
            if hold is not None and hold.reason is not HoldReason.STOPPING:
                self.update(id_, status=NodeStatus.HELD, hold=hold)
            elif view.status is NodeStatus.HELD:
                status = NodeStatus.IDLE if view.verdict is None else _STATUS[view.verdict]
                self.update(id_, status=status, hold=None)

    def log(self, node: Node, line: str, stream: str = "stdout") -> None:
        """Pass on one line of a node's output."""
        self.tell(
            LogLine(self._clock.time(), node.id, node.resource, stream, self._redactor.text(line))
        )

    def sink(self, node: Node) -> LogSink:
        """Where a node's lines go."""
        return partial(self.log, node)

    def say(self, level: Level, text: str) -> None:
        """Say something that belongs to no node."""
        self.tell(Message(self._clock.time(), level, self._redactor.text(text)))

    def say_once(self, level: Level, text: str) -> None:
        """Say something that is true of the whole session, the first time it is found."""
        if text not in self._said:
            self._said.add(text)
            self.say(level, text)

    def tell(self, notice: Notice) -> None:
        """Pass a notice on as it is."""
        self._reporter.notice(notice)


_STATUS = {
    Verdict.UNCHANGED: NodeStatus.DONE,
    Verdict.RESTORED: NodeStatus.DONE,
    Verdict.RAN: NodeStatus.DONE,
    Verdict.FAILED: NodeStatus.FAILED,
    Verdict.CANCELLED: NodeStatus.IDLE,
}
