"""Server-side apply: who owns what, what a conflict is, and laws that hold for every object."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError
from kindling.cluster.patch.apply import ApplyConflict, apply
from kindling.cluster.patch.fields import paths, text
from kindling.cluster.patch.owners import track
from kindling.cluster.schema.catalog import Catalog
from tests.cluster.patch.manifests import Json
from tests.cluster.patch.shapes import THING, VERSION

NOW = "2030-01-01T00:00:00Z"
LATER = "2030-01-01T00:00:09Z"


def thing(spec: Json | None = None, **metadata: Any) -> Json:
    obj: Json = {"apiVersion": VERSION, "kind": "Thing", "metadata": {"name": "x", **metadata}}
    return obj if spec is None else {**obj, "spec": spec}


def laid(
    live: Json | None, applied: Json, manager: str = "a", *, force: bool = False, now: str = NOW
) -> Json:
    """An apply that leaves both objects as they were."""
    before = copy.deepcopy((live, applied))
    result = apply(live, applied, THING, manager=manager, force=force, now=now, api_version=VERSION)
    assert (live, applied) == before
    return result


def updated(before: Json | None, after: Json, manager: str = "u", **options: Any) -> Json:
    kept = copy.deepcopy((before, after))
    options.setdefault("now", NOW)
    result = track(before, after, THING, manager=manager, api_version=VERSION, **options)
    assert (before, after) == kept
    return result


def owned(obj: Json, manager: str) -> list[str]:
    return [
        text(path)
        for entry in obj["metadata"].get("managedFields", [])
        if entry["manager"] == manager
        for path in paths(entry["fieldsV1"])
    ]


def bare(obj: Json) -> Json:
    return {
        **obj,
        "metadata": {k: v for k, v in obj["metadata"].items() if k != "managedFields"},
    }


def test_an_applier_owns_what_it_sets_and_never_the_identity() -> None:
    obj = laid(None, thing({"replicas": 1, "items": [{"name": "a"}]}, labels={"l": "1"}))
    assert owned(obj, "a") == [
        ".metadata.labels.l",
        ".spec.replicas",
        '.spec.items[name="a"]',
        '.spec.items[name="a"].name',
    ]


def test_an_empty_object_is_owned() -> None:
    obj = laid(None, thing({"items": [{"name": "a", "limits": {}}]}))
    assert '.spec.items[name="a"].limits' in owned(obj, "a")


def test_a_map_of_objects_owns_its_keys() -> None:
    obj = laid(None, thing({"by_name": {"one": {"a": 1}}, "anything": {"deep": {"x": [1]}}}))
    assert owned(obj, "a") == [
        ".spec.anything.deep",
        ".spec.anything.deep.x",
        ".spec.by_name.one",
        ".spec.by_name.one.a",
    ]


def test_a_custom_kinds_map_owns_its_keys_too() -> None:
    """Its shapes are made anew whenever they are asked for."""
    catalog = Catalog()
    spec = {
        "type": "object",
        "properties": {
            "by_name": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "properties": {"a": {"type": "integer"}},
                },
            },
            "half": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
                "properties": {
                    "known": {"type": "object", "properties": {"x": {"type": "integer"}}}
                },
            },
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
    }
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
    catalog.define(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "things.kindling.dev"},
            "spec": {
                "group": "kindling.dev",
                "scope": "Namespaced",
                "names": names,
                "versions": [version],
            },
        }
    )
    resource = ResourceType("kindling.dev", "v1", "Thing", "things", custom=True)
    obj = apply(
        None,
        thing({"by_name": {"one": {"a": 1}}, "half": {"known": {"x": 1}, "other": {"y": 1}}}),
        catalog.of(resource).shape,
        manager="a",
        force=False,
        now=NOW,
        api_version=VERSION,
    )
    fields = owned(obj, "a")
    assert {".spec.by_name.one", ".spec.by_name.one.a", ".spec.half.other"} <= set(fields)
    assert ".spec.half.known" not in fields


def test_items_have_keys_of_which_one_may_be_left_out() -> None:
    obj = laid(None, thing({"items": [{"name": "a", "ports": [{"port": 80}]}]}))
    assert '.spec.items[name="a"].ports[port=80,protocol="TCP"]' in owned(obj, "a")
    again = thing({"items": [{"name": "a", "ports": [{"port": 80, "protocol": "TCP"}]}]})
    assert len(laid(obj, again)["spec"]["items"][0]["ports"]) == 1


def test_applying_twice_is_no_write() -> None:
    obj = laid(None, thing({"replicas": 1, "tags": ["t"]}))
    assert laid(obj, thing({"replicas": 1, "tags": ["t"]}), now=LATER) is obj


def test_what_is_not_applied_any_more_goes_unless_another_owns_it() -> None:
    obj = laid(None, thing({"replicas": 1, "tags": ["s", "t"], "items": [{"name": "i"}]}))
    obj = laid(obj, thing({"tags": ["t"]}), "b")
    obj = laid(obj, thing({}))
    assert obj["spec"] == {"tags": ["t"]}
    assert owned(obj, "b") == ['.spec.tags[="t"]']


def test_what_an_updater_set_stays_when_an_applier_leaves() -> None:
    obj = laid(None, thing({"items": [{"name": "i"}], "replicas": 1}))
    obj = updated(obj, {**obj, "spec": {**obj["spec"], "words": ["w"]}})
    assert laid(obj, thing({}))["spec"] == {"words": ["w"]}


def test_an_item_takes_along_what_others_put_into_it() -> None:
    """As on a real server: the item itself was the applier's alone."""
    obj = laid(None, thing({"items": [{"name": "i"}, {"name": "j"}]}))
    items = [{"name": "i", "args": ["a"]}, {"name": "j"}]
    obj = updated(obj, {**obj, "spec": {"items": items}})
    assert laid(obj, thing({"items": [{"name": "j"}]}))["spec"] == {"items": [{"name": "j"}]}


