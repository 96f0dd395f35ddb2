"""A changed path leads to the nodes that read it, and to the evaluation when the file did."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, cast

from kindling.engine.following import Changes, Follower, Readers
from kindling.files.roots import Sink, WatchRoot
from kindling.graph.dag import Graph
from kindling.graph.node import FileSet, IgnoreRule, NodeId
from kindling.testing.clock import FakeClock

API, WEB = NodeId("image:api"), NodeId("image:web")


def readers(root: Path, common: tuple[IgnoreRule, ...] = ()) -> Readers:
    index = Readers(root, common)
    index.add(None, [FileSet(("Kindlingfile", "charts"))])
    index.add(API, [FileSet(("api",), (IgnoreRule("api", ("*.log", "tests")),))])
    index.add(WEB, [FileSet((".",), only=("web", "shared/a.txt"))])
    return index


def test_a_file_below_a_folder_leads_to_the_node_that_reads_the_folder(tmp_path: Path) -> None:
    changes = readers(tmp_path).of([f"{tmp_path}/api/src/main.go"])
    assert (changes.nodes, changes.config) == ((API,), False)
    assert changes.paths == ("api/src/main.go",)


def test_an_ignored_file_leads_nowhere(tmp_path: Path) -> None:
    changes = readers(tmp_path).of([f"{tmp_path}/api/x.log", f"{tmp_path}/api/tests/t.py"])
    assert (changes.nodes, changes.total) == ((), 0)


def test_only_keeps_just_these_paths_below_the_roots(tmp_path: Path) -> None:
    index = readers(tmp_path)
    assert index.of([f"{tmp_path}/web/index.html"]).nodes == (WEB,)
    assert index.of([f"{tmp_path}/shared/a.txt"]).nodes == (WEB,)
    assert index.of([f"{tmp_path}/shared/b.txt"]).nodes == ()


def test_what_the_evaluation_read_means_evaluating_again(tmp_path: Path) -> None:
    index = readers(tmp_path)
    assert index.of([f"{tmp_path}/Kindlingfile"]).config
    assert index.of([f"{tmp_path}/charts/values.yaml"]).config


def test_a_path_outside_the_project_is_found_too(tmp_path: Path) -> None:
    root = tmp_path / "project"
    index = Readers(root)
    index.add(API, [FileSet(("../lib",))])
    changes = index.of([f"{tmp_path}/lib/a.c"])
    assert (changes.nodes, changes.paths) == ((API,), ("../lib/a.c",))


def test_a_rescan_names_everyone_who_reads_there_since_events_were_lost(tmp_path: Path) -> None:
    changes = readers(tmp_path).of([], [str(tmp_path)])
    assert (changes.nodes, changes.config) == ((API, WEB), True)


def test_settings_for_watching_hold_for_every_node(tmp_path: Path) -> None:
    index = readers(tmp_path, (IgnoreRule(".", ("**/generated",)),))
    assert index.of([f"{tmp_path}/api/generated/x.go"]).nodes == ()


class _Backend:
    """Sees what a test tells."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def set_roots(self, roots: Sequence[WatchRoot]) -> None:
        del roots

    def close(self) -> None:
        pass


class _Bursts:
    """What a follower has handed out, in a time that is the test's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock()
        self.handed: list[tuple[float, Changes]] = []
        self.sinks: list[Sink] = []

    def backend(self, sink: Sink) -> _Backend:
        self.sinks.append(sink)
        return _Backend(sink)

    async def tell(self, *names: str) -> None:
        for name in names:
            self.sinks[0].changed(str(self.root / name))
        await self.clock.settle()

    async def collect(self, changes: AsyncIterator[Changes]) -> None:
        async with aclosing(cast("Any", changes)) as coming:
            async for one in coming:
                self.handed.append((self.clock.monotonic(), one))


@asynccontextmanager
async def following(root: Path) -> AsyncIterator[_Bursts]:
    bursts = _Bursts(root)
    async with Follower(root, bursts.clock, backend=bursts.backend) as follower:
        await follower.watch(FileSet((".",)), Graph(()), (), ())
        collecting = asyncio.create_task(bursts.collect(follower.changes()))
        await bursts.clock.settle()
        yield bursts
        collecting.cancel()
        await asyncio.wait([collecting])


async def test_a_file_that_is_saved_again_and_again_never_waits_longer_than_once(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").write_text("x")
    async with following(tmp_path) as bursts:
        for number in range(1, 11):
            saved = bursts.clock.monotonic()
            await bursts.tell("a")
            await bursts.clock.advance(0.02)
            assert len(bursts.handed) == number
            assert bursts.handed[-1][0] - saved <= 0.011


async def test_what_an_editor_takes_away_for_a_moment_is_one_change(tmp_path: Path) -> None:
    async with following(tmp_path) as bursts:
        await bursts.tell("4913", "a", "a~")
        await bursts.clock.advance(0.02)
        assert bursts.handed == []
        (tmp_path / "a").write_text("x")
        await bursts.tell("a", "a~")
        await bursts.clock.advance(0.02)
        assert [one.every for _, one in bursts.handed] == [("4913", "a", "a~")]
        await bursts.clock.advance(1)
        assert len(bursts.handed) == 1


async def test_what_really_goes_is_named_though_it_looks_temporary(tmp_path: Path) -> None:
    async with following(tmp_path) as bursts:
        await bursts.tell("notes.tmp")
        await bursts.clock.advance(0.1)
        assert [one.every for _, one in bursts.handed] == [("notes.tmp",)]


async def test_lost_events_are_a_rescan_of_what_lies_there(tmp_path: Path) -> None:
    async with following(tmp_path) as bursts:
        bursts.sinks[0].lost(str(tmp_path))
        await bursts.clock.settle()
        await bursts.clock.advance(0.1)
        assert [one.rescan for _, one in bursts.handed] == [True]
