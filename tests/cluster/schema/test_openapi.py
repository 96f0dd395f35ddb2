"""The documents hold what kubectl looks for."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.cluster.model.resource import BUILTIN
from kindling.cluster.schema.catalog import Catalog
from kindling.cluster.schema.openapi import enums
from tests.cluster.schema.widgets import WIDGETS, Widgets

ROWS = list(BUILTIN.values())
VERSIONS = sorted({(row.group, row.version) for row in ROWS})


def references(node: Any) -> set[str]:
    if isinstance(node, list):
        return {name for one in node for name in references(one)}
    if not isinstance(node, dict):
        return set()
    own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
    return own.union(*(references(one) for one in node.values()))


@pytest.mark.parametrize(("group", "version"), VERSIONS)
def test_every_reference_of_a_document_leads_somewhere(
    group: str, version: str, catalog: Catalog
) -> None:
    document = catalog.openapi_v3(group, version, ROWS)
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known


def test_patches_tell_kind_and_field_validation(catalog: Catalog) -> None:
    """kubectl leaves validation to the server for kinds whose PATCH takes `fieldValidation`."""
    for group, version in VERSIONS:
        told: set[str] = set()
        for path in catalog.openapi_v3(group, version, ROWS)["paths"].values():
            if "patch" in path:
                names = {one["name"] for one in path["patch"]["parameters"]}
                assert {"dryRun", "fieldManager", "fieldValidation", "force"} <= names
                told.add(path["patch"]["x-kubernetes-group-version-kind"]["kind"])
        rows = [row for row in ROWS if (row.group, row.version) == (group, version)]
        assert {row.kind for row in rows if "patch" in row.verbs} <= told


def test_v2_is_one_document_without_loose_ends() -> None:
    widgets = Widgets("{type: object, properties: {a: {type: string, nullable: true}}}")
    document = widgets.catalog.openapi_v2([*ROWS, WIDGETS])
    assert references(document) <= {f"#/definitions/{name}" for name in document["definitions"]}
    pod = document["definitions"]["io.k8s.api.core.v1.Pod"]
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "kind": "Pod", "version": "v1"}]
    assert "specification" in pod["properties"]["spec"]["description"].lower()
    told = document["definitions"]["com.example.v1.Widget"]["properties"]["spec"]
    assert told == {"type": "object", "properties": {"a": {}}}


def test_a_custom_kind_is_published_with_its_envelope() -> None:
    widgets = Widgets("{type: object, description: What it is., properties: {a: {type: string}}}")
    document = widgets.catalog.openapi_v3("example.com", "v1", [*ROWS, WIDGETS])
    told = document["components"]["schemas"]["com.example.v1.Widget"]
    assert told["properties"].keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert told["properties"]["spec"]["description"] == "What it is."
    assert "/apis/example.com/v1/namespaces/{namespace}/widgets/{name}/status" in document["paths"]
    assert references(document) <= {
        f"#/components/schemas/{name}" for name in document["components"]["schemas"]
    }


def test_enumerations_are_those_that_validation_knows(catalog: Catalog) -> None:
    """Each one names a field that there is, and none is told of a field that takes anything."""
    found = {}
    for group, version in VERSIONS:
        schemas = catalog.openapi_v3(group, version, ROWS)["components"]["schemas"]
        for name, told in schemas.items():
            for field, node in (told.get("properties") or {}).items():
                if "enum" in node:
                    assert node["type"] == "string"
                    assert node["enum"] == sorted(node["enum"])
                    found[f"{name.removeprefix('io.k8s.api.')}.{field}"] = node["enum"]
    assert found.keys() == enums._TABLE.keys()
    assert found["core.v1.PodSpec.restartPolicy"] == ["Always", "Never", "OnFailure"]


def test_only_built_in_kinds_take_strategic_patches() -> None:
    """kubectl sends one wherever the document lists it."""
    strategic = "application/strategic-merge-patch+json"
    widgets = Widgets("{type: object}")
    paths = widgets.catalog.openapi_v3("example.com", "v1", [*ROWS, WIDGETS])["paths"]
    patch = paths["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"]
    assert strategic not in patch["requestBody"]["content"]
    assert len(patch["requestBody"]["content"]) == 3
    document = widgets.catalog.openapi_v2([*ROWS, WIDGETS])
    taken = {
        path: told["patch"]["consumes"]
        for path, told in document["paths"].items()
        if "patch" in told
    }
    assert all((strategic in kinds) != ("example.com" in path) for path, kinds in taken.items())
