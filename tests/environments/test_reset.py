"""Row 14: `kindling reset` takes runner pools and the Secrets of their tokens, and nothing else."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from kindling.engine.environments.clearing import clear, find_pools
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import TimeLimitError
from kindling.kube.protocol import EventKind
from kindling.operator.definitions.core import GROUP, VERSION
from kindling.operator.pools.desired import MANAGER
from kindling.testing.cluster import FakeCluster
from tests.environments.conftest import Kindling, pod, workload

API = f"{GROUP}/{VERSION}"


@pytest.fixture
def furnished(fake: FakeCluster) -> FakeCluster:
    """Two pools that share a token, one of another namespace, an environment and other Secrets."""
    for kind in ("DevStagingEnvironment", "GithubActionRunnerPool", "CIRunnerPool"):
        fake.add_kind(API, kind)
    fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    for kind, name, place in (
        ("GithubActionRunnerPool", "jeff-runner-pool", "default"),
        ("CIRunnerPool", "ann-runner-pool", "default"),
        ("CIRunnerPool", "ann-runner-pool", "other"),
    ):
        spec = {
            "githubUsername": name.partition("-")[0],
            "repository": "jeff/shop",
            "tokenSecretRef": {"name": "github-runner-token"},
        }
        metadata = {"name": name, "namespace": place}
        fake.put({"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec})
    for name in ("github-runner-token", "kindling-secret-stripe-key"):
        for place in ("default", "other"):
            metadata = {"name": name, "namespace": place}
            fake.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    fake.put(
        {
            "apiVersion": API,
            "kind": "DevStagingEnvironment",
            "metadata": {"name": "orders", "namespace": "default"},
        }
    )
    fake.put(workload("shop"))
    fake.writes.clear()
    return fake


def test_row_14_pools_and_their_tokens_go_and_nothing_else(
    furnished: FakeCluster, kindling: Kindling
) -> None:
    done = kindling("reset", "-y")
    assert (done.code, done.out) == (0, "")
    assert [f"{verb} {ref}" for verb, ref in furnished.writes] == [
        "delete GithubActionRunnerPool/jeff-runner-pool in default",
        "delete CIRunnerPool/ann-runner-pool in default",
        "delete Secret/github-runner-token in default",
    ]
    assert "runners of jeff at jeff/shop" in done.err
    again = kindling("reset", "-y")
    assert again.code == 0
    assert "nothing to reset: no runner pools in namespace default" in again.err


def test_row_14_all_namespaces_are_asked_for(furnished: FakeCluster, kindling: Kindling) -> None:
    assert kindling("reset", "-y", "-A").code == 0
    left = {(one["kind"], one["metadata"]["name"]) for one in furnished.objects()}
    assert ("Secret", "github-runner-token") not in left
    assert left >= {("DevStagingEnvironment", "orders"), ("Deployment", "shop")}


def test_row_14_without_yes_and_nobody_to_ask_nothing_happens(
    furnished: FakeCluster, kindling: Kindling
) -> None:
    done = kindling("reset")
    assert done.code == 2
    assert "Secret/github-runner-token in default, their token" in done.err
    assert furnished.writes == []


def test_row_14_a_cluster_that_never_had_pools(fake: FakeCluster, kindling: Kindling) -> None:
    assert kindling("reset", "-y").code == 0
    assert fake.writes == []


def runner(pool: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/instance": pool, "app.kubernetes.io/managed-by": MANAGER}
    return pod("jeff-runner-1", {"phase": "Running"}, labels=labels)


async def test_row_14_it_waits_until_the_runners_are_gone(furnished: FakeCluster) -> None:
    """They sign off with their token, so it goes after them."""
    furnished.put(runner("jeff-runner-pool"))
    pools = await find_pools(furnished, "default")
    said: list[str] = []
    task = asyncio.create_task(clear(furnished, pools, said.append))
    async with aclosing(furnished.watch(API, "GithubActionRunnerPool")) as events:
        async for event in events:
            if event.kind is EventKind.DELETED or not (event.items or event.object):
                break
    secrets = [one["metadata"]["name"] for one in furnished.objects("Secret")]
    assert "github-runner-token" in secrets
    furnished.remove(ObjectRef("v1", "Pod", "jeff-runner-1", "default"))
    await asyncio.wait_for(task, 10)
    assert said[-1] == "Secret/github-runner-token in default deleted"


async def test_row_14_runners_that_stay_are_named(furnished: FakeCluster) -> None:
    furnished.put(runner("jeff-runner-pool"))
    pools = await find_pools(furnished, "default")
    with pytest.raises(TimeLimitError, match=r"still there after 0 s: \[jeff-runner-1\]"):
        await clear(furnished, pools, lambda _line: None, timeout=0.2)
