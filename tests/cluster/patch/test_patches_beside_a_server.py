"""Patches do to an object what a real API server does to it, and are refused in its words."""

from __future__ import annotations

import copy
import uuid
from typing import Any

import pytest

from kindling.cluster.model.api import PatchType
from kindling.cluster.model.status import ApiError
from kindling.cluster.patch.json_patch import json_patch
from kindling.cluster.patch.merge import merge
from kindling.cluster.patch.strategic import strategic_merge
from tests.cluster.patch.manifests import (
    JSON_ERRORS,
    JSON_PATCHES,
    MERGE,
    STRATEGIC,
    STRATEGIC_ERRORS,
    Json,
)
from tests.cluster.patch.openapi import own_shape, shape_of
from tests.cluster.patch.real import RealServer

pytestmark = pytest.mark.cluster

GOOD = [
    *((PatchType.STRATEGIC, name, *row) for name, row in STRATEGIC.items()),
    *((PatchType.MERGE, name, *row) for name, row in MERGE.items()),
    *((PatchType.JSON, name, *row) for name, row in JSON_PATCHES.items()),
]
BAD = [
    *((PatchType.STRATEGIC, name, *row) for name, row in STRATEGIC_ERRORS.items()),
    *((PatchType.JSON, name, *row) for name, row in JSON_ERRORS.items()),
]


def ours(server: RealServer, obj: Json, patch: Any, patch_type: PatchType) -> Json:
    if patch_type is PatchType.STRATEGIC:
        shape = shape_of(server.openapi, obj["apiVersion"], obj["kind"])
        own = own_shape(obj["apiVersion"], obj["kind"])
        merged = strategic_merge(obj, patch, shape)
        assert merged == strategic_merge(obj, patch, own)
        return merged
    return json_patch(obj, patch) if patch_type is PatchType.JSON else merge(obj, patch)


def normal(value: Any) -> Any:
    """Without what the server itself fills in on a write, and without nulls."""
    if isinstance(value, dict):
        return {
            key: normal(inner)
            for key, inner in value.items()
            if inner not in (None, {}, [])
            and key
            not in (
                "generation",
                "imagePullPolicy",
                "managedFields",
                "resourceVersion",
                "rollingUpdate",
                "status",
                "terminationMessagePath",
                "terminationMessagePolicy",
                "type",
            )
        }
    return [normal(item) for item in value] if isinstance(value, list) else value


def made(server: RealServer, obj: Json) -> Json:
    obj = copy.deepcopy(obj)
    obj["metadata"]["name"] += f"-{uuid.uuid4().hex[:6]}"
    return server.create(obj)


@pytest.mark.parametrize(
    ("patch_type", "name", "obj", "patch"), GOOD, ids=[f"{t.name}-{n}" for t, n, *_ in GOOD]
)
def test_a_patch_gives_the_same_object(
    server: RealServer, patch_type: PatchType, name: str, obj: Json, patch: Any
) -> None:
    mine: Json = {}
    theirs: Json = {}
    # A Deployment's controller may write between our read and the patch: then on a new object.
    for _ in range(9):
        live = server.get(made(server, obj))
        untouched = copy.deepcopy(live)
        mine = ours(server, live, patch, patch_type)
        assert live == untouched, f"{name}: the object was changed in place"
        status, theirs = server.patch(live, patch, patch_type)
        if status == 200 and normal(mine) == normal(theirs):
            return
    assert normal(mine) == normal(theirs)


@pytest.mark.parametrize(
    ("patch_type", "name", "obj", "patch"), BAD, ids=[f"{t.name}-{n}" for t, n, *_ in BAD]
)
def test_a_patch_is_refused_in_the_same_words(
    server: RealServer, patch_type: PatchType, name: str, obj: Json, patch: Any
) -> None:
    live = made(server, obj)
    status, theirs = server.patch(live, patch, patch_type)
    assert status >= 400, name
    with pytest.raises(ApiError) as refusal:
        ours(server, live, patch, patch_type)
    assert (refusal.value.code, refusal.value.message) == (status, theirs["message"])
    assert refusal.value.reason == theirs.get("reason", "")
