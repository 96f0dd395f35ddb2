"""Objects that nobody declares any more leave the cluster; everything else stays.

The rule: an object goes when it is dropped from the file during a session, when a full `up` of the
same file and profiles no longer has it, or on `down`; never by a selection of names, never because
an evaluation failed, and never when it merely moved to another resource.
"""

from __future__ import annotations

from collections.abc import Mapping

from kindling.engine.owned import declared, is_owner, orphan_node, owned, with_owned
from kindling.engine.unfinished import Unfinished
from kindling.executors.protocol import Executor, Job, World
from kindling.graph.dag import Graph
from kindling.graph.node import Kind, Node, NodeId
from kindling.graph.outcome import Output
from kindling.graph.spec import ClusterSpec, SecretSpec
from kindling.store.database import Store

__all__ = ["Collector", "Identity", "declared_objects", "leftovers"]

Identity = tuple[str, str, str, str]
"""API group, kind, namespace, name: what stays the same when an object's version changes."""


def _identity(api_version: str, kind: str, namespace: str, name: str) -> Identity:
    return (api_version.rpartition("/")[0], kind, namespace, name)


def default_namespace(graph: Graph) -> str:
    """The namespace of objects that name none."""
    for node in graph.nodes.values():
        if isinstance(node.spec, ClusterSpec):
            return node.spec.namespace
    return "default"


def declared_objects(graph: Graph) -> frozenset[Identity]:
    """Every object that `graph` declares. Cluster-scoped ones appear with the default namespace,
    as do all that name none: the same filling-in is done to recorded ones before they are
    compared."""
    default = default_namespace(graph)
    found: set[Identity] = set()
    for node in graph.nodes.values():
        found.update(
            _identity(ref.api_version, ref.kind, ref.namespace or default, ref.name)
            for ref in declared(node.spec)
        )
        if isinstance(node.spec, SecretSpec):
            found.add(_identity("v1", "Secret", node.spec.namespace or default, node.spec.name))
    return frozenset(found)


def leftovers(
    id_: NodeId, recorded: Output, declared: frozenset[Identity], default: str
) -> Output | None:
    """The part of a node's recorded output that nobody declares any more; None when nothing is
    left."""
    gone = [
        o
        for o in owned(id_, recorded)
        if _identity(o["apiVersion"], o["kind"], o.get("namespace") or default, o["name"])
        not in declared
    ]
    return with_owned(id_, recorded, gone) if gone else None


class Collector:
    """Removes what nobody declares any more, through the executors' `undo`."""

    def __init__(self, executors: Mapping[Kind, Executor], store: Store, world: World) -> None:
        self._executors = executors
        self._store = store
        self._world = world
        self._notes: list[str] = []
        self._unfinished = Unfinished(store)

    def take_notes(self) -> tuple[str, ...]:
        """What was removed or kept since the last call, a line each."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def begun(self, node: Node, scope: str) -> None:
        """A node is about to run.

        Raises:
            StoreError: What it is about to write could not be put down.
        """
        self._unfinished.begin(node, scope)

    def is_unfinished(self, id_: NodeId) -> bool:
        """Whether a node may have left objects that nobody has looked for since."""
        return id_ in self._unfinished.of()

    async def dropped(self, node: Node, previous: Output | None, graph: Graph) -> None:
        """A node wrote again: objects that it had and that nobody declares now go."""
        before = self._unfinished.with_rest(node.id, previous or Output(""))
        gone = leftovers(node.id, before, declared_objects(graph), default_namespace(graph))
        if gone is not None:
            await self._undo(node, gone)
        self._unfinished.end(node.id)

    async def removed(self, node: Node, graph: Graph) -> None:
        """A node left the graph: what it did is undone, but for objects that moved elsewhere."""
        record = self._store.record(node.id)
        if is_owner(node.id):
            await self.dropped(node, record.output if record else None, graph)
            self._store.forget(node.id)
        elif node.kind is Kind.SECRET and record is not None:
            await self._undo(node, record.output)
            self._store.forget(node.id)

    async def orphans(self, graph: Graph, scope: str) -> None:
        """Nodes of earlier sessions of the same file and profiles that wrote objects, and that no
        file has any more."""
        applied = (id_ for id_ in self._store.records() if is_owner(id_))
        ours = [id_ for id_ in applied if self._store.fact(f"scope/{id_}") == scope]
        for id_ in dict.fromkeys((*ours, *self._unfinished.of(scope))):
            if id_ not in graph:
                await self.removed(orphan_node(id_), graph)

    def _note(self, line: str, stream: str = "stdout") -> None:
        del stream  # all of them are told alike
        self._notes.append(line)

    async def _undo(self, node: Node, output: Output) -> None:
        job = Job(
            node=node,
            key="",
            attempt=0,
            world=self._world,
            log=self._note,
        )
        for o in owned(node.id, output):
            self._notes.append(f"removing {o['kind']}/{o['name']}, which is not declared any more")
        self._notes.extend(await self._executors[node.kind].undo(job, output))
