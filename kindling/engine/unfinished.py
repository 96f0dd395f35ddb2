"""Applies that were begun and not yet taken account of, so that none leaves an object behind.

What an apply made is recorded when it is over. A session that is killed before that would leave
objects that no record knows; once they leave the file too, nobody would ever remove them. So what
an apply is about to write, and what it had written before, is put down first, and crossed out when
what is no longer declared has been removed. An environment is written in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kindling.engine.owned import declared, owned, with_owned
from kindling.graph.node import Node, NodeId
from kindling.graph.outcome import Output
from kindling.store.database import Store

__all__ = ["Unfinished"]

_FACT = "applies under way"


class Unfinished:
    """The applies under way, as the store has them.

    Raises (every method):
        StoreError: The store cannot be read or written.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, node: Node, scope: str) -> None:
        """A node is about to write. `scope` is that of its graph."""
        refs = declared(node.spec)
        if not refs:
            return
        record = self._store.record(node.id)
        wanted = [
            {
                "apiVersion": ref.api_version,
                "kind": ref.kind,
                "name": ref.name,
                "namespace": ref.namespace,
            }
            for ref in refs
        ]
        known = self.with_rest(node.id, record.output if record else Output(""))
        objects = _merged(owned(node.id, known), wanted)
        self._save({**self._load(), node.id: {"scope": scope, "objects": objects}})

    def end(self, id_: NodeId) -> None:
        """What it left behind has been removed."""
        left = self._load()
        if left.pop(id_, None) is not None:
            self._save(left)

    def of(self, scope: str = "") -> tuple[NodeId, ...]:
        """The applies under way; with `scope`, those of such a graph."""
        return tuple(
            NodeId(id_) for id_, one in self._load().items() if scope in ("", one["scope"])
        )

    def with_rest(self, id_: NodeId, recorded: Output) -> Output:
        """What a record says, and what else that apply may have written."""
        entry = self._load().get(id_)
        if entry is None:
            return recorded
        return with_owned(id_, recorded, _merged(owned(id_, recorded), entry["objects"]))

    def _load(self) -> dict[str, Any]:
        text = self._store.fact(_FACT)
        return json.loads(text) if text else {}

    def _save(self, left: Mapping[str, Any]) -> None:
        self._store.set_fact(_FACT, json.dumps(left) if left else None)


def _merged(recorded: Any, others: Any) -> list[Any]:
    """The recorded objects, and the others that are none of them."""
    known = {
        (name, space) for item in recorded for name in [_name(item)] for space in _spaces(item)
    }
    return [*recorded, *(o for o in others if (_name(o), o.get("namespace") or "") not in known)]


def _name(item: Mapping[str, Any]) -> tuple[str, str, str]:
    group = str(item["apiVersion"]).rpartition("/")[0]
    return group, str(item["kind"]), str(item["name"])


def _spaces(item: Mapping[str, Any]) -> tuple[str, ...]:
    """The namespaces that may be meant by an object which a record knows: a file may name none."""
    return (str(item.get("namespace") or ""), "")
