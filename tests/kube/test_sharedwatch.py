"""One watch for many followers, with the fake cluster as what is watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ForbiddenError
from kindling.kube.protocol import EventKind, Object, Selector, WatchEvent
from kindling.kube.sharedwatch import SharedWatches
from kindling.kube.watch import Link
from kindling.testing.cluster import FakeCluster

Told = tuple[str, ...]


class Pool:
    """Shared watches over a fake cluster, which counts what is opened."""

    def __init__(self, **options: Any) -> None:
        self.fake = FakeCluster()
        self.fake.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}})
        self.opened: list[tuple[str, Selector, Selector]] = []
        self.open = 0
        self.forbidden = False
        self.links: list[Link] = []
        self.version = ""
        self.shared = SharedWatches(self._open, **{"linger": 0.0, **options})
        self.readers: list[Reader] = []

    async def _open(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        labels: Selector,
        fields: Selector,
        link: Link | None,
    ) -> AsyncGenerator[WatchEvent, None]:
        self.opened.append((namespace, labels, fields))
        if self.forbidden and not labels:
            raise ForbiddenError("not all of the namespace")
        if link is not None:
            link.raised()
            self.links.append(link)
        self.open += 1
        try:
            events = self.fake.watch(
                api_version, kind, namespace=namespace, labels=labels, fields=fields
            )
            async with aclosing(events):
                async for event in events:
                    if event.kind is EventKind.SYNCED:
                        event = WatchEvent(event.kind, {}, event.items, version=self.version)
                    yield event
        finally:
            self.open -= 1

    def put(self, name: str, side: str = "x", namespace: str = "ns") -> Object:
        return self.fake.put(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": namespace, "labels": {"side": side}},
            }
        )

    def reader(self, *, namespace: str = "ns", **selectors: Any) -> Reader:
        reader = Reader(self, namespace, selectors)
        self.readers.append(reader)
        return reader


class Reader:
    """One who follows config maps, and what it was told."""

    def __init__(self, pool: Pool, namespace: str, selectors: dict[str, Any]) -> None:
        self.told: list[Told] = []
        self.events = pool.shared.follow("v1", "ConfigMap", namespace=namespace, **selectors)
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async with aclosing(self.events) as events:
            async for event in events:
                items = event.items or ((event.object,) if event.object else ())
                names = tuple(str(item["metadata"]["name"]) for item in items)
                self.told.append((event.kind.value, *names))

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 # a few milliseconds of the loop's timers
            await asyncio.sleep(0.001)


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    made = Pool()
    yield made
    for reader in made.readers:
        await reader.leave()
    await made.shared.close()
    assert made.open == 0


async def test_followers_of_a_namespace_share_one_watch(pool: Pool) -> None:
    pool.put("a", "x")
    pool.put("b", "y")
    x, y = pool.reader(labels=(("side", "x"),)), pool.reader(labels=(("side", "y"),))
    named = pool.reader(fields=(("metadata.name", "b"),))
    await settle()
    pool.put("c", "x")
    pool.put("b", "y")
    await settle()
    assert x.told == [("synced", "a"), ("added", "c")]
    assert y.told == named.told == [("synced", "b"), ("modified", "b")]
    assert pool.opened == [("ns", (), ())]


async def test_a_late_follower_is_given_the_present_state_without_a_list(pool: Pool) -> None:
    pool.put("a")
    first = pool.reader()
    await settle()
    pool.put("b")
    pool.fake.remove(ObjectRef("v1", "ConfigMap", "a", "ns"))
    await settle()
    late = pool.reader()
    await settle()
    assert late.told == [("synced", "b")]
    assert first.told == [("synced", "a"), ("added", "b"), ("deleted", "a")]
    assert len(pool.opened) == 1


async def test_an_object_whose_labels_change_comes_and_goes(pool: Pool) -> None:
    pool.put("a", "x")
    x, y = pool.reader(labels=(("side", "x"),)), pool.reader(labels=(("side", "y"),))
    await settle()
    pool.put("a", "y")
    await settle()
    assert x.told == [("synced", "a"), ("deleted", "a")]
    assert y.told == [("synced",), ("added", "a")]


async def test_a_watch_ends_after_its_last_follower_and_no_other(pool: Pool) -> None:
    one, two = pool.reader(), pool.reader()
    await settle()
    await one.leave()
    await settle()
    pool.put("a")
    await settle()
    assert two.told == [("synced",), ("added", "a")]
    assert pool.open == 1
    await two.leave()
    await until(lambda: not pool.open)
    assert pool.shared.sources == 0


async def test_many_comings_and_goings_leave_nothing_behind(pool: Pool) -> None:
    before = asyncio.all_tasks()
    for _ in range(2):
        readers = [pool.reader(namespace=f"ns{n % 3}") for n in range(30)]
        await settle()
        for reader in readers:
            await reader.leave()
        await until(lambda: not pool.shared.sources)
    await settle()
    assert asyncio.all_tasks() == before
    assert len(pool.opened) == 6


async def test_who_may_not_watch_the_namespace_watches_its_own_part(pool: Pool) -> None:
    pool.forbidden = True
    pool.put("a", "x")
    reader = pool.reader(labels=(("side", "x"),))
    await settle()
    assert reader.told == [("synced", "a")]
    assert pool.opened == [("ns", (), ()), ("ns", (("side", "x"),), ())]


async def test_fields_other_than_the_name_are_the_servers_to_compare(pool: Pool) -> None:
    pool.reader(fields=(("type", "Warning"),))
    pool.reader(fields=(("type", "Warning"),))
    await settle()
    assert pool.opened == [("ns", (), (("type", "Warning"),))]


async def test_what_was_written_before_is_never_taken_back(pool: Pool) -> None:
    """A source that lags behind is waited for."""
    pool.version = "1"
    pool.put("a")
    pool.reader()
    await settle()
    version = int(
        (await pool.fake.get(ObjectRef("v1", "ConfigMap", "a", "ns")))["metadata"][
            "resourceVersion"
        ]
    )
    late = pool.reader(since=str(version + 1))
    await settle()
    assert late.told == []
    pool.put("b")
    await settle()
    assert late.told == [("synced", "a", "b")]


async def test_a_source_that_stays_behind_is_not_waited_for_without_end() -> None:
    pool = Pool(behind_limit=0.01)
    pool.version = "1"
    reader = pool.reader(since="999999")
    await until(lambda: bool(reader.told))
    assert reader.told == [("synced",)]
    assert len(pool.opened) == 2
    await reader.leave()
    await pool.shared.close()


async def test_while_it_is_disconnected_nothing_old_is_handed_to_new_followers(pool: Pool) -> None:
    pool.put("a")
    first = pool.reader()
    await settle()
    pool.links[0].up = False
    late = pool.reader()
    await settle()
    assert (first.told, late.told) == ([("synced", "a")], [])
    pool.links[0].raised()
    await settle()
    assert (first.told, late.told) == ([("synced", "a")], [("synced", "a")])


async def test_a_server_that_goes_away_is_told_to_all(pool: Pool) -> None:
    readers = [pool.reader(), pool.reader()]
    await settle()
    pool.fake.go_away()
    await settle()
    pool.fake.come_back()
    await settle()
    for reader in readers:
        assert [told[0] for told in reader.told] == ["synced", "away", "synced"]


async def test_who_does_not_read_is_told_the_whole_state_later(pool: Pool) -> None:
    """What is kept for a slow reader is bounded."""
    pool.put("a")
    events = pool.shared.follow("v1", "ConfigMap", namespace="ns")
    async with aclosing(events):
        assert (await anext(events)).kind is EventKind.SYNCED
        for n in range(1500):
            pool.put("a", str(n))
        await settle()
        event = await anext(events)
        assert (event.kind, len(event.items)) == (EventKind.SYNCED, 1)


async def test_closing_ends_those_who_still_follow() -> None:
    pool = Pool()
    reader = pool.reader()
    await settle()
    await pool.shared.close()
    with pytest.raises(ClusterError, match="was closed"):
        await reader.task


async def test_the_record_of_field_owners_is_not_kept(pool: Pool) -> None:
    pool.fake.put(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "ns", "managedFields": [{"manager": "x"}]},
        }
    )
    events = pool.shared.follow("v1", "ConfigMap", namespace="ns")
    async with aclosing(events):
        (item,) = (await anext(events)).items
    assert "managedFields" not in item["metadata"]
