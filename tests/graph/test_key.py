"""Keys and their explanation: one list, two readers."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from kindling.errors import StoreError
from kindling.graph.key import UNSET, Manifest, differences, manifest, spec_entries
from kindling.graph.node import Kind, Node, NodeId, node_id
from kindling.graph.spec import (
    ApplySpec,
    CommandSpec,
    DockerImageSpec,
    ObjectRef,
    ObjectSpec,
    Probe,
    ProbeAction,
    Readiness,
    RolloutSpec,
    SecretSpec,
    ServeSpec,
    Spec,
)


def make(kind: Kind = Kind.LOCAL, spec: Spec | None = None, **given: Any) -> Manifest:
    node = Node(node_id(kind, "a"), kind, "a", spec or CommandSpec(("make",)))
    facts: dict[str, Any] = {"files": {}, "env": {}, "tools": {}, "inputs": {}, "target": ""}
    return manifest(node, **(facts | given))


def said(old: Manifest, new: Manifest) -> list[str]:
    return [difference.text for difference in differences(old, new)]


def test_equal_facts_give_equal_keys_and_no_differences() -> None:
    one = make(files={"b": "1", "a": "2"}, env={"X": "1"})
    two = make(files={"a": "2", "b": "1"}, env={"X": "1"})
    assert one == two
    assert one.key == two.key
    assert differences(one, two) == ()


def test_every_entry_has_its_label() -> None:
    full = make(
        Kind.PUSH,
        files={"src/a.py": "f"},
        env={"CC": "gcc", "NO": None},
        tools={"go": "t"},
        inputs={NodeId("image:base"): "i"},
        target="uid",
    )
    labels = [label for label, _ in full.entries]
    assert labels[0] == "kind"
    assert labels[-6:] == [
        "file:src/a.py",
        "env:CC",
        "env:NO",
        "tool:go",
        "from:image:base",
        "target",
    ]
    assert dict(full.entries)["env:NO"] == UNSET
    assert dict(full.entries)["kind"] == "push/1"


def test_the_target_is_part_of_nothing_that_does_not_act_upon_it() -> None:
    assert make(Kind.IMAGE, target="one").key == make(Kind.IMAGE, target="two").key
    assert make(Kind.APPLY, target="one").key != make(Kind.APPLY, target="two").key


def test_each_difference_is_said_in_plain_english() -> None:
    old = make(
        Kind.APPLY,
        files={"changed.go": "1", "gone.go": "1"},
        env={"CC": "gcc", "SET": None, "UNSET": "x"},
        tools={"go": "1"},
        inputs={NodeId("image:base"): "1"},
        target="one",
    )
    new = make(
        Kind.APPLY,
        CommandSpec(("make", "all"), outputs=("bin",)),
        files={"changed.go": "2", "new.go": "1"},
        env={"CC": "clang", "SET": "1", "UNSET": None},
        tools={"go": "2"},
        inputs={NodeId("image:base"): "2", NodeId("image:other"): "1"},
        target="two",
    )
    assert said(old, new) == [
        "its command changed",
        "the list of its outputs changed",
        "`changed.go` changed",
        "`new.go` is new",
        "environment variable `CC` changed",
        "environment variable `SET` is set now",
        "environment variable `UNSET` is not set any more",
        "the program `go` changed",
        "the output of `image:base` changed",
        "`image:other` is a new input",
        "the cluster is another one",
        "`gone.go` is gone",
    ]


def test_values_of_environment_variables_are_not_in_a_manifest() -> None:
    assert "hunter2-secret" not in str(make(env={"PASSWORD": "hunter2-secret"}))


def test_fields_that_only_steer_the_work_are_not_in_the_key() -> None:
    spec = SecretSpec("s", "default", literals=(("k", "v"),))
    assert spec_entries(spec) == spec_entries(replace(spec, literals=()))
    serve = ServeSpec(("run",), probe=Probe(ProbeAction.HTTP_GET, port=80))
    assert spec_entries(serve) == spec_entries(replace(serve, probe=None))


def test_every_other_field_of_a_spec_is_in_the_key() -> None:
    spec = DockerImageSpec("a", "./a")
    labels = {label for label, _ in spec_entries(spec)}
    assert labels == {f"spec.{f.name}" for f in fields(spec) if f.name != "cache_from"}
    changes: list[tuple[str, Any]] = [
        ("pull", True),
        ("build_args", (("A", "1"),)),
        ("target", "dev"),
    ]
    for name, value in changes:
        changed: Any = replace(spec, **{name: value})
        assert spec_entries(changed) != spec_entries(spec)


def test_enums_and_nested_values_count() -> None:
    ref = ObjectRef("apps/v1", "Deployment", "web")
    spec = RolloutSpec("apply:web", (ref,))
    for other in (
        replace(spec, readiness=Readiness.IGNORE),
        replace(spec, objects=(replace(ref, namespace="n"),)),
        replace(spec, selectors=((("app", "web"),),)),
    ):
        assert spec_entries(other) != spec_entries(spec)


def test_a_changed_object_is_named() -> None:
    def spec(image: str) -> ApplySpec:
        return ApplySpec(
            (
                ObjectSpec(ObjectRef("v1", "Service", "web"), "{}"),
                ObjectSpec(ObjectRef("apps/v1", "Deployment", "web", "dev"), image),
            )
        )

    assert said(make(Kind.APPLY, spec("1")), make(Kind.APPLY, spec("2"))) == [
        "its object `Deployment/web in dev` changed"
    ]


def test_a_precomputed_spec_gives_the_same_key() -> None:
    node = Node(NodeId("local:a"), Kind.LOCAL, "a", CommandSpec(("make",), env=(("A", "b"),)))
    facts: dict[str, Any] = {"files": {}, "env": {}, "tools": {}, "inputs": {}, "target": ""}
    entries = spec_entries(node.spec)
    assert manifest(node, **facts).key == manifest(node, **facts, spec=entries).key


def test_file_names_that_are_not_utf8_have_a_digest() -> None:
    assert make(files={"caf\udce9": "1"}).key != make(files={"cafe": "1"}).key


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
manifests = st.dictionaries(names, names).map(lambda found: Manifest(tuple(found.items())))


@given(manifests, manifests)
def test_keys_differ_exactly_when_there_is_a_difference(old: Manifest, new: Manifest) -> None:
    """But for the order of entries, which `manifest` fixes."""
    ordered = [Manifest(tuple(sorted(m.entries))) for m in (old, new)]
    empty = any(not digest for m in (old, new) for _, digest in m.entries)
    if not empty:
        assert (ordered[0].key == ordered[1].key) == (not differences(old, new))


@given(manifests)
def test_a_manifest_survives_its_json(one: Manifest) -> None:
    assert Manifest.from_json(one.to_json()) == one


@pytest.mark.parametrize("broken", [None, {}, ["a"], ["a", 1], "ab"])
def test_what_is_no_manifest_is_refused(broken: object) -> None:
    with pytest.raises(StoreError, match="manifest"):
        Manifest.from_json(broken)
