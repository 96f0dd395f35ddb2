"""The graph itself: nodes, typed edges, and the questions asked of them.

The only importer of networkx. Order is the order of declaration wherever the edges leave a choice,
so that two evaluations of one file give one graph.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

import networkx as nx

from kindling.errors import GraphError, nearest
from kindling.graph.node import Edge, EdgeKind, Node, NodeId

__all__ = ["Graph"]

_STRONGEST = (EdgeKind.CONTENT, EdgeKind.READY, EdgeKind.ORDER)


class Graph:
    """An immutable directed acyclic graph of nodes.

    Between two nodes there is at most one edge; where several were declared, the strongest stays
    (content before ready before order).

    Raises:
        GraphError: Two nodes of one id, an edge to an unknown node, or a cycle.
    """

    __slots__ = ("_after", "_before", "_digraph", "_nodes", "_order")

    def __init__(self, nodes: Iterable[Node] = (), edges: Iterable[Edge] = ()) -> None:
        self._nodes: dict[NodeId, Node] = {}
        for node in nodes:
            if (first := self._nodes.get(node.id)) is not None:
                raise GraphError(
                    f"{node.where}: `{node.id}` is declared twice",
                    details=[f"first at {first.where}"],
                )
            self._nodes[node.id] = node
        self._before: dict[NodeId, dict[NodeId, EdgeKind]] = {id_: {} for id_ in self._nodes}
        self._after: dict[NodeId, dict[NodeId, EdgeKind]] = {id_: {} for id_ in self._nodes}
        for edge in edges:
            self._connect(edge)
        self._digraph: nx.DiGraph[NodeId] = nx.DiGraph()
        self._digraph.add_nodes_from(self._nodes)
        self._digraph.add_edges_from(
            (before, after) for after, befores in self._before.items() for before in befores
        )
        self._order = self._sorted()

    def _connect(self, edge: Edge) -> None:
        for end in (edge.before, edge.after):
            if end not in self._nodes:
                other = self._nodes.get(edge.after if end == edge.before else edge.before)
                place = f"{other.where}: " if other else ""
                raise GraphError(
                    f"{place}`{edge.after}` depends on `{end}`, which is not declared",
                    hint=nearest(end, self._nodes),
                )
        known = self._before[edge.after].get(edge.before)
        if known is None or _STRONGEST.index(edge.kind) < _STRONGEST.index(known):
            self._before[edge.after][edge.before] = edge.kind
            self._after[edge.before][edge.after] = edge.kind

    def _sorted(self) -> tuple[NodeId, ...]:
        rank = {id_: at for at, id_ in enumerate(self._nodes)}
        try:
            return tuple(nx.lexicographical_topological_sort(self._digraph, key=rank.__getitem__))
        except nx.NetworkXUnfeasible:
            cycle = [before for before, _ in nx.find_cycle(self._digraph)]
            start = min(range(len(cycle)), key=lambda at: rank[cycle[at]])
            names = [*cycle[start:], *cycle[:start], cycle[start]]
            raise GraphError(
                f"{self._nodes[names[0]].where}: a cycle: {' -> '.join(reversed(names))}",
                details=[
                    f"{id_} is declared at {self._nodes[id_].where}" for id_ in dict.fromkeys(names)
                ],
                hint="Remove one of these dependencies.",
            ) from None

    @property
    def nodes(self) -> Mapping[NodeId, Node]:
        """Every node by its id, in the order of declaration."""
        return MappingProxyType(self._nodes)

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Every edge, sorted by the declaration order of its ends."""
        return tuple(
            Edge(before, after, kind)
            for after in self._nodes
            for before, kind in self._before[after].items()
        )

    @property
    def order(self) -> tuple[NodeId, ...]:
        """Every node after all of its predecessors; declaration order where there is a choice."""
        return self._order

    def __getitem__(self, id_: NodeId) -> Node:
        return self._nodes[id_]

    def __contains__(self, id_: object) -> bool:
        return id_ in self._nodes

    def __len__(self) -> int:
        return len(self._nodes)

    def predecessors(self, id_: NodeId) -> Mapping[NodeId, EdgeKind]:
        """What comes directly before a node, and why."""
        return MappingProxyType(self._before[id_])

    def successors(self, id_: NodeId) -> Mapping[NodeId, EdgeKind]:
        """What comes directly after a node, and why."""
        return MappingProxyType(self._after[id_])

    def ancestors(self, ids: Collection[NodeId]) -> frozenset[NodeId]:
        """These nodes and all they depend on, by content or readiness; mere order pulls nothing
        in."""
        seen = set(ids)
        todo = list(ids)
        while todo:
            for id_, kind in self._before[todo.pop()].items():
                if kind is not EdgeKind.ORDER and id_ not in seen:
                    seen.add(id_)
                    todo.append(id_)
        return frozenset(seen)

    def find(self, name: str) -> tuple[NodeId, ...]:
        """The nodes a user means by `name`: a node id, else all nodes of the resource of that name.

        Raises:
            GraphError: Nothing has that name; the message gives the nearest one.
        """
        if name in self._nodes:
            return (NodeId(name),)
        found = tuple(id_ for id_, node in self._nodes.items() if node.resource == name)
        if not found:
            resources = list(dict.fromkeys(n.resource for n in self._nodes.values() if n.resource))
            raise GraphError(
                f"Nothing is called `{name}`",
                details=[f"known: [{', '.join(resources)}]"] if resources else [],
                hint=nearest(name, [*resources, *self._nodes]),
            )
        return found

    def select(self, names: Iterable[str]) -> frozenset[NodeId]:
        """The nodes of these names with all they depend on; of no names, every node."""
        wanted = [id_ for name in names for id_ in self.find(name)]
        return self.ancestors(wanted) if wanted else frozenset(self._nodes)
