"""One session of `up` or `ci`: the loop that joins everything.

One coroutine owns the scheduler's state and the board. Everything else (attempts, evaluating the
Kindlingfile, watching, following servers and pods, requests of other processes) runs in tasks that
put messages into one inbox. A message becomes an event, `step` turns the event into commands, and
the commands become tasks. Nothing here decides what runs next: that is `kindling.graph.schedule`.
The module is long because all of it touches that one state, and nothing else may.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from kindling.engine.board import Board
from kindling.engine.endings import Ending, ending
from kindling.engine.feedback import Feedback
from kindling.engine.following import Changes, Follower
from kindling.engine.garbage import Collector
from kindling.engine.journaling import JournalWriter
from kindling.engine.messages import (
    Again,
    Ask,
    CarriedOver,
    Evaluated,
    Health,
    Interrupted,
    Look,
    Message,
    NodeSettled,
    TimeUp,
    Wake,
)
from kindling.engine.notices import (
    ChangesSeen,
    KindlingfileFailed,
    KindlingfileLoaded,
    Level,
    NodeStatus,
    NodeView,
    Reporter,
    SessionEnded,
    SessionStarted,
)
from kindling.engine.options import SessionOptions
from kindling.engine.owned import OWNERS
from kindling.engine.project import Loaded, LoadFailed, Project
from kindling.engine.redact import Redactor
from kindling.engine.settle import Settled, Settler
from kindling.engine.syncing import Place, Routing, joined
from kindling.engine.workers import Workers
from kindling.engine.world import SessionWorld
from kindling.errors import KindlingError, StoreError
from kindling.executors.protocol import Executor, FilesSaved, ReadinessReport
from kindling.graph.dag import Graph
from kindling.graph.event import (
    Cancel,
    Event,
    FilesChanged,
    Finished,
    GraphLoaded,
    ReadinessChanged,
    ReloadEnded,
    ReloadStarted,
    Start,
    Stopping,
    Triggered,
    Undo,
)
from kindling.graph.node import FileSet, IgnoreRule, Kind, Node, NodeId
from kindling.graph.outcome import Verdict
from kindling.graph.schedule import step
from kindling.graph.state import RunState, State, initial, record
from kindling.store.database import Store

__all__ = ["DEFAULT_CI_TIMEOUT", "Parts", "Session"]

DEFAULT_CI_TIMEOUT = 30 * 60.0
"""Seconds that a `ci` session may take, as Tilt's."""
_REFRESH = 0.1
"""Seconds between two looks at what holds nodes back; a hold shorter than that is noise."""
_ABSENCE = 20.0
"""Seconds that a session which ends by itself waits for a cluster that went away."""
_RETRY_FIRST, _RETRY_LONGEST, _RETRIES_ONCE = 1.0, 30.0, 3
"""Transient failures are tried again after 1, 2, 4 ... 30 s; three times at most in sessions that
end by themselves."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a session is made of; tests hand in stand-ins."""

    reporter: Reporter
    store: Store
    world: SessionWorld
    executors: Mapping[Kind, Executor]
    project: Project
    settler: Settler
    follower: Follower
    routing: Routing
    journal: JournalWriter
    redactor: Redactor
    session: str