def test_one_conflict_is_told_in_the_servers_words() -> None:
    obj = updated(None, thing({"replicas": 1}), "kubectl-client-side-apply")
    with pytest.raises(ApplyConflict) as refusal:
        laid(obj, thing({"replicas": 2}))
    assert refusal.value.status() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Apply failed with 1 conflict: conflict with"
        ' "kubectl-client-side-apply" using kindling.dev/v1: .spec.replicas',
        "reason": "Conflict",
        "details": {
            "causes": [
                {
                    "reason": "FieldManagerConflict",
                    "message": 'conflict with "kubectl-client-side-apply" using kindling.dev/v1',
                    "field": ".spec.replicas",
                }
            ]
        },
        "code": 409,
    }


def test_several_conflicts_are_grouped_by_owner() -> None:
    obj = laid(None, thing({"replicas": 1, "words": ["a"]}), "one")
    obj = updated(obj, {**obj, "status": {"phase": "A"}}, "two", subresource="status")
    with pytest.raises(ApplyConflict) as refusal:
        laid(obj, {**thing({"replicas": 2, "words": ["b"]}), "status": {"phase": "B"}})
    assert refusal.value.message == (
        'Apply failed with 3 conflicts: conflicts with "one":\n- .spec.replicas\n- .spec.words\n'
        'conflicts with "two" with subresource "status" using kindling.dev/v1:\n- .status.phase'
    )


class Kept(dict[str, Any]):
    """As a store may hand objects out."""


def test_objects_may_be_kinds_of_dict() -> None:
    live = Kept(thing({"replicas": 1}))
    live["metadata"] = Kept({"name": "x", "uid": "u"})
    live["spec"] = Kept({"replicas": 1})
    obj = laid(live, thing({"words": ["a"]}))
    assert obj["metadata"]["uid"] == "u"
    assert obj["spec"] == {"replicas": 1, "words": ["a"]}
    assert owned(updated(Kept(obj), obj, "b"), "b") == []


