"""Custom kinds: what is kept, filled in and refused, as apiextensions-apiserver does it."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kindling.cluster.model.shape import ListType, Sort
from kindling.cluster.model.status import ApiError
from tests.cluster.schema.widgets import WIDGETS, Widgets, widget

SPEC = """
type: object
required: [image]
properties:
  image: {type: string, minLength: 2, maxLength: 9, pattern: '^[a-z]+$'}
  replicas: {type: integer, minimum: 1, maximum: 9, default: 2}
  ratio: {type: number, exclusiveMinimum: true, minimum: 0, multipleOf: 0.5}
  mode: {type: string, enum: [fast, slow]}
  note: {type: string, nullable: true}
  when: {type: string, format: date-time}
  port: {x-kubernetes-int-or-string: true}
  labels: {type: object, maxProperties: 2, additionalProperties: {type: string}}
  any: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {n: {type: integer}}}
  pod: {type: object, x-kubernetes-embedded-resource: true, properties: {x: {type: string}}}
  tags: {type: array, x-kubernetes-list-type: set, maxItems: 3, items: {type: string}}
  ports:
    type: array
    x-kubernetes-list-type: map
    x-kubernetes-list-map-keys: [port, protocol]
    items:
      type: object
      required: [port]
      properties: {port: {type: integer}, protocol: {type: string, default: TCP}}
  either:
    type: object
    properties: {a: {type: string}, b: {type: string}}
    oneOf: [{required: [a]}, {required: [b]}]
  nested: {type: object, default: {}, properties: {deep: {type: integer, default: 7}}}
