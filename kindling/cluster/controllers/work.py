"""The queue of one controller: each key at most once, in order, later again, more slowly when it
fails."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Protocol

from kindling.cluster.model.status import ApiError

__all__ = ["Clock", "Key", "WorkQueue"]

Key = tuple[str, ...]
"""What is to be looked at: nearly always namespace and name."""

_FIRST_WAIT = 0.01  # seconds after a failure, doubled for each further one,
_LONGEST_WAIT = 60.0  # up to this
_QUICK_RETRIES = 3  # in a row, of a key whose object somebody else wrote or deleted meanwhile
_log = logging.getLogger(__name__)


class Clock(Protocol):
    """Time as controllers need it: `time` in seconds since the epoch, `monotonic` never back."""

    def time(self) -> float: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class WorkQueue:
    """Hands keys to `work`, which answers with the seconds after which it wants the key again.

    A key that is added while it waits is not added again; one that is added while it is worked on
    is worked on once more afterwards, never at the same time. What fails comes again after a pause
    that grows; a conflict is an ordinary failure here, since the work reads anew.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Key], Awaitable[float | None]],
        clock: Clock,
        *,
        workers: int = 8,
    ) -> None:
        self.name = name
        self._work = work
        self._clock = clock
        self._limit = workers
        self._tasks: asyncio.TaskGroup | None = None
        self._running = 0
        self._ready: deque[Key] = deque()
        self._waiting: set[Key] = set()
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = count()
        self._sleeping_until = float("inf")

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to work, in tasks of this group."""
        self._tasks = tasks
        self._hire()
        self._arm()

    @property
    def idle(self) -> bool:
        """Whether nothing is to be done now; keys may be due later."""
        return not self._waiting and not self._active

    @property
    def failing(self) -> int:
        """How many keys wait after a failure."""
        return len(self._failures)

    def add(self, key: Key) -> None:
        """Have a key looked at soon."""
        if key in self._active:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)
            self._hire()

    def add_after(self, key: Key, seconds: float) -> None:
        """Have a key looked at in a while; of two moments the earlier counts."""
        if seconds <= 0:
            self.add(key)
            return
        moment = self._clock.monotonic() + seconds
        if moment < self._due.get(key, float("inf")):
            self._due[key] = moment
            heapq.heappush(self._heap, (moment, next(self._order), key))
            self._arm()

    def _hire(self) -> None:
        if self._tasks is not None and self._ready and self._running < self._limit:
            self._running += 1
            self._tasks.create_task(self._worker(), name=f"controller {self.name}")

    async def _worker(self) -> None:
        """Work until nothing is left to do."""
        try:
            while self._ready:
                key = self._ready.popleft()
                self._waiting.discard(key)
                self._active.add(key)
                try:
                    await self._one(key)
                except asyncio.CancelledError:
                    self._tasks = None  # the group takes no more tasks
                    raise
                finally:
                    self._active.discard(key)
                    if key in self._again:
                        self._again.discard(key)
                        self.add(key)
        finally:
            self._running -= 1

    async def _one(self, key: Key) -> None:
        self._due.pop(key, None)
        try:
            again = await self._work(key)
        except ApiError as error:
            # Somebody else was quicker, to write or to delete: nothing to tell anyone about.
            expected = error.code == 404 or error.reason == "Conflict"
            if expected:
                _log.debug("%s %s: %s", self.name, "/".join(key), error)
            else:
                _log.warning("%s %s: %s", self.name, "/".join(key), error)
            self._failed(key, soon=expected)
        except Exception:
            _log.exception("%s %s: it will be tried again", self.name, "/".join(key))
            self._failed(key)
        else:
            self._failures.pop(key, None)
            if again is not None:
                self.add_after(key, max(again, 0.001))

    def _failed(self, key: Key, *, soon: bool = False) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        if soon and failures < _QUICK_RETRIES:
            # Somebody wrote while we did; what they wrote can be read by now.
            self._again.add(key)
            return
        self.add_after(key, min(_FIRST_WAIT * 2 ** min(failures, 20), _LONGEST_WAIT))

    def _arm(self) -> None:
        """See that somebody sleeps until the next key is due."""
        if self._tasks is None or not self._heap or self._heap[0][0] >= self._sleeping_until:
            return
        self._sleeping_until = self._heap[0][0]
        self._tasks.create_task(self._sleeper(self._sleeping_until), name=f"timer {self.name}")

    async def _sleeper(self, until: float) -> None:
        await self._clock.sleep(until - self._clock.monotonic())
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            moment, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == moment:
                del self._due[key]
                self.add(key)
        if self._sleeping_until <= until:
            self._sleeping_until = float("inf")
        self._arm()
