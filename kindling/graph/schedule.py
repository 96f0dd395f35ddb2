"""The scheduler: `step(state, event)` gives the state after the event and what is to be done.

Deterministic and pure. The rules:

- A node is *due* at the start (unless it wants to be asked for), when files it reads change, when
  its definition changes, when a content predecessor's output digest is another than the one it
  consumed, and when a user asks for it. A node with a manual trigger is *pending* instead, once it
  has run.
- A due node starts when every content and ready predecessor has succeeded and is healthy, nothing
  it descends from is due or running, and no predecessor by order is due or running.
- Among those that may start: what users asked for, first come first served; then what never ran
  (local, uncategorized, apply-only, others, each as declared); then the oldest change.
- A change of a running node does not cut it off: it runs once more afterwards.
- A failure holds the dependents that are due; those already settled stay so.

The module is long because all rules change one draft and are read together.
Every change of a node goes through `_Draft.put`, which keeps the counters and queues of the state
true.
"""

from __future__ import annotations

from collections.abc import Iterable

from kindling.graph.event import (
    Cancel,
    Command,
    Event,
    FilesChanged,
    Finished,
    GraphLoaded,
    ReadinessChanged,
    ReloadEnded,
    ReloadStarted,
    SlotsChanged,
    Start,
    Stopping,
    Triggered,
    Undo,
)
from kindling.graph.node import NodeId, Pool
from kindling.graph.outcome import Verdict
from kindling.graph.persistent import Queue, Rank, Row
from kindling.graph.shape import GATES, Shape, shape_of
from kindling.graph.state import Leaving, Record, RunState, State

__all__ = ["step"]


def step(state: State, event: Event) -> tuple[State, tuple[Command, ...]]:
    """The state after `event`, and what is to be done now, in this order.

    The given state stays as it is. Events about nodes that are unknown, or about attempts that are
    over, change nothing. Three events about a node that is not running are understood: `Finished`
    with its last attempt and verdict FAILED says that what it left running has ended, `Finished`
    with success after a failure that it recovered by itself, and `Finished` with another digest
    after a success that what goes on (a sync session) has got on.
    """
    draft = _Draft(state)
    match event:
        case Finished():
            _finished(draft, event)
        case FilesChanged():
            for at in draft.numbers(event.nodes):
                _touch(draft, at, event.at)
        case ReadinessChanged():
            for at in draft.numbers((event.node,)):
                _readiness(draft, at, event.ready)
        case Triggered():
            for at in draft.numbers(event.nodes):
                _ask(draft, at, event)
        case GraphLoaded():
            _load(draft, event)
        case ReloadStarted():
            draft.reloading = True
        case ReloadEnded():
            draft.reloading = False
        case SlotsChanged():
            draft.max_parallel = max(1, event.max_parallel)
        case Stopping():
            _stop(draft, cancel=event.cancel)
    _start(draft)
    return draft.done(), tuple(draft.commands)


