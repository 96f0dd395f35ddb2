"""What a node has in the cluster and answers for: the objects of an apply, the environment of an
operator node. An environment's children are its own, and go with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kindling.graph.node import Kind, Node, NodeId
from kindling.graph.outcome import Output
from kindling.graph.spec import ApplySpec, ObjectRef, ObjectSpec, OperatorSpec, Spec

__all__ = ["OWNERS", "declared", "is_owner", "orphan_node", "owned", "with_owned"]

Entries = Iterable[Mapping[str, Any]]

OWNERS = (Kind.APPLY, Kind.OPERATOR)
"""Kinds that write what must go again."""

_PREFIXES = tuple(f"{kind.value}:" for kind in OWNERS)
_ENVIRONMENTS = f"{Kind.OPERATOR.value}:"


def is_owner(id_: NodeId) -> bool:
    """Whether a node of this id writes what must go again."""
    return id_.startswith(_PREFIXES)


def declared(spec: Spec) -> tuple[ObjectRef, ...]:
    """What a node is to write."""
    match spec:
        case ApplySpec(objects=objects):
            return tuple(one.ref for one in objects)
        case OperatorSpec(object=one):
            return (one.ref,)
        case _:
            return ()


def owned(id_: NodeId, recorded: Output) -> tuple[Mapping[str, Any], ...]:
    """The objects that a node's record answers for."""
    data = recorded.data
    if not id_.startswith(_ENVIRONMENTS):
        return tuple(data.get("objects", ()))
    if "environments" in data:
        return tuple(data["environments"])
    return (data["environment"],) if "environment" in data else ()


def with_owned(id_: NodeId, recorded: Output, entries: Entries) -> Output:
    """The record, answering for these objects."""
    key = "environments" if id_.startswith(_ENVIRONMENTS) else "objects"
    return Output(recorded.digest, {**recorded.data, key: list(entries)})


def orphan_node(id_: NodeId) -> Node:
    """A stand-in for a node of an earlier session that is in no file any more."""
    kind, _, name = id_.partition(":")
    if kind == Kind.OPERATOR.value:
        nothing = ObjectSpec(ObjectRef("", "", ""), "{}")
        return Node(id_, Kind.OPERATOR, name, OperatorSpec(nothing), resource=name)
    return Node(id_, Kind.APPLY, name, ApplySpec(objects=()), resource=name)
