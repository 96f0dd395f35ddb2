"""Applies that a killed session left under way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kindling.engine.unfinished import Unfinished
from kindling.graph.node import Kind, Node, NodeId
from kindling.graph.outcome import Output
from kindling.graph.spec import ApplySpec, ObjectRef, ObjectSpec
from kindling.store.database import Store

NOTHING = Output("")
WEB = NodeId("apply:web")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as store:
        yield store


def apply(*names: str, namespace: str = "") -> Node:
    objects = tuple(ObjectSpec(ObjectRef("v1", "ConfigMap", n, namespace), "{}") for n in names)
    return Node(id=WEB, kind=Kind.APPLY, name="web", spec=ApplySpec(objects))


def names(output: Output) -> list[str]:
    return [item["name"] for item in output.data.get("objects", ())]


def test_what_was_begun_is_known_until_it_is_taken_account_of(store: Store) -> None:
    Unfinished(store).begin(apply("a", "b"), "scope")
    later = Unfinished(store)
    assert later.of() == later.of("scope") == (WEB,)
    assert later.of("another file") == ()
    assert names(later.with_rest(WEB, NOTHING)) == ["a", "b"]
    later.end(WEB)
    assert later.of() == ()
    assert later.with_rest(WEB, NOTHING) is NOTHING


def test_what_several_killed_sessions_began_adds_up(store: Store) -> None:
    unfinished = Unfinished(store)
    unfinished.begin(apply("a", "b"), "scope")
    unfinished.begin(apply("b", "c"), "scope")
    assert sorted(names(unfinished.with_rest(WEB, NOTHING))) == ["a", "b", "c"]


def test_an_object_that_names_no_namespace_is_the_one_that_the_record_places(store: Store) -> None:
    unfinished = Unfinished(store)
    unfinished.begin(apply("a"), "scope")
    item = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "a",
        "namespace": "default",
        "uid": "1",
    }
    assert unfinished.with_rest(WEB, Output("d", {"objects": [item]})).data["objects"] == [item]
