"""The facts that `plan` and `why` reason from: every node's inputs now, against what is recorded.

Reads files, the run database and the cluster; changes nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kindling.engine.project import Loaded
from kindling.engine.run import Tools
from kindling.errors import KindlingError
from kindling.executors.protocol import Job
from kindling.graph.dag import Graph
from kindling.graph.key import Manifest, differences
from kindling.graph.node import EdgeKind, Kind, Node, NodeId
from kindling.graph.outcome import Output
from kindling.graph.plan import Check, CheckState
from kindling.store.records import Record

__all__ = ["Survey", "survey"]

_AT_ONCE = 16
"""How many nodes are compared with the world at the same time."""


@dataclass(slots=True)
class Survey:
    """Per node: its manifest as it is now, what is known about it, and the last success."""

    records: Mapping[NodeId, Record]
    manifests: dict[NodeId, Manifest] = field(default_factory=dict)
    checks: dict[NodeId, Check] = field(default_factory=dict)


async def survey(
    tools: Tools, loaded: Loaded, selected: Collection[NodeId], *, touched: Sequence[Path] = ()
) -> Survey:
    """Find out about the selected nodes. `touched` are files to be taken as changed, whatever they
    hold.

    A node whose predecessors are dirty is compared as if their outputs stayed the same: whether
    they will is what the plan calls "maybe".
    """
    found = Survey(tools.store.records())
    order = [id_ for id_ in loaded.graph.order if id_ in selected]
    target = _target(loaded.graph, found.records)
    await asyncio.to_thread(_read, tools, loaded.graph, order, target, touched, found)
    turns = asyncio.Semaphore(_AT_ONCE)

    async def check(id_: NodeId) -> None:
        async with turns:
            found.checks[id_] = await _check(tools, loaded.graph, id_, found)

    clusters = [id_ for id_ in order if loaded.graph[id_].kind is Kind.CLUSTER]
    for id_ in clusters:
        await check(id_)
    away = next(
        (found.checks[id_] for id_ in clusters if found.checks[id_].state is CheckState.UNKNOWN),
        None,
    )
    async with asyncio.TaskGroup() as tasks:
        for id_ in order:
            if id_ in clusters:
                continue
            if away is not None and loaded.graph[id_].traits.on_target:
                found.checks[id_] = away
            else:
                tasks.create_task(check(id_), name=f"check {id_}")
    return found


def _target(graph: Graph, records: Mapping[NodeId, Record]) -> str:
    for id_, node in graph.nodes.items():
        if node.kind is Kind.CLUSTER and id_ in records:
            return records[id_].output.digest
    return ""


def _read(
    tools: Tools,
    graph: Graph,
    order: Sequence[NodeId],
    target: str,
    touched: Sequence[Path],
    found: Survey,
) -> None:
    """Every node's manifest, in one go on one thread."""
    root = tools.options.root
    marked = {os.path.relpath(path.absolute(), root) for path in touched}
    for id_ in order:
        node = graph[id_]
        files = dict(tools.inputs.files(node)) if node.files else {}
        for path in marked & files.keys():
            files[path] = "touched"
        inputs = {
            before: found.records[before].output.digest if before in found.records else ""
            for before, kind in graph.predecessors(id_).items()
            if kind is EdgeKind.CONTENT
        }
        found.manifests[id_] = tools.inputs.manifest_of(node, files, inputs, target)


async def _check(tools: Tools, graph: Graph, id_: NodeId, found: Survey) -> Check:
    node, manifest, record = graph[id_], found.manifests[id_], found.records.get(id_)
    if node.traits.session:
        carries = f", and carries what is saved: {node.description}" if node.description else ""
        return Check(CheckState.CLEAN, text=f"it lives with the session{carries}")
    if record is not None and record.key == manifest.key:
        return await _observe(tools, graph, node, manifest, record, found)
    cached = node.traits.cacheable and tools.store.cached(manifest.key) is not None
    state = CheckState.CACHED if cached else CheckState.DIRTY
    if record is None:
        return Check(state, text="it was never done before")
    before = Manifest(tuple(record.manifest.lines.items()))
    return Check(state, differences(before, manifest))


async def _observe(
    tools: Tools, graph: Graph, node: Node, manifest: Manifest, record: Record, found: Survey
) -> Check:
    job = Job(
        node=node,
        key=manifest.key,
        attempt=0,
        world=tools.world,
        log=_nothing,
        inputs=_outputs(graph, node.id, found.records),
        previous=record.output,
        once=True,
    )
    try:
        seen = await tools.executors[node.kind].observe(job, record.output)
    except KindlingError as error:
        return Check(CheckState.UNKNOWN, text=error.message)
    if seen.live is not None:
        await seen.live.close()
    if seen.same:
        return Check(CheckState.CLEAN)
    if node.kind is Kind.ROLLOUT:
        from kindling.executors.rollout import session_of

        try:
            holder = await session_of(job)
        except KindlingError as error:
            return Check(CheckState.UNKNOWN, text=error.message)
        if holder:
            # It is put back by that session's end, and needs no rollout for it.
            return Check(CheckState.CLEAN, text=holder)
    return Check(CheckState.DRIFTED, text=seen.difference)


def _outputs(graph: Graph, id_: NodeId, records: Mapping[NodeId, Record]) -> dict[NodeId, Output]:
    return {b: records[b].output for b in graph.predecessors(id_) if b in records}


def _nothing(line: str, stream: str = "stdout") -> None:
    """Looking leaves no log."""
