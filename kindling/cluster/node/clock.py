"""Time as the node uses it, so that a test can let ten minutes pass in one step."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

__all__ = [
    "Clock",
    "SystemClock",
    "parse_stamp",
    "sleep",
    "stamp",
    "stamp_micro",
    "wait_until",
    "within",
]

Result = TypeVar("Result")


class Clock(Protocol):
    """Delays are measured on `monotonic`, so a jump of the wall clock neither stalls a probe nor
    lets a back-off end early; `time` is only ever shown."""

    def time(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float: ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call once after `delay` seconds; the result calls it off."""
        ...


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Callable[[], None]:
        return asyncio.get_running_loop().call_later(max(0.0, delay), callback).cancel


async def sleep(clock: Clock, delay: float) -> None:
    """Wait `delay` seconds of this clock."""
    done = asyncio.Event()
    call_off = clock.call_later(delay, done.set)
    try:
        await done.wait()
    finally:
        call_off()


async def wait_until(event: asyncio.Event, clock: Clock, deadline: float | None) -> bool:
    """Wait for `event`, at most until `deadline` on the monotonic clock; whether it was set."""
    if event.is_set():
        return True
    if deadline is None:
        return await event.wait()
    either = asyncio.Event()
    call_off = clock.call_later(deadline - clock.monotonic(), either.set)
    watcher = asyncio.create_task(_forward(event, either), name="wait-until")
    try:
        await either.wait()
    finally:
        call_off()
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
    return event.is_set()


async def _forward(source: asyncio.Event, target: asyncio.Event) -> None:
    await source.wait()
    target.set()


def stamp(seconds: float) -> str:
    """`2026-01-31T12:00:00Z`, as `metav1.Time` is written."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp_micro(seconds: float) -> str:
    """`2026-01-31T12:00:00.000000Z`, as `metav1.MicroTime` is written."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_stamp(text: str | None) -> float:
    """Seconds since the epoch; 0 for nothing or for something that is no time."""
    if not text:
        return 0.0
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


async def within(clock: Clock, delay: float, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, or `TimeoutError` when it takes longer than `delay` seconds."""
    task = asyncio.create_task(work, name="within")
    late = False

    def cut() -> None:
        nonlocal late
        late = True
        task.cancel()

    call_off = clock.call_later(delay, cut)
    try:
        return await task
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if late and current is not None and not current.cancelling():
            raise TimeoutError from None
        raise
    finally:
        call_off()
