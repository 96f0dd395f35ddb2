"""Where the boxes of a picture of the graph go: layers from left to right, few crossings.

The classic scheme for layered drawings (Sugiyama): a node's layer is the longest way to it; edges
that skip layers get a bend in each layer they pass; each layer is ordered by the mean place of its
neighbours, a few times there and back; at last every layer is moved as near to its neighbours as
order and spacing allow. All edges of one kind from one node share their bends, so that what
everything depends on (the cluster) leaves as one line and branches late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kindling.graph.dag import Graph
from kindling.graph.node import EdgeKind, NodeId

__all__ = ["Layout", "Segment", "layout"]

_SWEEPS = 6


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of one or more edges, from a spot in one layer to a spot in the next.

    `starts` and `ends`: the spot there is a node and not a bend.
    """

    kind: EdgeKind
    layer: int
    from_y: float
    to_y: float
    starts: bool
    ends: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """`places` gives each node's layer and the middle of its box, in units of one box and its
    gap.
    """

    places: Mapping[NodeId, tuple[int, float]]
    segments: tuple[Segment, ...]
    layers: int
    height: float


def layout(graph: Graph) -> Layout:
    """Lay the graph out."""
    drawing = _Drawing(graph)
    drawing.order()
    drawing.place()
    return drawing.done()


class _Drawing:
    """A drawing under way. Spots (nodes and bends) are numbers."""

    def __init__(self, graph: Graph) -> None:
        self.ids = graph.order
        number = {id_: at for at, id_ in enumerate(self.ids)}
        self.layer = [0] * len(self.ids)
        for id_ in self.ids:
            for before in graph.predecessors(id_):
                at = number[id_]
                self.layer[at] = max(self.layer[at], self.layer[number[before]] + 1)
        self._pull_right(graph, number)
        self.before: list[list[int]] = [[] for _ in self.ids]
        self.after: list[list[int]] = [[] for _ in self.ids]
        self.links: dict[tuple[int, int], EdgeKind] = {}
        bends: dict[tuple[int, EdgeKind, int], int] = {}
        for edge in graph.edges:
            source, end = number[edge.before], number[edge.after]
            at = source
            for layer in range(self.layer[source] + 1, self.layer[end]):
                bend = bends.get((source, edge.kind, layer))
                if bend is None:
                    bend = bends[source, edge.kind, layer] = len(self.layer)
                    self.layer.append(layer)
                    self.before.append([])
                    self.after.append([])
                self._link(at, bend, edge.kind)
                at = bend
            self._link(at, end, edge.kind)
        self.layers: list[list[int]] = [[] for _ in range(max(self.layer, default=-1) + 1)]
        for spot, layer in enumerate(self.layer):
            self.layers[layer].append(spot)
        self.y = [0.0] * len(self.layer)

    def _pull_right(self, graph: Graph, number: Mapping[NodeId, int]) -> None:
        """Bring a node that has no predecessors next to its first successor."""
        for id_ in self.ids:
            after = [self.layer[number[other]] for other in graph.successors(id_)]
            if after and not graph.predecessors(id_):
                self.layer[number[id_]] = min(after) - 1

    def _link(self, source: int, end: int, kind: EdgeKind) -> None:
        if (source, end) not in self.links:
            self.links[source, end] = kind
            self.after[source].append(end)
            self.before[end].append(source)

    def order(self) -> None:
        place = [0.0] * len(self.layer)
        for spots in self.layers:
            for at, spot in enumerate(spots):
                place[spot] = at / len(spots)
        for sweep in range(_SWEEPS):
            forth = sweep % 2 == 0
            neighbours = self.before if forth else self.after
            for spots in self.layers if forth else reversed(self.layers):
                mean = {spot: _mean(place, neighbours[spot], place[spot]) for spot in spots}
                spots.sort(key=mean.__getitem__)
                for at, spot in enumerate(spots):
                    place[spot] = at / len(spots)

    def place(self) -> None:
        for spots in self.layers:
            for at, spot in enumerate(spots):
                self.y[spot] = at - (len(spots) - 1) / 2
        for sweep in range(_SWEEPS * 2):
            forth = sweep % 2 == 0
            neighbours = self.before if forth else self.after
            for spots in self.layers if forth else reversed(self.layers):
                wanted = [_mean(self.y, neighbours[spot], self.y[spot]) for spot in spots]
                offsets = self._offsets(spots)
                for spot, y in zip(spots, _spread(wanted, offsets), strict=True):
                    self.y[spot] = y
        top = min(self.y, default=0.0)
        self.y = [y - top for y in self.y]

    def _offsets(self, spots: Sequence[int]) -> list[float]:
        """How far below the first each spot must be at least. Bends need less room than boxes."""
        offsets: list[float] = []
        room = 0.0
        for at, spot in enumerate(spots):
            if at:
                boxes = (spot < len(self.ids)) + (spots[at - 1] < len(self.ids))
                room += (0.3, 0.7, 1.0)[boxes]
            offsets.append(room)
        return offsets

    def done(self) -> Layout:
        nodes = len(self.ids)
        return Layout(
            places={id_: (self.layer[at], self.y[at]) for at, id_ in enumerate(self.ids)},
            segments=tuple(
                Segment(kind, self.layer[a], self.y[a], self.y[b], a < nodes, b < nodes)
                for (a, b), kind in self.links.items()
            ),
            layers=len(self.layers),
            height=max(self.y, default=0.0) + 1,
        )


def _mean(values: Sequence[float], at: Sequence[int], otherwise: float) -> float:
    return sum(values[spot] for spot in at) / len(at) if at else otherwise


def _spread(wanted: Sequence[float], offsets: Sequence[float]) -> list[float]:
    """The places nearest to `wanted` (least squares) that keep order and spacing.

    With the offsets taken away, spacing means only "not decreasing", and pooling adjacent violators
    solves that exactly.
    """
    pools: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        total, count = want - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            before, size = pools.pop()
            total, count = total + before, count + size
        pools.append((total, count))
    flat = [total / count for total, count in pools for _ in range(count)]
    return [value + offset for value, offset in zip(flat, offsets, strict=True)]
