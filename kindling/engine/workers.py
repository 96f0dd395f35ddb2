"""The nodes at work: attempts under way, the outputs they left, and the live parts that go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from kindling.engine.board import Board
from kindling.engine.lives import Lives
from kindling.engine.messages import Health, Message, NodeSettled
from kindling.engine.notices import NodeStatus
from kindling.engine.project import Loaded
from kindling.engine.settle import Request, Settled, Settler, Standing
from kindling.executors.protocol import Clock
from kindling.graph.event import Start
from kindling.graph.node import EdgeKind, Kind, Node, NodeId
from kindling.graph.outcome import Output, Verdict
from kindling.graph.spec import Readiness, RolloutSpec

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
        spawn: Callable[[Coroutine[Any, Any, object]], None],
        begun: Callable[[Node, str], None],
        once: bool,
    ) -> None:
        self._tasks = tasks
        self._settler = settler
        self._board = board
        self._clock = clock
        self._post = post
        self._spawn = spawn
        self._begun = begun
        self._once = once
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
            return
        standing = self.lives.standing(id_)
        if not known or (standing is not None and settled.verdict is Verdict.UNCHANGED):
            self._spawn(settled.live.close())
        else:
            output = settled.output or Output("")
            well = settled.verdict is not Verdict.FAILED
            self.lives.put(id_, Standing(settled.key, output, well), settled.live)

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
