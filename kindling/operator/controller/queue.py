"""Work that waits: each key once, never two passes over one key, failures later each time."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kindling.errors import ClusterError

__all__ = ["Key", "WorkQueue"]

_FIRST, _LONGEST = 1.0, 300.0


@dataclass(frozen=True, slots=True)
class Key:
    """An environment or a pool."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name} in {self.namespace}"


class WorkQueue:
    """Calls `work` for each key that is added, `width` of them at a time.

    `work` returns in how many seconds it should be called again, None for not before something
    changes. A key that is added while it is worked on is worked on once more afterwards. Whoever
    makes a queue calls `close` in the end, which lets passes that are under way finish.
    """

    def __init__(
        self,
        work: Callable[[Key], Awaitable[float | None]],
        *,
        say: Callable[[str], None],
        width: int = 8,
        first: float = _FIRST,
        longest: float = _LONGEST,
    ) -> None:
        self._work = work
        self._say = say
        self._width = width
        self._first, self._longest = first, longest
        self._waiting: dict[Key, None] = {}
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._open = False

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is worked on; what is tried later does not count."""
        return not self._waiting and not self._running

    def open(self) -> None:
        """Begin to work on what waits."""
        self._open = True
        self._fill()

    def pause(self) -> None:
        """Begin nothing more; keys go on being taken in."""
        self._open = False

    def add(self, key: Key) -> None:
        """Something about the key has changed: look at it soon."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._running:
            self._again.add(key)
        else:
            self._waiting[key] = None
            self._fill()

    async def close(self) -> None:
        """Begin nothing more, and return once nothing is under way."""
        self._open = False
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        await asyncio.gather(*self._running.values())

    async def drain(self) -> None:
        """Return once nothing is under way; used with `pause`."""
        await asyncio.gather(*self._running.values())

    def _fill(self) -> None:
        while self._open and self._waiting and len(self._running) < self._width:
            key = next(iter(self._waiting))
            del self._waiting[key]
            self._running[key] = asyncio.create_task(self._run(key), name=f"pass over {key}")

    async def _run(self, key: Key) -> None:
        failed = True
        soonest: float | None = None
        try:
            soonest = await self._work(key)
            failed = soonest is not None
        except ClusterError as error:
            self._say(f"{key}: {error.message}")
        except Exception:
            self._say(f"{key}: a fault of kindling's own\n{traceback.format_exc()}")
        finally:
            del self._running[key]
            if failed:
                self._later(key, soonest or self._first)
            else:
                self._failures.pop(key, None)
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            else:
                self._fill()

    def _later(self, key: Key, soonest: float) -> None:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        if self._longest <= 0:
            return
        pause = min(self._longest, soonest * 2 ** min(count - 1, 20))
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(pause, self.add, key)
