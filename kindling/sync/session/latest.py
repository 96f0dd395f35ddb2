"""A job that is asked for again and again: never two at once, and the last wish is served."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["Latest"]

T = TypeVar("T")


class Latest(Generic[T]):
    """Whoever asks while the job runs waits for the next run, and shares it with all who asked
    meanwhile. So a storm of wishes costs two runs, and none is served by a run that began before
    it."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._asked = 0
        self._served = 0
        self._last: T | None = None

    async def run(self, job: Callable[[], Awaitable[T]]) -> T:
        """The result of a run of `job` that began after this call."""
        self._asked += 1
        mine = self._asked
        async with self._lock:
            if self._served >= mine and self._last is not None:
                return self._last
            all_until_now = self._asked
            result = await job()
            self._served, self._last = all_until_now, result
            return result
