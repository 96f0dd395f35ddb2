"""The plan: what a run would do to each node, why, and how long it would take.

Pure arithmetic over facts that others gather: a `Check` per node (its key against the last success
and the action cache, the world against what was recorded) and the seconds of earlier runs.

`Plan.to_json` (schema `kindling.plan/1`):

    schema            "kindling.plan/1"
    nodes             in graph order, each:
      id, kind, resource
      action          "run" | "restore" | "skip" | "maybe"
      reasons         lines of plain English
      differences     [{"label", "old", "new", "text"}]: the inputs that changed, by digest
      causes          ids of the predecessors that make a "maybe"
      seconds         how long its run takes by its history, null where there is none
      objects         lines about cluster objects it would create, change or delete
    counts            {"run", "restore", "skip", "maybe"}
    seconds           predicted seconds from start to end if no "maybe" runs
    seconds_at_most   the same if every "maybe" runs
    critical_path     ids of the chain that alone takes longest, every "maybe" counted
    without_history   ids that may run and whose time is not known (they count as 0 seconds)
    max_parallel      the slots the prediction reckons with
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from heapq import heappop, heappush
from types import MappingProxyType
from typing import Any

from kindling.graph.dag import Graph
from kindling.graph.key import Difference
from kindling.graph.node import EdgeKind, Kind, NodeId, Pool

__all__ = ["Action", "Check", "CheckState", "Plan", "PlanStep", "plan"]


class CheckState(Enum):
    """What is known about a node before anything runs."""

    CLEAN = "clean"
    """Its key is that of its last success and the world is as recorded."""
    DIRTY = "dirty"
    """Its key is another, or it never succeeded, or it lives only as long as a session."""
    CACHED = "cached"
    """Its key is another than last time's and its output is in the action cache."""
    DRIFTED = "drifted"
    """Its key is the same and the world is not as recorded."""
    UNKNOWN = "unknown"
    """It could not be found out: something is not reachable."""


@dataclass(frozen=True, slots=True)
class Check:
    """The facts about one node. `text` says what no difference says (`it never ran here`, the
    drift).
    """

    state: CheckState
    differences: tuple[Difference, ...] = ()
    text: str = ""


class Action(Enum):
    """What a run would do to a node."""

    RUN = "run"
    RESTORE = "restore"
    """Its output comes from the action cache."""
    SKIP = "skip"
    MAYBE = "maybe"
    """It runs if the output of a predecessor turns out to be another, or if a check that failed
    says so.
    """


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One node of a plan. `seconds` is None where no earlier run tells."""

    id: NodeId
    kind: Kind
    resource: str
    action: Action
    reasons: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    causes: tuple[NodeId, ...] = ()
    seconds: float | None = None
    objects: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind.value,
            "resource": self.resource,
            "action": self.action.value,
            "reasons": list(self.reasons),
            "differences": [difference.to_json() for difference in self.differences],
            "causes": list(self.causes),
            "seconds": self.seconds,
            "objects": list(self.objects),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do. `steps` are in graph order; times are in seconds."""

    steps: tuple[PlanStep, ...]
    seconds: float
    seconds_at_most: float
    critical_path: tuple[NodeId, ...]
    max_parallel: int

    @property
    def counts(self) -> Mapping[Action, int]:
        """How many nodes each action has."""
        found = dict.fromkeys(Action, 0)
        for step in self.steps:
            found[step.action] += 1
        return MappingProxyType(found)

    @property
    def is_empty(self) -> bool:
        """Nothing would run or be restored, and nothing might."""
        return all(step.action is Action.SKIP for step in self.steps)

    @property
    def without_history(self) -> tuple[NodeId, ...]:
        """The nodes that may run and whose time nobody knows."""
        return tuple(
            step.id
            for step in self.steps
            if step.action in (Action.RUN, Action.MAYBE) and step.seconds is None
        )

    def to_json(self) -> dict[str, Any]:
        """See the module's docstring."""
        return {
            "schema": "kindling.plan/1",
            "nodes": [step.to_json() for step in self.steps],
            "counts": {action.value: count for action, count in self.counts.items()},
            "seconds": self.seconds,
            "seconds_at_most": self.seconds_at_most,
            "critical_path": list(self.critical_path),
            "without_history": list(self.without_history),
            "max_parallel": self.max_parallel,
        }

    def lines(self, *, skipped: bool = False) -> tuple[str, ...]:
        """The plan as plain text. Nodes to skip are counted, and listed only with `skipped`."""
        shown = [step for step in self.steps if skipped or step.action is not Action.SKIP]
        width = max((len(step.id) for step in shown), default=0)
        lines: list[str] = []
        for step in shown:
            why = ", ".join(step.reasons[:3])
            if len(step.reasons) > 3:
                why += f" and {len(step.reasons) - 3} more"
            time = ""
            if step.action in (Action.RUN, Action.MAYBE) and step.seconds is not None:
                time = f"  (~{_seconds(step.seconds)})"
            lines.append(f"{step.action.value:<8} {step.id:<{width}}  {why}{time}".rstrip())
            lines += [f"{'':<8} {'':<{width}}  {line}" for line in step.objects]
        counts = self.counts
        if self.is_empty:
            lines.append(f"Nothing to run: {counts[Action.SKIP]} up to date.")
            return tuple(lines)
        lines.append(
            f"{counts[Action.RUN]} to run, {counts[Action.MAYBE]} perhaps, "
            f"{counts[Action.RESTORE]} from the cache, {counts[Action.SKIP]} up to date."
        )
        most = (
            f", at most {_seconds(self.seconds_at_most)}"
            if _seconds(self.seconds_at_most) != _seconds(self.seconds)
            else ""
        )
        unknown = len(self.without_history)
        without = f"; {unknown} never timed" if unknown else ""
        lines.append(f"About {_seconds(self.seconds)}{most}{without}.")
        if len(self.critical_path) > 1:
            lines.append(f"Longest chain: {' -> '.join(self.critical_path)}")
        return tuple(lines)


