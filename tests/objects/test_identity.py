"""Who an object is, where it lives, and when it is written."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.errors import ConfigError
from kindling.graph.spec import ObjectRef
from kindling.objects.identity import (
    Scope,
    api_group,
    canonical,
    display_name,
    install_order,
    manifest_of,
    object_ref,
    object_spec,
    removal_order,
    same_object,
    scope,
)


def thing(kind: str, name: str = "x", api: str = "v1", **metadata: str) -> dict[str, Any]:
    return {"kind": kind, "apiVersion": api, "metadata": {"name": name, **metadata}}


def test_namespaced_kinds_get_the_default_namespace_and_no_others() -> None:
    assert object_ref(thing("Pod"), "team").namespace == "team"
    assert object_ref(thing("Pod", namespace="own"), "team").namespace == "own"
    assert object_ref(thing("Namespace", namespace="odd"), "team").namespace == ""
    assert object_ref(thing("Widget", api="acme.io/v1"), "team").namespace == ""
    assert object_ref(thing("Widget", api="acme.io/v1", namespace="own"), "team").namespace == "own"


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ({}, "no `kind`"),
        ({"kind": "Pod"}, "no `apiVersion`"),
        ({"kind": "Pod", "apiVersion": "v1"}, r"no `metadata\.name`"),
        ({"kind": "Pod", "apiVersion": "v1", "metadata": None}, r"no `metadata\.name`"),
        (
            {"kind": "Job", "apiVersion": "batch/v1", "metadata": {"generateName": "a-"}},
            "generateName",
        ),
    ],
)
def test_an_object_without_identity_is_refused(manifest: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        object_ref(manifest)


def test_which_kinds_live_in_no_namespace() -> None:
    assert scope("v1", "Namespace") is Scope.CLUSTER
    assert scope("rbac.authorization.k8s.io/v1", "ClusterRole") is Scope.CLUSTER
    assert scope("apps/v1", "Deployment") is Scope.NAMESPACED
    assert scope("acme.io/v1", "Namespace") is Scope.UNKNOWN
    assert api_group("v1") == ""


def test_a_spec_is_canonical_and_has_its_namespace_written_down() -> None:
    spec = object_spec(thing("Pod"), "team")
    assert spec.ref == ObjectRef("v1", "Pod", "x", "team")
    assert spec.manifest == (
        '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","namespace":"team"}}'
    )
    assert canonical(manifest_of(spec)) == spec.manifest


def test_what_others_need_is_written_first_and_webhooks_last() -> None:
    kinds = [
        "ValidatingWebhookConfiguration", "Widget", "Ingress", "Deployment", "Service",
        "ConfigMap", "CustomResourceDefinition", "Namespace", "Secret", "ServiceAccount",
    ]  # fmt: skip
    ordered = [str(m["kind"]) for m in install_order([thing(kind) for kind in kinds])]
    assert ordered == [
        "Namespace", "CustomResourceDefinition", "ServiceAccount", "Secret", "ConfigMap",
        "Service", "Deployment", "Ingress", "Widget", "ValidatingWebhookConfiguration",
    ]  # fmt: skip


def test_removal_is_the_reverse_of_installing_and_order_is_stable() -> None:
    refs = [
        ObjectRef("v1", "Pod", "a"),
        ObjectRef("v1", "Namespace", "n"),
        ObjectRef("v1", "Pod", "b"),
    ]
    assert [ref.name for ref in install_order(refs)] == ["n", "a", "b"]
    assert [ref.name for ref in removal_order(refs)] == ["b", "a", "n"]


def test_versions_of_one_group_are_one_object() -> None:
    old = ObjectRef("apps/v1beta1", "Deployment", "a", "x")
    assert same_object(old, ObjectRef("apps/v1", "Deployment", "a", "x"))
    assert not same_object(old, ObjectRef("acme.io/v1", "Deployment", "a", "x"))
    assert not same_object(old, ObjectRef("apps/v1", "Deployment", "a", "y"))


def test_names_for_people() -> None:
    assert display_name(ObjectRef("apps/v1", "Deployment", "api", "default")) == "deployment/api"
    assert display_name(ObjectRef("v1", "Pod", "p", "team")) == "pod/p in team"
