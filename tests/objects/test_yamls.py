"""YAML as Kubernetes reads it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kindling.errors import ConfigError
from kindling.objects.yamls import decode_manifests, decode_stream


def value_of(text: str) -> Any:
    (document,) = decode_stream(f"v: {text}")
    return document.value["v"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2020-01-01", "2020-01-01"),
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
        ("1:30", "1:30"),
        ("22:22:22", "22:22:22"),
        ("=", "="),
        ("0644", 420),
        ("0o17", 15),
        ("0x1F", 31),
        ("-5", -5),
        ("1_000", 1000),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        ("123e4567", "123e4567"),
        ("yes", True),
        ("off", False),
        ("~", None),
        ("'1'", "1"),
        ("1.2.3", "1.2.3"),
        ("v1", "v1"),
        ("!!binary aGk=", "aGk="),
    ],
)
def test_scalars(text: str, value: object) -> None:
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


def test_keys_become_text() -> None:
    assert value_of("{2: a, true: b, 1.5: c, ~: d}") == {
        "2": "a",
        "true": "b",
        "1.5": "c",
        "null": "d",
    }


def test_documents_know_their_number_and_line_and_empty_ones_are_left_out() -> None:
    documents = decode_stream("---\n# nothing\n---\na: 1\n---\n\n---\nb: 2\n")
    assert [(d.value, d.number, d.line) for d in documents] == [({"a": 1}, 2, 4), ({"b": 2}, 4, 8)]


def test_anchors_and_merges() -> None:
    text = "base: &b {x: 1, y: 2}\nv: {<<: *b, y: 3}"
    assert decode_stream(text)[0].value["v"] == {"x": 1, "y": 3}


def test_lists_of_objects_stand_for_their_items() -> None:
    text = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
- apiVersion: v1
  kind: ConfigMapList
  items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}]
---
{}
"""
    names = [d.value["metadata"]["name"] for d in decode_manifests(text)]
    assert names == ["a", "b"]


def test_a_kind_that_ends_in_list_and_has_no_items_is_an_object() -> None:
    (document,) = decode_manifests("{apiVersion: a/v1, kind: AllowList, metadata: {name: x}}")
    assert document.value["kind"] == "AllowList"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", r"^x.yaml:2:1: not valid YAML"),
        ("a: 1\nb:\n\t- x", r"^x.yaml:3:1: not valid YAML"),
        ("a: *b", r"^x.yaml:1:4: not valid YAML: found undefined alias"),
        ("a: !env X", r"^x.yaml:1:4: not valid YAML"),
        ("a: .inf", r"^x.yaml:1: `inf` is no number"),
        ("\x00", r"^x.yaml: not valid YAML"),
        ("- a", r"^x.yaml:1: document 1 is no Kubernetes object but a list"),
        ("a: 1\n---\nhello", r"^x.yaml:1: document 1 .* no `apiVersion`"),
        ("kind: Pod\napiVersion: v1\n---\nhello", r"^x.yaml:4: document 2 .* but a str"),
        ("kind: Pod", "no `apiVersion`"),
        ("kind: Pod\napiVersion: 1", "no `apiVersion`"),
        ("[" * 3000, "x.yaml"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        decode_manifests(text, "x.yaml")


def test_an_error_shows_the_line_and_the_document() -> None:
    with pytest.raises(ConfigError) as caught:
        decode_manifests("kind: A\napiVersion: v1\n---\nb: [1}\n", "x.yaml")
    assert caught.value.message.startswith("x.yaml:4:6: not valid YAML")
    assert caught.value.details == ("b: [1}", "     ^", "in document 2 of the stream")


def test_tabs_get_a_hint() -> None:
    with pytest.raises(ConfigError) as caught:
        decode_manifests("a:\n\tb: 1\n")
    assert caught.value.hint == "Indent with spaces: YAML forbids tabs."


@given(st.text(alphabet="ab:-[]{}\"'\n #&*!|>0.e~\t", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        decode_manifests(text)
    except ConfigError:
        return
