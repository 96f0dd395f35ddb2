"""An Ingress request goes where networking.k8s.io/v1 says."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.cluster.network.rules import Rule, choose, rules_of


def ingress(name: str, *rules: tuple[str, str, str, str], **more: Any) -> dict[str, Any]:
    """Rules of (host, path, type, service)."""
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "creationTimestamp": more.pop("at", "2026-01-01T00:00:00Z"),
            "annotations": more.pop("annotations", {}),
        },
        "spec": {
            "rules": [
                {
                    "host": host,
                    "http": {
                        "paths": [
                            {
                                "path": path,
                                "pathType": kind,
                                "backend": {"service": {"name": service, "port": {"number": 80}}},
                            }
                        ]
                    },
                }
                for host, path, kind, service in rules
            ],
            **more,
        },
    }


RULES = rules_of(
    [
        ingress(
            "main",
            ("api.localhost", "/", "Prefix", "api"),
            ("api.localhost", "/v2", "Prefix", "api2"),
            ("api.localhost", "/v2/exact", "Exact", "exact"),
            ("*.localhost", "/", "Prefix", "any"),
            ("", "/shared", "ImplementationSpecific", "shared"),
            defaultBackend={"service": {"name": "last", "port": {"name": "http"}}},
        )
    ]
)


@pytest.mark.parametrize(
    ("host", "path", "service"),
    [
        ("api.localhost", "/", "api"),
        ("API.localhost:8080", "/x", "api"),
        ("api.localhost", "/v2", "api2"),
        ("api.localhost", "/v2/", "api2"),
        ("api.localhost", "/v2x", "api"),
        ("api.localhost", "/v2/exact", "exact"),
        ("api.localhost", "/v2/exact/more", "api2"),
        ("web.localhost", "/v2", "any"),
        ("a.b.localhost", "/shared/x", "shared"),
        ("localhost", "/", "last"),
        ("", "/shared", "shared"),
    ],
)
def test_the_best_rule_is_chosen(host: str, path: str, service: str) -> None:
    rule = choose(RULES, host, path)
    assert isinstance(rule, Rule)
    assert rule.backend.service == service


def test_ingresses_of_other_classes_are_left_alone() -> None:
    theirs = [
        ingress("a", ("x.localhost", "/", "Prefix", "a"), ingressClassName="nginx"),
        ingress("b", ("x.localhost", "/", "Prefix", "b"),
                annotations={"kubernetes.io/ingress.class": "traefik"}),
    ]  # fmt: skip
    assert rules_of(theirs) == ()
    ours = ingress("c", ("x.localhost", "/", "Prefix", "c"), ingressClassName="kindling")
    assert len(rules_of([*theirs, ours])) == 1


def test_of_two_equal_rules_the_older_ingress_wins() -> None:
    new = ingress("a", ("x.localhost", "/", "Prefix", "new"), at="2026-02-02T00:00:00Z")
    old = ingress("b", ("x.localhost", "/", "Prefix", "old"))
    rule = choose(rules_of([new, old]), "x.localhost", "/")
    assert rule is not None
    assert rule.backend.service == "old"
