"""The nodes at work: attempts under way, the outputs they left, and the live parts that go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from kindling.engine.board import Board
from kindling.engine.lives import Lives
from kindling.engine.messages import Health, Look, Message, NodeSettled
from kindling.engine.notices import NodeStatus
from kindling.engine.project import Loaded
from kindling.engine.settle import Request, Settled, Settler, Standing
from kindling.engine.syncing import Routing, joined
from kindling.executors.protocol import Clock, FilesSaved, ReadinessReport
from kindling.graph.event import Start
from kindling.graph.node import EdgeKind, Kind, Node, NodeId
from kindling.graph.outcome import Failure, FailureKind, Output, Verdict
from kindling.graph.spec import Readiness, RollbackSpec, RolloutSpec

__all__ = ["DEFAULT_READINESS_TIMEOUT", "Workers"]

DEFAULT_READINESS_TIMEOUT = 5 * 60.0
"""Seconds that pods and servers have to become ready in a session that ends by itself."""


class Workers:
    """Starts attempts in tasks of their own and posts a `NodeSettled` for each, whatever happens.

    `spawn` runs a coroutine that the session waits for at its end. `begun` is told a node, and the
    scope of its graph, before it runs.
    """

    def __init__(
        self,
        *,
        tasks: asyncio.TaskGroup,
        settler: Settler,
        board: Board,
        clock: Clock,
        post: Callable[[Message], None],
        spawn: Callable[[Coroutine[Any, Any, object]], object],
        begun: Callable[[Node, str], None],
        routing: Routing,
        once: bool,
    ) -> None:
        self._tasks = tasks
        self._settler = settler
        self._board = board
        self._clock = clock
        self._post = post
        self._spawn = spawn
        self._begun = begun
        self._routing = routing
        self._once = once
        self.because: dict[NodeId, tuple[str, ...]] = {}
        """Why nodes are due, where what they read does not say it all."""
        self._running: dict[NodeId, asyncio.Task[Settled]] = {}
        self._outputs: dict[NodeId, Output] = {}
        self._grace: dict[NodeId, float] = {}
        self._target = ""
        self.lives = Lives(tasks, lambda id_, report: post(Health(id_, report)))

    @property
    def busy(self) -> bool:
        """Whether any attempt is under way."""
        return bool(self._running)

    def in_grace(self) -> frozenset[NodeId]:
        """Rollouts that began so lately that a failure does not count yet."""
        now = self._clock.monotonic()
        return frozenset(id_ for id_, until in self._grace.items() if until > now)

    def grace_ends(self) -> float:
        """Seconds until the next grace period is over; 0 when none is running."""
        now = self._clock.monotonic()
        return min((until - now for until in self._grace.values() if until > now), default=0.0)

    def start(self, command: Start, loaded: Loaded) -> None:
        """Begin an attempt."""
        graph = loaded.graph
        node = graph[command.node]
        before = graph.predecessors(node.id)
        request = Request(
            node=node,
            attempt=command.attempt,
            forced=command.forced,
            inputs={id_: self._outputs[id_] for id_ in before if id_ in self._outputs},
            content=frozenset(id_ for id_, kind in before.items() if kind is EdgeKind.CONTENT),
            target=self._target,
            standing=self.lives.standing(node.id),
            limit=self._limit(loaded, node.id),
            because=self.because.pop(node.id, ()),
            carrier=self.lives.carrier(node.id),
            saved=partial(self._saved, node.id) if node.kind is Kind.SYNC else None,
        )
        self._board.update(
            node.id, status=NodeStatus.RUNNING, attempt=command.attempt, hold=None, doing="checking"
        )

        def progress(doing: str, reasons: tuple[str, ...]) -> None:
            if doing == "running" and node.kind is Kind.ROLLOUT:
                self._grace[node.id] = self._clock.monotonic() + (loaded.ci.k8s_grace_period or 0.0)
            self._board.update(node.id, doing=doing, reasons=reasons)

        async def before_run() -> None:
            self._begun(node, loaded.scope)
            await self.lives.end(node.id)
            await self._end_sessions(node, loaded)

        task = self._tasks.create_task(
            self._settler.settle(
                request,
                progress=progress,
                log=self._board.sink(node),
                before_run=before_run,
            ),
            name=f"settle {node.id}",
        )
        self._running[node.id] = task

        def done(task: asyncio.Task[Settled]) -> None:
            # A task that is cancelled before it began runs no line of its own: hence a callback.
            settled = Settled(Verdict.CANCELLED) if task.cancelled() else task.result()
            self._post(NodeSettled(node.id, command.attempt, settled))

        task.add_done_callback(done)

    async def _saved(self, id_: NodeId) -> FilesSaved:
        """What a sync session has to look at when its node runs: what waited to be asked for, and
        what differs from its image."""
        paused = self._routing.take_paused(id_)
        differing = await self._routing.since_build(id_)
        return joined(FilesSaved(differing), paused)

    async def _end_sessions(self, node: Node, loaded: Loaded) -> None:
        """Give back the workload that a node is about to write, or whose template it puts back.

        A session holds it in a form of its own, and what is written must be compared with what was
        declared. Its node looks again, and begins a new session when the pods are there.
        """
        if isinstance(node.spec, RollbackSpec):
            if self.lives.standing(NodeId(node.spec.sync)) is not None:
                self._routing.stopped(NodeId(node.spec.sync))
                await self.lives.end(NodeId(node.spec.sync))
                why = Failure(FailureKind.REFUSED, f"`{node.id}` ended the session")
                self._post(Health(NodeId(node.spec.sync), ReadinessReport(False, why)))
        elif node.kind in (Kind.APPLY, Kind.OPERATOR):
            for id_, other in loaded.graph.nodes.items():
                ours = other.kind is Kind.SYNC and other.resource == node.resource
                if ours and self.lives.standing(id_) is not None:
                    await self.lives.end(id_)
                    self._post(Look(id_))

    def cancel(self, id_: NodeId) -> None:
        """Cut off the attempt that is under way, if there is one."""
        if (task := self._running.get(id_)) is not None:
            task.cancel()

    def take(self, message: NodeSettled, loaded: Loaded | None) -> None:
        """Keep what an attempt left: its output, and its live part."""
        id_, settled = message.node, message.settled
        self._running.pop(id_, None)
        known = loaded is not None and id_ in loaded.graph
        if settled.output is not None and known:
            self._outputs[id_] = settled.output
            if loaded is not None and loaded.graph[id_].kind is Kind.CLUSTER:
                self._target = settled.output.digest
        if settled.live is None:
            before = self.lives.standing(id_)
            if before is not None and settled.verdict is Verdict.RAN and settled.output is not None:
                self.lives.renew(id_, Standing(settled.key, settled.output))
            return
        standing = self.lives.standing(id_)
        if not known or (standing is not None and settled.verdict is Verdict.UNCHANGED):
            self._spawn(settled.live.close())
        else:
            output = settled.output or Output("")
            well = settled.verdict is not Verdict.FAILED
            self.lives.put(id_, Standing(settled.key, output, well), settled.live)

    def moved_on(self, id_: NodeId, output: Output) -> None:
        """What goes on has another output now."""
        standing = self.lives.standing(id_)
        self._outputs[id_] = output
        if standing is not None:
            self.lives.renew(id_, Standing(standing.key, output, standing.well))

    async def drop(self, id_: NodeId) -> None:
        """Forget a node that left the graph, and end what of it goes on."""
        self._outputs.pop(id_, None)
        await self.lives.end(id_)

    def _limit(self, loaded: Loaded, id_: NodeId) -> float:
        """How many seconds one settling may take; 0 for no limit."""
        node = loaded.graph[id_]
        if node.timeout:
            return node.timeout
        job = isinstance(node.spec, RolloutSpec) and node.spec.readiness is Readiness.SUCCEEDED
        if self._once and node.kind in (Kind.ROLLOUT, Kind.SERVE) and not job:
            limit = loaded.ci.readiness_timeout
            return DEFAULT_READINESS_TIMEOUT if limit is None else limit
        return 0.0
