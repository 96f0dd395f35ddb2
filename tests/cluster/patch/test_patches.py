"""JSON, merge and strategic merge patches, without a server to compare with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kindling.cluster.model.status import ApiError
from kindling.cluster.patch.json_patch import MAX_OPERATIONS, json_patch
from kindling.cluster.patch.merge import merge
from kindling.cluster.patch.strategic import strategic_merge
from tests.cluster.patch.manifests import (
    JSON_ERRORS,
    JSON_PATCHES,
    STRATEGIC,
    STRATEGIC_ERRORS,
    Json,
)
from tests.cluster.patch.openapi import own_shape
from tests.cluster.patch.shapes import THING

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text("abc", max_size=2), VALUES, max_size=4)


def items(patch: list[Json], *names: str) -> list[Json]:
    obj = {"spec": {"items": [{"name": name, "image": "old"} for name in names]}}
    found: list[Json] = strategic_merge(obj, {"spec": {"items": patch}}, THING)["spec"]["items"]
    return found


def test_items_of_the_patch_come_before_the_live_ones_that_follow() -> None:
    assert [item["name"] for item in items([{"name": "x"}, {"name": "b"}], *"abc")] == [
        "x",
        "a",
        "b",
        "c",
    ]


def test_directives_never_reach_the_object() -> None:
    new = {"name": "x", "limits": {"$patch": "replace", "a": "1", "b": None}, "$retainKeys": ["a"]}
    assert items([new], "a")[0] == {"name": "x", "limits": {"a": "1"}}


@pytest.mark.parametrize("name", STRATEGIC)
def test_a_strategic_merge_leaves_what_it_was_given(name: str) -> None:
    obj, patch = STRATEGIC[name]
    before = copy.deepcopy((obj, patch))
    merged = strategic_merge(obj, patch, own_shape(obj["apiVersion"], obj["kind"]))
    assert (obj, patch) == before
    assert "$" not in repr(merged)


@pytest.mark.parametrize("name", STRATEGIC_ERRORS)
def test_a_strategic_merge_that_makes_no_sense_is_refused(name: str) -> None:
    obj, patch = STRATEGIC_ERRORS[name]
    with pytest.raises(ApiError):
        strategic_merge(obj, patch, own_shape(obj["apiVersion"], obj["kind"]))


def test_an_item_without_its_key_is_told_as_the_server_does() -> None:
    with pytest.raises(ApiError) as refusal:
        items([{"image": "x", "args": ["a", 1]}], "a")
    assert (refusal.value.code, refusal.value.message) == (
        500,
        "map: map[args:[a 1] image:x] does not contain declared merge key: name",
    )


@pytest.mark.parametrize("name", JSON_PATCHES)
def test_a_json_patch_leaves_what_it_was_given(name: str) -> None:
    obj, ops = JSON_PATCHES[name]
    before = copy.deepcopy((obj, ops))
    json_patch(obj, ops)
    assert (obj, ops) == before


@pytest.mark.parametrize("name", JSON_ERRORS)
def test_a_json_patch_that_does_not_fit_is_refused(name: str) -> None:
    obj, ops = JSON_ERRORS[name]
    with pytest.raises(ApiError) as refusal:
        json_patch(obj, ops)
    assert refusal.value.code in (400, 413, 422)
    if refusal.value.code == 422:
        assert refusal.value.message == (
            "the server rejected our request due to an error in our request"
        )


def test_copies_that_double_again_and_again_are_refused() -> None:
    ops = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 60
    with pytest.raises(ApiError) as refusal:
        json_patch({"a": ["x" * 100]}, ops)
    assert refusal.value.code == 422


def test_as_many_operations_as_are_allowed() -> None:
    ops = [{"op": "test", "path": "/a", "value": 1}] * MAX_OPERATIONS
    assert json_patch({"a": 1}, ops) == {"a": 1}


def nested(depth: int) -> Json:
    value: Json = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("depth", [500, 5000])
def test_a_patch_that_nests_too_deep_is_refused(depth: int) -> None:
    with pytest.raises(ApiError):
        merge({}, nested(depth))
    with suppress(ApiError):
        strategic_merge({}, nested(depth), THING)


@settings(max_examples=80, deadline=None)
@given(OBJECTS, OBJECTS)
def test_law_a_merge_patch_repeated_changes_nothing(obj: Json, patch: Json) -> None:
    once = merge(obj, patch)
    assert merge(once, patch) == once


@settings(max_examples=80, deadline=None)
@given(OBJECTS, OBJECTS)
def test_law_what_a_merge_patch_says_holds(obj: Json, patch: Json) -> None:
    merged = merge(obj, patch)
    assert {key for key, value in patch.items() if value is None}.isdisjoint(merged)
    assert obj.keys() - patch.keys() <= merged.keys()


@settings(max_examples=80, deadline=None)
@given(OBJECTS, VALUES)
def test_law_no_patch_does_worse_than_be_refused(obj: Json, patch: Any) -> None:
    attempts: tuple[Callable[[], Json], ...] = (
        lambda: merge(obj, patch),
        lambda: json_patch(obj, patch),
        lambda: json_patch(obj, [{"op": "add", "path": "/a", "value": patch}]),
        lambda: strategic_merge({"spec": obj}, patch, THING),
        lambda: strategic_merge({"spec": {"items": []}}, {"spec": {"items": patch}}, THING),
    )
    for attempt in attempts:
        with suppress(ApiError):
            assert isinstance(attempt(), dict)
