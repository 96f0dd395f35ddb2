"""Two hundred environments created, changed and deleted while their operator is killed again and
again, in the midst of its writes: in the end everything is as it should be."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from kindling.graph.spec import ObjectRef
from kindling.operator.controller import post
from kindling.operator.controller.reading import SORTS
from kindling.testing.cluster import FakeCluster
from tests.operator.storm.mortal import Followed, Mortal
from tests.operator.storm.storming import Storm, uncovered

NAMESPACE = "default"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    monkeypatch.setattr(post, "OwnerWatch", Followed)
    cluster = FakeCluster()
    for kind in SORTS:
        cluster.add_kind("apps.example.com/v1alpha1", kind)
    return cluster


def collect(server: FakeCluster) -> int:
    """Play the garbage collector, which also takes what names an owner that is gone."""
    uids = {one["metadata"]["uid"] for one in server.objects()}
    lost = [
        one
        for one in server.objects()
        if (owners := one["metadata"].get("ownerReferences"))
        and all(owner["uid"] not in uids for owner in owners)
    ]
    for one in lost:
        head = one["metadata"]
        server.remove(ObjectRef(one["apiVersion"], one["kind"], head["name"], head["namespace"]))
    return len(lost)


async def weather(server: FakeCluster, count: int, seed: int) -> tuple[Storm, Mortal, int]:
    """A storm of two acts for each environment with an operator that dies, and of one with the
    last, which is still there in the end. Besides these: how many lives were spent."""
    storm = Storm(server, NAMESPACE, count, seed)
    random = Random(seed)
    over = asyncio.Event()
    lives = 0

    async def reign() -> Mortal:
        nonlocal lives
        while not over.is_set():
            after = random.randrange(1, 2 * count)
            mortal = Mortal(server, NAMESPACE, after, done=random.random() < 0.5)
            await mortal.death(over)
            lives += 1
        return Mortal(server, NAMESPACE, 0, done=False)

    reigning = asyncio.create_task(reign())
    await storm.begin()
    while storm.acts < 2 * count:
        await storm.act()
        if random.random() < 0.02:
            collect(server)
    over.set()
    survivor = await reigning
    while storm.acts < 3 * count:
        await storm.act()
    return storm, survivor, lives


@pytest.mark.parametrize(("count", "seed"), [(200, 1), (20, 2), (20, 3), (20, 4)])
async def test_after_a_storm_every_survivor_has_what_it_wants_and_nothing_is_left_over(
    server: FakeCluster, count: int, seed: int
) -> None:
    storm, operator, lives = await weather(server, count, seed)
    collect(server)
    await storm.calm(60)
    assert lives >= 3
    assert not any("a fault of kindling's own" in line for line in operator.said)
    before = len(server.writes)
    for name in storm.names:  # one that has no environment is looked at in vain
        await operator.look(name)
    assert server.writes[before:] == []
    await operator.kill()


def test_what_is_not_covered_is_told_by_its_path() -> None:
    live = {"a": {"b": [1, 2]}, "more": 1}
    assert uncovered({"a": {"b": [1, 2]}}, live) == []
    assert uncovered({"a": {"b": [1, 3]}}, live) == [".a.b[1]: 2 instead of 3"]
    assert uncovered({"a": {"b": [1]}}, live) == [".a.b"]
    assert uncovered({"c": {"d": 1}, "e": []}, live) == [".c"]
