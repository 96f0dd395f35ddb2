"""Whatever is done in whatever order, the registry agrees with a naive one that keeps all."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Awaitable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kindling.cluster.model.api import Change, ChangeType, Obj, Selection
from kindling.cluster.model.status import ApiError
from kindling.cluster.registry.watching import Watch
from tests.cluster.registry.bench import CONFIG_MAPS, Bench

NAMES = ("a", "b", "c")
NAMESPACES = ("one", "two")

steps = st.lists(
    st.one_of(
        st.tuples(st.just("create"), st.sampled_from(NAMES), st.sampled_from(NAMESPACES)),
        st.tuples(st.just("label"), st.sampled_from(NAMES), st.sampled_from(NAMESPACES)),
        st.tuples(st.just("stale"), st.sampled_from(NAMES), st.sampled_from(NAMESPACES)),
        st.tuples(st.just("delete"), st.sampled_from(NAMES), st.sampled_from(NAMESPACES)),
        st.tuples(st.just("reopen"), st.just(""), st.just("")),
        st.tuples(st.just("together"), st.sampled_from(NAMES), st.sampled_from(NAMESPACES)),
    ),
    max_size=25,
)


class Naive:
    """Every state that ever was, by revision."""

    def __init__(self) -> None:
        self.states: dict[int, dict[tuple[str, str], Obj]] = {0: {}}
        self.revision = 0

    def note(self, revision: int, key: tuple[str, str], obj: Obj | None) -> None:
        state = dict(self.states[self.revision])
        if obj is None:
            del state[key]
        else:
            state[key] = obj
        self.revision = revision
        self.states[revision] = state

    def listed(self, revision: int, labels: str) -> list[Obj]:
        state = self.states[revision]
        found = [state[key] for key in sorted(state)]
        return [obj for obj in found if not labels or matches(obj)]

    def changes(self, since: int, labels: str) -> list[tuple[str, str, str]]:
        told = []
        revisions = sorted(revision for revision in self.states if revision >= since)
        for before, after in itertools.pairwise(revisions):
            old, new = self.states[before], self.states[after]
            for key in sorted(old.keys() | new.keys()):
                if old.get(key) is new.get(key):
                    continue
                was = key in old and (not labels or matches(old[key]))
                now = key in new and (not labels or matches(new[key]))
                if was or now:
                    kind = "MODIFIED" if was and now else "ADDED" if now else "DELETED"
                    told.append((kind, *key))
        return told


def matches(obj: Obj) -> bool:
    return bool((obj["metadata"].get("labels") or {}).get("on") == "1")


async def drain(watch: Watch, until: int) -> list[tuple[str, str, str]]:
    """All changes up to a revision; nothing beyond it is under way."""
    found: list[Change] = []
    ending = asyncio.ensure_future(anext(watch))
    while True:
        await asyncio.sleep(0)
        if not ending.done():
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
            break
        found.append(ending.result())
        ending = asyncio.ensure_future(anext(watch))
    await watch.aclose()
    assert all(int(change.object["metadata"]["resourceVersion"]) <= until for change in found)
    return [
        (
            str(change.type),
            change.object["metadata"]["namespace"],
            change.object["metadata"]["name"],
        )
        for change in found
        if change.type is not ChangeType.BOOKMARK
    ]


async def act(bench: Bench, naive: Naive, what: str, name: str, namespace: str, n: int) -> None:
    key = (namespace, name)
    known = naive.states[naive.revision].get(key)
    if what == "reopen":
        await bench.reopen()
        return
    if what == "together":
        # Two at once on different objects: one commit, two revisions, in the order of asking.
        other = next(o for o in NAMES if o != name)
        for one in (name, other):
            if (namespace, one) in naive.states[naive.revision]:
                return
        made = await asyncio.gather(
            bench.create(CONFIG_MAPS, name, namespace), bench.create(CONFIG_MAPS, other, namespace)
        )
        for obj in made:
            meta = obj["metadata"]
            naive.note(int(meta["resourceVersion"]), (namespace, meta["name"]), obj)
        return
    labels = {"labels": {"on": str(n % 2)}}
    if what == "create":
        if known is not None:
            await refused(409, bench.create(CONFIG_MAPS, name, namespace))
            return
        made_one = await bench.create(CONFIG_MAPS, name, namespace, meta=labels)
        naive.note(int(made_one["metadata"]["resourceVersion"]), key, made_one)
    elif known is None:
        assert bench.get(CONFIG_MAPS, name, namespace) is None
        await refused(404, bench.delete(CONFIG_MAPS, name, namespace))
    elif what == "label":
        done = await bench.put(CONFIG_MAPS, known, metadata=known["metadata"] | labels)
        if done != known:
            naive.note(int(done["metadata"]["resourceVersion"]), key, done)
    elif what == "stale":
        old = known["metadata"] | {"resourceVersion": "999999"}
        await refused(409, bench.put(CONFIG_MAPS, known, metadata=old, data={"n": str(n)}))
    else:
        await bench.delete(CONFIG_MAPS, name, namespace)
        naive.note(bench.api.revision, key, None)


async def refused(code: int, doing: Awaitable[object]) -> None:
    with pytest.raises(ApiError) as caught:
        await doing
    assert caught.value.code == code


@given(steps=steps, data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_lists_and_watches_agree_with_a_naive_store(
    steps: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(Path(folder), steps, data))


async def compare(folder: Path, steps: list[tuple[str, str, str]], data: st.DataObject) -> None:
    bench = await Bench(folder, admission=False).open()
    naive = Naive()
    try:
        for n, (what, name, namespace) in enumerate(steps):
            await act(bench, naive, what, name, namespace, n)
        api = bench.api
        assert api.revision == naive.revision
        for labels in ("", "on=1"):
            now = api.list(CONFIG_MAPS, Selection(labels=labels))
            assert list(now.items) == naive.listed(naive.revision, labels)
            revisions = sorted(naive.states)[1:]
            if not revisions:
                continue
            since = data.draw(st.sampled_from(revisions))
            then = api.list(
                CONFIG_MAPS, Selection(labels=labels), resource_version=str(since), match="Exact"
            )
            assert list(then.items) == naive.listed(since, labels)
            watch = api.watch([CONFIG_MAPS], Selection(labels=labels), since=str(since))
            assert await drain(watch, api.revision) == naive.changes(since, labels)
            paged: list[Obj] = []
            token = ""
            while True:
                page = api.list(CONFIG_MAPS, Selection(labels=labels), limit=2, proceed=token)
                paged += page.items
                token = page.proceed
                if not token:
                    break
            assert paged == list(now.items)
    finally:
        await bench.close()
