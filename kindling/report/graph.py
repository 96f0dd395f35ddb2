"""A graph as a list that a terminal can show: resources, their nodes, and what each comes after."""

from __future__ import annotations

from collections.abc import Collection

from kindling.graph.dag import Graph
from kindling.graph.node import EdgeKind, NodeId
from kindling.report import words
from kindling.report.ink import Ink, wrapped
from kindling.report.narrator import Tone

__all__ = ["graph_text"]


def graph_text(graph: Graph, selected: Collection[NodeId], *, ink: Ink | None = None) -> str:
    """Every selected node under its resource, with its direct predecessors.

    Predecessors by content stand as they are, others with the kind of their edge.
    """
    pen = ink or Ink()
    groups: dict[str, list[NodeId]] = {}
    for id_ in graph.order:
        if id_ in selected:
            groups.setdefault(graph[id_].resource, []).append(id_)
    lines: list[str] = []
    edges = 0
    for resource, ids in groups.items():
        lines.append(pen.bold(resource or "(no resource)"))
        width = max(map(len, ids))
        for id_ in ids:
            before = graph.predecessors(id_)
            edges += len(before)
            names = [
                other if kind is EdgeKind.CONTENT else f"{other} ({kind.value})"
                for other, kind in before.items()
            ]
            first, *rest = wrapped(", ".join(names), pen.width - width - 6)
            arrow = f"  {pen('<-', Tone.DIM)} {first}" if names else ""
            lines.append(f"  {id_:<{width}}{arrow}".rstrip())
            lines += [f"{'':<{width + 7}}{line}" for line in rest]
            if graph[id_].description:
                lines.append(f"{'':<{width + 4}}{pen(graph[id_].description, Tone.DIM)}")
    count = sum(map(len, groups.values()))
    lines.append(f"{words.counted(count, 'node')}, {words.counted(edges, 'edge')}")
    return "\n".join(lines) + "\n"
