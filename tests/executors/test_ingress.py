"""Which addresses an Ingress opens."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.executors.ingress import addresses_of


def ingress(*rules: dict[str, Any], port: int | None = 8080) -> dict[str, Any]:
    served = [{"ip": "127.0.0.1", "ports": [{"port": port}]}] if port else []
    return {"spec": {"rules": list(rules)}, "status": {"loadBalancer": {"ingress": served}}}


@pytest.mark.parametrize(
    ("made", "addresses"),
    [
        (ingress({"host": "a.localhost"}), ("http://a.localhost:8080",)),
        (ingress({"host": "a.localhost"}, port=80), ("http://a.localhost",)),
        (ingress({"host": "a.localhost"}, port=None), ()),
        (ingress({"host": "*.localhost"}), ()),
        (ingress({"http": {"paths": [{"path": "/api"}]}}), ("http://localhost:8080/api",)),
        (
            ingress({"host": "a.localhost"}, {"host": "b.localhost"}, {"host": "a.localhost"}),
            ("http://a.localhost:8080", "http://b.localhost:8080"),
        ),
        ({"spec": {"rules": [{"host": "a.localhost"}]}}, ()),
    ],
)
def test_the_addresses_are_those_that_answer(
    made: dict[str, Any], addresses: tuple[str, ...]
) -> None:
    assert addresses_of(made) == addresses