def test_force_takes_the_field() -> None:
    obj = laid(None, thing({"replicas": 1}), "one")
    obj = laid(obj, thing({"replicas": 2}), "two", force=True)
    assert obj["spec"]["replicas"] == 2
    assert (owned(obj, "one"), owned(obj, "two")) == ([], [".spec.replicas"])


def test_equal_values_are_shared() -> None:
    obj = laid(None, thing({"replicas": 1}), "one")
    obj = laid(obj, thing({"replicas": 1}), "two")
    assert owned(obj, "one") == owned(obj, "two") == [".spec.replicas"]


def test_the_first_apply_finds_an_owner_for_what_is_there() -> None:
    obj = laid(thing({"replicas": 1, "tags": ["t"]}, uid="u"), thing({"replicas": 1}))
    assert ".spec.replicas" in owned(obj, "before-first-apply")
    with pytest.raises(ApplyConflict, match='"before-first-apply" using'):
        laid(obj, thing({"tags": ["t"], "replicas": 3}))


def test_an_endpoint_does_not_own_what_it_may_not_set() -> None:
    obj = apply(
        None,
        {**thing({"replicas": 1}), "status": {"phase": "A"}},
        THING,
        manager="a",
        force=False,
        now=NOW,
        api_version=VERSION,
        reset=(("status",),),
    )
    assert owned(obj, "a") == [".spec.replicas"]


def test_subresources_have_entries_of_their_own() -> None:
    obj = updated(None, thing({"replicas": 1}), "m")
    obj = updated(obj, {**obj, "status": {"phase": "A"}}, "m", subresource="status")
    entries = obj["metadata"]["managedFields"]
    assert [entry.get("subresource") for entry in entries] == [None, "status"]


@pytest.mark.parametrize(
    ("applied", "code", "words"),
    [
        (thing({}, managedFields=[]), 400, "metadata.managedFields must be nil"),
        (
            {**thing({}), "apiVersion": "v2"},
            400,
            "Incorrect version specified in apply patch. Specified patch version: v2, expected:"
            " kindling.dev/v1",
        ),
        (
            thing({"items": [{"name": "a"}, {"name": "a"}]}),
            500,
            "failed to create typed patch object (/x; kindling.dev/v1, Kind=Thing):"
            ' .spec.items: duplicate entries for key [name="a"]',
        ),
        (
            thing({"items": [{"image": "a"}]}),
            500,
            "failed to create typed patch object (/x; kindling.dev/v1, Kind=Thing):"
            " .spec.items: element 0: associative list with keys has an element that omits all"
            ' key fields ["name"] (and doesn\'t have default values for any key fields)',
        ),
        (
            thing({"item": 1, "items": [{"name": "a", "b": 1}]}),
            500,
            "failed to create typed patch object (/x; kindling.dev/v1, Kind=Thing): errors:\n"
            '  .spec.item: field not declared in schema\n  .spec.items[name="a"].b: field not'
            " declared in schema",
        ),
    ],
)
def test_unsound_configurations_are_refused(applied: Json, code: int, words: str) -> None:
    with pytest.raises(ApiError) as refusal:
        laid(thing({}), applied)
    assert (refusal.value.code, refusal.value.message) == (code, words)


def test_a_configuration_that_nests_too_deep_is_refused() -> None:
    value: Json = {}
    for _ in range(2000):
        value = {"a": value}
    with pytest.raises(ApiError, match="max depth"):
        apply(
            thing({}),
            thing({"anything": value}),
            THING,
            manager="m",
            force=False,
            now=NOW,
            api_version=VERSION,
        )


def test_live_items_keep_their_place_among_applied_ones() -> None:
    obj = updated(None, thing({"items": [{"name": n} for n in "abcd"]}))
    obj = laid(obj, thing({"items": [{"name": n} for n in "dxb"]}))
    assert [item["name"] for item in obj["spec"]["items"]] == ["a", "c", "d", "x", "b"]


