"""The entries of managedFields after writes that are no applies."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.cluster.model.status import ApiError
from kindling.cluster.patch.fields import difference, intersection, paths, text, union
from kindling.cluster.patch.owners import track
from tests.cluster.patch.manifests import DEPLOYMENT, Json
from tests.cluster.patch.shapes import THING, VERSION


def write(
    before: Json | None, after: Json, manager: str, second: int = 0, subresource: str = ""
) -> Json:
    return track(
        before,
        after,
        THING,
        manager=manager,
        now=f"2030-01-01T00:00:{second:02}Z",
        api_version=VERSION,
        subresource=subresource,
    )


def thing(**spec: Any) -> Json:
    return {
        "apiVersion": VERSION,
        "kind": "Thing",
        "metadata": {"name": "x", "uid": "u", "generation": 1},
        "spec": spec,
    }


def with_spec(obj: Json, **spec: Any) -> Json:
    return {**obj, "spec": spec}


def entries(obj: Json) -> list[Json]:
    found: list[Json] = obj["metadata"].get("managedFields", [])
    return found


def test_a_new_object_is_its_creators() -> None:
    (entry,) = entries(write(None, thing(replicas=1, tags=["b", "a"]), "m"))
    assert entry == {
        "manager": "m",
        "operation": "Update",
        "apiVersion": VERSION,
        "time": "2030-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:spec": {
                ".": {},
                "f:replicas": {},
                "f:tags": {".": {}, 'v:"a"': {}, 'v:"b"': {}},
            }
        },
    }


def test_a_built_in_object_has_its_parts_before_it_is_made() -> None:
    """`spec` of a Deployment is nobody's, for it is always there."""
    from tests.cluster.patch.openapi import own_shape

    obj = track(
        None,
        DEPLOYMENT,
        own_shape("apps/v1", "Deployment"),
        manager="m",
        now="2030-01-01T00:00:00Z",
        api_version="apps/v1",
    )
    (entry,) = entries(obj)
    assert "." not in entry["fieldsV1"]["f:spec"]
    assert "." not in entry["fieldsV1"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert entry["fieldsV1"]["f:spec"]["f:selector"] == {}


def test_the_time_moves_only_with_what_is_owned() -> None:
    obj = write(None, thing(replicas=1), "m")
    same = write(obj, {**obj, "metadata": {**obj["metadata"], "generation": 2}}, "m", 5)
    assert entries(same) == entries(obj)
    again = write(obj, with_spec(obj, replicas=2), "m", 5)
    assert [entry["time"] for entry in entries(again)] == ["2030-01-01T00:00:05Z"]


def test_entries_stand_by_operation_and_time() -> None:
    obj = write(None, thing(replicas=1), "z", 1)
    obj = write(obj, with_spec(obj, replicas=1, words=["a"]), "a", 2)
    obj = write(obj, {**obj, "status": {"phase": "A"}}, "b", 2, "status")
    assert [entry["manager"] for entry in entries(obj)] == ["z", "a", "b"]


def test_what_goes_is_nobodys() -> None:
    obj = write(None, thing(replicas=1, tags=["a"]), "m")
    obj = write(obj, with_spec(obj, replicas=1), "n", 1)
    assert [entry["manager"] for entry in entries(obj)] == ["m"]
    assert entries(obj)[0]["fieldsV1"] == {"f:spec": {".": {}, "f:replicas": {}}}


@pytest.mark.parametrize("reset", [[], [{}]])
def test_an_empty_list_forgets_all_and_nothing_is_kept_from_then_on(reset: list[Json]) -> None:
    obj = write(None, thing(replicas=1), "m")
    sent = with_spec(obj, replicas=2)
    sent["metadata"] = {**obj["metadata"], "managedFields": reset}
    bare = write(obj, sent, "m", 1)
    assert "managedFields" not in bare["metadata"]
    assert write(bare, with_spec(bare, replicas=3), "m", 2) == with_spec(bare, replicas=3)


def test_a_subresource_cannot_edit_entries() -> None:
    obj = write(None, thing(replicas=1), "m")
    sent = {**obj, "metadata": {**obj["metadata"], "managedFields": []}}
    assert entries(write(obj, sent, "m", 1, "status")) == entries(obj)


@pytest.mark.parametrize(
    "entry",
    [
        {"manager": "m", "operation": "What", "apiVersion": "v1", "fieldsType": "FieldsV1"},
        {"manager": "m", "operation": "Update", "fieldsType": "FieldsV1"},
        {"manager": "m", "operation": "Update", "apiVersion": "v1"},
        {
            "manager": "m",
            "operation": "Update",
            "apiVersion": "v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"spec": {}},
        },
        "text",
    ],
)
def test_entries_that_make_no_sense_are_not_taken(entry: Any) -> None:
    obj = write(None, thing(replicas=1), "m")
    sent = {**obj, "metadata": {**obj["metadata"], "managedFields": [entry]}}
    assert entries(write(obj, sent, "n", 1)) == entries(obj)


def test_the_oldest_of_more_than_ten_updaters_become_one() -> None:
    obj = write(None, thing(by_name={"k0": {"a": 0}}), "m0", 0)
    for number in range(1, 15):
        by_name = {**obj["spec"]["by_name"], f"k{number}": {"a": number}}
        obj = write(obj, with_spec(obj, by_name=by_name), f"m{number}", number)
    found = entries(obj)
    assert [entry["manager"] for entry in found] == [
        "ancient-changes",
        *(f"m{number}" for number in range(6, 15)),
    ]
    assert found[0]["time"] == "2030-01-01T00:00:05Z"
    assert {f".spec.by_name.k{n}.a" for n in range(6)} <= {
        text(path) for path in paths(found[0]["fieldsV1"])
    }


def test_items_that_stand_twice_are_compared_as_they_stand() -> None:
    obj = write(None, thing(items=[{"name": "a"}, {"name": "a"}]), "m")
    assert entries(obj)[0]["fieldsV1"]["f:spec"]["f:items"] == {".": {}, 'k:{"name":"a"}': {}}
    obj = write(obj, with_spec(obj, items=[{"name": "a"}]), "n", 1)
    assert [entry["manager"] for entry in entries(obj)] == ["m", "n"]


def test_sets_are_sets() -> None:
    one: Json = {"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}
    other: Json = {"f:a": {"f:b": {}}, "f:e": {}}
    assert union(one, other) == {**one, "f:e": {}}
    assert intersection(one, other) == {"f:a": {"f:b": {}}}
    assert difference(one, other) == {"f:a": {".": {}, "f:c": {}}, "f:d": {}}
    assert difference(one, {"f:a": {}}) == {"f:a": {"f:b": {}, "f:c": {}}, "f:d": {}}
    assert difference(one, {"f:x": {}}) is one


def test_an_object_that_nests_too_deep_is_refused() -> None:
    value: Json = {}
    for _ in range(2000):
        value = {"a": value}
    with pytest.raises(ApiError, match="max depth"):
        write(None, thing(anything=value), "m")
