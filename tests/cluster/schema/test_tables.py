"""The tables that the generator writes hold what the other rooms rely on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from kindling.cluster.model.resource import BUILTIN
from kindling.cluster.model.schema import Schema
from kindling.cluster.model.shape import ListType, Shape, Sort
from kindling.cluster.schema import definitions
from kindling.cluster.schema.catalog import Catalog

POD = "spec.template.spec"


def at(schema: Schema, path: str) -> Shape:
    shape: Shape | None = schema.shape
    for name in path.split("."):
        assert shape is not None
        shape = shape.items if name == "[]" else shape.field(name)
    assert shape is not None
    return shape


@pytest.mark.parametrize("row", BUILTIN.values(), ids=lambda row: row.key)
def test_every_built_in_kind_and_its_list_are_defined(row: object, catalog: Catalog) -> None:
    resource = next(one for one in BUILTIN.values() if one is row)
    shape = catalog.of(resource).shape
    assert shape.sort is Sort.OBJECT
    assert shape.field("metadata") is not None
    if "list" in resource.verbs:
        told = definitions.definition_name(resource.group, resource.version, resource.list_kind)
        assert told is not None


def test_every_reference_leads_to_a_definition() -> None:
    known = set(definitions.definition_names())
    for name in known:
        assert definitions.references(definitions.definition(name)) <= known


@pytest.mark.parametrize(
    ("path", "keys", "merge_key"),
    [
        (f"{POD}.containers", ("name",), "name"),
        (f"{POD}.containers.[].ports", ("containerPort", "protocol"), "containerPort"),
        (f"{POD}.containers.[].env", ("name",), "name"),
        (f"{POD}.containers.[].volumeMounts", ("mountPath",), "mountPath"),
        (f"{POD}.containers.[].resources.claims", ("name",), ""),
        (f"{POD}.imagePullSecrets", ("name",), "name"),
        (f"{POD}.schedulingGates", ("name",), "name"),
        (f"{POD}.topologySpreadConstraints", ("topologyKey", "whenUnsatisfiable"), "topologyKey"),
        (f"{POD}.resourceClaims", ("name",), "name"),
        (f"{POD}.hostAliases", ("ip",), "ip"),
        ("status.conditions", ("type",), "type"),
        ("metadata.ownerReferences", ("uid",), "uid"),
    ],
)
def test_lists_are_maps_by_the_keys_of_1_32(
    path: str, keys: tuple[str, ...], merge_key: str, schema: Callable[[str, str], Schema]
) -> None:
    shape = at(schema("apps/v1", "Deployment"), path)
    assert (shape.list_type, shape.list_keys, shape.merge_key) == (ListType.MAP, keys, merge_key)


def test_other_sorts_of_lists_and_maps(schema: Callable[[str, str], Schema]) -> None:
    deployment = schema("apps/v1", "Deployment")
    assert at(deployment, "metadata.finalizers").list_type is ListType.SET
    assert at(deployment, "metadata.finalizers").patch_strategies == {"merge"}
    assert at(deployment, f"{POD}.containers.[].args").list_type is ListType.ATOMIC
    assert at(deployment, f"{POD}.volumes").patch_strategies == {"merge", "retainKeys"}
    assert at(deployment, "spec.selector").atomic
    assert at(deployment, "spec.strategy").patch_strategies == {"retainKeys"}
    service = schema("v1", "Service")
    assert at(service, "spec.ports").list_keys == ("port", "protocol")
    assert at(service, "spec.ports.[]").default_of("protocol") == "TCP"
    assert at(service, "spec.selector").atomic
    assert not at(service, "metadata.labels").atomic
    assert at(schema("v1", "Pod"), "status.hostIPs").patch_strategies == {"merge"}


def test_a_start_imports_nothing_of_checks_rules_and_documents() -> None:
    """The catalog is made at each start of a cluster; what it may never need comes later."""
    script = (
        "import sys, kindling.cluster.schema.catalog as c; c.Catalog();"
        "print([n for n in sys.modules if n.startswith(('cel', 'kindling.cluster.schema.custom',"
        " 'kindling.cluster.schema.validation', 'kindling.cluster.schema.openapi'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
