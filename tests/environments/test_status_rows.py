"""Rows 16 and 17: what `kindling status` tells of a cluster, in text and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kindling.engine.environments.overview import Overview, routes_of
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.report.overview import overview_text
from kindling.testing.cluster import FakeCluster
from tests.environments.conftest import Kindling, pod, workload

API = f"{GROUP}/{VERSION}"
CRASHING = {
    "phase": "Running",
    "containerStatuses": [
        {
            "name": "broken",
            "restartCount": 7,
            "ready": False,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}},
        }
    ],
}


@pytest.fixture
def furnished(fake: FakeCluster) -> FakeCluster:
    """One of everything that a status tells of."""
    for kind in ("DevStagingEnvironment", "GithubActionRunnerPool", "CIRunnerPool"):
        fake.add_kind(API, kind)
    node: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node-1"},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.32.0"},
        },
    }
    fake.put(node)
    fake.put(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {
                "name": "traefik",
                "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"},
            },
            "spec": {"controller": "traefik.io/ingress-controller"},
        }
    )
    backend = {"service": {"name": "orders", "port": {"number": 80}}}
    fake.put(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "orders", "namespace": "default"},
            "spec": {
                "rules": [
                    {
                        "host": "orders.localhost",
                        "http": {
                            "paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]
                        },
                    }
                ]
            },
            "status": {
                "loadBalancer": {"ingress": [{"ip": "127.0.0.1", "ports": [{"port": 7080}]}]}
            },
        }
    )
    fake.put(
        {
            "apiVersion": API,
            "kind": "DevStagingEnvironment",
            "metadata": {"name": "orders", "namespace": "default"},
            "spec": {
                "deployment": {"image": "orders:1", "port": 80, "replicas": 2},
                "dependencies": [{"type": "postgres"}],
            },
            "status": {
                "observedGeneration": 1,
                "availableReplicas": 1,
                "url": "http://orders.localhost/",
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "False",
                        "reason": "ResourcesNotReady",
                        "message": "Deployment: 1 of 2 pods of `orders` are available",
                    }
                ],
            },
        }
    )
    fake.put(
        {
            "apiVersion": API,
            "kind": "CIRunnerPool",
            "metadata": {"name": "jeff-runner-pool", "namespace": "default"},
            "spec": {"githubUsername": "jeff", "repository": "jeff/shop"},
            "status": {
                "readyRunners": 1,
                "conditions": [{"type": "Ready", "status": "True", "reason": "RunnerReady"}],
            },
        }
    )
    owner = {"kind": "DevStagingEnvironment", "name": "orders", "uid": "1", "apiVersion": API}
    fake.put(workload("orders", ownerReferences=[owner]))
    fake.put(workload("shop", annotations={"kindling.dev/session": "20260101-1200-77"}))
    fake.put(workload("db", "StatefulSet"))
    fake.put(pod("broken", CRASHING))
    fake.previous_log_lines["default", "broken", "broken"] = [f"line {n}" for n in range(30)]
    fake.writes.clear()
    return fake


@pytest.mark.usefixtures("furnished")
def test_row_16_status_shows_everything_that_stands(kindling: Kindling) -> None:
    done = kindling("status")
    assert done.code == 0
    told = {line.split("  ")[0].strip() for line in done.out.splitlines() if line[:1].strip()}
    for section in (
        "nodes",
        "operator",
        "ingress controller",
        "runner pools",
        "environments",
        "sync sessions",
        "deployments",
        "unhealthy pods",
        "routes",
    ):
        assert section in told, done.out
    for text in (
        "cluster `kind-fake`: it is the current context, a local cluster (kind)",
        "node-1  ready  v1.32.0",
        "default  nobody acts",
        "traefik  traefik.io/ingress-controller  default",
        "default/jeff-runner-pool  ready  1/1  jeff at jeff/shop",
        "default/orders  ResourcesNotReady  1/2  postgres  http://orders.localhost:7080",
        "Deployment: 1 of 2 pods of `orders` are available",
        "default/shop  20260101-1200-77",
        "default/db",
        "http://orders.localhost:7080  default/orders:80",
    ):
        assert text in done.out, done.out


@pytest.mark.usefixtures("furnished")
def test_row_16_a_pod_in_a_crash_loop_is_told_with_the_end_of_its_log(kindling: Kindling) -> None:
    """Its phase is `Running`, which is what upstream went by."""
    lines = kindling("status").out.splitlines()
    at = next(i for i, line in enumerate(lines) if "default/broken, container broken" in line)
    assert "CrashLoopBackOff, Error, exit code 3, 7 restarts" in lines[at]
    log = [line.strip() for line in lines[at + 1 :] if line.startswith("      | ")]
    assert log == [f"| line {n}" for n in range(15, 30)]


@pytest.mark.usefixtures("furnished")
def test_row_17_the_same_as_json(kindling: Kindling) -> None:
    """By the fields of docs/json.md."""
    form = json.loads(kindling("status", "--json").out)
    assert (form["schema"], form["type"], form["running"], form["nodes"]) == (
        1,
        "status",
        False,
        [],
    )
    cluster = form["cluster"]
    assert (cluster["answers"], cluster["context"], cluster["version"]) == (
        True,
        "kind-fake",
        "v1.20.2",
    )
    (environment,) = cluster["environments"]
    assert environment == {
        "namespace": "default",
        "name": "orders",
        "image": "orders:1",
        "replicas": 2,
        "available": 1,
        "ready": False,
        "reason": "ResourcesNotReady",
        "message": "Deployment: 1 of 2 pods of `orders` are available",
        "url": "http://orders.localhost:7080",
        "dependencies": ["postgres"],
    }
    (sick,) = cluster["unhealthy_pods"]
    assert (sick["pod"], sick["exit_code"], len(sick["log"])) == ("broken", 3, 15)
    assert {one["name"]: one["environment"] for one in cluster["deployments"]} == {
        "orders": "orders",
        "shop": "",
        "db": "",
    }


def test_row_17_every_field_is_documented(furnished: FakeCluster, kindling: Kindling) -> None:
    """What docs/json.md does not name is not there."""
    from pathlib import Path

    assert furnished.context
    text = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
    cluster = json.loads(kindling("status", "--json").out)["cluster"]
    names = {*cluster} | {
        key
        for value in cluster.values()
        if isinstance(value, list)
        for one in value
        if isinstance(one, dict)
        for key in one
    }
    assert sorted(name for name in names if f"`{name}`" not in text) == []


@pytest.mark.usefixtures("furnished")
def test_a_name_selects_and_a_wrong_one_is_told_with_the_nearest(kindling: Kindling) -> None:
    done = kindling("status", "orders")
    assert "default/orders  ResourcesNotReady" in done.out
    for other in ("broken", "default/shop", "node-1", "nothing has run"):
        assert other not in done.out
    wrong = kindling("status", "ordrs")
    assert (wrong.code, wrong.out) == (2, "")
    assert "Did you mean `orders`?" in wrong.err


def test_a_cluster_that_does_not_answer_is_one_line(fake: FakeCluster, kindling: Kindling) -> None:
    fake.go_away()
    done = kindling("status")
    assert done.code == 0
    assert done.out.splitlines()[-1].startswith("cluster `kind-fake` (it is the current context")
    form = json.loads(kindling("status", "--json").out)["cluster"]
    assert form["answers"] is False
    assert "refuses connections" in form["problem"]


def test_status_reads_and_writes_nothing(furnished: FakeCluster, kindling: Kindling) -> None:
    kindling("status")
    assert furnished.writes == []


@pytest.mark.usefixtures("fake")
def test_a_cluster_that_is_not_local_is_read_when_it_is_named(kindling: Kindling) -> None:
    assert "cluster `far`: it was asked for by name" in kindling("status", "--context", "far").out
    refused = kindling("env", "set", "orders", "A=1", "--context", "far")
    assert refused.code == 2
    assert 'allow_k8s_contexts("far")' in refused.err


def test_routes_are_addresses_to_open() -> None:
    paths = [
        {"path": "/api", "backend": {"service": {"name": "api", "port": {"name": "http"}}}},
    ]
    ingress = {
        "metadata": {"name": "a", "namespace": "n"},
        "spec": {
            "tls": [{"hosts": ["a.example"]}],
            "rules": [{"host": "a.example", "http": {"paths": paths}}, {"http": {"paths": paths}}],
        },
    }
    assert [(one.url, one.port) for one in routes_of([ingress])] == [
        ("https://a.example/api", "http"),
        ("http://*/api", "http"),
    ]


def test_a_cluster_that_does_not_answer_is_told_with_what_may_be_done() -> None:
    seen = Overview("kind-a", "it is the current context", problem="it is stopped", hint="Start it")
    assert overview_text(seen) == (
        "cluster `kind-a` (it is the current context): it is stopped\n  Start it\n"
    )
    assert seen.to_json()["hint"] == "Start it"
    assert not seen.to_json()["answers"]
