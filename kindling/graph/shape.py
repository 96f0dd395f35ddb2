"""A graph as the scheduler reads it: nodes by number, and the few facts that decide.

Made once for each graph that is loaded, so that a step looks nothing up by name and never asks a
node the same question twice. Only edges between selected nodes are kept: what takes no part holds
nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kindling.graph.dag import Graph
from kindling.graph.node import EdgeKind, Kind, Node, NodeId, Pool, Trigger

__all__ = ["EMPTY_SHAPE", "GATES", "UNCATEGORIZED", "Gate", "Shape", "shape_of"]

UNCATEGORIZED = "uncategorized"
"""The resource that holds all objects which belong to no workload."""

Rows = tuple[tuple[int, ...], ...]

_SLOT_POOLS = (Pool.BUILD, Pool.CLUSTER, Pool.LOCAL)
_DELIVERY = (Kind.IMAGE, Kind.PUSH, Kind.LOAD)


@dataclass(frozen=True, slots=True)
class Gate:
    """What may hold a node that is otherwise able to start. Nodes of one gate share one queue."""

    pool: Pool | None
    """CONSOLE or WATCH; None for the pools that share `max_parallel`."""
    exclusive: bool
    on_target: bool
    after_uncategorized: bool


GATES = tuple(
    Gate(pool, exclusive, on_target, after)
    for pool in (None, Pool.CONSOLE, Pool.WATCH)
    for exclusive in (False, True)
    for on_target in (False, True)
    for after in (False, True)
)

_GATE_NUMBER = {gate: number for number, gate in enumerate(GATES)}


@dataclass(frozen=True, slots=True)
class Shape:
    """Per node, at its number (the order of declaration). `needs` are content and ready edges."""

    graph: Graph = field(compare=False)
    ids: tuple[NodeId, ...]
    number: Mapping[NodeId, int] = field(compare=False)
    selected: tuple[bool, ...]
    needs: Rows
    content: Rows
    """The content edges among `needs`."""
    after: Rows
    """The numbers of the predecessors by mere order."""
    needed_by: Rows
    content_of: tuple[frozenset[int], ...]
    """The content edges among `needed_by`."""
    before: Rows
    """The numbers of the successors by mere order."""
    gate: tuple[int, ...]
    rank: tuple[int, ...]
    """The place of a first run among first runs: local, uncategorized, apply-only, others."""
    auto_init: tuple[bool, ...]
    manual: tuple[bool, ...]
    resource: tuple[str, ...]
    clusters: tuple[int, ...]
    """The selected cluster nodes."""
    uncategorized: int
    """The node that applies the objects of no resource, or -1."""


def shape_of(graph: Graph, selected: frozenset[NodeId]) -> Shape:
    """The shape of a graph of which `selected` take part."""
    ids = tuple(graph.nodes)
    number = {id_: at for at, id_ in enumerate(ids)}
    chosen = tuple(id_ in selected for id_ in ids)
    needs: list[tuple[int, ...]] = []
    content: list[tuple[int, ...]] = []
    after: list[tuple[int, ...]] = []
    needed_by: list[list[int]] = [[] for _ in ids]
    content_of: list[list[int]] = [[] for _ in ids]
    before: list[list[int]] = [[] for _ in ids]
    for at, id_ in enumerate(ids):
        by_kind: dict[EdgeKind, list[int]] = {kind: [] for kind in EdgeKind}
        if chosen[at]:
            for other, kind in graph.predecessors(id_).items():
                if chosen[number[other]]:
                    by_kind[kind].append(number[other])
        content.append(tuple(by_kind[EdgeKind.CONTENT]))
        needs.append((*content[at], *by_kind[EdgeKind.READY]))
        after.append(tuple(by_kind[EdgeKind.ORDER]))
        for other_at in needs[at]:
            needed_by[other_at].append(at)
        for other_at in content[at]:
            content_of[other_at].append(at)
        for other_at in after[at]:
            before[other_at].append(at)
    nodes = tuple(graph.nodes.values())
    return Shape(
        graph=graph,
        ids=ids,
        number=number,
        selected=chosen,
        needs=tuple(needs),
        content=tuple(content),
        after=tuple(after),
        needed_by=tuple(map(tuple, needed_by)),
        content_of=tuple(map(frozenset, content_of)),
        before=tuple(map(tuple, before)),
        gate=tuple(map(_gate, nodes)),
        rank=tuple(_rank(graph, node) for node in nodes),
        auto_init=tuple(node.auto_init for node in nodes),
        manual=tuple(node.trigger is Trigger.MANUAL for node in nodes),
        resource=tuple(node.resource for node in nodes),
        clusters=tuple(
            at for at, node in enumerate(nodes) if node.kind is Kind.CLUSTER and chosen[at]
        ),
        uncategorized=next((at for at, n in enumerate(nodes) if _is_uncategorized(n)), -1),
    )


def _is_uncategorized(node: Node) -> bool:
    return node.kind is Kind.APPLY and node.resource == UNCATEGORIZED


def _gate(node: Node) -> int:
    pool = node.traits.pool
    return _GATE_NUMBER[
        Gate(
            pool=None if pool in _SLOT_POOLS else pool,
            exclusive=node.exclusive and pool in _SLOT_POOLS,
            on_target=node.traits.on_target,
            after_uncategorized=node.kind in (Kind.APPLY, Kind.OPERATOR)
            and not _is_uncategorized(node),
        )
    ]


def _rank(graph: Graph, node: Node) -> int:
    if node.kind is Kind.LOCAL:
        return 0
    if node.resource == UNCATEGORIZED:
        return 1
    if node.kind is Kind.APPLY and not any(
        graph[other].kind in _DELIVERY for other in graph.predecessors(node.id)
    ):
        return 2
    return 3


EMPTY_SHAPE = shape_of(Graph(), frozenset())
