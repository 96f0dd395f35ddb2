"""Objects that nobody declares any more leave the cluster; everything else stays.

The rule: an object goes when it is dropped from the file during a session, when a full `up` of the
same file and profiles no longer has it, or on `down`; never by a selection of names, never because
an evaluation failed, and never when it merely moved to another resource.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kindling.engine.unfinished import Unfinished
from kindling.executors.protocol import Executor, Job, World
from kindling.graph.dag import Graph
from kindling.graph.node import Kind, Node, NodeId
from kindling.graph.outcome import Output
from kindling.graph.spec import ApplySpec, ClusterSpec, SecretSpec
from kindling.store.database import Store

__all__ = ["Collector", "Identity", "declared_objects", "leftovers", "orphan_node"]

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
        if isinstance(node.spec, ApplySpec):
            found.update(
                _identity(o.ref.api_version, o.ref.kind, o.ref.namespace or default, o.ref.name)
                for o in node.spec.objects
            )
        elif isinstance(node.spec, SecretSpec):
            found.add(_identity("v1", "Secret", node.spec.namespace or default, node.spec.name))
    return frozenset(found)


def leftovers(recorded: Output, declared: frozenset[Identity], default: str) -> Output | None:
    """The part of an apply's recorded output that nobody declares any more; None when nothing is
    left."""
    objects: Iterable[Mapping[str, Any]] = recorded.data.get("objects", ())
    gone = [
        o
        for o in objects
        if _identity(o["apiVersion"], o["kind"], o.get("namespace") or default, o["name"])
        not in declared
    ]
    if not gone:
        return None
    return Output(digest=recorded.digest, data={**recorded.data, "objects": gone})


def orphan_node(id_: NodeId) -> Node:
    """A stand-in for an apply node of an earlier session that is in no file any more."""
    name = id_.partition(":")[2]
    return Node(id=id_, kind=Kind.APPLY, name=name, spec=ApplySpec(objects=()), resource=name)


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
            StoreError: What an apply is about to write could not be put down.
        """
        self._unfinished.begin(node, scope)

    def is_unfinished(self, id_: NodeId) -> bool:
        """Whether an apply may have left objects that nobody has looked for since."""
        return id_ in self._unfinished.of()

    async def dropped(self, node: Node, previous: Output | None, graph: Graph) -> None:
        """An apply ran again: objects that it had and that nobody declares now go."""
        before = self._unfinished.with_rest(node.id, previous or Output(""))
        gone = leftovers(before, declared_objects(graph), default_namespace(graph))
        if gone is not None:
            await self._undo(node, gone)
        self._unfinished.end(node.id)

    async def removed(self, node: Node, graph: Graph) -> None:
        """A node left the graph: what it did is undone, but for objects that moved elsewhere."""
        record = self._store.record(node.id)
        if node.kind is Kind.APPLY:
            await self.dropped(node, record.output if record else None, graph)
            self._store.forget(node.id)
        elif node.kind is Kind.SECRET and record is not None:
            await self._undo(node, record.output)
            self._store.forget(node.id)

    async def orphans(self, graph: Graph, scope: str) -> None:
        """Applies of earlier sessions of the same file and profiles that no file has any more."""
        applied = (id_ for id_ in self._store.records() if id_.startswith("apply:"))
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
        for o in output.data.get("objects", ()):
            self._notes.append(f"removing {o['kind']}/{o['name']}, which is not declared any more")
        self._notes.extend(await self._executors[node.kind].undo(job, output))
