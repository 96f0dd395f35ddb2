"""The graph while it is being put together."""

from __future__ import annotations

from dataclasses import dataclass, field

from kindling.errors import ConfigError
from kindling.graph.node import Edge, EdgeKind, Node, NodeId, Where
from kindling.lang.declared import Remark

__all__ = ["Draft"]


@dataclass(slots=True)
class Draft:
    """Nodes, edges and remarks in the order in which they were found. One assembling owns one."""

    nodes: dict[NodeId, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    members: dict[str, list[NodeId]] = field(default_factory=dict)
    """What each resource consists of; images that several share are members of all of them."""

    def add(self, node: Node) -> NodeId:
        """Take in a node; it becomes a member of its resource."""
        if (first := self.nodes.get(node.id)) is not None:
            raise ConfigError(
                f"{node.where}: `{node.id}` is declared twice", details=[f"first at {first.where}"]
            )
        self.nodes[node.id] = node
        if node.resource:
            self.join(node.resource, node.id)
        return node.id

    def join(self, resource: str, id_: NodeId) -> None:
        """Make a node a member of a resource."""
        members = self.members.setdefault(resource, [])
        if id_ not in members:
            members.append(id_)

    def connect(self, before: NodeId, after: NodeId, kind: EdgeKind) -> None:
        """`after` comes after `before`."""
        if before != after:
            self.edges.append(Edge(before, after, kind))

    def warn(self, where: Where, text: str) -> None:
        """Something the user should know."""
        self.remarks.append(Remark(text, where=where))
