"""Waiting for an operator's pass over an environment that was just written."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any

from kindling.executors.environment import Told, told_by
from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Cluster, EventKind, Object

__all__ = ["Pass"]

_CHILDREN = (("apps/v1", "Deployment"), ("v1", "Service"))


class Pass:
    """The pass over the environment `ref`, which was `written` so.

    `live` is the environment as it was last seen, for who gives up waiting.
    """

    def __init__(self, cluster: Cluster, ref: ObjectRef, written: Object) -> None:
        self._cluster = cluster
        self._ref = ref
        self._uid = written["metadata"]["uid"]
        self._since = _version(written)
        self._news = asyncio.Event()
        self._error: Exception | None = None
        self.live = written

    async def over(self) -> Told:
        """Return once an operator has done what the environment asks for, or has said why it
        cannot.

        A status that was there before is of an earlier pass, which knew nothing of children that
        went since, nor of problems that were mended.
        """
        first = not told_by(self.live).seen
        watches = [self._watch_self()]
        if not first:
            watches += [self._watch_children(*kind) for kind in _CHILDREN]
        tasks = [asyncio.create_task(self._guarded(watch)) for watch in watches]
        try:
            while True:
                self._news.clear()
                told = told_by(self.live)
                fresh = first or _version(self.live) != self._since
                if told.seen and (fresh or await self._still(told)):
                    return told
                await self._news.wait()
                if self._error is not None:
                    raise self._error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _still(self, told: Told) -> bool:
        """Whether what an earlier pass told is true now: the problem that it found is there still,
        or no child is missing."""
        from kindling.operator.controller.preview import preview

        if not told.problem:
            changes = await preview(self._cluster, self.live)
            return all(change.verb != "create" for change in changes)
        return await _is_hindered(self._cluster, self.live)

    async def _watch_self(self) -> None:
        ref = self._ref
        events = self._cluster.follow(
            ref.api_version,
            ref.kind,
            namespace=ref.namespace,
            fields=(("metadata.name", ref.name),),
            since=self._since,
        )
        async with aclosing(events):
            async for event in events:
                items = event.items if event.kind is EventKind.SYNCED else (event.object,)
                for item in items:
                    if item and item["metadata"]["uid"] == self._uid:
                        self.live = item
                self._news.set()

    async def _watch_children(self, api_version: str, kind: str) -> None:
        events = self._cluster.follow(api_version, kind, namespace=self._ref.namespace)
        async with aclosing(events):
            async for _ in events:
                self._news.set()

    async def _guarded(self, watch: Coroutine[Any, Any, None]) -> None:
        try:
            await watch
        except Exception as error:
            self._error = error
            self._news.set()


async def _is_hindered(cluster: Cluster, live: Object) -> bool:
    """Whether a pass over the environment would be kept from something, as things stand now. What
    a server refuses is not known before it is asked."""
    from kindling.operator.controller.planning import Verb
    from kindling.operator.controller.reading import SORTS, Asking
    from kindling.operator.controller.reconcile import AGENT_COMMAND, BUILD_IMAGE, survey
    from kindling.operator.controller.wanting import wanted
    from kindling.operator.pools.desired import Agent

    reader = Asking(cluster)
    made = await wanted(live, reader.find, bytes, Agent(BUILD_IMAGE, AGENT_COMMAND))
    planned, _ = await survey(SORTS[live["kind"]], live, made, reader)
    held = any(step.verb is Verb.HOLD for step in planned.steps)
    return made.blocked or bool(planned.problems) or held


def _version(item: Object) -> str:
    return str(item["metadata"].get("resourceVersion") or "")
