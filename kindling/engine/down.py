"""`kindling down`, from the command line's options to an exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from kindling.engine.board import Board
from kindling.engine.clock import SystemClock
from kindling.engine.notices import (
    KindlingfileLoaded,
    Level,
    Message,
    NodeStatus,
    Reporter,
    SessionEnded,
    SessionStarted,
)
from kindling.engine.options import SessionOptions
from kindling.engine.owned import is_owner
from kindling.engine.project import Loaded, LoadFailed
from kindling.engine.run import REAL, Connections, open_tools, session_name
from kindling.engine.teardown import undo_all
from kindling.engine.unfinished import Unfinished
from kindling.graph.node import NodeId, Where
from kindling.store.database import Store

__all__ = ["run_down"]


async def run_down(
    options: SessionOptions,
    reporter: Reporter,
    environment: Mapping[str, str],
    *,
    connections: Connections = REAL,
) -> int:
    """Undo what the selected nodes did (all, when no names are given), in reverse; the exit code.

    Without names, what earlier sessions of this project left behind under other profiles goes too.

    Raises:
        KindlingError: The file cannot be evaluated, so what to undo is not known.
    """
    clock = SystemClock()
    name = session_name(clock)
    started = clock.monotonic()
    loop = asyncio.get_running_loop()

    def say(_where: Where, line: str) -> None:
        loop.call_soon_threadsafe(reporter.notice, Message(clock.time(), Level.INFO, line))

    tools_open = open_tools(
        options,
        environment=environment,
        say=say,
        subcommand="down",
        lock="down",
        session=name,
        connections=connections,
    )
    async with tools_open as tools:
        loaded = await tools.project.load()
        if isinstance(loaded, LoadFailed):
            raise loaded.error
        tools.redactor.learn(loaded.secrets)
        tools.world.project = loaded.project
        board = Board(reporter, clock, tools.redactor)
        board.tell(
            SessionStarted(clock.time(), name, "down", str(options.file), target=loaded.target)
        )
        board.load(loaded.graph, loaded.selected)
        board.tell(KindlingfileLoaded(clock.time(), loaded.seconds, tuple(board.views.values())))
        orphans = [] if options.names else _orphans(tools.store, loaded.graph.nodes)
        result = await undo_all(
            loaded.graph,
            _undoable(loaded, options),
            orphans=orphans,
            store=tools.store,
            world=tools.world,
            executors=tools.executors,
            board=board,
        )
        failed = len(result.failed)
        board.tell(
            SessionEnded(
                at=clock.time(),
                exit_code=1 if failed else 0,
                seconds=clock.monotonic() - started,
                counts={},
                failed=tuple(v for v in board.views.values() if v.status is NodeStatus.FAILED),
                kept=tools.redactor.lines(result.kept),
                error=f"{failed} of {failed + len(result.undone)} could not be undone"
                if failed
                else "",
            )
        )
        return 1 if failed else 0


def _orphans(store: Store, known: Mapping[NodeId, object]) -> list[NodeId]:
    applied = (id_ for id_ in store.records() if is_owner(id_))
    return [id_ for id_ in dict.fromkeys((*applied, *Unfinished(store).of())) if id_ not in known]


def _undoable(loaded: Loaded, options: SessionOptions) -> frozenset[NodeId]:
    """With names, only what they name: what it depends on may serve others."""
    if not options.names:
        return loaded.selected
    return frozenset(id_ for name in options.names for id_ in loaded.graph.find(name))
