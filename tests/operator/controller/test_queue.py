"""Work that waits is done once, never twice at a time, and later each time when it fails."""

from __future__ import annotations

import asyncio
from collections import Counter

from kindling.errors import ClusterError
from kindling.operator.controller.queue import Key, WorkQueue

A, B = Key("K", "n", "a"), Key("K", "n", "b")


class Work:
    """Counts passes; each waits for `gate`, and answers with the next of `answers`."""

    def __init__(self) -> None:
        self.done: Counter[Key] = Counter()
        self.order: list[Key] = []
        self.now: set[Key] = set()
        self.widest = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.answers: list[float | Exception | None] = []
        self.moved = asyncio.Condition()

    async def __call__(self, key: Key) -> float | None:
        assert key not in self.now, "two passes over one key"
        self.now.add(key)
        self.widest = max(self.widest, len(self.now))
        await self.gate.wait()
        self.now.discard(key)
        self.done[key] += 1
        self.order.append(key)
        async with self.moved:
            self.moved.notify_all()
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def until(self, key: Key, count: int) -> None:
        async with asyncio.timeout(20), self.moved:
            await self.moved.wait_for(lambda: self.done[key] >= count)


async def _turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_is_added_often_is_done_once() -> None:
    work = Work()
    queue = WorkQueue(work, say=print)
    for key in (A, B, A, A):
        queue.add(key)
    await _turns()
    assert work.order == []
    queue.open()
    await work.until(B, 1)
    await queue.close()
    assert work.order == [A, B]
    assert queue.idle


async def test_what_changes_meanwhile_is_looked_at_once_more() -> None:
    work = Work()
    work.gate.clear()
    queue = WorkQueue(work, say=print)
    queue.open()
    queue.add(A)
    await _turns()
    for _ in range(5):
        queue.add(A)
    work.gate.set()
    await work.until(A, 2)
    await _turns()
    await queue.close()
    assert work.done[A] == 2


async def test_no_more_are_worked_on_at_a_time_than_are_allowed() -> None:
    work = Work()
    work.gate.clear()
    queue = WorkQueue(work, say=print, width=3)
    queue.open()
    keys = [Key("K", "n", str(number)) for number in range(10)]
    for key in keys:
        queue.add(key)
    await _turns()
    work.gate.set()
    for key in keys:
        await work.until(key, 1)
    await queue.close()
    assert work.widest == 3


async def test_a_failure_is_tried_again_later_each_time_and_told() -> None:
    """A success sets the waiting back; whatever changes is looked at without waiting."""
    work, said = Work(), list[str]()
    queue = WorkQueue(work, say=said.append, first=0.05, longest=0.2)
    work.answers = [ClusterError("away"), 0.05, ValueError("a bug"), None]
    loop = asyncio.get_running_loop()
    began = loop.time()
    queue.open()
    queue.add(A)
    await work.until(A, 4)
    assert loop.time() - began >= 0.05 + 0.1 + 0.2
    assert said[0] == "K/a in n: away"
    assert "a fault of kindling's own" in said[1]
    assert "a bug" in said[1]
    queue = WorkQueue(work, say=said.append, first=600.0)
    work.answers = [ClusterError("away")]
    queue.open()
    queue.add(B)
    await work.until(B, 1)
    await _turns()
    queue.add(B)
    await work.until(B, 2)
    await queue.close()


async def test_a_pause_begins_nothing_and_forgets_nothing() -> None:
    work = Work()
    work.gate.clear()
    queue = WorkQueue(work, say=print)
    queue.open()
    queue.add(A)
    await _turns()
    queue.pause()
    queue.add(B)
    work.gate.set()
    await work.until(A, 1)
    await _turns()
    assert work.done[B] == 0
    queue.open()
    await work.until(B, 1)
    await queue.close()
