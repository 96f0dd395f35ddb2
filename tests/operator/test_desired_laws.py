"""Laws of `desired` over any environment that a server takes."""

from __future__ import annotations

import base64
import copy
import itertools
import json
import re
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kindling.operator.credentials import Draw, Known
from kindling.operator.desired import Desired, desired
from tests.operator.manifests import Obj, refusals
from tests.operator.strategies import environments

OWN = {"own": {"k": "p@ss/w:rd?"}}


def _draw() -> Draw:
    """Another answer at each call, as real randomness gives."""
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


def _secrets(objects: tuple[Obj, ...]) -> dict[str, dict[str, str]]:
    return {
        one["metadata"]["name"]: {
            key: base64.b64decode(value).decode() for key, value in one["data"].items()
        }
        for one in objects
        if one["kind"] == "Secret"
    }


def _make(obj: Obj, secrets: dict[str, Any] | None = None) -> Desired:
    return desired(obj, Known({**OWN, **(secrets or {})}, OWN), _draw())


@given(environments())
@settings(max_examples=60, deadline=None)
def test_a_server_takes_every_child(obj: Obj) -> None:
    """What the definition lets in either stands as valid objects, or stands still with a reason."""
    assert refusals(obj) == []
    made = _make(obj)
    assert made.blocked == (not made.objects)
    assert [line for one in made.objects for line in refusals(one)] == []


@given(environments())
@settings(max_examples=40, deadline=None)
def test_a_second_pass_changes_nothing(obj: Obj) -> None:
    """With its own Secrets at hand nothing is drawn anew, and nothing depends on the call."""
    before = copy.deepcopy(obj)
    first = _make(obj)
    assume(not first.blocked)

    def never(size: int) -> bytes:
        raise AssertionError(f"{size} bytes are drawn again")

    again = desired(obj, Known({**OWN, **_secrets(first.objects)}, OWN), never)
    assert again == first
    assert _make(obj) == first
    assert obj == before


@given(environments())
@settings(max_examples=40, deadline=None)
def test_no_two_children_share_a_name(obj: Obj) -> None:
    """Nor a variable: two dependencies never take each other's place in silence."""
    made = _make(obj)
    assume(not made.blocked)
    names = [(one["kind"], one["metadata"]["name"]) for one in made.objects]
    assert len(names) == len(set(names))
    for one in made.objects:
        if one["kind"] != "Deployment":
            continue
        pod = one["spec"]["template"]["spec"]
        for container in pod["containers"] + pod.get("initContainers", []):
            env = [variable["name"] for variable in container.get("env", [])]
            assert len(env) == len(set(env))
        waits = [container["name"] for container in pod.get("initContainers", [])]
        assert len(waits) == len(set(waits))


@given(environments())
@settings(max_examples=40, deadline=None)
def test_credentials_stand_in_secrets_alone(obj: Obj) -> None:
    """No drawn value, no value of a user's Secret and no URL that holds one is in any other
    object."""
    made = _make(obj)
    plain = json.dumps([one for one in made.objects if one["kind"] != "Secret"])
    for data in _secrets(made.objects).values():
        for key, value in data.items():
            if ("PASS" in key or "TOKEN" in key or key == ".salt") and len(value) >= 24:
                assert value not in plain
            if key == "CONNECTION_URL" and "@" in value:
                assert value not in plain
    assert OWN["own"]["k"] not in plain


@given(environments())
@settings(max_examples=40, deadline=None)
def test_every_child_is_marked_and_owned(obj: Obj) -> None:
    for one in _make(obj).objects:
        head = one["metadata"]
        assert head["namespace"] == "default"
        assert head["ownerReferences"][0]["uid"] == "u-1"
        assert len(head["annotations"]["apps.example.com/spec-hash"]) == 16
        manager = head["labels"]["app.kubernetes.io/managed-by"]
        assert manager == "devstagingenvironment-operator"


@given(environments())
@settings(max_examples=40, deadline=None)
def test_every_reference_to_a_key_is_answered(obj: Obj) -> None:
    """A pod that asked for a key which its Secret lacks would never start."""
    made = _make(obj)
    secrets = _secrets(made.objects)
    for one in made.objects:
        if one["kind"] != "Deployment":
            continue
        for variable in one["spec"]["template"]["spec"]["containers"][0].get("env", []):
            ref = variable.get("valueFrom", {}).get("secretKeyRef")
            if ref and ref["name"] != "own":
                assert ref["key"] in secrets[ref["name"]]


JUNK = st.none() | st.booleans() | st.sampled_from([-1, 0, 7, 2**40, 1.5]) | st.text(max_size=5)
JUNK |= st.sampled_from([[], {}, [None], {"name": 3}, "1st", "a" * 64, "5", "/x", "a b"])


@st.composite
def spoilt(draw: st.DrawFn) -> Obj:
    """An environment of which one value was replaced by anything."""
    obj = draw(environments())
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, inner in list(items):
            places.append((node, key))
            if isinstance(inner, dict | list):
                walk(inner)

    obj = copy.deepcopy(obj)
    walk(obj["spec"])
    where, key = draw(st.sampled_from(places))
    where[key] = draw(JUNK)
    return obj


@given(spoilt())
@settings(max_examples=150, deadline=None)
def test_what_a_server_refuses_is_refused_without_one(obj: Obj) -> None:
    """By our own code alone, which falls over nothing."""
    made = _make(obj)
    try:
        refused = refusals(obj)
    except AssertionError:  # a field that the kind does not have
        return
    if refused:
        assert made.blocked, refused
    children = [line for one in made.objects for line in refusals(one)]
    # What is handed on as it is, the server looks at when the child is written.
    assert [line for line in children if not re.search("valueFrom|annotations|tls", line)] == []
