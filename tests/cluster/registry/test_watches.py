"""Watches: in order, without gaps, bounded in memory, and none slows another."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kindling.cluster.model.api import ChangeType, Selection
from kindling.cluster.model.status import ApiError
from kindling.cluster.registry.history import History
from tests.cluster.registry.bench import CONFIG_MAPS, PODS, Bench, take, told


async def test_a_watch_begins_when_it_is_asked_for(bench: Bench) -> None:
    """Not at its first item: what happens in between is seen."""
    watch = bench.api.watch([CONFIG_MAPS])
    made = await bench.create(CONFIG_MAPS, "a")
    await bench.put(CONFIG_MAPS, made, data={"x": "1"})
    await bench.delete(CONFIG_MAPS, "a")
    assert await take(watch, 3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    await watch.aclose()


async def test_a_deletion_carries_its_own_version(bench: Bench) -> None:
    watch = bench.api.watch([CONFIG_MAPS])
    made = await bench.create(CONFIG_MAPS, "a", data={"x": "1"})
    await bench.delete(CONFIG_MAPS, "a")
    await anext(watch)
    change = await anext(watch)
    assert change.object["data"] == {"x": "1"}
    assert int(change.object["metadata"]["resourceVersion"]) == bench.api.revision
    assert change.before == made
    await watch.aclose()


async def test_a_watch_goes_on_from_a_version(bench: Bench) -> None:
    first = await bench.create(CONFIG_MAPS, "a")
    await bench.create(CONFIG_MAPS, "b")
    await bench.create(PODS, "p", spec={})
    await bench.create(CONFIG_MAPS, "c")
    watch = bench.api.watch([CONFIG_MAPS], since=first["metadata"]["resourceVersion"])
    assert await take(watch, 2) == [("ADDED", "b"), ("ADDED", "c")]
    await watch.aclose()


async def test_a_watch_goes_on_after_a_restart(bench: Bench) -> None:
    made = await bench.create(CONFIG_MAPS, "a", data={"n": "0"})
    since = made["metadata"]["resourceVersion"]
    for number in "12":
        made = await bench.put(CONFIG_MAPS, made, data={"n": number})
    await bench.delete(CONFIG_MAPS, "a")
    await bench.create(CONFIG_MAPS, "a", data={"n": "new"})
    await bench.reopen()
    watch = bench.api.watch([CONFIG_MAPS], since=since)
    changes = [await anext(watch) for _ in range(4)]
    assert [(str(c.type), c.object["data"]["n"]) for c in changes] == [
        ("MODIFIED", "1"),
        ("MODIFIED", "2"),
        ("DELETED", "2"),
        ("ADDED", "new"),
    ]
    assert [int(c.object["metadata"]["resourceVersion"]) for c in changes] == [2, 3, 4, 5]
    await watch.aclose()


async def test_a_version_that_a_restart_has_forgotten_is_gone(bench: Bench) -> None:
    """The history on disk has an end; beyond it a client is told to list again."""
    first = await bench.create(CONFIG_MAPS, "first")
    await asyncio.gather(*(bench.create(CONFIG_MAPS, f"a{n}") for n in range(2500)))
    await bench.reopen()
    with pytest.raises(ApiError) as caught:
        bench.api.watch([CONFIG_MAPS], since=first["metadata"]["resourceVersion"])
    assert (caught.value.code, caught.value.reason) == (410, "Expired")
    watch = bench.api.watch([CONFIG_MAPS], since=str(bench.api.revision - 500))
    assert len(await take(watch, 500)) == 500
    await watch.aclose()


async def test_from_zero_means_what_is_there_and_then_on(bench: Bench) -> None:
    await bench.create(CONFIG_MAPS, "a")
    watch = bench.api.watch([CONFIG_MAPS], since="0")
    await bench.create(CONFIG_MAPS, "b")
    assert await take(watch, 2) == [("ADDED", "a"), ("ADDED", "b")]
    await watch.aclose()


async def test_the_state_ends_with_a_bookmark_that_says_so(bench: Bench) -> None:
    await bench.create(CONFIG_MAPS, "a")
    watch = bench.api.watch([CONFIG_MAPS], initial=True, bookmarks=True)
    assert told(await anext(watch)) == ("ADDED", "a")
    mark = await anext(watch)
    assert mark.type is ChangeType.BOOKMARK
    assert mark.object == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {
            "resourceVersion": str(bench.api.revision),
            "annotations": {"k8s.io/initial-events-end": "true"},
        },
    }
    await watch.aclose()


async def test_an_idle_watch_gets_bookmarks_if_it_asked_for_them(tmp_path: Path) -> None:
    bench = await Bench(tmp_path, admission=False, bookmark_interval=0.01).open()
    with_marks = bench.api.watch([PODS], bookmarks=True)
    without = bench.api.watch([PODS])
    await bench.create(CONFIG_MAPS, "a")
    while (mark := told(await anext(with_marks))) != ("BOOKMARK", "1"):
        assert mark == ("BOOKMARK", "0")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await anext(without)
    await bench.close()


async def test_an_object_that_ceases_to_match_is_deleted_for_the_watch(bench: Bench) -> None:
    watch = bench.api.watch([CONFIG_MAPS], Selection(labels="x=1"))
    made = await bench.create(CONFIG_MAPS, "a")
    for labels in ({"x": "1"}, {"x": "1", "y": "2"}, {"x": "2"}):
        made = await bench.put(CONFIG_MAPS, made, metadata=made["metadata"] | {"labels": labels})
    await bench.delete(CONFIG_MAPS, "a")
    await bench.create(CONFIG_MAPS, "end", meta={"labels": {"x": "1"}})
    changes = [await anext(watch) for _ in range(4)]
    assert [told(change) for change in changes] == [
        ("ADDED", "a"),
        ("MODIFIED", "a"),
        ("DELETED", "a"),
        ("ADDED", "end"),
    ]
    assert changes[2].object["metadata"]["labels"] == {"x": "2"}
    await watch.aclose()


async def test_a_namespace_and_a_field_narrow_a_watch(bench: Bench) -> None:
    watch = bench.api.watch([PODS], Selection("one", fields="spec.nodeName=n"))
    await bench.create(PODS, "a", "two", spec={"nodeName": "n"})
    await bench.create(PODS, "b", "one", spec={})
    await bench.create(PODS, "c", "one", spec={"nodeName": "n"})
    assert await take(watch, 1) == [("ADDED", "c")]
    await watch.aclose()


async def test_one_watch_of_several_resources_keeps_their_order(bench: Bench) -> None:
    watch = bench.api.watch([CONFIG_MAPS, PODS])
    await bench.create(PODS, "a", spec={})
    await bench.create(CONFIG_MAPS, "b")
    await bench.create(PODS, "c", spec={})
    assert await take(watch, 3) == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]
    await watch.aclose()


async def test_watches_share_one_change_and_its_bytes(bench: Bench) -> None:
    """Two hundred watches cost one encoding of each object."""
    watches = [bench.api.watch([CONFIG_MAPS]) for _ in range(200)]
    await bench.create(CONFIG_MAPS, "a")
    changes = [await anext(watch) for watch in watches]
    assert all(change is changes[0] for change in changes)
    assert bench.api.encoded(changes[0].object) is bench.api.encoded(changes[0].object)
    for watch in watches:
        await watch.aclose()


def _forgetful(bench: Bench, entries: int) -> None:
    """The registry keeps only so many changes from now on."""
    memory: Any = bench.api._memory
    memory.history = History(memory.revision, entries=entries)


async def test_a_watch_that_falls_too_far_behind_is_ended(bench: Bench) -> None:
    """It gets 410 and holds up nobody; a watch that reads along gets everything."""
    _forgetful(bench, 10)
    slow = bench.api.watch([CONFIG_MAPS])
    fast = bench.api.watch([CONFIG_MAPS])
    seen = []
    for number in range(30):
        await bench.create(CONFIG_MAPS, f"a{number:02}")
        seen += await take(fast, 1)
    assert [name for _, name in seen] == [f"a{number:02}" for number in range(30)]
    with pytest.raises(ApiError) as caught:
        await anext(slow)
    assert (caught.value.code, caught.value.reason) == (410, "Expired")
    with pytest.raises(StopAsyncIteration):
        await anext(slow)
    await fast.aclose()


async def test_a_watch_of_a_quiet_resource_is_not_ended_by_a_busy_one(bench: Bench) -> None:
    await bench.create(CONFIG_MAPS, "first")
    _forgetful(bench, 10)
    quiet = bench.api.watch([PODS])
    since = str(bench.api.revision)
    for number in range(30):
        await bench.create(CONFIG_MAPS, f"a{number}")
    await bench.create(PODS, "p", spec={})
    assert await take(quiet, 1) == [("ADDED", "p")]
    resumed = bench.api.watch([PODS], since=since)
    assert await take(resumed, 1) == [("ADDED", "p")]
    with pytest.raises(ApiError, match="too old resource version"):
        bench.api.watch([CONFIG_MAPS], since=since)
    await quiet.aclose()
    await resumed.aclose()


async def test_a_version_from_the_future_is_refused(bench: Bench) -> None:
    with pytest.raises(ApiError) as caught:
        bench.api.watch([CONFIG_MAPS], since="99")
    assert caught.value.code == 504
    with pytest.raises(ApiError) as caught:
        bench.api.watch([CONFIG_MAPS], since="x")
    assert caught.value.code == 400


async def test_closing_ends_every_watch(bench: Bench) -> None:
    watch = bench.api.watch([CONFIG_MAPS])
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    await bench.api.close()
    with pytest.raises(StopAsyncIteration):
        await waiting
    await bench.reopen()


async def test_a_watch_that_was_cancelled_can_go_on(bench: Bench) -> None:
    watch = bench.api.watch([CONFIG_MAPS])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await anext(watch)
    await bench.create(CONFIG_MAPS, "a")
    assert await take(watch, 1) == [("ADDED", "a")]
    await watch.aclose()
