"""Why due nodes wait: the same facts that `schedule` decides by, in words for people.

Working out a hold may walk up the graph, so it is done when someone looks and not at every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kindling.graph.event import Hold, HoldReason
from kindling.graph.node import NodeId, Pool
from kindling.graph.outcome import Verdict
from kindling.graph.persistent import Rank
from kindling.graph.shape import GATES
from kindling.graph.state import RunState, State

__all__ = ["hold", "holds"]

_NO_ROOTS: frozenset[int] = frozenset()


def holds(state: State) -> Mapping[NodeId, Hold]:
    """Why each due or pending node has not started, in the order of declaration.

    Costs a walk over the whole graph; for one node ask `hold`.
    """
    survey = _Survey(state)
    shape = state.shape
    found: dict[NodeId, Hold] = {}
    for at, rec in enumerate(state.records):
        if shape.selected[at] and rec.state in (RunState.DUE, RunState.PENDING):
            found[shape.ids[at]] = survey.hold(at)
    return found


def hold(state: State, id_: NodeId) -> Hold | None:
    """Why one node has not started; None when it is not due, runs, or takes no part."""
    at = state.shape.number.get(id_)
    if at is None or not state.shape.selected[at]:
        return None
    if state.records[at].state not in (RunState.DUE, RunState.PENDING):
        return None
    return _Survey(state).hold(at)


class _Survey:
    """What the holds of one state have in common."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._roots: dict[int, frozenset[int]] = {}
        self._line: dict[int, tuple[NodeId, ...]] = {}
        shape = state.shape
        leaving = [(id_, what) for id_, what in state.leaving.items() if what.counts]
        self.busy = (*(shape.ids[at] for at in state.busy), *(id_ for id_, _ in leaving))
        self.alone = (
            *(shape.ids[at] for at in state.busy if GATES[shape.gate[at]].exclusive),
            *(id_ for id_, what in leaving if what.exclusive),
        )
        self.clusters = tuple(at for at in shape.clusters if not state.records[at].is_met)

    def hold(self, at: int) -> Hold:
        state = self.state
        if state.records[at].state is RunState.PENDING:
            return Hold(HoldReason.TRIGGER)
        if state.stopping:
            return Hold(HoldReason.STOPPING)
        if state.reloading:
            return Hold(HoldReason.RELOAD)
        on_target = GATES[state.shape.gate[at]].on_target
        roots = self._failed_above(at)
        if on_target and self.clusters:
            roots = roots - set(self.clusters)
        if roots:
            return Hold(HoldReason.DEPENDENCY_FAILED, self._names(sorted(roots)))
        if on_target and self.clusters:
            return Hold(HoldReason.CLUSTER, self._names(self.clusters))
        if state.blocks[at]:
            return Hold(HoldReason.DEPENDENCY, self._names(self._blocking(at)))
        return self._at_the_gate(at)

    def _at_the_gate(self, at: int) -> Hold:
        state, shape = self.state, self.state.shape
        gate = GATES[shape.gate[at]]
        first = shape.uncategorized
        if (
            gate.after_uncategorized
            and first >= 0
            and shape.selected[first]
            and (
                state.records[first].is_running
                or (state.records[first].state is RunState.DUE and not state.blocks[first])
            )
        ):
            return Hold(HoldReason.UNCATEGORIZED, self._names((first,)))
        if gate.pool is None and self.alone:
            return Hold(HoldReason.LOCAL, self.alone)
        if gate.exclusive:
            return Hold(HoldReason.EXCLUSIVE, self.busy)
        ahead = self._ahead(at)
        if ahead:
            return Hold(HoldReason.EARLIER, ahead)
        if gate.pool is Pool.CONSOLE:
            return Hold(HoldReason.SLOT, self._console())
        return Hold(HoldReason.SLOT, self.busy)

    def _ahead(self, at: int) -> tuple[NodeId, ...]:
        """Who of a better class is next in line for the same slots, as many as there are slots."""
        rec = self.state.records[at]
        own = 0 if rec.asked else 1 if rec.result is None else 2
        pool = GATES[self.state.shape.gate[at]].pool
        key = own + 4 * (pool is Pool.CONSOLE)
        if key not in self._line:
            ranks: list[Rank] = []
            for number, queue in enumerate(self.state.queues):
                if GATES[number].pool is pool and not GATES[number].exclusive:
                    for rank, _ in zip(queue, range(self.state.max_parallel), strict=False):
                        if rank[0] < own:
                            ranks.append(rank)
            best = sorted(ranks)[: self.state.max_parallel]
            self._line[key] = self._names(rank[-1] for rank in best)
        return self._line[key]

    def _console(self) -> tuple[NodeId, ...]:
        shape = self.state.shape
        return self._names(
            at
            for at, rec in enumerate(self.state.records)
            if rec.is_running and GATES[shape.gate[at]].pool is Pool.CONSOLE
        )

    def _blocking(self, at: int) -> list[int]:
        """The direct predecessors that hold a node."""
        state, shape = self.state, self.state.shape
        return sorted(
            [
                *(n for n in shape.needs[at] if self._holds_back(n)),
                *(n for n in shape.after[at] if state.records[n].in_motion),
            ]
        )

    def _holds_back(self, at: int) -> bool:
        rec = self.state.records[at]
        return rec.in_motion or not rec.is_met or self.state.upstream[at] > 0

    def _failed_above(self, at: int) -> frozenset[int]:
        """The failed nodes that a node waits for, however far above it."""
        todo = [at]
        while todo:
            node = todo[-1]
            if node in self._roots:
                todo.pop()
                continue
            parents = self._blocking(node)
            missing = [n for n in parents if n not in self._roots and not self._is_root(n)]
            missing = [n for n in missing if self._looks_up(n)]
            if missing:
                todo += missing
                continue
            todo.pop()
            found: set[int] = set()
            for n in parents:
                if self._is_root(n):
                    found.add(n)
                else:
                    found |= self._roots.get(n, _NO_ROOTS)
            self._roots[node] = frozenset(found) if found else _NO_ROOTS
        return self._roots[at]

    def _is_root(self, at: int) -> bool:
        rec = self.state.records[at]
        return rec.result is Verdict.FAILED and not rec.in_motion

    def _looks_up(self, at: int) -> bool:
        """Whether what holds this predecessor is to be found further up."""
        return not self.state.records[at].is_running and self.state.blocks[at] > 0

    def _names(self, numbers: Iterable[int]) -> tuple[NodeId, ...]:
        ids = self.state.shape.ids
        return tuple(ids[at] for at in numbers)