class _Draft:
    """A state under change, for the length of one step."""

    def __init__(self, state: State) -> None:
        self.commands: list[Command] = []
        self.adopt(state)

    def adopt(self, state: State) -> None:
        self.shape = state.shape
        self.records = state.records.edit()
        self.upstream = state.upstream.edit()
        self.blocks = state.blocks.edit()
        self.queues = list(state.queues)
        self.busy = state.busy
        self.console = state.console
        self.active = state.active
        self.unreachable = state.unreachable
        self.asked = state.asked
        self.leaving = state.leaving
        self.retired = state.retired
        self.max_parallel = state.max_parallel
        self.loaded = state.loaded
        self.reloading = state.reloading
        self.stopping = state.stopping

    def done(self) -> State:
        return State(
            shape=self.shape,
            records=self.records.done(),
            upstream=self.upstream.done(),
            blocks=self.blocks.done(),
            queues=tuple(self.queues),
            busy=self.busy,
            console=self.console,
            active=self.active,
            unreachable=self.unreachable,
            asked=self.asked,
            leaving=self.leaving,
            retired=self.retired,
            max_parallel=self.max_parallel,
            loaded=self.loaded,
            reloading=self.reloading,
            stopping=self.stopping,
        )

    def numbers(self, ids: Iterable[NodeId]) -> list[int]:
        known = self.shape.number
        return [known[id_] for id_ in ids if id_ in known]

    def put(self, at: int, new: Record) -> None:
        """Give a node another record: the one place where a node's state changes."""
        old = self.records[at]
        self.records[at] = new
        if old.is_running != new.is_running:
            self._count(at, 1 if new.is_running else -1)
        if not self.shape.selected[at]:
            return
        self._enqueue(at, old, new)
        was_moving, moving = old.in_motion, new.in_motion
        was_met, met = old.is_met, new.is_met
        if was_moving == moving and was_met == met:
            return
        if was_met != met and at in self.shape.clusters:
            self.unreachable += 1 if was_met else -1
        above = self.upstream[at] > 0
        was_astir, astir = was_moving or above, moving or above
        self._tell(
            at,
            astir - was_astir,
            (astir or not met) - (was_astir or not was_met),
        )
        if was_moving != moving:
            for after in self.shape.before[at]:
                self._block(after, moving - was_moving)

    def _count(self, at: int, by: int) -> None:
        self.active += by
        pool = GATES[self.shape.gate[at]].pool
        if pool is Pool.CONSOLE:
            self.console += by
        elif pool is None:
            self.busy = (
                (*self.busy, at) if by > 0 else tuple(other for other in self.busy if other != at)
            )

    def _enqueue(self, at: int, old: Record, new: Record) -> None:
        if self.blocks[at]:
            return
        gate = self.shape.gate[at]
        if old.state is RunState.DUE:
            self.queues[gate] = self.queues[gate].discard(rank_of(self.shape, at, old))
        if new.state is RunState.DUE:
            self.queues[gate] = self.queues[gate].add(rank_of(self.shape, at, new))

    def _block(self, at: int, by: int) -> None:
        """Count one reason more or less that holds a node."""
        blocks = self.blocks[at] + by
        self.blocks[at] = blocks
        if blocks == 0 or blocks == by:
            rec = self.records[at]
            if rec.state is RunState.DUE:
                gate = self.shape.gate[at]
                rank = rank_of(self.shape, at, rec)
                queue = self.queues[gate]
                self.queues[gate] = queue.discard(rank) if blocks else queue.add(rank)

    def _tell(self, at: int, upstream: int, block: int) -> None:
        """Tell the dependents of a node, and theirs, that it came to rest or set out.

        `upstream` and `block` are what that adds to the counters of each direct dependent. A node
        that is in motion itself, or below another that is, passes nothing on.
        """
        shape, counts = self.shape, self.upstream
        todo = [(at, upstream, block)]
        while todo:
            at, upstream, block = todo.pop()
            for after in shape.needed_by[at] if upstream or block else ():
                if block:
                    self._block(after, block)
                if upstream:
                    count = counts[after] + upstream
                    counts[after] = count
                    if count == 0 or count == upstream:
                        rec = self.records[after]
                        if not rec.in_motion:
                            todo.append((after, upstream, upstream if rec.is_met else 0))


def rank_of(shape: Shape, at: int, rec: Record) -> Rank:
    """A due node's place among those of its gate; its number is the last part."""
    if rec.asked:
        return (0, rec.asked, at)
    if rec.result is None:
        return (1, shape.rank[at], at)
    return (2, rec.since, at)


# Events ------------------------------------------------------------------------------------------


def _touch(draft: _Draft, at: int, now: float) -> None:
    """Something that a node reads has changed."""
    rec = draft.records[at]
    match rec.state:
        case RunState.RUNNING:
            draft.put(at, rec._replace(state=RunState.RUNNING_STALE, since=now))
        case RunState.IDLE | RunState.DONE | RunState.FAILED:
            draft.put(at, rec._replace(state=_owed(draft, at, rec), since=now))
        case _:
            pass


