"""Built-in kinds are read as Go's decoder reads them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kindling.cluster.model.schema import Schema
from kindling.cluster.model.status import ApiError
from kindling.cluster.schema.quantity import canonical, parse_quantity
from kindling.cluster.schema.times import canonical_time

Find = Callable[[str, str], Schema]
HEAD = 'Deployment in version "v1" cannot be handled as a Deployment: '


def deployment(container: Any = None, **spec: Any) -> dict[str, Any]:
    if container is not None:
        spec["template"] = {"spec": {"containers": [container]}}
    return {"spec": spec}


def test_unknown_fields_are_dropped_and_named_with_their_place(schema: Find) -> None:
    given_ = deployment({"name": "a", "imag": "x", "ports": [{"port": 1}]}, replica=3)
    given_["metadata"] = {"lables": {}, "name": "web"}
    pruned, unknown = schema("apps/v1", "Deployment").prune(given_)
    assert unknown == (
        'unknown field "spec.replica"',
        'unknown field "spec.template.spec.containers[0].imag"',
        'unknown field "spec.template.spec.containers[0].ports[0].port"',
        'unknown field "metadata.lables"',
    )
    assert pruned == {
        "spec": {"template": {"spec": {"containers": [{"name": "a", "ports": [{}]}]}}},
        "metadata": {"name": "web"},
    }


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        (
            deployment(replicas="x"),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of"
            " type int32",
        ),
        (
            deployment(replicas=1.5),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of"
            " type int32",
        ),
        (
            deployment(replicas=2**31),
            "json: cannot unmarshal number 2147483648 into Go struct field"
            " DeploymentSpec.spec.replicas of type int32",
        ),
        (
            deployment(paused="true"),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type"
            " bool",
        ),
        (
            {"metadata": {"labels": {"a": True}}},
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type"
            " string",
        ),
        (
            deployment({"command": "ls"}),
            "json: cannot unmarshal string into Go struct field"
            " Container.spec.template.spec.containers.command of type []string",
        ),
        (
            deployment({"env": [{"name": "A", "value": 1}]}),
            "json: cannot unmarshal number into Go struct field"
            " EnvVar.spec.template.spec.containers.env.value of type string",
        ),
        (
            deployment({"imagePullPolicy": 1}),
            "json: cannot unmarshal number into Go struct field"
            " Container.spec.template.spec.containers.imagePullPolicy of type v1.PullPolicy",
        ),
        (
            deployment({"resources": {"limits": {"cpu": "1 core"}}}),
            "quantities must match the regular expression"
            " '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            deployment({"resources": {"limits": {"cpu": "1Xi"}}}),
            "unable to parse quantity's suffix",
        ),
        (
            deployment(strategy={"rollingUpdate": {"maxSurge": True}}),
            "json: cannot unmarshal bool into Go value of type int32",
        ),
        (
            {"metadata": {"creationTimestamp": "yesterday"}},
            'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as'
            ' "2006"',
        ),
        (
            {"spec": []},
            "json: cannot unmarshal array into Go struct field Deployment.spec of type"
            " v1.DeploymentSpec",
        ),
    ],
)
def test_a_wrong_type_is_refused_in_the_decoders_words(
    obj: dict[str, Any], words: str, schema: Find
) -> None:
    with pytest.raises(ApiError) as caught:
        schema("apps/v1", "Deployment").prune(obj)
    assert (caught.value.code, caught.value.message) == (400, HEAD + words)


def test_bytes_that_are_no_base64_are_refused(schema: Find) -> None:
    with pytest.raises(ApiError, match="illegal base64 data at input byte 1"):
        schema("v1", "Secret").prune({"data": {"a": "b-c="}})


def test_null_and_zero_values_are_stored_as_go_stores_them(schema: Find) -> None:
    """An optional field without a pointer loses its zero value; one with a pointer keeps it."""
    spec = {
        "hostNetwork": False,
        "hostname": "",
        "nodeSelector": {},
        "volumes": [],
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "affinity": None,
        "securityContext": {},
        "containers": [{"name": "", "tty": False, "args": None, "readinessProbe": {}}],
    }
    assert schema("v1", "Pod").prune({"spec": spec})[0]["spec"] == {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "securityContext": {},
        "containers": [{"name": "", "readinessProbe": {}}],
    }
    claim = schema("v1", "PersistentVolumeClaim")
    assert claim.prune({"spec": {"storageClassName": ""}})[0] == {"spec": {"storageClassName": ""}}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1000m", "1"),
        ("0.5", "500m"),
        (0.5, "500m"),
        (2, "2"),
        ("0Mi", "0"),
        ("1e3", "1e3"),
        ("1500k", "1500k"),
        ("1000k", "1M"),
        ("-1", "-1"),
        ("100", "100"),
        ("0.1Gi", "107374182400m"),
    ],
)
def test_quantities_are_kept_in_their_shortest_form(text: str, kept: str) -> None:
    assert canonical(text) == kept


@given(
    number=st.decimals(min_value=0, max_value=10**9, places=3, allow_nan=False),
    suffix=st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi", "e3"]),
)
def test_the_shortest_form_has_the_same_value_and_is_final(number: Decimal, suffix: str) -> None:
    text = f"{number}{suffix}"
    short = canonical(text)
    assert parse_quantity(short) == parse_quantity(text)
    assert canonical(short) == short


@pytest.mark.parametrize(
    ("text", "micro", "kept"),
    [
        ("2024-01-02T03:04:05Z", False, "2024-01-02T03:04:05Z"),
        ("2024-01-02T03:04:05.9+02:00", False, "2024-01-02T01:04:05Z"),
        ("2024-01-02T03:04:05.1Z", True, "2024-01-02T03:04:05.100000Z"),
    ],
)
def test_times_are_kept_in_utc(text: str, micro: bool, kept: str) -> None:
    assert canonical_time(text, micro=micro) == kept


@pytest.mark.parametrize("text", ["2024-02-30T00:00:00Z", "2024-13-01T00:00:00Z", "24:00", ""])
def test_times_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="parsing time"):
        canonical_time(text)
