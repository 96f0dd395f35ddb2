"""Nodes and edges: the units of work of a graph, and why one comes after another.

A node is a plain value. What it does is its `spec`; what else its result depends on (files,
environment variables, programs) stands beside it, so that one list serves both the key and `why`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NewType

from kindling.graph.place import FileSet, IgnoreRule, Where
from kindling.graph.spec import Spec, SyncSpec

__all__ = [
    "KIND_TRAITS",
    "Edge",
    "EdgeKind",
    "FileSet",
    "IgnoreRule",
    "Kind",
    "KindTraits",
    "Node",
    "NodeId",
    "Pool",
    "Trigger",
    "Where",
    "node_id",
]

NodeId = NewType("NodeId", str)
"""`kind:name`, such as `image:api`."""


class Kind(Enum):
    """What a node does. The value is the first half of its id."""

    CLUSTER = "cluster"
    REGISTRY = "registry"
    LOCAL = "local"
    SERVE = "serve"
    TEST = "test"
    IMAGE = "image"
    PUSH = "push"
    LOAD = "load"
    SECRET = "secret"
    APPLY = "apply"
    OPERATOR = "operator"
    ROLLOUT = "rollout"
    SYNC = "sync"
    ROLLBACK = "rollback"
    PORTFORWARD = "portforward"
    TUNNEL = "tunnel"


class EdgeKind(Enum):
    """Why one node comes after another."""

    CONTENT = "content"
    """The predecessor's output is an input: a changed output digest makes the successor dirty."""
    READY = "ready"
    """The predecessor must be healthy first, and holds the successor again while it is not."""
    ORDER = "order"
    """Just after it, whenever both are due. Neither health nor output matters."""


class Pool(Enum):
    """What bounds how many nodes run at once."""

    BUILD = "build"
    """Image builds, pushes and loads. Counts against `max_parallel_updates`."""
    CLUSTER = "cluster"
    """Writes to the API server. Counts against `max_parallel_updates`."""
    LOCAL = "local"
    """Commands on this machine. Counts against `max_parallel_updates`."""
    CONSOLE = "console"
    """Commands that own the terminal; one at a time."""
    WATCH = "watch"
    """Waiting for the world (rollouts, servers, port-forwards). Not bounded: it costs nothing."""


class Trigger(Enum):
    """Whether a file change runs a node by itself, as Tilt's trigger modes."""

    AUTO = "auto"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class KindTraits:
    """What is true of every node of a kind.

    `version` is the executor's: it is part of every key, so raising it makes all results of that
    kind stale. `on_target`: acts upon the cluster, so that the target's identity is part of the
    key. `session`: lives only as long as the session (a server, a port-forward), so that a new
    session runs it again even when its key is unchanged. `cacheable`: its output can be put back
    from the action cache without running it.
    """

    pool: Pool
    version: int = 1
    on_target: bool = False
    session: bool = False
    cacheable: bool = False


KIND_TRAITS: dict[Kind, KindTraits] = {
    Kind.CLUSTER: KindTraits(Pool.WATCH),
    Kind.REGISTRY: KindTraits(Pool.WATCH, on_target=True),
    Kind.LOCAL: KindTraits(Pool.LOCAL, cacheable=True),
    Kind.SERVE: KindTraits(Pool.WATCH, session=True),
    Kind.TEST: KindTraits(Pool.LOCAL, cacheable=True),
    Kind.IMAGE: KindTraits(Pool.BUILD, cacheable=True),
    Kind.PUSH: KindTraits(Pool.BUILD, on_target=True),
    Kind.LOAD: KindTraits(Pool.BUILD, on_target=True),
    Kind.SECRET: KindTraits(Pool.CLUSTER, on_target=True),
    Kind.APPLY: KindTraits(Pool.CLUSTER, on_target=True),
    Kind.OPERATOR: KindTraits(Pool.CLUSTER, on_target=True),
    Kind.ROLLOUT: KindTraits(Pool.WATCH, on_target=True),
    Kind.SYNC: KindTraits(Pool.WATCH, on_target=True, session=True),
    Kind.ROLLBACK: KindTraits(Pool.CLUSTER, on_target=True),
    Kind.PORTFORWARD: KindTraits(Pool.WATCH, on_target=True, session=True),
    Kind.TUNNEL: KindTraits(Pool.WATCH, session=True),
}


@dataclass(frozen=True, slots=True)
class Edge:
    """`before` comes first, `after` comes later, for the reason `kind` gives."""

    before: NodeId
    after: NodeId
    kind: EdgeKind


@dataclass(frozen=True, slots=True)
class Node:
    """One unit of work.

    `resource` is the name under which users select, trigger and read it (a service groups its
    image, push, apply, rollout and port-forward under one name); it is empty for nodes that belong
    to none, such as the cluster. `env` names the environment variables and `tools` the programs
    that its result depends on. `exclusive`: nothing else starts while it runs, as Tilt's
    non-parallel local resources. `timeout` is in seconds, 0 for none beyond the executor's own.
    """

    id: NodeId
    kind: Kind
    name: str
    spec: Spec
    where: Where = field(default=Where(), compare=False)
    resource: str = ""
    files: tuple[FileSet, ...] = ()
    env: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    trigger: Trigger = Trigger.AUTO
    auto_init: bool = True
    exclusive: bool = False
    timeout: float = 0.0
    labels: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    description: str = field(default="", compare=False)

    @property
    def watched(self) -> tuple[FileSet, ...]:
        """All files whose change concerns it: those of its key, and those that a sync session
        follows by itself."""
        return self.spec.files if isinstance(self.spec, SyncSpec) else self.files

    @property
    def traits(self) -> KindTraits:
        """What is true of every node of this kind."""
        return KIND_TRAITS[self.kind]


def node_id(kind: Kind, name: str) -> NodeId:
    """The id of the node of `kind` called `name`."""
    return NodeId(f"{kind.value}:{name}")
