"""Pods inside manifests of every kind and age."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.graph.spec import Readiness
from kindling.objects.secrets import secret_values
from kindling.objects.workloads import (
    WORKLOAD_KINDS,
    ContainerPort,
    containers,
    declared_ports,
    default_readiness,
    image_slots,
    is_workload,
    pod_templates,
    selector_matches,
    service_selector,
)

POD: dict[str, Any] = {
    "initContainers": [{"name": "init", "image": "i", "ports": [{"containerPort": 1}]}],
    "containers": [
        {
            "name": "main",
            "image": "m",
            "ports": [
                {"containerPort": 80, "name": "web"},
                {"containerPort": 53, "protocol": "UDP"},
                {"containerPort": "no"},
            ],
            "env": [{"name": "A", "value": "x"}, {"name": "B", "valueFrom": {}}],
        },
        {"name": "none"},
    ],
    "volumes": [{"name": "v", "image": {"reference": "vol"}}, {"name": "w", "emptyDir": {}}],
}


def make(kind: str, api: str = "apps/v1") -> dict[str, Any]:
    manifest: dict[str, Any] = {"metadata": {"labels": {"a": "b"}}, "spec": POD}
    for key in reversed(WORKLOAD_KINDS.get(kind, ("spec", "template"))):
        manifest = {key: manifest}
    return {**manifest, "apiVersion": api, "kind": kind}


@pytest.mark.parametrize("kind", WORKLOAD_KINDS)
@pytest.mark.parametrize("api", ["apps/v1", "extensions/v1beta1", "v1", "batch/v1beta1"])
def test_pods_are_found_in_every_kind_of_every_version(kind: str, api: str) -> None:
    manifest = make(kind, api)
    (template,) = pod_templates(manifest)
    assert template.labels == {"a": "b"}
    assert [c.name for c in containers(manifest)] == ["init", "main", "none"]
    assert [slot.value for slot in image_slots(manifest)] == ["i", "m", "vol"]
    assert is_workload(manifest) is (kind != "PodTemplate")


def test_pods_of_an_unknown_kind_are_found_by_shape() -> None:
    rollout = make("Rollout", "argoproj.io/v1alpha1")
    assert len(containers(rollout)) == 3
    assert not is_workload(rollout), "but nobody says that pods come of it"


@pytest.mark.parametrize(
    "manifest",
    [
        {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "spec": {"template": {"spec": {"containers": []}}},
        },
        {"kind": "Deployment", "apiVersion": "apps/v1"},
        {"kind": "Deployment", "apiVersion": "apps/v1", "spec": {"template": None}},
        {"kind": "Deployment", "apiVersion": "apps/v1", "spec": []},
        {"kind": "Pod", "apiVersion": "v1", "spec": {"containers": "x", "volumes": {}}},
        {"kind": "Pod", "apiVersion": "v1", "spec": {"containers": ["x", None]}},
    ],
)
def test_odd_manifests_hold_no_containers(manifest: dict[str, Any]) -> None:
    assert containers(manifest) == ()
    assert image_slots(manifest) == ()


def test_ports_of_main_containers_come_first_and_only_tcp_counts() -> None:
    assert declared_ports(make("Deployment")) == (ContainerPort(80, "web"), ContainerPort(1))


def test_services_select_by_equality() -> None:
    service = {"kind": "Service", "apiVersion": "v1", "spec": {"selector": {"a": "b"}}}
    assert service_selector(service) == {"a": "b"}
    assert selector_matches({"a": "b"}, {"a": "b", "c": "d"})
    assert not selector_matches({"a": "b", "x": "y"}, {"a": "b"})
    assert not selector_matches({}, {"a": "b"}), (
        "a Service without selector has hand-made endpoints"
    )
    assert service_selector({**service, "spec": {}}) is None
    assert service_selector({**service, "apiVersion": "serving.knative.dev/v1"}) is None


def test_what_pods_must_be_by_default() -> None:
    kinds = ("Deployment", "Job", "CronJob")
    assert [default_readiness(make(kind)) for kind in kinds] == [
        Readiness.WAIT,
        Readiness.SUCCEEDED,
        Readiness.IGNORE,
    ]


def test_values_of_secrets_are_decoded_and_never_shown_by_accident() -> None:
    values = secret_values(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s"},
            "data": {"text": "aHVudGVyMjI=", "binary": "/////w==", "wrong": "!", "empty": ""},
            "stringData": {"plain": "open", "number": 12345},
        }
    )
    assert [(v.key, v.value) for v in values] == [
        ("text", "hunter22"),
        ("binary", "/////w=="),
        ("wrong", "!"),
        ("plain", "open"),
        ("number", "12345"),
    ]
    assert "hunter22" not in repr(values)
    assert secret_values({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}) == ()
