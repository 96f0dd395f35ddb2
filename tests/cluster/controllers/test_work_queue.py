"""The queue: one key at a time, none lost, slower after failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from hypothesis import given, settings
from hypothesis import strategies as st

from kindling.cluster.controllers.work import Key, WorkQueue
from kindling.cluster.model.status import conflict
from kindling.testing.clock import FakeClock


@asynccontextmanager
async def queue_of(
    work: Callable[[Key], Awaitable[float | None]], clock: FakeClock, workers: int = 8
) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue("test", work, clock, workers=workers)

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            queue.start(tasks)
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(run(), name="queue")
    await clock.settle()
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_key_added_while_it_waits_is_done_once() -> None:
    done: list[Key] = []

    async def work(key: Key) -> None:
        done.append(key)

    clock = FakeClock()
    async with queue_of(work, clock) as queue:
        for _ in range(3):
            queue.add(("a",))
        queue.add(("b",))
        await clock.settle()
        assert done == [("a",), ("b",)]
        assert queue.idle


async def test_a_failure_comes_again_after_a_growing_pause_and_hurts_no_other_key() -> None:
    tried: list[tuple[Key, float]] = []
    clock = FakeClock()

    async def work(key: Key) -> None:
        tried.append((key, clock.monotonic()))
        if key == ("bad",):
            raise RuntimeError("on purpose")

    async with queue_of(work, clock) as queue:
        queue.add(("bad",))
        queue.add(("good",))
        await clock.advance(0.1)
        times = [round(at, 3) for key, at in tried if key == ("bad",)]
        assert times == [0.0, 0.01, 0.03, 0.07]
        assert [key for key, _ in tried].count(("good",)) == 1
        assert queue.failing == 1
        await clock.advance(10_000)
        gaps = [at for key, at in tried if key == ("bad",)]
        assert round(gaps[-1] - gaps[-2]) == 60


async def test_a_conflict_is_tried_again_at_once_on_what_is_there_now() -> None:
    tried = 0
    clock = FakeClock()

    async def work(_: Key) -> None:
        nonlocal tried
        tried += 1
        if tried < 3:
            raise conflict("pods", "a")

    async with queue_of(work, clock) as queue:
        queue.add(("a",))
        await clock.settle()
        assert tried == 3
        assert clock.monotonic() == 0
        assert queue.failing == 0


async def test_of_two_moments_the_earlier_counts() -> None:
    at: list[float] = []
    clock = FakeClock()

    async def work(_: Key) -> None:
        at.append(clock.monotonic())

    async with queue_of(work, clock) as queue:
        queue.add_after(("a",), 50)
        queue.add_after(("a",), 20)
        queue.add_after(("a",), 30)
        await clock.advance(100)
        assert at == [20]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=30))
def test_no_key_is_worked_on_twice_at_a_time_and_the_last_word_is_heard(
    steps: list[tuple[int, int]],
) -> None:
    async def scenario() -> None:
        clock = FakeClock()
        active: set[Key] = set()
        told: dict[Key, int] = {}
        heard: dict[Key, int] = {}

        async def work(key: Key) -> None:
            assert key not in active
            active.add(key)
            heard[key] = told[key]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            active.discard(key)

        async with queue_of(work, clock, workers=2) as queue:
            for number, (name, pause) in enumerate(steps):
                key = (str(name),)
                told[key] = number
                queue.add(key)
                for _ in range(pause):
                    await asyncio.sleep(0)
            await clock.settle(200)
            assert queue.idle
            assert heard == told

    asyncio.run(scenario())
