"""An operator that runs until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager

from kindling.errors import ClusterError, InterruptError
from kindling.operator.controller.run import Operation, Phase
from kindling.operator.health import serving

__all__ = ["run_until_told"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def run_until_told(
    start: Callable[[], Awaitable[Operation]],
    say: Callable[[str], None],
    health: tuple[str, int] | None = None,
    *,
    apart: float = 0.5,
) -> None:
    """Start an operator, tell how it stands, and stop it at the first SIGINT or SIGTERM.

    It then finishes what it is writing and gives its Lease back, so that another can go on at once.
    Signals less than `apart` seconds after one another are one: programs that run others often pass
    on to them what the terminal has told them already.

    Raises:
        ClusterError: It cannot act.
        InterruptError: A second signal cut that off.
    """
    with _signals(apart) as told:
        operation = await start()
        try:
            async with AsyncExitStack() as stack:
                if health is not None:
                    port = await stack.enter_async_context(
                        serving(*health, lambda: operation.standing)
                    )
                    say(f"/healthz and /readyz are at {health[0]}:{port}")
                await _run(operation, told, say)
                say("stopping: finishing what is being written, and giving the Lease back")
        finally:
            await _stop(operation, told)


async def _run(operation: Operation, told: _Told, say: Callable[[str], None]) -> None:
    settling = asyncio.create_task(operation.settled(), name="settle operator")
    asked = asyncio.create_task(told.once(), name="wait for signal")
    try:
        await asyncio.wait((settling, asked), return_when=asyncio.FIRST_COMPLETED)
        if settling.done():
            standing = settling.result()
            if standing.phase is Phase.STANDING_BY:
                say(f"standing by: {standing.holder} acts")
            else:
                say("acting")
            await asked
    finally:
        for task in (settling, asked):
            task.cancel()
        await asyncio.gather(settling, asked, return_exceptions=True)


async def _stop(operation: Operation, told: _Told) -> None:
    stopping = asyncio.create_task(operation.stop(), name="stop operator")
    again = asyncio.create_task(told.twice(), name="wait for second signal")
    try:
        await asyncio.wait((stopping, again), return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            raise InterruptError("Stopped before the Lease was given back: it ends by itself")
        try:
            stopping.result()
        except ClusterError as error:
            raise ClusterError(f"The Lease could not be given back: {error.message}") from error
    finally:
        for task in (stopping, again):
            task.cancel()
        await asyncio.gather(stopping, again, return_exceptions=True)


class _Told:
    """How often we were told to stop."""

    def __init__(self, apart: float) -> None:
        self._events = (asyncio.Event(), asyncio.Event())
        self._apart = apart
        self._last = float("-inf")

    def hear(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._last >= self._apart:
            next((one for one in self._events if not one.is_set()), self._events[-1]).set()
        self._last = now

    async def once(self) -> None:
        await self._events[0].wait()

    async def twice(self) -> None:
        await self._events[1].wait()


@contextmanager
def _signals(apart: float) -> Iterator[_Told]:
    told, loop = _Told(apart), asyncio.get_running_loop()
    for one in _SIGNALS:
        loop.add_signal_handler(one, told.hear)
    try:
        yield told
    finally:
        for one in _SIGNALS:
            loop.remove_signal_handler(one)
