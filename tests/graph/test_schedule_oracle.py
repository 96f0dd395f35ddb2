"""The scheduler against an oracle that knows no counters, no queues and no shortcuts.

The oracle keeps a few plain facts per node and answers every question by looking at the whole graph
again. Whatever random events come, both must agree on what starts, on what is due and on why it
waits.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kindling.graph.codec import (
    command_from_json,
    command_to_json,
    event_from_json,
    event_to_json,
)
from kindling.graph.dag import Graph
from kindling.graph.event import (
    Cancel,
    Command,
    Event,
    FilesChanged,
    Finished,
    GraphLoaded,
    HoldReason,
    ReadinessChanged,
    ReloadEnded,
    ReloadStarted,
    SlotsChanged,
    Start,
    Stopping,
    Triggered,
    Undo,
)
from kindling.graph.hold import hold, holds
from kindling.graph.node import Edge, EdgeKind, Kind, Node, NodeId, Pool, Trigger, node_id
from kindling.graph.outcome import Verdict
from kindling.graph.replay import replay
from kindling.graph.schedule import _whole, step
from kindling.graph.spec import CommandSpec
from kindling.graph.state import State, due, failed, idle, initial, ready, running

KINDS = [Kind.LOCAL, Kind.IMAGE, Kind.PUSH, Kind.APPLY, Kind.ROLLOUT, Kind.SERVE, Kind.TEST]
COUNTED = (Pool.BUILD, Pool.CLUSTER, Pool.LOCAL)


@dataclass
class Fact:
    """What the oracle knows of one node."""

    due: bool = False
    pending: bool = False
    running: bool = False
    again: bool = False
    cut: bool = False
    attempt: int = 0
    last: bool | None = None
    """Whether its last attempt succeeded."""
    ready: bool = False
    digest: str | None = None
    since: float = 0.0
    asked: int = 0
    consumed: dict[NodeId, str | None] = field(default_factory=dict)
    cause: bool = False
    """Something called for its next start."""


class Oracle:
    """Naive on purpose."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.selected: frozenset[NodeId] = frozenset()
        self.facts: dict[NodeId, Fact] = {}
        self.gone: dict[NodeId, tuple[int, Node]] = {}
        self.attempts: dict[NodeId, int] = {}
        self.slots = 1
        self.asked = 0
        self.reloading = self.stopping = False

    # -- questions

    def before(self, id_: NodeId, *kinds: EdgeKind) -> list[NodeId]:
        if id_ not in self.selected:
            return []
        edges = self.graph.predecessors(id_).items()
        return [other for other, kind in edges if kind in kinds and other in self.selected]

    def needs(self, id_: NodeId) -> list[NodeId]:
        return self.before(id_, EdgeKind.CONTENT, EdgeKind.READY)

    def moving(self, id_: NodeId) -> bool:
        return self.facts[id_].due or self.facts[id_].running

    def healthy(self, id_: NodeId) -> bool:
        return self.facts[id_].last is True and self.facts[id_].ready

    def ancestors(self, id_: NodeId) -> set[NodeId]:
        found: set[NodeId] = set()
        for other in self.needs(id_):
            found |= {other} | self.ancestors(other)
        return found

    def unblocked(self, id_: NodeId) -> bool:
        return (
            all(self.healthy(other) for other in self.needs(id_))
            and not any(self.moving(other) for other in self.ancestors(id_))
            and not any(self.moving(other) for other in self.before(id_, EdgeKind.ORDER))
        )

    def counted(self) -> list[Node]:
        here = [self.graph[id_] for id_, fact in self.facts.items() if fact.running]
        left = [node for _, node in self.gone.values()]
        return [node for node in here + left if node.traits.pool in COUNTED]

    def unreachable(self) -> bool:
        return any(
            self.graph[id_].kind is Kind.CLUSTER and not self.healthy(id_) for id_ in self.selected
        )

    def uncategorized(self) -> NodeId | None:
        for id_ in self.graph.nodes:
            node = self.graph[id_]
            if node.kind is Kind.APPLY and node.resource == "uncategorized":
                fact = self.facts[id_]
                if id_ in self.selected and (fact.running or (fact.due and self.unblocked(id_))):
                    return id_
                return None
        return None

    def gate(self, id_: NodeId) -> HoldReason | None:
        """What holds a node that nothing before it holds."""
        node = self.graph[id_]
        first = self.uncategorized()
        if node.traits.on_target and self.unreachable():
            return HoldReason.CLUSTER
        if node.kind is Kind.APPLY and first is not None and first != id_:
            return HoldReason.UNCATEGORIZED
        if node.traits.pool not in COUNTED:
            return None
        counted = self.counted()
        if any(other.exclusive for other in counted):
            return HoldReason.LOCAL
        if node.exclusive and counted:
            return HoldReason.EXCLUSIVE
        return HoldReason.SLOT if len(counted) >= self.slots else None

    def able(self) -> list[NodeId]:
        """Everything that may start this moment, the best first."""
        if self.reloading or self.stopping:
            return []
        found = [
            id_
            for id_ in self.selected
            if self.facts[id_].due and self.unblocked(id_) and self.gate(id_) is None
        ]
        return sorted(found, key=self.rank)

    def rank(self, id_: NodeId) -> tuple[float, ...]:
        place = list(self.graph.nodes).index(id_)
        fact = self.facts[id_]
        if fact.asked:
            return (0, fact.asked, place)
        if fact.last is None:
            return (1, self.sort(id_), place)
        return (2, fact.since, place)

    def sort(self, id_: NodeId) -> int:
        node = self.graph[id_]
        if node.kind is Kind.LOCAL:
            return 0
        if node.resource == "uncategorized":
            return 1
        builds = (Kind.IMAGE, Kind.PUSH, Kind.LOAD)
        delivered = any(self.graph[o].kind in builds for o in self.graph.predecessors(id_))
        return 2 if node.kind is Kind.APPLY and not delivered else 3

    # -- events

    def dirty(self, id_: NodeId, at: float) -> None:
        fact, node = self.facts[id_], self.graph[id_]
        fact.cause = True
        if fact.running:
            if not fact.again and not fact.cut:
                fact.again, fact.since = True, at
        elif not fact.due and not fact.pending:
            first = fact.last is None and node.auto_init
            if node.trigger is Trigger.MANUAL and not first:
                fact.pending = True
            else:
                fact.due = True
            fact.since = at

    def tell(self, event: Event) -> None:
        match event:
            case FilesChanged():
                for id_ in event.nodes:
                    if id_ in self.facts:
                        self.dirty(id_, event.at)
            case Triggered():
                for id_ in event.nodes:
                    if id_ in self.facts:
                        self.ask(id_, event.at)
            case ReadinessChanged():
                fact = self.facts.get(event.node)
                if fact and not fact.running and fact.last is not None:
                    if fact.last is False and event.ready:
                        fact.last = True
                    fact.ready = event.ready and fact.last
            case Finished():
                self.finished(event)
            case ReloadStarted():
                self.reloading = True
            case ReloadEnded():
                self.reloading = False
            case SlotsChanged():
                self.slots = max(1, event.max_parallel)
            case Stopping():
                self.stopping = True
                if event.cancel:
                    for fact in self.facts.values():
                        fact.cut |= fact.running
                        fact.again &= not fact.running  # nothing starts any more
            case GraphLoaded():
                self.loaded(event)

    def ask(self, id_: NodeId, at: float) -> None:
        fact = self.facts[id_]
        fact.cause = True
        if not fact.asked:
            self.asked += 1
            fact.asked = self.asked
        if fact.running:
            if not fact.again and not fact.cut:
                fact.again, fact.since = True, at
        elif fact.pending:
            fact.pending, fact.due = False, True
        elif not fact.due:
            fact.due, fact.since = True, at

    def finished(self, event: Finished) -> None:
        if event.node in self.gone:
            if self.gone[event.node][0] == event.attempt:
                del self.gone[event.node]
            return
        fact = self.facts.get(event.node)
        if fact is None or fact.attempt != event.attempt:
            return
        if not fact.running:
            if fact.last and fact.digest != event.digest:
                old, fact.digest = fact.digest, event.digest
                self.pass_on(event.node, old, event)
            return
        fact.running = False
        again, cut = fact.again, fact.cut
        fact.again = fact.cut = False
        if event.verdict is Verdict.CANCELLED or (cut and not self.stopping):
            fact.due, fact.since, fact.cause = not self.stopping, event.at, True
            return
        if event.verdict is Verdict.FAILED:
            fact.last, fact.ready = False, False
        else:
            old = fact.digest if fact.last else None
            fact.last, fact.ready, fact.digest = True, True, event.digest
            self.pass_on(event.node, old, event)
        if again:
            manual = self.graph[event.node].trigger is Trigger.MANUAL and not fact.asked
            fact.pending, fact.due = manual, not manual
            fact.cause = True

    def pass_on(self, id_: NodeId, old: str | None, event: Finished) -> None:
        node = self.graph[id_]
        for after in self.graph.nodes:
            if id_ not in self.needs(after):
                continue
            content = self.graph.predecessors(after)[id_] is EdgeKind.CONTENT
            other = self.facts[after]
            if other.attempt and content:
                if other.consumed.get(id_) != event.digest:
                    self.dirty(after, event.at)
            elif not (other.due or other.pending or other.running or other.last is not None):
                kin = self.graph[after].resource == node.resource != ""
                comes_along = not node.auto_init and (content or kin)
                if comes_along or (content and old is not None and old != event.digest):
                    self.dirty(after, event.at)

    def loaded(self, event: GraphLoaded) -> None:
        old, known, chosen = self.graph, self.facts, self.selected
        content = {id_: set(self.before(id_, EdgeKind.CONTENT)) for id_ in old.nodes}
        for id_, fact in known.items():
            if id_ not in event.graph:
                self.attempts[id_] = fact.attempt
                if fact.running:
                    self.gone[id_] = (fact.attempt, old[id_])
        self.graph, self.selected, self.facts = event.graph, event.selected, {}
        self.slots = max(1, event.max_parallel)
        for id_, node in event.graph.nodes.items():
            if id_ in known:
                fact = self.facts[id_] = known[id_]
                both = id_ in chosen and id_ in self.selected
                moved = both and content[id_] != set(self.before(id_, EdgeKind.CONTENT))
                by_hand = node.trigger is Trigger.MANUAL and not (
                    fact.last is None and node.auto_init
                )
                if (id_ in event.changed or moved) and (fact.running or fact.last is not None):
                    self.dirty(id_, event.at)
                if fact.pending and not by_hand:
                    fact.pending, fact.due, fact.cause = False, True, True
            else:
                fact = self.facts[id_] = Fact(attempt=self.attempts.get(id_, 0))
                if id_ in self.gone:
                    fact.attempt, _ = self.gone.pop(id_)
                    fact.running = fact.cut = True
            idle_now = not (fact.due or fact.pending or fact.running) and fact.last is None
            if idle_now and node.auto_init and not self.stopping:
                fact.due, fact.since, fact.cause = True, event.at, True

    def start(self, id_: NodeId) -> None:
        fact = self.facts[id_]
        fact.due, fact.running, fact.attempt = False, True, fact.attempt + 1
        fact.asked, fact.cause = 0, False
        content = self.before(id_, EdgeKind.CONTENT)
        fact.consumed = {other: self.facts[other].digest or "" for other in content}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to nine nodes of every sort, the same few names again and again."""
    nodes: list[Node] = []
    if draw(st.booleans()):
        nodes.append(Node(node_id(Kind.CLUSTER, "c"), Kind.CLUSTER, "c", CommandSpec(("x",))))
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True))
    for name in sorted(names):
        kind = KINDS[ord(name) % len(KINDS)]
        uncategorized = kind is Kind.APPLY and draw(st.booleans())
        nodes.append(
            Node(
                node_id(kind, name),
                kind,
                name,
                CommandSpec((name,)),
                resource="uncategorized" if uncategorized else draw(st.sampled_from("xy")),
                trigger=draw(st.sampled_from([Trigger.AUTO, Trigger.AUTO, Trigger.MANUAL])),
                auto_init=draw(st.sampled_from([True, True, False])),
                exclusive=kind in (Kind.LOCAL, Kind.TEST) and draw(st.booleans()),
            )
        )
    edges: list[Edge] = []
    for at, after in enumerate(nodes):
        for before in nodes[:at]:
            kind_of_edge = draw(st.sampled_from([None, None, *EdgeKind]))
            if kind_of_edge is not None:
                edges.append(Edge(before.id, after.id, kind_of_edge))
    return Graph(nodes, edges)


class SchedulerMachine(RuleBasedStateMachine):
    """Random events, checked after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.state = initial()
        self.oracle = Oracle()
        self.now = 0.0
        self.journal: list[tuple[Event, tuple[Command, ...]]] = []

    def send(self, event: Event) -> None:
        before = self.state
        self.state, commands = step(before, event)
        assert step(before, event) == (self.state, commands), "the state given in was changed"
        self.journal.append((event, commands))
        was_running = {id_ for id_, fact in self.oracle.facts.items() if fact.running}
        old = self.oracle.graph
        uncut = {id_ for id_ in was_running if not self.oracle.facts[id_].cut}
        self.oracle.tell(event)
        gone = [id_ for id_ in old.nodes if id_ not in self.oracle.facts]
        cut = {command.node for command in commands if isinstance(command, Cancel)}
        if isinstance(event, Stopping):
            assert cut == (uncut if event.cancel else set())
        else:
            assert cut == uncut & set(gone)
        for command in commands:
            if isinstance(command, Undo):
                assert set(command.nodes) <= set(gone)
                place = {id_: at for at, id_ in enumerate(old.order)}
                order = [place[id_] for id_ in command.nodes]
                assert order == sorted(order, reverse=True), "dependents are undone first"
            elif isinstance(command, Start):
                able = self.oracle.able()
                assert able, f"{command.node} was started, nothing may"
                assert command.node == able[0], f"{command.node} was started before {able[0]}"
                assert self.oracle.facts[command.node].cause, "nothing called for this start"
                self.oracle.start(command.node)
                assert command.attempt == self.oracle.facts[command.node].attempt

    def at(self) -> float:
        self.now += 1.0
        return self.now

    def some(self, data: st.DataObject) -> tuple[NodeId, ...]:
        ids = st.sampled_from([*self.oracle.graph.nodes, NodeId("image:nowhere")])
        return tuple(data.draw(st.lists(ids, max_size=3, unique=True)))

    def selection(self, data: st.DataObject, graph: Graph) -> frozenset[NodeId]:
        if data.draw(st.booleans()):
            return frozenset(graph.nodes)
        picked = data.draw(st.lists(st.sampled_from([*graph.nodes]), min_size=1, max_size=3))
        return graph.ancestors(picked)

    @initialize(graph=graphs(), slots=st.integers(0, 4), data=st.data())
    def begin(self, graph: Graph, slots: int, data: st.DataObject) -> None:
        selected = self.selection(data, graph)
        self.send(GraphLoaded(self.at(), graph, selected, max_parallel=slots))

    @rule(graph=graphs(), data=st.data(), same=st.booleans())
    def reload(self, graph: Graph, data: st.DataObject, same: bool) -> None:
        new = self.oracle.graph if same else graph
        kept = [id_ for id_ in new.nodes if id_ in self.oracle.facts]
        changed = data.draw(st.sets(st.sampled_from(kept), max_size=2)) if kept else set()
        event = GraphLoaded(
            self.at(), new, self.selection(data, new), frozenset(changed), self.oracle.slots
        )
        self.send(event)

    @rule(data=st.data())
    def save_files(self, data: st.DataObject) -> None:
        self.send(FilesChanged(self.at(), self.some(data)))

    @rule(data=st.data(), force=st.booleans())
    def trigger(self, data: st.DataObject, force: bool) -> None:
        self.send(Triggered(self.at(), self.some(data), force))

    def finish_one(self, data: st.DataObject) -> None:
        ids = running(self.state)
        id_ = data.draw(st.sampled_from(ids))
        attempt = (
            self.oracle.gone[id_][0] if id_ in self.oracle.gone else self.oracle.facts[id_].attempt
        )
        verdict = data.draw(st.sampled_from([*Verdict, Verdict.RAN, Verdict.RAN]))
        digest = data.draw(st.sampled_from(["one", "two"]))
        self.send(Finished(self.at(), id_, attempt, verdict, digest))

    @precondition(lambda self: self.state.active > 0)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self.finish_one(data)

    @precondition(lambda self: self.state.active > 0)
    @rule(data=st.data())
    def finish_another(self, data: st.DataObject) -> None:
        self.finish_one(data)

    @precondition(lambda self: self.state.active > 0)
    @rule(data=st.data())
    def an_old_attempt_changes_nothing(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from(running(self.state)))
        before = self.state
        self.send(Finished(self.at(), id_, 1_000_000, Verdict.RAN, "old"))
        assert before == self.state

    @rule(data=st.data())
    def what_goes_on_gets_on(self, data: st.DataObject) -> None:
        for id_ in self.some(data):
            fact = self.oracle.facts.get(id_)
            if fact is not None and fact.last and not fact.running:
                digest = data.draw(st.sampled_from(["one", "two"]))
                self.send(Finished(self.at(), id_, fact.attempt, Verdict.RAN, digest))

    @rule(data=st.data(), ready=st.booleans())
    def health(self, data: st.DataObject, ready: bool) -> None:
        for id_ in self.some(data):
            self.send(ReadinessChanged(self.at(), id_, ready))

    @rule(slots=st.integers(0, 4))
    def resize(self, slots: int) -> None:
        self.send(SlotsChanged(self.at(), slots))

    @rule()
    def reload_starts_or_ends(self) -> None:
        at = self.at()
        self.send(ReloadEnded(at) if self.oracle.reloading else ReloadStarted(at))

    @rule(data=st.data(), cancel=st.booleans())
    def stop(self, data: st.DataObject, cancel: bool) -> None:
        if data.draw(st.integers(0, 7)) == 0:
            self.send(Stopping(self.at(), cancel))

    @invariant()
    def nothing_that_may_start_is_left(self) -> None:
        assert self.oracle.able() == []

    @invariant()
    def limits_are_kept(self) -> None:
        counted = self.oracle.counted()
        alone = [node for node in counted if node.exclusive]
        # Raising a limit's bar later never cuts off what runs, so the check is on what was started.
        assert len(self.state.busy) + len(self.oracle.gone) >= len(counted)
        if alone and not self.reloaded_while_running():
            assert len(counted) == 1

    def reloaded_while_running(self) -> bool:
        """A reload may make a running node exclusive, or not exclusive any more."""
        return sum(isinstance(event, GraphLoaded) for event, _ in self.journal) > 1

    @invariant()
    def both_know_the_same(self) -> None:
        facts, chosen = self.oracle.facts, self.oracle.selected
        waiting = [id_ for id_, fact in facts.items() if fact.due or fact.pending]
        assert due(self.state) == tuple(id_ for id_ in waiting if id_ in chosen)
        assert set(running(self.state)) == {
            *(id_ for id_, fact in facts.items() if fact.running),
            *self.oracle.gone,
        }
        assert len(running(self.state)) == self.state.active
        assert (
            failed(self.state)
            == tuple(
                id_
                for id_, fact in facts.items()
                if id_ in chosen
                and fact.last is False
                and not (fact.due or fact.pending or fact.running)
                and not self.oracle.stopping
            )
            or self.oracle.stopping
        )
        for id_, fact in facts.items():
            assert ready(self.state, id_) == self.oracle.healthy(id_)
            assert fact.attempt >= 0

    @invariant()
    def every_due_node_has_the_right_hold(self) -> None:
        found = holds(self.state)
        assert tuple(found) == due(self.state)
        for id_, what in found.items():
            assert hold(self.state, id_) == what
            self.check_hold(id_, what.reason, what.waiting_for)

    def check_hold(self, id_: NodeId, reason: HoldReason, ids: tuple[NodeId, ...]) -> None:
        oracle = self.oracle
        if oracle.facts[id_].pending:
            assert reason is HoldReason.TRIGGER
        elif oracle.stopping:
            assert reason is HoldReason.STOPPING
        elif oracle.reloading:
            assert reason is HoldReason.RELOAD
        elif reason is HoldReason.DEPENDENCY_FAILED:
            assert ids
            assert all(oracle.facts[other].last is False for other in ids)
            assert not any(oracle.moving(other) for other in ids)
        elif reason is HoldReason.DEPENDENCY:
            assert not oracle.unblocked(id_)
            direct = {*oracle.needs(id_), *oracle.before(id_, EdgeKind.ORDER)}
            assert ids
            assert set(ids) <= direct
            lost = [o for o in oracle.needs(id_) if oracle.facts[o].last is False]
            assert all(oracle.moving(other) for other in lost), "a failure has to be named"
        elif reason is HoldReason.CLUSTER:
            assert oracle.unreachable()
            assert oracle.graph[id_].traits.on_target
        else:
            assert oracle.unblocked(id_)
            slots = (HoldReason.SLOT, HoldReason.EARLIER)
            expected = oracle.gate(id_)
            assert reason is expected or (expected in slots and reason in slots)
            assert ids

    @invariant()
    def the_counters_are_what_counting_anew_gives(self) -> None:
        assert _plain(_whole(self.state)) == _plain(self.state)

    def teardown(self) -> None:
        """Once all that starts succeeds, the session comes to rest, and nothing is due for no
        reason.
        """
        if not self.oracle.graph:
            return
        if self.oracle.reloading:
            self.send(ReloadEnded(self.at()))
        for _ in range(20 * len(self.oracle.graph) + 20):
            ids = running(self.state)
            if not ids:
                break
            attempt = (
                self.oracle.gone[ids[0]][0]
                if ids[0] in self.oracle.gone
                else self.oracle.facts[ids[0]].attempt
            )
            self.send(Finished(self.at(), ids[0], attempt, Verdict.RAN, "last"))
        assert idle(self.state)
        self.every_due_node_has_the_right_hold()
        reasons = {what.reason for what in holds(self.state).values()}
        assert reasons <= {
            HoldReason.TRIGGER,
            HoldReason.STOPPING,
            HoldReason.DEPENDENCY,
            HoldReason.DEPENDENCY_FAILED,
            HoldReason.CLUSTER,
        }
        read_back = [
            (
                event_from_json(event_to_json(event)),
                tuple(command_from_json(command_to_json(command)) for command in commands),
            )
            for event, commands in self.journal
        ]
        assert replay(read_back) is None, "a journal decides as the session did"


def _plain(state: State) -> State:
    """Without the order in which running nodes were counted."""
    return replace(state, busy=tuple(sorted(state.busy)))


SchedulerMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=30, deadline=None
)
TestScheduler = SchedulerMachine.TestCase