def _owed(draft: _Draft, at: int, rec: Record) -> RunState:
    """The state of a node with changes: due, or pending where it wants to be asked for."""
    first_by_itself = rec.result is None and draft.shape.auto_init[at]
    by_hand = draft.shape.manual[at] and not rec.asked and not first_by_itself
    return RunState.PENDING if by_hand else RunState.DUE


def _ask(draft: _Draft, at: int, event: Triggered) -> None:
    rec = draft.records[at]
    if not rec.asked:
        draft.asked += 1
        rec = rec._replace(asked=draft.asked)
    rec = rec._replace(forced=rec.forced or event.force)
    match rec.state:
        case RunState.RUNNING:
            rec = rec._replace(state=RunState.RUNNING_STALE, since=event.at)
        case RunState.RUNNING_STALE | RunState.CANCELLING | RunState.DUE:
            pass
        case RunState.PENDING:
            rec = rec._replace(state=RunState.DUE)
        case RunState.IDLE | RunState.DONE | RunState.FAILED:
            rec = rec._replace(state=RunState.DUE, since=event.at)
    before = draft.records[at]
    if rec != before:
        draft.put(at, rec)


def _readiness(draft: _Draft, at: int, ready: bool) -> None:
    rec = draft.records[at]
    if rec.is_running or rec.result is None or rec.ready == ready:
        return
    rec = rec._replace(ready=ready)
    if rec.result is Verdict.FAILED:  # a crashing pod that came up after all
        state = RunState.DONE if rec.state is RunState.FAILED else rec.state
        rec = rec._replace(state=state, result=Verdict.RAN)
    draft.put(at, rec)


def _finished(draft: _Draft, event: Finished) -> None:
    left = draft.leaving.get(event.node)
    if left is not None:
        if left.attempt == event.attempt:
            draft.leaving = {i: what for i, what in draft.leaving.items() if i != event.node}
            draft.active -= 1
        return
    for at in draft.numbers((event.node,)):
        rec = draft.records[at]
        if rec.attempt != event.attempt or not rec.attempt:
            return
        if rec.is_running:
            _settled(draft, at, rec, event)
        elif event.verdict is Verdict.FAILED and rec.is_met:
            _ended(draft, at, rec)
        elif event.verdict not in (Verdict.FAILED, Verdict.CANCELLED) and (
            rec.result is Verdict.FAILED
        ):
            _recovered(draft, at, rec, event)
        elif event.verdict not in (Verdict.FAILED, Verdict.CANCELLED) and (
            rec.result is not None and rec.digest != event.digest
        ):
            _pass_on(draft, at, rec, event)
            draft.put(at, rec._replace(digest=event.digest))


def _settled(draft: _Draft, at: int, rec: Record, event: Finished) -> None:
    cut_off = event.verdict is Verdict.CANCELLED
    if cut_off or (rec.state is RunState.CANCELLING and not draft.stopping):
        # In the second case the node left the graph and came back before its attempt had ended:
        # what that attempt did is undone, so its verdict says nothing.
        state = RunState.IDLE if draft.stopping else RunState.DUE
        draft.put(at, rec._replace(state=state, since=event.at))
        return
    stale = rec.state is RunState.RUNNING_STALE
    if event.verdict is Verdict.FAILED:
        new = rec._replace(result=Verdict.FAILED, ready=False, state=RunState.FAILED)
    else:
        _pass_on(draft, at, rec, event)
        new = rec._replace(
            result=event.verdict, ready=True, digest=event.digest, state=RunState.DONE
        )
    if stale:
        new = new._replace(state=_owed(draft, at, new))
    draft.put(at, new)


def _ended(draft: _Draft, at: int, rec: Record) -> None:
    """What a successful attempt left running is over."""
    state = RunState.FAILED if rec.state is RunState.DONE else rec.state
    draft.put(at, rec._replace(result=Verdict.FAILED, ready=False, state=state))


def _recovered(draft: _Draft, at: int, rec: Record, event: Finished) -> None:
    """What a failed attempt left running came up after all."""
    _pass_on(draft, at, rec, event)
    state = RunState.DONE if rec.state is RunState.FAILED else rec.state
    draft.put(at, rec._replace(result=event.verdict, ready=True, digest=event.digest, state=state))


