"""What counts as a difference between what is wanted and what a server keeps."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.operator.controller.comparing import differences, reordering

HASH = "apps.example.com/spec-hash"


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": ""}, {}),
        ({"a": 0, "b": [], "c": {}, "d": False, "e": None}, {}),
        (
            {"requests": {"cpu": "1000m", "memory": "1024Mi"}},
            {"requests": {"cpu": 1, "memory": "1Gi"}},
        ),
        ({"env": [{"name": "A", "value": ""}]}, {"env": [{"name": "A"}, {"name": "B"}]}),
        ({"ports": [{"port": 80}]}, {"ports": [{"port": 80, "nodePort": 30000}]}),
        ({"ports": [{"containerPort": 80}]}, {"ports": [{"containerPort": 80}]}),
        ({"command": ["a", "b"]}, {"command": ["a", "b"]}),
        (
            {"ownerReferences": [{"uid": "u", "controller": True}]},
            {"ownerReferences": [{"uid": "x"}, {"uid": "u", "controller": True}]},
        ),
    ],
)
def test_what_a_server_spells_otherwise_is_none(wanted: Any, live: Any) -> None:
    assert differences(wanted, live) == ()


@pytest.mark.parametrize(
    ("wanted", "live", "paths"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ("a.b",)),
        ({"a": {"b": 1}}, {}, ("a",)),
        ({"a": {"b": 1}}, {"a": "text"}, ("a",)),
        ({"a": True}, {}, ("a",)),
        ({"a": 0}, {"a": 5}, ("a",)),
        ({"a": "1"}, {"a": 1}, ("a",)),
        ({"image": "1000m"}, {"image": "1"}, ("image",)),
        ({"limits": {"cpu": "2"}}, {"limits": {"cpu": "1"}}, ("limits.cpu",)),
        ({"env": [{"name": "A", "value": "1"}]}, {"env": []}, ("env[name=A]",)),
        (
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "value": "2"}]},
            ("env[name=A].value",),
        ),
        (
            {"env": [{"name": "A"}, {"name": "B"}]},
            {"env": [{"name": "B"}, {"name": "A"}]},
            ("env",),
        ),
        ({"command": ["a"]}, {"command": ["a", "b"]}, ("command",)),
        ({"rules": [{"host": "a"}]}, {"rules": [{"host": "b"}]}, ("rules[0].host",)),
    ],
)
def test_a_difference_is_named_by_its_path(wanted: Any, live: Any, paths: Any) -> None:
    assert differences(wanted, live) == paths


def test_the_hash_is_told_only_where_nothing_else_is() -> None:
    """It alone differs when something is wanted no more."""
    wanted = {"metadata": {"annotations": {HASH: "1"}}, "spec": {"a": 1}}
    live = {"metadata": {"annotations": {HASH: "2"}}, "spec": {"a": 2}}
    assert differences(wanted, live) == ("spec.a",)
    assert differences(wanted, live | {"spec": {"a": 1}}) == (f"metadata.annotations.{HASH}",)


def _workload(env: str, inits: str, **more: Any) -> dict[str, Any]:
    container = {"name": "app", "env": [{"name": one} for one in env]} | more
    pod = {"containers": [container], "initContainers": [{"name": one} for one in inits]}
    return {"spec": {"template": {"spec": pod}}}


def test_lists_are_brought_into_the_order_that_is_wanted() -> None:
    """Fields and items of others stay, these behind ours."""
    wanted = _workload("AB", "xy")
    live = _workload("BZA", "yxq", image="i")
    patch = reordering(wanted, live)
    assert patch == _workload("ABZ", "xyq", image="i")
    assert patch is not None
    assert reordering(wanted, patch) is None
    assert reordering({"kind": "Service", "spec": {}}, {"kind": "Service", "spec": {}}) is None
