"""Nodes whose own run changes what they read: seen, said, and run less and less often.

Nobody can tell a command's own writing from that of somebody who saves just then. So no change is
ever dropped; the ones that look like an echo of the run before only wait.
"""

from __future__ import annotations

from collections.abc import Sequence

from kindling.engine.notices import NodeStatus, NodeView
from kindling.graph.node import NodeId

__all__ = ["Feedback"]

_RUNS = 6
"""After so many runs in a row that each changed what the node reads, the next one waits. A command
that formats its sources needs two."""
_FIRST, _LONGEST = 1.0, 30.0
"""How long it waits: so many seconds, twice as many each time."""


class Feedback:
    """Counts, per node, the runs in a row during which the node's own files changed. Pure: moments
    are given, in seconds of one clock."""

    def __init__(self) -> None:
        self._attempts: dict[NodeId, set[int]] = {}
        self._ended: dict[NodeId, float] = {}
        self._looping: set[NodeId] = set()
        self._warnings: list[str] = []

    def ended(self, id_: NodeId, now: float, *, ran: bool) -> None:
        """An attempt is over. One that had nothing to do shows that the node has come to rest."""
        self._ended[id_] = now
        if not ran:
            self._attempts.pop(id_, None)

    def delay(self, view: NodeView | None, paths: Sequence[str], since: float) -> float:
        """Files that a node reads changed, at `since`: the seconds that it is to wait before it
        looks."""
        if view is None:
            return 0.0
        id_ = view.id
        if view.status is not NodeStatus.RUNNING and since > self._ended.get(id_, -1.0):
            self._attempts.pop(id_, None)
            self._looping.discard(id_)
            return 0.0
        attempts = self._attempts.setdefault(id_, set())
        attempts.add(view.attempt)
        more = len(attempts) - _RUNS
        if more < 0:
            return 0.0
        if id_ not in self._looping:
            self._looping.add(id_)
            self._warnings.append(
                f"`{id_}` seems to change files that it reads itself ([{', '.join(paths)}]): after"
                f" {_RUNS} runs in a row it waits before the next, longer each time\n"
                "  Leave what it writes out of its `deps`, or add it to its `ignore`."
            )
        return float(min(_FIRST * 2**more, _LONGEST))

    def take_warnings(self) -> tuple[str, ...]:
        """What the user should know since the last call."""
        warnings, self._warnings = tuple(self._warnings), []
        return warnings