"""


@pytest.fixture(scope="module")
def widgets() -> Widgets:
    return Widgets(SPEC)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{image: web}", []),
        ("{}", ["spec.image: Required value"]),
        (
            "{image: 3}",
            [
                'spec.image: Invalid value: "integer": spec.image in body must be of type string:'
                ' "integer"'
            ],
        ),
        (
            "{image: W}",
            [
                'spec.image: Invalid value: "W": spec.image in body should be at least 2 chars'
                " long",
                "spec.image: Invalid value: \"W\": spec.image in body should match '^[a-z]+$'",
            ],
        ),
        ("{image: abcdefghij}", ["spec.image: Too long: may not be more than 9 bytes"]),
        (
            "{image: web, replicas: 0}",
            [
                "spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or"
                " equal to 1"
            ],
        ),
        (
            "{image: web, replicas: 10}",
            [
                "spec.replicas: Invalid value: 10: spec.replicas in body should be less than or"
                " equal to 9"
            ],
        ),
        (
            "{image: web, ratio: 0.7}",
            ["spec.ratio: Invalid value: 0.7: spec.ratio in body should be a multiple of 0.5"],
        ),
        (
            "{image: web, ratio: 0}",
            ["spec.ratio: Invalid value: 0: spec.ratio in body should be greater than 0"],
        ),
        (
            "{image: web, mode: odd}",
            ['spec.mode: Unsupported value: "odd": supported values: "fast", "slow"'],
        ),
        ("{image: web, note: null}", []),
        (
            "{image: web, when: noon}",
            [
                'spec.when: Invalid value: "noon": spec.when in body must be of type date-time:'
                ' "noon"'
            ],
        ),
        ("{image: web, port: http}", []),
        (
            "{image: web, port: 1.5}",
            [
                'spec.port: Invalid value: "number": spec.port in body must be of type'
                ' integer,string: "number"'
            ],
        ),
        (
            "{image: web, labels: {a: 1}}",
            [
                'spec.labels.a: Invalid value: "integer": spec.labels.a in body must be of type'
                ' string: "integer"'
            ],
        ),
        (
            "{image: web, labels: {a: x, b: x, c: x}}",
            ["spec.labels: Too many: 3: must have at most 2 items"],
        ),
        ("{image: web, tags: [a, b, a]}", ['spec.tags[2]: Duplicate value: "a"']),
        (
            "{image: web, ports: [{port: 1}, {port: 1, protocol: UDP}, {port: 1, protocol: TCP}]}",
            ['spec.ports[2]: Duplicate value: map[string]interface {}{"port":1, "protocol":"TCP"}'],
        ),
        (
            "{image: web, either: {a: x, b: y}}",
            [
                '<nil>: Invalid value: "": "spec.either" must validate one and only one schema'
                " (oneOf). Found 2 valid alternatives"
            ],
        ),
    ],
)
def test_faults_are_told_in_the_servers_words(
    spec: str, expected: list[str], widgets: Widgets
) -> None:
    assert widgets.faults(spec) == expected


def test_what_did_not_change_is_not_held_against_a_stricter_schema(widgets: Widgets) -> None:
    bad = "{image: W, replicas: 3}"
    assert widgets.faults("{image: W, replicas: 4}", before=bad) == []
    assert widgets.faults("{image: V, replicas: 3}", before=bad) != []


def test_only_known_fields_are_kept(widgets: Widgets) -> None:
    given_ = widget(
        {
            "image": "web",
            "foo": 1,
            "any": {"free": {"x": 1}, "n": 1},
            "pod": {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}, "spec": {}},
            "ports": [{"port": 1, "nope": 2}],
            "labels": {"any": "thing"},
        }
    )
    given_["metadata"]["labls"] = {}
    before = copy.deepcopy(given_)
    pruned, unknown = widgets.schema.prune(given_)
    assert given_ == before
    assert unknown == (
        'unknown field "spec.foo"',
        'unknown field "spec.pod.spec"',
        'unknown field "spec.ports[0].nope"',
        'unknown field "metadata.labls"',
    )
    assert pruned["spec"] == {
        "image": "web",
        "any": {"free": {"x": 1}, "n": 1},
        "pod": {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}},
        "ports": [{"port": 1}],
        "labels": {"any": "thing"},
    }


def test_metadata_is_decoded_like_that_of_any_kind(widgets: Widgets) -> None:
    obj = widget("{image: web}")
    obj["metadata"]["labels"] = {"a": 1}
    with pytest.raises(ApiError, match="cannot unmarshal number"):
        widgets.schema.prune(obj)


def test_defaults_fill_gaps_and_nulls_but_not_nullable_ones(widgets: Widgets) -> None:
    full = widgets.schema.default(
        widget({"image": "web", "replicas": None, "note": None, "ports": [{"port": 1}]})
    )
    assert full["spec"] == {
        "image": "web",
        "replicas": 2,
        "note": None,
        "ports": [{"port": 1, "protocol": "TCP"}],
        "nested": {"deep": 7},
    }
    assert widgets.schema.default(full) == full


def test_shapes_for_patches(widgets: Widgets) -> None:
    spec = widgets.schema.shape.field("spec")
    assert spec is not None

    def shape(name: str) -> object:
        found = spec.field(name)
        assert found is not None
        return (found.sort, found.list_type, found.list_keys)

    assert shape("ports") == (Sort.LIST, ListType.MAP, ("port", "protocol"))
    assert shape("tags") == (Sort.LIST, ListType.SET, ())
    assert shape("image") == (Sort.SCALAR, ListType.ATOMIC, ())
    assert shape("port") == (Sort.SCALAR, ListType.ATOMIC, ())
    assert spec.field("nope") is None
    ports = spec.field("ports")
    assert ports is not None
    assert ports.items.default_of("protocol") == "TCP"
    metadata = widgets.schema.shape.field("metadata")
    assert metadata is not None
    owners = metadata.field("ownerReferences")
    assert owners is not None
    assert owners.list_keys == ("uid",)


def test_a_definition_comes_and_goes() -> None:
    other = Widgets("{type: object, properties: {a: {type: string, default: x}}}")
    assert other.schema.default(widget("{}"))["spec"] == {"a": "x"}
    other.catalog.forget("widgets.example.com")
    with pytest.raises(KeyError):
        other.catalog.of(WIDGETS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "web", "TCP"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["image", "replicas", "ports", "port", "any", "nested", "x", "pod"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["image", "ports", "nested", "any", "x"]), JSON, max_size=4))
def test_pruning_and_filling_are_final_and_any_object_can_be_judged(
    widgets: Widgets, spec: dict[str, object]
) -> None:
    pruned, _ = widgets.schema.prune(widget(spec))
    assert widgets.schema.prune(pruned) == (pruned, ())
    full = widgets.schema.default(pruned)
    assert widgets.schema.default(full) == full
    assert widgets.schema.prune(full) == (full, ())
    assert widgets.schema.validate(full, full) == ()
    widgets.schema.validate(full)
