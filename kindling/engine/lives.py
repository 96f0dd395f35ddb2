"""The live parts of nodes: servers, port-forwards and followed rollouts of one session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from kindling.engine.failures import failure_of
from kindling.engine.settle import Standing
from kindling.executors.protocol import Carrier, Live, ReadinessReport
from kindling.graph.node import NodeId

__all__ = ["Lives"]


@dataclass(slots=True)
class _Entry:
    standing: Standing
    live: Live
    follower: asyncio.Task[None]


class Lives:
    """Follows each live part in a task of its own and ends them on demand.

    `report` is called on the loop with every change of health.
    """

    def __init__(
        self, tasks: asyncio.TaskGroup, report: Callable[[NodeId, ReadinessReport], None]
    ) -> None:
        self._tasks = tasks
        self._report = report
        self._entries: dict[NodeId, _Entry] = {}

    def standing(self, id_: NodeId) -> Standing | None:
        """Under which key and output a node's live part goes on; None when it has none."""
        entry = self._entries.get(id_)
        return entry.standing if entry else None

    def carrier(self, id_: NodeId) -> Carrier | None:
        """A node's live part, where it is one that takes changes while it goes on."""
        entry = self._entries.get(id_)
        return entry.live if entry is not None and isinstance(entry.live, Carrier) else None

    def renew(self, id_: NodeId, standing: Standing) -> None:
        """A node's live part goes on, with another output."""
        self._entries[id_].standing = standing

    def put(self, id_: NodeId, standing: Standing, live: Live) -> None:
        """Follow `live` from now on. What the node had before must have been ended."""
        if id_ in self._entries:
            raise RuntimeError(f"{id_} has a live part already")
        follower = self._tasks.create_task(self._follow(id_, live), name=f"follow {id_}")
        self._entries[id_] = _Entry(standing, live, follower)

    async def end(self, id_: NodeId) -> None:
        """End a node's live part, if it has one, and wait until it is gone."""
        entry = self._entries.pop(id_, None)
        if entry is None:
            return
        entry.follower.cancel()
        await asyncio.wait([entry.follower])
        await entry.live.close()

    async def end_all(self) -> list[BaseException]:
        """End everything at once; the errors of those that would not end."""
        ended = await asyncio.gather(
            *(self.end(id_) for id_ in list(self._entries)), return_exceptions=True
        )
        return [error for error in ended if error is not None]

    async def _follow(self, id_: NodeId, live: Live) -> None:
        try:
            await live.follow(lambda report: self._report(id_, report))
        except Exception as error:
            self._report(id_, ReadinessReport(ready=False, failure=failure_of(error), ended=True))
