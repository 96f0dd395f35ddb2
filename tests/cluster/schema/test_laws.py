"""Whatever a client sends of a built-in kind: it is refused as a bad request, or read for good."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kindling.cluster.model.resource import BUILTIN, ResourceType
from kindling.cluster.model.schema import Schema
from kindling.cluster.model.status import ApiError, invalid
from kindling.cluster.schema.catalog import Catalog
from kindling.cluster.schema.definitions import definition_name
from kindling.cluster.schema.structure import Field, Holds, Struct, struct

TEXTS = st.sampled_from(["", "a", "web", "A_", "1", "None", "Always", "10.0.0.1", "/x", "*", "ü"])
LEAVES: dict[Holds, st.SearchStrategy[Any]] = {
    Holds.STRING: TEXTS,
    Holds.INTEGER: st.sampled_from([0, 1, -1, 80, 70000, 2**31 - 1]),
    Holds.NUMBER: st.sampled_from([0, 1.5]),
    Holds.BOOLEAN: st.booleans(),
    Holds.BYTES: st.sampled_from(["", "eA==", "e30="]),
    Holds.TIME: st.just("2024-01-02T03:04:05Z"),
    Holds.MICRO_TIME: st.just("2024-01-02T03:04:05.000001Z"),
    Holds.QUANTITY: st.sampled_from(["1", "100m", "1Gi", "-1", 2, 0.5]),
    Holds.INT_OR_STRING: st.sampled_from([0, 1, "25%", "x", "http"]),
    Holds.ANY: st.sampled_from([{}, {"a": 1}, "x"]),
    Holds.SCHEMA: st.sampled_from([True, {"type": "object"}]),
}
JUNK = st.sampled_from([None, 1, "x", [], {}, True, [None], {"a": None}])
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
KINDS = sorted(
    (row for row in BUILTIN.values() if "list" in row.verbs), key=lambda row: (row.key, row.version)
)


@st.composite
def values(draw: st.DrawFn, field: Field, depth: int) -> Any:
    if field.holds in LEAVES:
        return draw(LEAVES[field.holds])
    if field.holds is Holds.STRUCT:
        return draw(objects(field.struct, depth))
    count = draw(st.integers(0, 2 if depth < 7 else 0))
    if field.holds is Holds.LIST:
        return [draw(values(field.items, depth + 1)) for _ in range(count)]
    return {draw(TEXTS): draw(values(field.values, depth + 1)) for _ in range(count)}


@st.composite
def objects(draw: st.DrawFn, of: Struct, depth: int = 0) -> dict[str, Any]:
    """Something like an object: some of the fields, and now and then a wrong one."""
    names = sorted(of.names)
    share = 5 if depth < 5 else 2
    chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=share)) if names else []
    if depth == 0:
        chosen = sorted({*chosen, "metadata", "spec"} & set(names))
    out: dict[str, Any] = {}
    for name in chosen:
        field = of.field(name)
        assert field is not None
        out[name] = draw(values(field, depth + 1))
    if draw(st.integers(0, 40)) == 0:
        out[draw(st.sampled_from([*names, "nope"]))] = draw(JUNK)
    return out


def prune(schema: Schema, obj: dict[str, Any]) -> dict[str, Any] | None:
    """The object as it is read; None when it is refused as a bad request."""
    try:
        return schema.prune(obj)[0]
    except ApiError as error:
        if error.code != 400:
            raise
        return None


@pytest.mark.parametrize("row", KINDS, ids=lambda row: f"{row.key}-{row.version}")
def test_any_object_is_refused_or_read_for_good_and_can_be_judged(row: ResourceType) -> None:
    schema = Catalog().of(row)
    name = definition_name(row.group, row.version, row.kind)
    assert name is not None

    @settings(max_examples=4, deadline=None, suppress_health_check=SLOW)
    @given(objects(struct(name)), objects(struct(name)))
    def law(one: dict[str, Any], other: dict[str, Any]) -> None:
        read = []
        for obj in (one, other):
            pruned = prune(schema, obj)
            if pruned is None:
                return
            assert schema.prune(pruned) == (pruned, ())
            full = schema.default(pruned)
            assert schema.default(full) == full
            assert schema.prune(full)[1] == ()
            read.append(full)
        told = [*schema.validate(read[0]), *schema.validate(read[0], read[1])]
        invalid(row.kind, "x", told).status()

    law()
