"""What is saved goes out in batches, and a source folder that goes takes nothing with it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kindling.cli.sync_watch import Keeper
from kindling.files.watching import Batch
from kindling.testing.clock import FakeClock

Handed = tuple[tuple[str, ...], bool, float]


@dataclass
class Desk:
    """A keeper whose file events, clock and session are the test's."""

    root: Path
    clock: FakeClock = field(default_factory=FakeClock)
    handed: list[Handed] = field(default_factory=list)
    events: asyncio.Queue[Batch | None] = field(default_factory=asyncio.Queue)
    on_change: Callable[[], None] = lambda: None

    async def changed(
        self, paths: Collection[str], *, rescan: bool = False, since: float = 0.0
    ) -> None:
        self.handed.append((tuple(paths), rescan, since))
        self.on_change()

    async def batches(self) -> AsyncIterator[Batch]:
        while (batch := await self.events.get()) is not None:
            yield batch

    async def save(self, *names: str, gone: bool = False, rescan: bool = False) -> None:
        for name in names:
            if gone:
                (self.root / name).unlink()
            else:
                (self.root / name).write_text("x")
        paths = frozenset(str(self.root / name) for name in names)
        await self.hear(Batch(paths, frozenset([str(self.root)] if rescan else []), self.now))

    async def hear(self, batch: Batch) -> None:
        await self.events.put(batch)
        await self.clock.settle()

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    @property
    def names(self) -> list[tuple[str, ...]]:
        return [names for names, _, _ in self.handed]

    @asynccontextmanager
    async def keeping(self, pause: float | None = None) -> AsyncIterator[Keeper]:
        keeper = Keeper(
            root=self.root,
            batches=self.batches(),
            changed=self.changed,
            known=lambda _path: False,
            clock=self.clock,
            pause=pause,
        )
        work = asyncio.create_task(keeper.run())
        await self.clock.advance(1.0)
        yield keeper
        keeper.ending.set()
        await self.clock.settle()
        await self.clock.advance(1.0)
        await asyncio.wait_for(work, 60)


async def test_a_lone_save_goes_out_within_the_quiet_of_one_burst(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    async with desk.keeping():
        await desk.save("a.py")
        await desk.clock.advance(0.011)
        assert desk.handed == [(("a.py",), False, 1.0)]


async def test_a_burst_that_the_watcher_has_ended_is_not_held_back_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    (tmp_path / "a.py").write_text("x")
    async with desk.keeping():
        await desk.hear(Batch(frozenset([str(tmp_path / "a.py")]), since=desk.now - 0.02))
        assert desk.names == [("a.py",)]


async def test_a_pause_that_is_asked_for_makes_one_batch_of_saves(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    async with desk.keeping(pause=0.5):
        for name in "abc":
            await desk.save(name)
            await desk.clock.advance(0.4)
        assert desk.handed == []
        await desk.clock.advance(0.11)
        assert desk.names == [("a", "b", "c")]


async def test_noise_that_never_ends_is_handed_on_all_the_same(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    async with desk.keeping(pause=0.5):
        for _ in range(30):
            await desk.save("a")
            await desk.clock.advance(0.4)
        assert 1 <= len(desk.handed) <= 2


async def test_a_lost_watch_is_a_look_at_everything(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    async with desk.keeping():
        await desk.save("a", rescan=True)
        await desk.clock.advance(0.05)
        assert desk.handed == [((), True, 1.0)]


async def test_what_is_pending_at_the_end_is_handed_on(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    async with desk.keeping(pause=5.0):
        await desk.save("a")
        assert desk.handed == []
    assert desk.names == [("a",)]


async def test_what_is_saved_while_a_batch_is_carried_is_the_next_one(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    (tmp_path / "b").write_text("x")

    def more() -> None:
        desk.on_change = lambda: None
        desk.events.put_nowait(Batch(frozenset([str(tmp_path / "b")]), since=desk.now))

    desk.on_change = more
    async with desk.keeping():
        await desk.save("a")
        await desk.clock.advance(0.5)
        assert desk.names == [("a",), ("b",)]


async def test_a_source_folder_that_goes_and_comes_is_a_look_at_everything(tmp_path: Path) -> None:
    root = tmp_path / "src"
    root.mkdir()
    desk = Desk(root)
    async with desk.keeping():
        shutil.rmtree(root)
        await desk.hear(Batch(frozenset([str(root)]), since=desk.now))
        await desk.clock.advance(0.1)
        root.mkdir()
        await desk.hear(Batch(frozenset([str(root)]), since=desk.now))
        await desk.clock.advance(0.1)
        assert [rescan for _, rescan, _ in desk.handed] == [True, True]


async def test_what_lies_outside_the_source_is_no_change(tmp_path: Path) -> None:
    root = tmp_path / "src"
    root.mkdir()
    desk = Desk(root)
    async with desk.keeping():
        await desk.hear(Batch(frozenset([str(tmp_path / "other")]), since=desk.now))
        await desk.clock.advance(1.0)
        assert desk.handed == []
