"""Local ports that lead to the pods of a resource."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import replace

from kindling.errors import ConfigError
from kindling.graph.node import EdgeKind, Kind, Node, NodeId, Trigger, Where, node_id
from kindling.graph.spec import PortForwardSpec
from kindling.lang.assemble.draft import Draft
from kindling.lang.assemble.resources import Resource
from kindling.lang.declared import PortForward

__all__ = ["LocalPorts", "forward_nodes"]

LocalPorts = dict[int, tuple[str, Resource, Where]]
"""Which resource has a local port, at which address, and where that is said."""

_ANY_HOST = frozenset({"0.0.0.0", "::", "*"})
_LOOPBACK = frozenset({"", "localhost", "127.0.0.1", "::1"})


def forward_nodes(
    draft: Draft,
    resource: Resource,
    rollout: NodeId,
    declared: list[int],
    ports: LocalPorts,
    mode: tuple[Trigger, bool, tuple[str, ...]],
) -> Iterator[Node]:
    """Add the port-forwards of a resource; `declared` are the ports of its pods. The same forward
    said twice is one."""
    forwards: dict[PortForward, Where] = {}
    for forward, where in resource.port_forwards:
        forwards.setdefault(forward, where)
    for forward, where in forwards.items():
        node = _forward(resource, rollout, forward, where, declared, ports, mode)
        if node.id in draft.nodes:  # one port on two addresses
            name = f"{node.name}-{forward.host}"
            node = replace(node, id=node_id(Kind.PORTFORWARD, name), name=name)
        draft.connect(rollout, draft.add(node), EdgeKind.READY)
        yield node


def _forward(
    resource: Resource,
    rollout: NodeId,
    forward: PortForward,
    where: Where,
    declared: list[int],
    taken: LocalPorts,
    mode: tuple[Trigger, bool, tuple[str, ...]],
) -> Node:
    container = forward.container_port or _default_port(forward.local_port, declared)
    local = forward.local_port
    host = forward.host or "localhost"
    if not container and not local and not declared:
        raise ConfigError(
            f"{where}: resource `{resource.name}` declares no port to forward to",
            hint="Name one, such as `port_forward(8080, 80)`.",
        )
    if not local and container and container not in taken:
        local = container
    if local:
        _refuse_clash(resource, local, host, where, taken)
    name = f"{resource.name}-{local or container or declared[0]}"
    _, auto_init, labels = mode
    return Node(
        id=node_id(Kind.PORTFORWARD, name),
        kind=Kind.PORTFORWARD,
        name=name,
        spec=PortForwardSpec(
            rollout=rollout,
            local_port=local,
            container_port=container,
            host=host,
            name=forward.name,
            path=posixpath.join("/", forward.path) if forward.path else "",
        ),
        where=where,
        resource=resource.name,
        auto_init=auto_init,
        labels=labels,
    )


def _default_port(local: int, declared: list[int]) -> int:
    if local in declared or not declared:
        return local
    return declared[0]


def _refuse_clash(
    resource: Resource,
    port: int,
    host: str,
    where: Where,
    taken: LocalPorts,
) -> None:
    if port not in taken:
        taken[port] = (host, resource, where)
        return
    other_host, other, other_where = taken[port]
    apart = host != other_host and not (host in _LOOPBACK and other_host in _LOOPBACK)
    if apart and host not in _ANY_HOST and other_host not in _ANY_HOST:
        return
    raise ConfigError(
        f"{where}: local port {port} leads to `{other.name}` and to `{resource.name}`",
        details=[f"first at {other_where}"],
        hint=f"Give one of them another local port, such as `{port + 1}`.",
    )