class Session:
    """Runs once. `run` returns the exit code and never raises `KindlingError`."""

    def __init__(self, options: SessionOptions, parts: Parts) -> None:
        self._options = options
        self._parts = parts
        self._clock = parts.world.clock
        self._board = Board(parts.reporter, self._clock, parts.redactor)
        self._collector = Collector(parts.executors, parts.store, parts.world)
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._state: State = initial()
        self._loaded: Loaded | None = None
        self._removed: dict[NodeId, Node] = {}
        self._loading: asyncio.Task[None] | None = None
        self._load_again = False
        self._retries: dict[NodeId, int] = {}
        self._retrying: set[NodeId] = set()
        self._chores: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.Task[None]] = set()
        self._ending: Ending | None = None
        self._swept = False
        self._feedback = Feedback()
        self._delayed: set[NodeId] = set()
        self._carrying: dict[NodeId, FilesSaved | None] = {}
        """Sync sessions that carry a batch just now, and what was saved since it began."""
        self._batches: set[asyncio.Task[None]] = set()
        self._look_at = 0.0
        self._look_planned = False
        self._grace_planned = False
        self._started = self._clock.monotonic()

    @property
    def board(self) -> Board:
        """What every node looks like just now."""
        return self._board

    def post(self, message: Message) -> None:
        """Put a message into the inbox. On the loop's thread only."""
        self._inbox.put_nowait(message)

    # The loop

    async def run(self) -> int:
        """Run to the end: a signal, or in `once` sessions the settling of everything."""
        self._board.tell(
            SessionStarted(
                self._clock.time(),
                self._parts.session,
                self._options.command,
                str(self._options.file),
            )
        )
        if notice := self._parts.store.notice:
            self._board.say(Level.WARNING, notice)
        watching = nullcontext() if self._options.once else self._parts.follower
        async with watching, asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._workers = Workers(
                tasks=tasks,
                settler=self._parts.settler,
                board=self._board,
                clock=self._clock,
                post=self.post,
                spawn=self._spawn,
                begun=self._collector.begun,
                routing=self._parts.routing,
                once=self._options.once,
            )
            if not self._options.once:
                self._timers.add(tasks.create_task(self._follow_files(), name="follow files"))
            self._load()
            try:
                while not self._over():
                    self._handle(await self._inbox.get())
                    while not self._inbox.empty():
                        self._handle(self._inbox.get_nowait())
                    self._look_around()
                for error in await self._workers.lives.end_all():
                    self._board.say(Level.ERROR, str(error))
            finally:
                for timer in list(self._timers):
                    timer.cancel()
        self._parts.journal.close()
        return self._tell_end()

    def _over(self) -> bool:
        busy = self._workers.busy or self._chores or self._loading is not None
        return self._ending is not None and not busy

    def _handle(self, message: Message) -> None:
        match message:
            case NodeSettled():
                self._on_settled(message)
            case Health(node, report):
                self._on_health(node, report)
            case CarriedOver():
                self._on_carried(message)
            case Evaluated(result):
                self._on_evaluated(result)
            case Changes():
                self._on_changes(message)
            case Again(node):
                self._retrying.discard(node)
                self._event(Triggered(self._at(), (node,)))
            case Look(node):
                self._delayed.discard(node)
                self._event(FilesChanged(self._at(), (node,)))
            case Ask():
                self._on_ask(message)
            case Interrupted():
                cut_off = self._workers.busy or self._loading is not None
                self._end(Ending(130 if cut_off else 0, interrupted=True))
            case TimeUp():
                self._on_time_up()
            case Wake():
                pass

    def _at(self) -> float:
        return round(self._clock.monotonic() - self._started, 6)

    def _event(self, event: Event) -> None:
        """The only place where the scheduler's state changes."""
        self._state, commands = step(self._state, event)
        if (error := self._parts.journal.write(event, commands)) is not None:
            self._board.say(Level.WARNING, f"The journal ends here: {error.render()}")
        for command in commands:
            match command:
                case Start():
                    assert self._loaded is not None
                    self._workers.start(command, self._loaded)
                case Cancel():
                    self._workers.cancel(command.node)
                case Undo():
                    self._spawn(self._undo_removed(command.nodes))

    # Loading the Kindlingfile

    def _load(self) -> None:
        if self._loading is not None:
            self._load_again = True
            return
        self._event(ReloadStarted(self._at()))

        async def load() -> None:
            result = await self._parts.project.load()
            if not self._options.once:
                # Before anything reads its inputs, so that no change falls in between.
                try:
                    await self._parts.follower.watch(*self._watched(result))
                except KindlingError as error:
                    result = LoadFailed(error, result.reads)
            self.post(Evaluated(result))

        self._loading = self._tasks.create_task(load(), name="load the Kindlingfile")

    def _watched(
        self, result: Loaded | LoadFailed
    ) -> tuple[FileSet, Graph, Collection[NodeId], Sequence[IgnoreRule]]:
        current = result if isinstance(result, Loaded) else self._loaded
        if current is None:
            return result.reads, Graph(), (), ()
        return result.reads, current.graph, current.selected, current.watch_ignores

    def _on_evaluated(self, result: Loaded | LoadFailed) -> None:
        self._loading = None
        if self._ending is not None:
            return
        if isinstance(result, LoadFailed):
            first = self._loaded is None
            text = self._parts.redactor.text(result.error.render())
            self._board.tell(KindlingfileFailed(self._clock.time(), text, first))
            if self._options.once:
                self._end(Ending(result.error.exit_code, result.error.message))
        else:
            self._take(result)
        self._event(ReloadEnded(self._at()))
        if not self._options.once:
            for warning in self._parts.follower.warnings:
                self._board.say_once(Level.WARNING, warning)
        if self._load_again:
            self._load_again = False
            self._load()

    def _take(self, loaded: Loaded) -> None:
        """Put a new graph in the place of the one before."""
        before = self._loaded
        old, new = before.graph if before else Graph(), loaded.graph
        changed = frozenset(i for i in new.nodes if i in old and new[i] != old[i])
        self._parts.redactor.learn(loaded.secrets)
        self._parts.world.project = loaded.project
        self._removed = {i: old[i] for i in old.nodes if i not in new}
        self._loaded = loaded
        self._board.load(new, loaded.selected)
        self._parts.routing.load(new, loaded.selected)
        for remark in loaded.remarks:
            self._board.say_once(Level.WARNING if remark.warning else Level.INFO, str(remark))
        if loaded.target:
            self._board.say_once(Level.INFO, loaded.target)
        self._board.tell(
            KindlingfileLoaded(
                self._clock.time(),
                loaded.seconds,
                tuple(self._board.views.values()),
                added=tuple(i for i in new.order if i not in old),
                removed=tuple(self._removed),
                changed=tuple(i for i in new.order if i in changed),
                target=loaded.target,
            )
        )
        if before is None and self._options.command == "ci":
            self._limit_time(loaded)
        self._event(
            GraphLoaded(self._at(), new, loaded.selected, changed, max_parallel=loaded.max_parallel)
        )

    def _limit_time(self, loaded: Loaded) -> None:
        limit = self._options.timeout
        if limit is None:
            limit = DEFAULT_CI_TIMEOUT if loaded.ci.timeout is None else loaded.ci.timeout
        if limit > 0:
            self._later(limit, lambda: self.post(TimeUp()))

    # What nodes tell

    def _on_settled(self, message: NodeSettled) -> None:
        id_, settled = message.node, message.settled
        self._workers.take(message, self._loaded)
        # What lives on although its run failed says by itself when it works: no try is planned.
        transient = settled.failure is not None and settled.failure.transient
        transient = transient and settled.live is None
        if settled.verdict is Verdict.FAILED:
            transient = transient and self._ending is None and self._try_later(id_)
        elif settled.verdict is not Verdict.CANCELLED:
            self._retries.pop(id_, None)
        self._board.settled(id_, settled)
        self._learn_target(id_, settled)
        ran = settled.verdict is not Verdict.UNCHANGED
        self._feedback.ended(id_, self._clock.monotonic(), ran=ran)
        digest = settled.output.digest if settled.output else ""
        self._event(Finished(self._at(), id_, message.attempt, settled.verdict, digest, transient))
        if settled.verdict not in (Verdict.FAILED, Verdict.CANCELLED):
            try:
                self._after_success(id_, settled)
            except StoreError as error:
                self._board.say_once(Level.ERROR, error.render())
        self._after_session(id_, settled)

    # Sync sessions

    def _after_session(self, id_: NodeId, settled: Settled) -> None:
        """See to the files that a session was to bring: it is there now, or will not come."""
        if self._ending is not None or self._loaded is None or id_ not in self._loaded.graph:
            return
        if settled.verdict is Verdict.FAILED:
            self._build(self._parts.routing.given_back(id_))
        if self._loaded.graph[id_].kind is not Kind.SYNC:
            return
        if self._workers.lives.carrier(id_) is not None:
            self._parts.routing.begun(id_)
            waiting = self._carrying.pop(id_, None)
            if waiting is not None:
                self._carry(id_, waiting)
        self._fall_back(id_, settled)

    def _place(self, id_: NodeId) -> Place:
        """How the sync session of a node stands, seen from a file that was saved just now."""
        rec = record(self._state, id_)
        if self._workers.lives.carrier(id_) is not None:
            return Place.LIVE
        if rec.is_running:
            return Place.COMING
        if rec.state is not RunState.DUE:
            return Place.GONE
        before = [record(self._state, other) for other in self._parts.routing.before(id_)]
        if any(one.result is Verdict.FAILED and not one.in_motion for one in before):
            return Place.GONE
        coming = any(one.in_motion for one in before) or all(one.is_met for one in before)
        return Place.COMING if coming else Place.GONE

    def _carry(self, id_: NodeId, saved: FilesSaved) -> None:
        """Hand what was saved to a session that goes on: at once, or after what it carries now."""
        rec = record(self._state, id_)
        if id_ in self._carrying or rec.is_running:
            waiting = self._carrying.get(id_)
            self._carrying[id_] = joined(waiting, saved) if waiting is not None else saved
            return
        carrier, standing = (
            self._workers.lives.carrier(id_),
            self._workers.lives.standing(id_),
        )
        if carrier is None or standing is None:
            return
        self._carrying[id_] = None

        async def carry() -> None:
            settled = await self._parts.settler.carried(id_, standing.key, carrier, saved)
            self.post(CarriedOver(id_, rec.attempt, settled))

        batch = self._spawn(carry())
        self._batches.add(batch)
        batch.add_done_callback(self._batches.discard)

    def _on_carried(self, message: CarriedOver) -> None:
        id_, settled = message.node, message.settled
        waiting = self._carrying.pop(id_, None)
        if settled.output is not None:
            self._workers.moved_on(id_, settled.output)
        if settled.verdict is not Verdict.UNCHANGED:
            if not record(self._state, id_).is_running:
                self._board.settled(id_, settled)
            digest = settled.output.digest if settled.output else ""
            self._event(Finished(self._at(), id_, message.attempt, settled.verdict, digest))
        if waiting is not None and self._ending is None:
            self._carry(id_, waiting)
        self._fall_back(id_, settled)

    def _fall_back(self, id_: NodeId, settled: Settled) -> None:
        again = self._parts.routing.fallback(id_)
        if settled.rebuild and again is not None and self._ending is None:
            self._build({again: (settled.rebuild,)})

    def _build(self, because: Mapping[NodeId, tuple[str, ...]]) -> None:
        """Let nodes run that sync sessions spared."""
        if because:
            self._workers.because.update(because)
            self._event(FilesChanged(self._at(), tuple(because)))

    async def _look_for_builds(self, ids: Collection[NodeId]) -> None:
        """Events were lost: find out by content what no session can carry."""
        for id_ in ids:
            found = await self._parts.routing.rebuild_since(id_)
            if found is not None and self._ending is None:
                self._build({found[0]: found[1]})

    def _learn_target(self, id_: NodeId, settled: Settled) -> None:
        """What the cluster announces (a registry) decides how images travel: load anew where the
        graph was made on another guess. This comes before the scheduler hears that the cluster is
        there, or it would let images leave by the wrong way."""
        known = self._loaded is not None and id_ in self._loaded.graph
        if not known or self._ending is not None or settled.output is None:
            return
        assert self._loaded is not None
        is_cluster = self._loaded.graph[id_].kind is Kind.CLUSTER
        if is_cluster and self._parts.project.learn_target(settled.output):
            self._load()

    def _after_success(self, id_: NodeId, settled: Settled) -> None:
        loaded = self._loaded
        if loaded is None or id_ not in loaded.graph or self._ending is not None:
            return
        node = loaded.graph[id_]
        if node.kind in OWNERS:
            if settled.verdict is Verdict.RAN:
                self._parts.store.set_fact(f"scope/{id_}", loaded.scope)
            if settled.verdict is Verdict.RAN or self._collector.is_unfinished(id_):
                self._spawn(self._collector.dropped(node, settled.previous, loaded.graph))
        if node.kind is Kind.CLUSTER and not self._swept and not self._options.names:
            self._swept = True
            self._spawn(self._collector.orphans(loaded.graph, loaded.scope))

    def _try_later(self, id_: NodeId) -> bool:
        """Plan another try of a transient failure; False when it was tried often enough."""
        tries = self._retries[id_] = self._retries.get(id_, 0) + 1
        if self._options.once and tries > _RETRIES_ONCE:
            return False
        self._retrying.add(id_)
        delay = min(_RETRY_FIRST * 2 ** (tries - 1), _RETRY_LONGEST)
        self._later(delay, lambda: self.post(Again(id_)))
        return True

    def _on_health(self, id_: NodeId, report: ReadinessReport) -> None:
        view = self._board.views.get(id_)
        ended = self._workers.lives.standing(id_) is None
        if view is None or (ended and view.kind is not Kind.SYNC):
            return
        if report.ready and view.status is NodeStatus.FAILED:
            self.post(Again(id_))
            return
        self._board.health(id_, report)
        self._event(ReadinessChanged(self._at(), id_, report.ready))
        if self._options.once and view.kind is Kind.CLUSTER and not report.ready:
            since = self._board.views[id_].since
            self._later(_ABSENCE, lambda: self._give_up(id_, report, since))

    def _give_up(self, id_: NodeId, report: ReadinessReport, since: float) -> None:
        """A cluster has been away since `since`, in a session that is not to wait for it for
        ever."""
        view = self._board.views.get(id_)
        if view is not None and view.status is NodeStatus.UNREADY and view.since == since:
            self._board.health(id_, replace(report, ended=True))
            self.post(Wake())

    # What users do

    def _on_changes(self, changes: Changes) -> None:
        if self._ending is not None:
            return
        if changes.config:
            self._load()
        routed = self._parts.routing.sort(changes, self._place)
        for id_, saved in routed.carry.items():
            self._carry(id_, saved)
        if changes.rescan and routed.carry:
            self._spawn(self._look_for_builds(tuple(routed.carry)))
        self._workers.because.update(routed.because)
        views = self._board.views
        nodes: list[NodeId] = []
        for id_ in routed.nodes:
            delay = self._feedback.delay(views.get(id_), changes.paths, changes.since)
            if not delay:
                nodes.append(id_)
            elif id_ not in self._delayed:
                self._delayed.add(id_)
                self._later(delay, lambda id_=id_: self.post(Look(id_)))  # type: ignore[misc]
        for warning in self._feedback.take_warnings():
            self._board.say(Level.WARNING, warning)
        if nodes:
            at, reading = self._clock.time(), tuple(nodes)
            self._board.tell(ChangesSeen(at, changes.paths, changes.total, reading))
            self._event(FilesChanged(self._at(), reading))

    def _on_ask(self, ask: Ask) -> None:
        graph = self._loaded.graph if self._loaded else Graph()
        try:
            nodes = tuple(dict.fromkeys(id_ for name in ask.names for id_ in graph.find(name)))
        except KindlingError as error:
            ask.reply.set_result({"error": error.render()})
            return
        nodes = self._meant(ask.names, nodes, force=ask.force)
        self._event(Triggered(self._at(), nodes, ask.force))
        ask.reply.set_result({"nodes": list(nodes)})

    def _meant(
        self, names: Collection[str], nodes: tuple[NodeId, ...], *, force: bool
    ) -> tuple[NodeId, ...]:
        """Which nodes of a resource a user means by its name: never the way back, which has a name
        of its own, and where changes wait to be carried, those alone."""
        graph = self._loaded.graph if self._loaded else Graph()
        paused = self._parts.routing.paused(nodes)
        if paused and not force:
            resources = {graph[id_].resource for id_ in paused}
            nodes = tuple(
                id_
                for id_ in nodes
                if id_ in paused or id_ in names or graph[id_].resource not in resources
            )
        return tuple(id_ for id_ in nodes if id_ in names or graph[id_].kind is not Kind.ROLLBACK)

    def _on_time_up(self) -> None:
        waiting = (NodeStatus.HELD, NodeStatus.RUNNING, NodeStatus.UNREADY)
        pending = [
            f"{view.id} ({view.status.value})"
            for view in self._board.views.values()
            if view.status in waiting
        ]
        self._end(Ending(1, f"Time is up. Not done: [{', '.join(pending)}]"))

    # The end

    def _look_around(self) -> None:
        """After a burst of messages: show what is held (not more often than it can be read), and
        see whether a session that ends by itself is over."""
        now = self._clock.monotonic()
        if now >= self._look_at:
            self._board.show_holds(self._state, skip=self._retrying)
            # Looking costs a walk over the graph: never spend more than a tenth of the time on it.
            took = self._clock.monotonic() - now
            self._look_at = now + max(_REFRESH, 10 * took)
        elif not self._look_planned:
            self._look_planned = True
            self._later(self._look_at - now, self._look_again)
        if self._ending is None and self._options.once and self._loaded is not None:
            in_grace = self._workers.in_grace()
            found = ending(
                self._state,
                self._board.views,
                self._board.failed,
                fails_fast=self._options.fails_fast,
                patient=in_grace | self._retrying,
                waiting=self._loading is not None or bool(self._chores),
            )
            if found is not None:
                self._end(found)
            elif in_grace and not self._grace_planned:
                self._grace_planned = True
                self._later(self._workers.grace_ends(), self._grace_over)

    def _look_again(self) -> None:
        self._look_planned = False
        self.post(Wake())

    def _grace_over(self) -> None:
        self._grace_planned = False
        self.post(Wake())

    def _end(self, how: Ending) -> None:
        if self._ending is None:
            self._ending = how
            # What held nodes back up to now is what the last notice must tell.
            self._board.show_holds(self._state, skip=self._retrying)
            self._parts.project.cancel()
            for batch in self._batches:
                batch.cancel()  # what a session has not carried by now goes with it
            self._event(Stopping(self._at(), cancel=True))

    def _tell_end(self) -> int:
        assert self._ending is not None
        how, views = self._ending, tuple(self._board.views.values())
        verdicts = [view.verdict for view in views if view.verdict is not None]
        self._board.tell(
            SessionEnded(
                at=self._clock.time(),
                exit_code=how.exit_code,
                seconds=self._clock.monotonic() - self._started,
                counts={verdict: verdicts.count(verdict) for verdict in set(verdicts)},
                failed=tuple(v for v in views if v.status is NodeStatus.FAILED),
                held=tuple(v for v in views if v.status is NodeStatus.HELD),
                endpoints=_lasting(views),
                error=self._parts.redactor.text(how.error),
                interrupted=how.interrupted,
            )
        )
        return how.exit_code

    # Tasks

    async def _follow_files(self) -> None:
        async for changes in self._parts.follower.changes():
            self.post(changes)

    async def _undo_removed(self, nodes: tuple[NodeId, ...]) -> None:
        """Undo nodes that left the graph: end what lives, then remove what only they declared."""
        assert self._loaded is not None
        for id_ in nodes:
            await self._workers.drop(id_)
            if (node := self._removed.get(id_)) is not None:
                await self._collector.removed(node, self._loaded.graph)

    def _spawn(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[None]:
        """Do `work` beside the loop; the session does not end before it is done."""

        async def chore() -> None:
            try:
                await work
            except KindlingError as error:
                self._board.say(Level.ERROR, error.render())
            for line in self._collector.take_notes():
                self._board.say(Level.INFO, line)

        def done(task: asyncio.Task[None]) -> None:
            self._chores.discard(task)
            self.post(Wake())

        task = self._tasks.create_task(chore(), name="chore")
        self._chores.add(task)
        task.add_done_callback(done)
        return task

    def _later(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` on the loop after `seconds`, unless the session ends before."""

        async def wait() -> None:
            await self._clock.sleep(seconds)
            then()

        timer = self._tasks.create_task(wait(), name="timer")
        self._timers.add(timer)
        timer.add_done_callback(self._timers.discard)


def _lasting(views: Sequence[NodeView]) -> tuple[str, ...]:
    """Addresses that answer without the session: those of its own servers and forwards do not."""
    ours = (Kind.SERVE, Kind.PORTFORWARD)
    return tuple(dict.fromkeys(e for v in views if v.kind not in ours for e in v.endpoints))