def _pass_on(draft: _Draft, at: int, rec: Record, event: Finished) -> None:
    """Make due what consumed another digest of this node. Called before the node comes to rest.

    While it still counts as running its dependents are held already, so making one due costs
    nothing further down; afterwards all below would be set free and held again.
    """
    shape = draft.shape
    id_ = shape.ids[at]
    asked_for = not shape.auto_init[at]
    before = rec.digest if rec.result not in (None, Verdict.FAILED) else None
    for after in shape.needed_by[at]:
        other = draft.records[after]
        reads = after in shape.content_of[at]
        if other.attempt and reads:
            if other.consumed.get(id_) != event.digest:
                _touch(draft, after, event.at)
        elif other.state is RunState.IDLE:
            # It does not start with the session. It comes up with the rest of its resource when
            # that is asked for, and when what it reads changes.
            same = shape.resource[after] == shape.resource[at] != ""
            moved = before is not None and before != event.digest
            if (asked_for and (reads or same)) or (reads and moved):
                _touch(draft, after, event.at)


def _stop(draft: _Draft, *, cancel: bool) -> None:
    draft.stopping = True
    if not cancel or not draft.active:
        return
    for at, id_ in enumerate(draft.shape.ids):
        rec = draft.records[at]
        if rec.state in (RunState.RUNNING, RunState.RUNNING_STALE):
            draft.put(at, rec._replace(state=RunState.CANCELLING))
            draft.commands.append(Cancel(id_, rec.attempt))


# Loading a graph ---------------------------------------------------------------------------------


def _load(draft: _Draft, event: GraphLoaded) -> None:
    old = draft.shape
    new = shape_of(event.graph, event.selected)
    leaving = dict(draft.leaving)
    retired = dict(draft.retired)
    undo: set[NodeId] = set()
    for at, id_ in enumerate(old.ids):
        if id_ in new.number:
            continue
        rec = draft.records[at]
        if rec.attempt:
            retired[id_] = rec.attempt
        if rec.is_running:
            if rec.state is not RunState.CANCELLING:
                draft.commands.append(Cancel(id_, rec.attempt))
            gate = GATES[old.gate[at]]
            leaving[id_] = Leaving(rec.attempt, gate.pool is None, gate.exclusive)
        if old.selected[at] or rec.attempt:
            undo.add(id_)
    if undo:
        order = [id_ for id_ in reversed(old.graph.order) if id_ in undo]
        draft.commands.append(Undo(tuple(order)))
    records: list[Record] = []
    for at, id_ in enumerate(new.ids):
        if id_ in old.number:
            rec = _kept(draft, old, new, id_, event)
        elif id_ in leaving:
            rec = Record(state=RunState.CANCELLING, attempt=leaving.pop(id_).attempt)
        else:
            rec = Record(attempt=retired.get(id_, 0))
        retired.pop(id_, None)
        if rec.state is RunState.IDLE and new.auto_init[at] and not draft.stopping:
            rec = rec._replace(state=RunState.DUE, since=event.at)
        records.append(rec)
    draft.adopt(
        _whole(
            State(
                shape=new,
                records=Row(records),
                asked=draft.asked,
                leaving=leaving,
                retired=retired,
                max_parallel=max(1, event.max_parallel),
                loaded=True,
                reloading=draft.reloading,
                stopping=draft.stopping,
            )
        )
    )


def _kept(draft: _Draft, old: Shape, new: Shape, id_: NodeId, event: GraphLoaded) -> Record:
    """The record in the new graph of a node that was in the graph before."""
    was, at = old.number[id_], new.number[id_]
    rec = draft.records[was]
    other = id_ in event.changed or (
        # Only what takes part has its predecessors in the shape.
        old.selected[was]
        and new.selected[at]
        and {old.ids[n] for n in old.content[was]} != {new.ids[n] for n in new.content[at]}
    )
    first_by_itself = rec.result is None and new.auto_init[at]
    by_hand = new.manual[at] and not first_by_itself
    owed = RunState.PENDING if by_hand else RunState.DUE
    match rec.state:
        case RunState.RUNNING if other:
            return rec._replace(state=RunState.RUNNING_STALE, since=event.at)
        case RunState.DONE | RunState.FAILED if other:
            return rec._replace(state=owed, since=event.at)
        case RunState.IDLE if other and rec.result is not None:
            return rec._replace(state=owed, since=event.at)
        case RunState.PENDING if not by_hand:
            return rec._replace(state=RunState.DUE)
        case _:
            return rec


