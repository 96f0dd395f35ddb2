"""The custom kinds take what upstream's users have, and refuse what could never run."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kindling.cluster.schema.catalog import validate_definition
from kindling.operator.definitions.environment import DEPENDENCY_TYPES
from kindling.operator.model import environment_schema, read_environment
from kindling.operator.structure import defaulted, faults, unknown_fields
from tests.operator.manifests import (
    POOLS,
    UPSTREAM,
    Obj,
    definitions,
    documents,
    environment,
    refusals,
    stored,
)


def _name(obj: Obj) -> str:
    return str(obj["metadata"]["name"])


@pytest.mark.parametrize("definition", definitions(), ids=_name)
def test_a_server_takes_the_definitions(definition: Obj) -> None:
    assert validate_definition(definition) == ()


@pytest.mark.parametrize("obj", documents(UPSTREAM) + documents(POOLS), ids=_name)
def test_manifests_of_upstream_apply_unchanged(obj: Obj) -> None:
    """No field is unknown, none is refused, none that was given is changed."""
    assert refusals(obj) == []
    assert _covers(stored(obj), obj)


def _covers(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return all(key in whole and _covers(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(_covers, whole, part))
    return bool(whole == part)


def test_defaults() -> None:
    """Row 21: what is not said means what it means upstream."""
    spec = stored(
        environment(
            deployment={"image": "a", "port": 1, "healthCheck": {}},
            ingress={"host": "a.localhost"},
            dependencies=[{"type": "redis"}],
        )
    )["spec"]
    assert spec["deployment"]["replicas"] == 1
    assert spec["deployment"]["healthCheck"] == {
        "type": "http",
        "path": "/healthz",
        "initialDelaySeconds": 5,
        "periodSeconds": 10,
    }
    assert spec["service"] == {"port": 80, "type": "ClusterIP"}
    ingress = {"enabled": False, "host": "a.localhost", "path": "/", "pathType": "Prefix"}
    assert spec["ingress"] == ingress
    assert spec["dependencies"] == [{"type": "redis"}]


CHANGES: list[tuple[str, Any]] = [
    ("deployment.port", 0),
    ("deployment.port", 65536),
    ("deployment.port", "80"),
    ("deployment.image", ""),
    ("deployment.replicas", 0),
    ("deployment.env", [{"value": "x"}]),
    ("deployment.env", "A=b"),
    ("deployment.resources", {"cpuLimit": "much"}),
    ("deployment.healthCheck", {"type": "exec"}),
    ("service.port", 0),
    ("service.type", "ExternalName"),
    ("ingress", {"pathType": "Regex"}),
    ("ingress", {"tls": {}}),
    ("dependencies", [{"type": "oracle"}]),
    ("dependencies", [{}]),
    ("dependencies", [{"type": "redis", "port": 70000}]),
    ("dependencies", [{"type": "redis", "name": "Cache"}]),
    ("dependencies", [{"type": "redis", "name": "cache\n"}]),
    ("dependencies", [{"type": "redis", "storageSize": "1 GB"}]),
    ("dependencies", [{"type": "redis"}] * 65),
]


@pytest.mark.parametrize(("field", "value"), CHANGES)
def test_a_bad_value_is_refused_by_its_path(field: str, value: Any) -> None:
    """Row 20: at the server, and in the same place by our own code."""
    obj = environment()
    where = obj["spec"]
    *parents, last = field.split(".")
    for key in parents:
        where = where[key]
    where[last] = value
    # Without a field: that rules were not looked at, because a type was wrong.
    at_server = {line.split(":")[0] for line in refusals(obj)} - {"<nil>"}
    whole = defaulted(obj, environment_schema())
    ours = {fault.field for fault in faults(whole, environment_schema())}
    assert ours == at_server
    assert all(one.startswith(f"spec.{field}") for one in ours)
    assert ours


def test_each_type_and_only_these_are_taken() -> None:
    for one in DEPENDENCY_TYPES:
        assert refusals(environment(dependencies=[{"type": one}])) == []


@pytest.mark.parametrize(
    ("obj", "told"),
    [
        (environment("1st"), "must begin with a letter"),
        (environment("a" * 64), "at most 63 characters"),
        (
            environment("a" * 50, dependencies=[{"type": "elasticsearch"}]),
            "a dependency's name must together have at most 62 characters",
        ),
        (
            environment(
                deployment={
                    "image": "a",
                    "port": 1,
                    "env": [
                        {"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}
                    ],
                }
            ),
            "may not have both value and valueFrom",
        ),
    ],
)
def test_rules_over_several_fields(obj: Obj, told: str) -> None:
    assert any(told in line for line in refusals(obj)), refusals(obj)


def test_fields_that_a_server_would_drop_are_named() -> None:
    obj = environment(dependencies=[{"type": "redis", "prot": 1}], servcie={})
    obj["metadata"]["annotations"] = {"any": "thing"}
    assert sorted(unknown_fields(obj, environment_schema())) == [
        "spec.dependencies[0].prot",
        "spec.servcie",
    ]


@pytest.mark.parametrize("obj", documents(UPSTREAM), ids=_name)
def test_our_defaults_are_the_servers(obj: Obj) -> None:
    before = copy.deepcopy(obj)
    assert defaulted(obj, environment_schema())["spec"] == stored(obj)["spec"]
    assert obj == before


def test_a_quantity_with_a_point_is_told_to_be_quoted() -> None:
    """YAML reads `cpuRequest: 0.5` as a number that a server does not take."""
    obj = environment()
    obj["spec"]["deployment"]["resources"] = {"cpuRequest": 0.5}
    told = read_environment(obj)
    assert isinstance(told, tuple)
    assert [str(fault) for fault in told] == [
        'spec.deployment.resources.cpuRequest: must be a whole number or text; write "0.5", '
        "in quotes"
    ]
