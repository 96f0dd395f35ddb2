"""What is known of a session so far: the notices, folded into one state that faces read.

The live view, JUnit and the JSON report draw from this, so that none of them keeps books of its
own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kindling.engine.notices import (
    KindlingfileFailed,
    KindlingfileLoaded,
    LogLine,
    NodeChanged,
    NodeStatus,
    NodeView,
    Notice,
    SessionEnded,
    SessionStarted,
)
from kindling.graph.node import NodeId
from kindling.report.safetext import plain

__all__ = ["PathStep", "Record"]

_SETTLED = frozenset({NodeStatus.DONE, NodeStatus.UNREADY, NodeStatus.FAILED})


@dataclass(frozen=True, slots=True)
class PathStep:
    """One node of the critical path, and how long it ran."""

    node: NodeId
    seconds: float


class Record:
    """The session as of the last notice.

    `tail_lines` bounds how much of each node's log is kept. A node that starts anew forgets the
    log of its run before.
    """

    def __init__(self, tail_lines: int = 100) -> None:
        self.command = ""
        self.session = ""
        self.kindlingfile = ""
        self.target = ""
        self.started = 0.0
        self.now = 0.0
        """When the last notice was made."""
        self.loaded = False
        self.error = ""
        """The text of the evaluation that failed last; empty once one succeeds."""
        self.ended: SessionEnded | None = None
        self._tail_lines = tail_lines
        self._views: dict[NodeId, NodeView] = {}
        self._tails: dict[NodeId, deque[str]] = {}
        self._settled_at: dict[NodeId, float] = {}
        self._took: dict[NodeId, float] = {}
        self._waited_for: dict[NodeId, dict[NodeId, None]] = {}

    @property
    def views(self) -> Sequence[NodeView]:
        """Every node that takes part, in graph order."""
        return tuple(self._views.values())

    def view(self, node: NodeId) -> NodeView | None:
        return self._views.get(node)

    def tail(self, node: NodeId, lines: int) -> tuple[str, ...]:
        """The last lines of a node's log, without colours."""
        kept = self._tails.get(node)
        return tuple(kept)[-lines:] if kept and lines > 0 else ()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Addresses that a user can open now, each once."""
        if self.ended is not None:
            return self.ended.endpoints
        healthy = (view for view in self._views.values() if view.status is NodeStatus.DONE)
        return tuple(dict.fromkeys(address for view in healthy for address in view.endpoints))

    def take(self, notice: Notice) -> None:
        """Fold one notice in."""
        self.now = notice.at
        match notice:
            case NodeChanged(view=view):
                self._change(view, notice.at)
            case LogLine(node=node, text=text):
                tail = self._tails.get(node)
                if tail is None:
                    tail = self._tails[node] = deque(maxlen=self._tail_lines)
                tail.append(plain(text))
            case SessionStarted():
                self.command, self.session = notice.command, notice.session
                self.kindlingfile, self.target = notice.kindlingfile, notice.target
                self.started = notice.at
            case KindlingfileLoaded(nodes=nodes):
                self.loaded, self.error = True, ""
                self.target = notice.target or self.target
                self._views = {view.id: view for view in nodes}
                for view in nodes:
                    self._change(view, notice.at)
            case KindlingfileFailed(text=text):
                self.error = text
            case SessionEnded():
                self.ended = notice
            case _:
                pass

    def _change(self, view: NodeView, at: float) -> None:
        before = self._views.get(view.id)
        started = view.status is NodeStatus.RUNNING and (
            before is None
            or before.status is not NodeStatus.RUNNING
            or before.attempt != view.attempt
        )
        if started:
            self._tails.pop(view.id, None)
            self._settled_at.pop(view.id, None)
        if view.hold is not None:
            self._waited_for.setdefault(view.id, {}).update(dict.fromkeys(view.hold.waiting_for))
        if view.status in _SETTLED and view.id not in self._settled_at:
            self._settled_at[view.id] = at
            self._took[view.id] = view.seconds
        self._views[view.id] = view

    def critical_path(self) -> tuple[PathStep, ...]:
        """The chain of nodes that decided how long it took, first to last.

        Walked back from the node that settled last, each time to the predecessor that settled last.
        """
        settled = self._settled_at
        if not settled:
            return ()
        at: NodeId | None = max(settled, key=settled.__getitem__)
        path: list[PathStep] = []
        seen: set[NodeId] = set()
        while at is not None and at not in seen:
            seen.add(at)
            path.append(PathStep(at, self._took.get(at, 0.0)))
            at = max(
                (id_ for id_ in self._predecessors(at) if id_ in settled),
                key=settled.__getitem__,
                default=None,
            )
        return tuple(reversed(path))

    def _predecessors(self, node: NodeId) -> Iterable[NodeId]:
        view = self._views.get(node)
        if view is not None and view.needs:
            return view.needs
        return self._waited_for.get(node, {})