def _whole(state: State) -> State:
    """The state with every counter and queue worked out anew from its records."""
    shape, records = state.shape, tuple(state.records)
    upstream = [0] * len(records)
    blocks = [0] * len(records)
    for id_ in shape.graph.order:
        at = shape.number[id_]
        if not shape.selected[at]:
            continue
        rec = records[at]
        astir = rec.in_motion or upstream[at] > 0
        for after in shape.needed_by[at]:
            upstream[after] += astir
            blocks[after] += astir or not rec.is_met
        for after in shape.before[at]:
            blocks[after] += rec.in_motion
    ranks: list[list[Rank]] = [[] for _ in GATES]
    busy: list[int] = []
    console = active = 0
    for at, rec in enumerate(records):
        gate = shape.gate[at]
        if rec.is_running:
            active += 1
            console += GATES[gate].pool is Pool.CONSOLE
            if GATES[gate].pool is None:
                busy.append(at)
        elif rec.state is RunState.DUE and shape.selected[at] and not blocks[at]:
            ranks[gate].append(rank_of(shape, at, rec))
    return State(
        shape=shape,
        records=state.records,
        upstream=Row(upstream),
        blocks=Row(blocks),
        queues=tuple(map(Queue, ranks)),
        busy=tuple(busy),
        console=console,
        active=active + len(state.leaving),
        unreachable=sum(not records[at].is_met for at in shape.clusters),
        asked=state.asked,
        leaving=state.leaving,
        retired=state.retired,
        max_parallel=state.max_parallel,
        loaded=state.loaded,
        reloading=state.reloading,
        stopping=state.stopping,
    )


# Starting ----------------------------------------------------------------------------------------


def _start(draft: _Draft) -> None:
    """Start all that may start, best first."""
    if not draft.loaded or draft.reloading or draft.stopping:
        return
    shape = draft.shape
    while True:
        best: Rank | None = None
        for number, queue in enumerate(draft.queues):
            if queue and (best is None or queue.first < best) and not _is_shut(draft, number):
                best = queue.first
        if best is None:
            return
        at: int = best[-1]
        rec = draft.records[at]
        consumed = {shape.ids[n]: draft.records[n].digest for n in shape.content[at]}
        new = rec._replace(
            state=RunState.RUNNING,
            attempt=rec.attempt + 1,
            asked=0,
            forced=False,
            consumed=consumed,
        )
        draft.put(at, new)
        draft.commands.append(Start(shape.ids[at], new.attempt, rec.forced))


def _is_shut(draft: _Draft, number: int) -> bool:
    """Whether none of the nodes of a gate may start just now."""
    gate = GATES[number]
    if gate.on_target and draft.unreachable:
        return True
    if gate.after_uncategorized and _uncategorized_first(draft):
        return True
    if gate.pool is Pool.WATCH:
        return False
    if gate.pool is Pool.CONSOLE:
        return draft.console > 0
    leaving = [what for what in draft.leaving.values() if what.counts]
    busy = len(draft.busy) + len(leaving)
    return (
        busy >= draft.max_parallel
        or (gate.exclusive and busy > 0)
        or any(GATES[draft.shape.gate[at]].exclusive for at in draft.busy)
        or any(what.exclusive for what in leaving)
    )


def _uncategorized_first(draft: _Draft) -> bool:
    """The objects of no resource are being applied, or could be at once.

    While something else holds them they hold nobody: an image among their inputs may itself come
    after other resources.
    """
    at = draft.shape.uncategorized
    if at < 0 or not draft.shape.selected[at]:
        return False
    rec = draft.records[at]
    return rec.is_running or (rec.state is RunState.DUE and not draft.blocks[at])
