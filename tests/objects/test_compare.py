"""What of a live object is ours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kindling.objects.compare import differences, digest_of, project


def deployment(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "labels": {"app": "api"}},
        "spec": {"template": {"spec": {"containers": list(containers)}}, **spec},
    }


def live_of(applied: dict[str, Any]) -> dict[str, Any]:
    """The object as a server holds it: defaults, status and others' fields beside ours."""
    return {
        **applied,
        "metadata": {**applied["metadata"], "uid": "1", "resourceVersion": "7",
                     "labels": {**applied["metadata"]["labels"], "theirs": "x"}},
        "spec": {
            **applied["spec"],
            "progressDeadlineSeconds": 600,
            "template": {"spec": {
                "dnsPolicy": "ClusterFirst",
                "containers": [
                    {"name": "injected", "image": "sidecar"},
                    *({"imagePullPolicy": "Always", **c}
                      for c in applied["spec"]["template"]["spec"]["containers"]),
                ],
            }},
        },
        "status": {"replicas": 1},
    }  # fmt: skip


def test_only_the_fields_that_we_wrote_count() -> None:
    applied = deployment({"name": "a", "image": "x"}, {"name": "b", "image": "y"}, replicas=2)
    assert project(live_of(applied), applied) == applied
    assert differences(applied, live_of(applied)) == ()


def test_a_field_that_somebody_changed_is_a_difference_with_a_path() -> None:
    applied = deployment({"name": "a", "image": "x"}, {"name": "b", "image": "y"}, replicas=2)
    live = live_of(
        deployment({"name": "b", "image": "hacked"}, {"name": "a", "image": "x"}, replicas=9)
    )
    assert differences(applied, live) == (
        "spec.template.spec.containers[b].image",
        "spec.replicas",
    )
    assert digest_of(live, applied) != digest_of(live_of(applied), applied)


def test_a_field_or_item_that_is_gone_is_a_difference() -> None:
    applied = deployment({"name": "a", "image": "x"}, {"name": "b"}, replicas=2)
    live = deployment({"name": "a"})
    assert differences(applied, live) == (
        "spec.template.spec.containers[a].image",
        "spec.template.spec.containers[b]",
        "spec.replicas",
    )


@pytest.mark.parametrize(
    ("name", "applied", "live"),
    [
        (
            "ports",
            [{"containerPort": 80}],
            [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP"}],
        ),
        ("ports", [{"port": 80, "x": 1}], [{"port": 80, "protocol": "TCP", "x": 1, "nodePort": 3}]),
        (
            "ports",
            [{"port": 53, "protocol": "UDP"}, {"port": 53}],
            [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
        ),
        (
            "volumeMounts",
            [{"mountPath": "/a", "name": "v"}],
            [{"mountPath": "/token", "name": "v"}, {"mountPath": "/a", "name": "v"}],
        ),
        ("env", [{"name": "A", "value": "1"}], [{"name": "X"}, {"name": "A", "value": "1"}]),
        ("items", [{"key": "k", "path": "p"}], [{"key": "k", "path": "p", "mode": 1}]),
        ("finalizers", ["ours"], ["theirs", "ours"]),
        ("args", ["-v"], ["-v"]),
    ],
)
def test_items_of_lists_are_told_apart_as_the_server_does(
    name: str, applied: list[Any], live: list[Any]
) -> None:
    assert differences({name: applied}, {name: live}) == ()


def test_a_list_without_keys_is_wholly_ours() -> None:
    assert differences({"args": ["a"]}, {"args": ["a", "b"]}) == ("args",)
    assert project({"args": ["a", "b"]}, {"args": ["a"]}) == {"args": ["a", "b"]}
    assert differences({"rules": [{"host": "a"}]}, {"rules": [{"host": "b"}]}) == ("rules[0].host",)


def test_what_is_written_as_text_is_compared_as_stored() -> None:
    secret = {"kind": "Secret", "apiVersion": "v1", "stringData": {"a": "hunter22"}}
    stored = {"kind": "Secret", "apiVersion": "v1", "data": {"a": "aHVudGVyMjI=", "theirs": "eA=="}}
    assert differences(secret, stored) == ()
    assert project(stored, secret)["data"] == {"a": "aHVudGVyMjI="}


def test_nulls_and_status_are_nobodys_business() -> None:
    applied = {
        "spec": {"a": None, "b": 1},
        "status": {"x": 1},
        "metadata": {"creationTimestamp": None},
    }
    live = {"spec": {"a": 5, "b": 1}, "metadata": {"creationTimestamp": "now"}}
    assert project(live, applied) == {"spec": {"b": 1}, "metadata": {}}
    assert differences(applied, live) == ()


def test_other_types_are_differences_and_many_are_cut_short() -> None:
    assert differences({"a": 1}, {"a": "1"}) == ("a",)
    assert differences({"a": True}, {"a": 1}) == ("a",)
    assert differences({"a": {"b": 1}}, {"a": [1]}) == ("a",)
    many = {str(at): at for at in range(50)}
    assert len(differences(many, {}, limit=5)) == 5


LEAVES = st.one_of(st.integers(0, 3), st.sampled_from(["x", "y"]), st.booleans())
KEYS = st.sampled_from(["name", "ports", "env", "args", "key", "containers", "finalizers", "b"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)


@given(OBJECTS)
def test_an_object_that_nobody_touched_has_no_differences(applied: dict[str, Any]) -> None:
    assert project(applied, applied) == applied
    assert differences(applied, applied) == ()


@given(OBJECTS, OBJECTS)
def test_projecting_twice_is_projecting_once(live: dict[str, Any], applied: dict[str, Any]) -> None:
    once = project(live, applied)
    assert project(once, applied) == once


@given(OBJECTS, OBJECTS)
def test_equal_projections_and_no_differences_are_one(
    live: dict[str, Any], applied: dict[str, Any]
) -> None:
    if project(live, applied) == project(applied, applied):
        return
    assert differences(applied, live)
