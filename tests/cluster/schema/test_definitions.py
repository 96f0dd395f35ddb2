"""What is wrong with definitions of custom kinds."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.cluster.schema.catalog import validate_definition
from tests.cluster.schema.widgets import definition

ROOT = "spec.versions[0].schema.openAPIV3Schema"


def faults(spec: str, **changes: Any) -> list[str]:
    found = validate_definition(definition(spec, **changes))
    return [f"{cause.field}: {cause.message}" for cause in found]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{type: object}", []),
        (
            "{properties: {a: {type: string}}}",
            [
                f"{ROOT}.properties[spec].type: Required value: must not be empty for specified"
                " object fields"
            ],
        ),
        (
            "{type: thing}",
            [
                f'{ROOT}.properties[spec].type: Unsupported value: "thing": supported values:'
                ' "array",'
                ' "boolean", "integer", "number", "object", "string"'
            ],
        ),
        (
            "{type: array}",
            [f"{ROOT}.properties[spec].items: Required value: must be specified"],
        ),
        (
            "{type: array, uniqueItems: true, items: {type: string}}",
            [
                f"{ROOT}.properties[spec].uniqueItems: Forbidden: uniqueItems cannot be set to true"
                " since the runtime complexity becomes quadratic"
            ],
        ),
        (
            "{type: object, properties: {a: {type: string}}, additionalProperties: {type: string}}",
            [
                f"{ROOT}.properties[spec].additionalProperties: Forbidden: additionalProperties and"
                " properties are mutual exclusive"
            ],
        ),
        (
            "{type: array, x-kubernetes-list-type: map, items: {type: object}}",
            [
                f"{ROOT}.properties[spec].x-kubernetes-list-map-keys: Required value: must not be"
                " empty if x-kubernetes-list-type is map"
            ],
        ),
        (
            "{type: object, anyOf: [{properties: {a: {type: string}}}]}",
            [
                f"{ROOT}.properties[spec].anyOf[0].properties[a].type: Forbidden: must be empty to"
                " be structural",
                f"{ROOT}.properties[spec].properties[a]: Required value: because it is defined in"
                f" {ROOT}.properties[spec].anyOf[0].properties[a]",
            ],
        ),
        (
            "{type: integer, default: x}",
            [
                f'{ROOT}.properties[spec].default: Invalid value: "string": {ROOT}.properties[spec]'
                '.default in body must be of type integer: "string"'
            ],
        ),
    ],
)
def test_a_schema_must_be_structural(spec: str, expected: list[str]) -> None:
    assert faults(spec) == expected


def test_a_rule_must_compile() -> None:
    (found,) = faults("{type: object, x-kubernetes-validations: [{rule: 'self.a ==='}]}")
    assert found.startswith(f"{ROOT}.properties[spec].x-kubernetes-validations[0].rule: Invalid")
    assert "compilation failed" in found


def test_names_group_and_scope() -> None:
    names = {"plural": "gadgets", "singular": "A_", "kind": "Widget", "listKind": "Widget"}
    found = faults("{type: object}", names=names, scope="Galaxy", group="nodots")
    assert [one.split(": ")[0] for one in found] == [
        "metadata.name",
        "spec.group",
        "spec.scope",
        "spec.names.singular",
        "spec.names.listKind",
    ]
    assert found[0].endswith('must be spec.names.plural+"."+spec.group')


def test_exactly_one_version_is_stored() -> None:
    crd = definition("{type: object}")
    crd["spec"]["versions"][0]["storage"] = False
    (cause,) = validate_definition(crd)
    assert cause.message.endswith("must have exactly one version marked as storage version")