NAMES = st.sampled_from("abc")
SPECS: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 2),
        "tags": st.lists(NAMES, min_size=1, max_size=3, unique=True),
        "words": st.lists(NAMES, min_size=1, max_size=2),
        "whole": st.dictionaries(NAMES, st.integers(0, 1), min_size=1),
        "anything": st.dictionaries(NAMES, st.integers(0, 1), min_size=1),
        "by_name": st.dictionaries(
            NAMES, st.fixed_dictionaries({"a": st.integers(0, 1)}), min_size=1
        ),
        "items": st.lists(
            st.fixed_dictionaries(
                {"name": NAMES},
                optional={
                    "image": NAMES,
                    "ports": st.lists(
                        st.fixed_dictionaries({"port": st.integers(1, 2)}),
                        min_size=1,
                        unique_by=repr,
                    ),
                },
            ),
            min_size=1,
            max_size=3,
            unique_by=lambda item: str(item["name"]),
        ),
    },
)
LAW = settings(max_examples=60, deadline=None)


@LAW
@given(SPECS, SPECS)
def test_law_an_apply_repeated_is_no_write(first: Json, second: Json) -> None:
    obj = laid(updated(None, thing(first)), thing(second), force=True)
    assert laid(obj, thing(second), now=LATER) is obj


@LAW
@given(SPECS, SPECS)
def test_law_force_always_wins(first: Json, second: Json) -> None:
    obj = laid(laid(None, thing(first), "one"), thing(second), "two", force=True)
    contained(second, obj["spec"] if second else obj.get("spec"))


def contained(part: Any, whole: Any) -> None:
    """Every field of `part` has its value in `whole`."""
    if isinstance(part, dict):
        for name, value in part.items():
            contained(value, whole[name])
    elif isinstance(part, list) and part and isinstance(part[0], dict):
        for item in part:
            key = "name" if "name" in item else "port"
            (found,) = [other for other in whole if other[key] == item[key]]
            contained(item, found)
    elif isinstance(part, list):
        assert set(part) <= set(whole)
    else:
        assert part == whole


@LAW
@given(SPECS, SPECS)
def test_law_who_leaves_takes_along_all_it_brought(first: Json, second: Json) -> None:
    """An apply, and then one of nothing, gives the object as it was without."""
    others = updated(None, thing(first))
    try:
        obj = laid(others, thing(second))
    except ApplyConflict:
        return
    assert tidy(bare(laid(obj, thing()))) == tidy(bare(others))


def tidy(value: Any) -> Any:
    """Without what is empty, and with lists that are merged in one order."""
    if isinstance(value, dict):
        return {k: tidy(v) for k, v in value.items() if v not in ({}, [], None)}
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return sorted((tidy(item) for item in value), key=repr)
    return sorted(value, key=repr) if isinstance(value, list) else value


@LAW
@given(SPECS, SPECS)
def test_law_managers_apart_never_conflict(first: Json, second: Json) -> None:
    one = {name: value for name, value in first.items() if name not in second}
    obj = laid(laid(None, thing(one), "one"), thing(second), "two")
    assert tidy(obj["spec"]) == tidy({**one, **second}) if one or second else True


@LAW
@given(SPECS)
def test_law_nothing_changed_is_nothing_owned(spec: Json) -> None:
    obj = updated(None, thing(spec), "one")
    assert updated(obj, obj, "two", now=LATER) is obj
    same: Json = copy.deepcopy(obj)
    assert updated(obj, same, "two", now=LATER) == obj


@LAW
@given(SPECS, SPECS, SPECS)
def test_law_every_field_of_an_updated_object_has_an_owner(
    first: Json, second: Json, third: Json
) -> None:
    obj: Json | None = None
    for manager, spec in zip("abc", (first, second, third), strict=True):
        sent = thing(spec)
        if obj is not None:
            sent["metadata"]["managedFields"] = obj["metadata"].get("managedFields")
            sent["metadata"]["uid"] = "u"
        obj = updated(obj, sent, manager)
        if "managedFields" not in obj["metadata"]:
            return
    assert obj is not None
    everything = set(owned(updated(None, bare(obj), "all"), "all"))
    assert everything <= {field for manager in "abc" for field in owned(obj, manager)}
