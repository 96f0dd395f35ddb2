"""The graph for other programs: Graphviz dot, Mermaid, and JSON. A picture of our own is in `svg`.

`to_json` (schema `kindling.graph/1`):

    schema    "kindling.graph/1"
    nodes     in the order of declaration, each:
      id, kind, name, resource
      where         {"file", "line", "column"}: its declaration; 0 stands for unknown
      trigger       "auto" | "manual"
      auto_init     whether it starts with the session
      labels        []
      files         the paths it reads, relative to the Kindlingfile's folder
      env, tools    the environment variables and programs its result depends on
      description   what a sync node carries (`src -> /app`), else ""
      status        only where one is known
    edges     [{"before", "after", "kind": "content" | "ready" | "order"}]
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from kindling.graph.dag import Graph
from kindling.graph.node import EdgeKind, Kind, Node, NodeId

__all__ = ["KIND_COLOURS", "subgraph", "to_dot", "to_json", "to_mermaid"]

_NO_STATUS: Mapping[NodeId, str] = MappingProxyType({})

KIND_COLOURS: Mapping[Kind, tuple[str, str]] = MappingProxyType(
    {
        Kind.CLUSTER: ("#e8eaf6", "#3949ab"),
        Kind.REGISTRY: ("#e8eaf6", "#3949ab"),
        Kind.LOCAL: ("#fff3e0", "#ef6c00"),
        Kind.SERVE: ("#fff8e1", "#ff8f00"),
        Kind.TEST: ("#f1f8e9", "#558b2f"),
        Kind.IMAGE: ("#e3f2fd", "#1565c0"),
        Kind.PUSH: ("#e0f7fa", "#00838f"),
        Kind.LOAD: ("#e0f7fa", "#00838f"),
        Kind.SECRET: ("#fce4ec", "#ad1457"),
        Kind.APPLY: ("#ede7f6", "#5e35b1"),
        Kind.OPERATOR: ("#ede7f6", "#5e35b1"),
        Kind.ROLLOUT: ("#e8f5e9", "#2e7d32"),
        Kind.SYNC: ("#e0f2f1", "#00695c"),
        Kind.ROLLBACK: ("#ffebee", "#c62828"),
        Kind.PORTFORWARD: ("#f5f5f5", "#616161"),
        Kind.TUNNEL: ("#f5f5f5", "#616161"),
    }
)
"""Fill and outline of a node's box."""

_DOT_STYLES = {EdgeKind.CONTENT: "solid", EdgeKind.READY: "dashed", EdgeKind.ORDER: "dotted"}
_MERMAID_ARROWS = {
    EdgeKind.CONTENT: "-->",
    EdgeKind.READY: "-.->",
    EdgeKind.ORDER: "-. order .->",
}


def subgraph(graph: Graph, ids: Collection[NodeId]) -> Graph:
    """The graph of these nodes alone, with the edges between them."""
    chosen = frozenset(ids)
    return Graph(
        [node for id_, node in graph.nodes.items() if id_ in chosen],
        [edge for edge in graph.edges if edge.before in chosen and edge.after in chosen],
    )


def to_json(graph: Graph, status: Mapping[NodeId, str] = _NO_STATUS) -> dict[str, Any]:
    """See the module's docstring."""
    return {
        "schema": "kindling.graph/1",
        "nodes": [_node_to_json(node, status.get(id_)) for id_, node in graph.nodes.items()],
        "edges": [
            {"before": edge.before, "after": edge.after, "kind": edge.kind.value}
            for edge in graph.edges
        ],
    }


def to_dot(graph: Graph, status: Mapping[NodeId, str] = _NO_STATUS) -> str:
    """For Graphviz: one cluster per resource; content edges solid, ready dashed, order dotted."""
    lines = [
        "digraph kindling {",
        "  rankdir=LR;",
        '  node [shape=box, style="rounded,filled", fontname="Helvetica"];',
    ]
    for number, (resource, nodes) in enumerate(_by_resource(graph).items()):
        indent = "  "
        if resource:
            lines += [f"  subgraph cluster_{number} {{", f"    label={_quoted(resource)};"]
            indent = "    "
        for node in nodes:
            fill, line = KIND_COLOURS[node.kind]
            label = _labelled(node, status)
            lines.append(
                f"{indent}{_quoted(node.id)} [label={_quoted(label)}, "
                f'fillcolor="{fill}", color="{line}"];'
            )
        if resource:
            lines.append("  }")
    lines += [
        f"  {_quoted(edge.before)} -> {_quoted(edge.after)} [style={_DOT_STYLES[edge.kind]}];"
        for edge in graph.edges
    ]
    return "\n".join([*lines, "}", ""])


def to_mermaid(graph: Graph, status: Mapping[NodeId, str] = _NO_STATUS) -> str:
    """For Mermaid: content edges solid, ready dotted, order dotted with its name."""
    name = {id_: f"n{number}" for number, id_ in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    for number, (resource, nodes) in enumerate(_by_resource(graph).items()):
        indent = "  "
        if resource:
            lines.append(f'  subgraph r{number}["{_entities(resource)}"]')
            indent = "    "
        lines += [
            f'{indent}{name[node.id]}["{_entities(_labelled(node, status))}"]:::{node.kind.value}'
            for node in nodes
        ]
        if resource:
            lines.append("  end")
    lines += [
        f"  {name[edge.before]} {_MERMAID_ARROWS[edge.kind]} {name[edge.after]}"
        for edge in graph.edges
    ]
    for kind in dict.fromkeys(node.kind for node in graph.nodes.values()):
        fill, line = KIND_COLOURS[kind]
        lines.append(f"  classDef {kind.value} fill:{fill},stroke:{line},color:#212121")
    return "\n".join([*lines, ""])


def _by_resource(graph: Graph) -> dict[str, list[Node]]:
    groups: dict[str, list[Node]] = {}
    for node in graph.nodes.values():
        groups.setdefault(node.resource, []).append(node)
    return groups


def _labelled(node: Node, status: Mapping[NodeId, str]) -> str:
    return f"{node.id} ({status[node.id]})" if status.get(node.id) else node.id


def _quoted(text: str) -> str:
    """A quoted string of the dot language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _entities(text: str) -> str:
    """Text inside a quoted Mermaid label: whatever could end it or mean markup, as a character
    code.
    """
    return "".join(
        char if char.isalnum() or char in " :/._-()@+=," else f"#{ord(char)};" for char in text
    )


def _node_to_json(node: Node, status: str | None) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": node.id,
        "kind": node.kind.value,
        "name": node.name,
        "resource": node.resource,
        "where": {
            "file": node.where.file,
            "line": node.where.line,
            "column": node.where.column,
        },
        "trigger": node.trigger.value,
        "auto_init": node.auto_init,
        "labels": list(node.labels),
        "files": list(dict.fromkeys(path for files in node.watched for path in files.paths)),
        "env": list(node.env),
        "tools": list(node.tools),
        "description": node.description,
    }
    if status:
        data["status"] = status
    return data
