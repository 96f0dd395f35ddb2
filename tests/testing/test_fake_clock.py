"""The fake clock and the real one keep the same promises."""

from __future__ import annotations

import asyncio

import pytest

from kindling.engine.clock import SystemClock
from kindling.executors.protocol import Clock
from kindling.testing.clock import FakeClock


@pytest.fixture(params=[SystemClock, FakeClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    made: Clock = request.param()
    return made


async def _let_pass(clock: Clock, seconds: float) -> None:
    if isinstance(clock, FakeClock):
        await clock.advance(seconds)
    else:
        await clock.sleep(seconds)


async def test_sleepers_wake_in_the_order_of_their_moments(clock: Clock) -> None:
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        before = clock.monotonic(), clock.time()
        await clock.sleep(seconds)
        assert clock.monotonic() - before[0] >= seconds - 1e-3
        assert clock.time() - before[1] >= seconds - 1e-3
        woken.append(seconds)

    async with asyncio.TaskGroup() as group:
        for seconds in (0.03, 0.01, 0.0, 0.02):
            group.create_task(sleeper(seconds), name=f"sleeper-{seconds}")
        await _let_pass(clock, 0.05)
    assert woken == [0.0, 0.01, 0.02, 0.03]


async def test_nobody_wakes_before_time_is_moved() -> None:
    clock = FakeClock()
    async with asyncio.TaskGroup() as group:
        sleeper = group.create_task(clock.sleep(1.0), name="sleeper")
        await clock.advance(0.999)
        assert not sleeper.done()
        assert clock.sleepers == 1
        await clock.advance(0.001)
        assert sleeper.done()
        assert clock.sleepers == 0


async def test_what_a_woken_sleeper_does_falls_into_its_own_moment() -> None:
    clock = FakeClock()
    moments: list[float] = []

    async def ticker() -> None:
        for _ in range(3):
            await clock.sleep(1.0)
            moments.append(clock.monotonic())

    async with asyncio.TaskGroup() as group:
        group.create_task(ticker(), name="ticker")
        await clock.advance(10.0)
    assert moments == [1.0, 2.0, 3.0]
    assert clock.monotonic() == 10.0


async def test_a_cancelled_sleeper_is_gone() -> None:
    clock = FakeClock()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await clock.sleep(5.0)
    assert clock.sleepers == 0
    await clock.advance(10.0)