def plan(
    graph: Graph,
    selected: Collection[NodeId],
    checks: Mapping[NodeId, Check],
    seconds: Mapping[NodeId, float],
    *,
    max_parallel: int = 3,
    objects: Mapping[NodeId, tuple[str, ...]] = MappingProxyType({}),
) -> Plan:
    """What a run would do to the selected nodes.

    `seconds` are those of an earlier run of a node, as far as there is one. `objects` are lines
    about cluster objects to attach to nodes. A selected node without a check counts as unknown.
    """
    chosen = frozenset(selected)
    steps: dict[NodeId, PlanStep] = {}
    for id_ in graph.order:
        if id_ not in chosen:
            continue
        causes = tuple(
            before
            for before, kind in graph.predecessors(id_).items()
            if kind is EdgeKind.CONTENT and before in steps and _may_change(steps[before])
        )
        check = checks.get(id_, Check(CheckState.UNKNOWN, text="it was not checked"))
        action = _action(check, causes)
        node = graph[id_]
        steps[id_] = PlanStep(
            id=id_,
            kind=node.kind,
            resource=node.resource,
            action=action,
            reasons=_reasons(check, action, causes),
            differences=check.differences,
            causes=causes if action in (Action.MAYBE, Action.RESTORE) else (),
            seconds=seconds.get(id_),
            objects=objects.get(id_, ()),
        )
    least = _costs(steps, (Action.RUN,))
    most = _costs(steps, (Action.RUN, Action.MAYBE))
    return Plan(
        steps=tuple(steps.values()),
        seconds=_wall_seconds(graph, least, max_parallel),
        seconds_at_most=_wall_seconds(graph, most, max_parallel),
        critical_path=_critical_path(graph, steps, most),
        max_parallel=max_parallel,
    )


def _may_change(step: PlanStep) -> bool:
    return step.action is not Action.SKIP


def _action(check: Check, causes: tuple[NodeId, ...]) -> Action:
    match check.state:
        case CheckState.DIRTY | CheckState.DRIFTED:
            return Action.RUN
        case CheckState.CACHED:
            return Action.RESTORE
        case CheckState.UNKNOWN:
            return Action.MAYBE
        case CheckState.CLEAN:
            return Action.MAYBE if causes else Action.SKIP


def _reasons(check: Check, action: Action, causes: tuple[NodeId, ...]) -> tuple[str, ...]:
    reasons = [difference.text for difference in check.differences]
    if check.text:
        reasons.append(check.text)
    if causes and action in (Action.MAYBE, Action.RESTORE):
        word = "if" if action is Action.MAYBE else "unless"
        names = ", ".join(f"`{id_}`" for id_ in causes)
        reasons.append(f"{word} the output of {names} changes")
    return tuple(reasons)


def _costs(steps: Mapping[NodeId, PlanStep], actions: tuple[Action, ...]) -> dict[NodeId, float]:
    return {
        id_: (step.seconds or 0.0) if step.action in actions else 0.0 for id_, step in steps.items()
    }


def _wall_seconds(graph: Graph, costs: Mapping[NodeId, float], max_parallel: int) -> float:
    """From start to end when every node starts as soon as its predecessors and a slot allow.

    Nodes compete for slots in graph order, which is near enough to what the scheduler does. A node
    that must run alone is reckoned like any other.
    """
    if not any(costs.values()):
        return 0.0
    waits = {id_: sum(before in costs for before in graph.predecessors(id_)) for id_ in costs}
    place = {id_: at for at, id_ in enumerate(costs)}
    able = [(place[id_], id_) for id_, count in waits.items() if not count]
    slots = max(1, max_parallel)
    under_way: list[tuple[float, int, NodeId, bool]] = []
    queue: list[tuple[int, NodeId]] = []
    now = 0.0
    while True:
        for at, id_ in able:
            if graph[id_].traits.pool is Pool.WATCH or not costs[id_]:
                heappush(under_way, (now + costs[id_], at, id_, False))
            else:
                heappush(queue, (at, id_))
        able = []
        while queue and slots:
            at, id_ = heappop(queue)
            slots -= 1
            heappush(under_way, (now + costs[id_], at, id_, True))
        if not under_way:
            return now
        now, _, id_, counted = heappop(under_way)
        slots += counted
        for after in graph.successors(id_):
            if after in waits:
                waits[after] -= 1
                if not waits[after]:
                    able.append((place[after], after))


def _critical_path(
    graph: Graph, steps: Mapping[NodeId, PlanStep], costs: Mapping[NodeId, float]
) -> tuple[NodeId, ...]:
    """The chain of nodes that alone takes longest, without those that do nothing."""
    if not any(costs.values()):
        return ()
    best: dict[NodeId, tuple[float, NodeId | None]] = {}
    for id_ in steps:
        before = max(
            (other for other in graph.predecessors(id_) if other in best),
            key=lambda other: best[other][0],
            default=None,
        )
        best[id_] = ((best[before][0] if before else 0.0) + costs[id_], before)
    at: NodeId | None = max(best, key=lambda id_: best[id_][0])
    chain: list[NodeId] = []
    while at is not None:
        if steps[at].action in (Action.RUN, Action.MAYBE):
            chain.append(at)
        at = best[at][1]
    return tuple(reversed(chain))


def _seconds(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
