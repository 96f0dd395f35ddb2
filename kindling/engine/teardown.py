"""`kindling down`: undo what the graph did, in reverse, and say what was kept.

What to undo comes from the records of what was done. Where there is no record (the `.kindling`
folder was deleted) it comes from the file: the executor still removes only what carries this
project's label.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kindling.engine import standstill
from kindling.engine.board import Board
from kindling.engine.failures import failure_of
from kindling.engine.notices import NodeStatus
from kindling.engine.owned import declared, is_owner, orphan_node, with_owned
from kindling.engine.unfinished import Unfinished
from kindling.executors.protocol import Executor, Job, World
from kindling.graph.dag import Graph
from kindling.graph.node import Kind, Node, NodeId
from kindling.graph.outcome import Failure, Output
from kindling.store.database import Store

__all__ = ["Teardown", "undo_all"]

_FORGOTTEN = (Kind.APPLY, Kind.ROLLOUT, Kind.OPERATOR)
"""Kinds whose record stops being true with the objects that are deleted."""


@dataclass(frozen=True, slots=True)
class Teardown:
    """What came of it: what was kept and why, and what could not be undone."""

    undone: tuple[NodeId, ...]
    kept: tuple[str, ...]
    failed: Mapping[NodeId, Failure]


async def undo_all(
    graph: Graph,
    selected: Iterable[NodeId],
    *,
    orphans: Iterable[NodeId],
    store: Store,
    world: World,
    executors: Mapping[Kind, Executor],
    board: Board,
) -> Teardown:
    """Undo the selected nodes, each after all that depend on it, and what earlier sessions left.

    Nodes that have nothing to do with each other are undone at the same time. One that cannot be
    undone does not keep the others from it; all failures are reported together.
    """
    standstill.forget(store)
    wanted = set(selected)
    nodes = [orphan_node(id_) for id_ in orphans]
    nodes += [graph[id_] for id_ in reversed(graph.order) if id_ in wanted]
    tasks: dict[NodeId, asyncio.Task[tuple[str, ...] | Failure | None]] = {}

    async def undo(node: Node) -> tuple[str, ...] | Failure | None:
        after = graph.successors(node.id) if node.id in graph else ()
        await asyncio.gather(*(tasks[id_] for id_ in after if id_ in tasks))
        recorded = _recorded(node, store)
        if recorded is None:
            return None
        board.update(node.id, status=NodeStatus.RUNNING, doing="undoing")
        job = Job(node, key="", attempt=1, world=world, log=board.sink(node), once=True)
        try:
            kept = await executors[node.kind].undo(job, recorded)
        except Exception as error:
            failure = failure_of(error)
            board.update(node.id, status=NodeStatus.FAILED, failure=failure, doing="")
            return failure
        if node.kind in _FORGOTTEN:
            Unfinished(store).end(node.id)
            store.forget(node.id)
        board.update(node.id, status=NodeStatus.DONE, doing="")
        return kept

    async with asyncio.TaskGroup() as group:
        for node in nodes:
            tasks[node.id] = group.create_task(undo(node), name=f"undo {node.id}")
    results = {id_: task.result() for id_, task in tasks.items()}
    return Teardown(
        undone=tuple(i for i, r in results.items() if is_owner(i) and r is not None),
        kept=tuple(line for r in results.values() if isinstance(r, tuple) for line in r),
        failed={id_: r for id_, r in results.items() if isinstance(r, Failure)},
    )


def _recorded(node: Node, store: Store) -> Output | None:
    record, unfinished = store.record(node.id), Unfinished(store)
    if record is not None or node.id in unfinished.of():
        return unfinished.with_rest(node.id, record.output if record else Output(""))
    if node.kind is Kind.SYNC:
        return Output("")  # a session that was killed may have left something all the same
    if refs := declared(node.spec):
        objects = [
            {
                "apiVersion": ref.api_version,
                "kind": ref.kind,
                "name": ref.name,
                "namespace": ref.namespace,
            }
            for ref in refs
        ]
        return with_owned(node.id, Output(""), objects)
    return None
