"""Who acts: at most one, and soon another when it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from kindling.kube.errors import ForbiddenError
from kindling.kube.protocol import Object
from kindling.operator.controller.lease import (
    SYSTEM_NAMESPACE,
    Election,
    Terms,
    holder_in_force,
    lease_ref,
)
from kindling.operator.controller.run import holder
from kindling.testing.cluster import FakeCluster

TERMS = Terms(duration=1, renew=0.2)
LONG = Terms(duration=600, renew=200.0)


class Candidate:
    """One who stands for the Lease of `default`."""

    def __init__(self, cluster: FakeCluster, name: str, terms: Terms = TERMS) -> None:
        self.changed = asyncio.Event()
        self.said: list[str] = []
        self.election = Election(
            cluster,
            "default",
            name,
            self.changed.set,
            say=self.said.append,
            above=SYSTEM_NAMESPACE,
            terms=terms,
        )

    async def until(self, wanted: Callable[[Election], bool]) -> None:
        async with asyncio.timeout(20):
            while not wanted(self.election):
                await self.changed.wait()
                self.changed.clear()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Candidate]:
        """It dies at the end, without giving the Lease back."""
        task = asyncio.create_task(self.election.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _holding(election: Election) -> bool:
    return election.holding


@pytest.fixture
def cluster() -> FakeCluster:
    fake = FakeCluster()
    for name in (SYSTEM_NAMESPACE, "team"):
        fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return fake


def _lease(namespace: str, who: str, renewed: str, duration: int = 600) -> Object:
    ref = lease_ref(namespace)
    return {
        "apiVersion": ref.api_version,
        "kind": ref.kind,
        "metadata": {"name": ref.name, "namespace": namespace},
        "spec": {
            "holderIdentity": who,
            "renewTime": renewed,
            "leaseDurationSeconds": duration,
        },
    }


async def test_one_acts_and_the_other_knows_who(cluster: FakeCluster) -> None:
    first, second = Candidate(cluster, "first", LONG), Candidate(cluster, "second", LONG)
    async with first.running():
        await first.until(_holding)
        async with second.running():
            await second.until(lambda election: election.decided)
            assert not second.election.holding
            assert second.election.holder == first.election.holder == "first"


async def test_one_who_gives_it_back_is_followed_at_once(cluster: FakeCluster) -> None:
    """Long before its time is over: the other sees it happen."""
    first, second = Candidate(cluster, "first", LONG), Candidate(cluster, "second", LONG)
    async with first.running():
        await first.until(_holding)
        standing = second.running()
        await standing.__aenter__()
        await second.until(lambda election: election.decided)
        assert not second.election.holding
    await first.election.release()
    await second.until(_holding)
    await standing.__aexit__(None, None, None)


async def test_one_who_dies_is_followed_after_its_time(cluster: FakeCluster) -> None:
    first, second = Candidate(cluster, "first"), Candidate(cluster, "second")
    async with first.running():
        await first.until(_holding)
    began = asyncio.get_running_loop().time()
    async with second.running():
        await second.until(_holding)
    assert asyncio.get_running_loop().time() - began >= TERMS.duration * 0.9


async def test_who_cannot_renew_stops_acting_before_another_may_begin(
    cluster: FakeCluster,
) -> None:
    first = Candidate(cluster, "first")
    async with first.running():
        await first.until(_holding)
        cluster.go_away()
        await first.until(lambda election: not election.holding)
        cluster.come_back()
        await first.until(_holding)
    assert "cannot be renewed" in first.said[0]


async def test_the_one_for_all_namespaces_goes_first(cluster: FakeCluster) -> None:
    first = Candidate(cluster, "first", LONG)
    async with first.running():
        await first.until(_holding)
        cluster.put(_lease(SYSTEM_NAMESPACE, "installed", "2026-01-01T00:00:00.000000Z"))
        await first.until(lambda election: election.holder == "installed")
        assert not first.election.holding
        assert (await cluster.get(lease_ref("default")))["spec"]["holderIdentity"] == ""
        cluster.put(_lease(SYSTEM_NAMESPACE, "", "2026-01-01T00:00:01.000000Z"))
        await first.until(_holding)


async def test_an_idle_lease_is_renewed_no_more_often_than_it_must(cluster: FakeCluster) -> None:
    """Its holder is not woken by its own writing."""
    first = Candidate(cluster, "first", LONG)
    async with first.running():
        await first.until(_holding)
        for _ in range(200):
            await asyncio.sleep(0)
    assert [verb for verb, _ in cluster.writes] == ["create"]


async def test_a_namespace_that_may_not_be_looked_into_has_nobody(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rights of one namespace are enough for an operator of it."""
    get = cluster.get

    async def guarded(ref: object, **options: object) -> Object:
        if getattr(ref, "namespace", "") == SYSTEM_NAMESPACE:
            raise ForbiddenError("Cannot read it: it is forbidden")
        return await get(ref, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(cluster, "get", guarded)
    first = Candidate(cluster, "first", LONG)
    async with first.running():
        await first.until(_holding)
    assert await holder(cluster, "default") == "first"


async def test_the_holder_is_the_one_whose_lease_is_in_force(cluster: FakeCluster) -> None:
    assert await holder(cluster, "team") == ""
    now = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    cluster.put(_lease("team", "session", "2026-01-01T00:00:00.000000Z", 15))
    assert await holder_in_force(cluster, "team", now + 14) == "session"
    assert await holder_in_force(cluster, "team", now + 16) == ""
    cluster.put(_lease("team", "", "2026-01-01T00:00:00.000000Z"))
    assert await holder_in_force(cluster, "team", now) == ""
