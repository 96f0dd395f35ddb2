"""`kindling env` on the command line: what it says, and whom it leaves alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kindling.engine.control import serve
from kindling.engine.environments.declared import declared_here
from kindling.graph.spec import ObjectRef
from kindling.testing.cluster import FakeCluster
from tests.environments.conftest import Kindling, workload

API = "apps.example.com/v1alpha1"


@pytest.fixture
def furnished(fake: FakeCluster) -> FakeCluster:
    fake.add_kind(API, "DevStagingEnvironment")
    fake.put(
        {
            "apiVersion": API,
            "kind": "DevStagingEnvironment",
            "metadata": {"name": "orders", "namespace": "default"},
            "spec": {
                "deployment": {"image": "nginx", "port": 80},
                "service": {"port": 80},
                "dependencies": [{"type": "redis"}],
            },
        }
    )
    fake.put(workload("web"))
    fake.writes.clear()
    return fake


def test_set_list_and_unset(furnished: FakeCluster, kindling: Kindling) -> None:
    done = kindling("env", "set", "orders", "A=1", "B=x y")
    assert (done.code, done.out) == (0, "")
    assert "set [A, B] of the environment `orders` in default" in done.err
    assert "cluster `kind-fake`" in done.err.lower()
    assert kindling("env", "list", "orders").out == "REDIS_URL (dependency redis)\nA=1\nB=x y\n"
    form = json.loads(kindling("env", "list", "orders", "--json").out)
    assert form["variables"][1] == {"name": "A", "value": "1", "source": ""}
    assert "nothing to change" in kindling("env", "set", "orders", "A=1").err
    assert "unset [A]" in kindling("env", "unset", "orders", "A").err
    assert [verb for verb, _ in furnished.writes] == ["patch", "patch"]


@pytest.mark.usefixtures("furnished")
def test_what_a_dependency_brings_cannot_be_unset(kindling: Kindling) -> None:
    done = kindling("env", "unset", "orders", "REDIS_URL")
    assert done.code == 2
    assert "comes from its dependency redis" in done.err


@pytest.mark.usefixtures("furnished")
def test_a_variable_that_is_not_set_is_told_once(kindling: Kindling) -> None:
    kindling("env", "set", "orders", "COLOR=1")
    told = kindling("env", "unset", "orders", "COLOUR").err.splitlines()
    assert [line for line in told if "COLOUR" in line] == [
        "`COLOUR` is not set. Did you mean `COLOR`?"
    ]
    told = kindling("env", "unset", "orders", "ZZZ").err.splitlines()
    assert "`ZZZ` is not set." in told


def test_an_environment_that_nobody_rolls_out_is_told(
    furnished: FakeCluster, kindling: Kindling
) -> None:
    assert "no operator acts in default" in kindling("env", "set", "orders", "A=1").err
    assert "no operator" not in kindling("env", "set", "orders", "A=1").err
    assert "no operator" not in kindling("env", "set", "web", "A=1").err
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    furnished.put(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "kindling-operator", "namespace": "default"},
            "spec": {"holderIdentity": "up", "renewTime": now, "leaseDurationSeconds": 900},
        }
    )
    assert "no operator" not in kindling("env", "set", "orders", "A=2").err


@pytest.mark.usefixtures("furnished")
def test_wrong_words(kindling: Kindling) -> None:
    assert "Did you mean `orders`?" in kindling("env", "list", "order").err
    assert "Did you mean `set`?" in kindling("env", "sett", "orders").err
    assert "Write it as `A=value`." in kindling("env", "set", "orders", "A").err


def ours(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"kindling.dev/project": "shop"}}}


async def test_what_the_running_session_declares_is_left_to_its_file(tmp_path: Path) -> None:
    """Without the label of a project, or a session, it is nobody's."""
    nodes = [
        {
            "id": "operator:orders",
            "kind": "operator",
            "resource": "orders",
            "where": "Kindlingfile:3:1",
        },
        {"id": "rollout:web", "kind": "rollout", "resource": "web", "where": "Kindlingfile:9:1"},
    ]

    async def answer(request: Mapping[str, Any]) -> dict[str, Any]:
        assert request["ask"] == "status"
        return {"nodes": nodes}

    orders = ObjectRef(API, "DevStagingEnvironment", "orders", "default")
    web = ObjectRef("apps/v1", "Deployment", "web", "default")
    assert await declared_here(tmp_path, orders, ours("orders")) == ""
    async with serve(tmp_path, answer):
        assert await declared_here(tmp_path, orders, ours("orders")) == "Kindlingfile:3:1"
        assert await declared_here(tmp_path, web, ours("web")) == "Kindlingfile:9:1"
        assert await declared_here(tmp_path, orders, {"metadata": {"name": "orders"}}) == ""
        other = ObjectRef("apps/v1", "Deployment", "other", "default")
        assert await declared_here(tmp_path, other, ours("other")) == ""
