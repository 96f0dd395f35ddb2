"""Runs all controllers on shared watches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from kindling.cluster.controllers.catalog import CONTROLLERS
from kindling.cluster.controllers.controller import Controller, TokenIssuer, World
from kindling.cluster.controllers.kinds import DEFINITIONS
from kindling.cluster.controllers.work import Clock, WorkQueue
from kindling.cluster.events import EventSink
from kindling.cluster.model.api import Api, Change, ChangeType
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError

__all__ = ["Controllers", "SystemClock"]

_PAUSE = 0.05  # seconds before a watch that ended starts over
_log = logging.getLogger(__name__)


class SystemClock:
    """Time as the operating system has it."""

    def time(self) -> float:
        """Seconds since the epoch."""
        import time

        return time.time()

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Controllers:
    """All controllers of a cluster. `run` until cancelled.

    One watch of the built-in resources serves all of them, and one of each custom resource those
    that ask for everything. A controller that fails is heard of in the log and tries again, and the
    others do not notice.
    """

    def __init__(
        self,
        api: Api,
        *,
        clock: Clock | None = None,
        volumes: Path | None = None,
        authority: str = "",
        tokens: TokenIssuer | None = None,
        controllers: Sequence[type[Controller]] = CONTROLLERS,
        events: EventSink | None = None,
    ) -> None:
        self._api = api
        self._clock = clock or SystemClock()
        self._own_events = events is None
        # What else has something to say may say it through this, the node for one.
        self.events = events or EventSink(api, self._clock.time)
        world = World(api, self._clock, self.events, volumes, authority, tokens)
        self._controllers = [kind(world) for kind in controllers]
        self._queues = [
            WorkQueue(controller.name, controller.reconcile, self._clock)
            for controller in self._controllers
        ]
        self._custom: dict[str, asyncio.Task[None]] = {}
        self._audience: dict[str, list[tuple[Controller, WorkQueue]]] = {}

    @property
    def idle(self) -> bool:
        """Whether no controller has anything to do now, as far as the watches have told."""
        return all(queue.idle for queue in self._queues) and self.events.idle

    @property
    def failing(self) -> tuple[str, ...]:
        """The controllers some of whose keys wait after a failure."""
        return tuple(queue.name for queue in self._queues if queue.failing)

    async def run(self) -> None:
        """Control, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self._own_events:
                tasks.create_task(self.events.run(), name="events")
            for queue in self._queues:
                queue.start(tasks)
            tasks.create_task(self._watch_builtin(tasks), name="controllers' watch")

    async def _watch_builtin(self, tasks: asyncio.TaskGroup) -> None:
        resources = self._builtin()
        self._sync_custom(tasks)
        while True:
            await self._follow(resources, tasks)

    def _builtin(self) -> list[ResourceType]:
        """Everything that is stored, each once; events only where a controller asks for them."""
        found: dict[str, ResourceType] = {}
        for controller in self._controllers:
            found.update((resource.key, resource) for resource in controller.kinds)
        if any(controller.everything for controller in self._controllers):
            for resource in self._api.resources():
                if not resource.custom and "watch" in resource.verbs and resource.kind != "Event":
                    found.setdefault(resource.key, resource)
        found.setdefault(DEFINITIONS.key, DEFINITIONS)
        return list(found.values())

    async def _follow(self, resources: Sequence[ResourceType], tasks: asyncio.TaskGroup) -> None:
        """Hand on what there is and what happens, until the watch ends; a watch that fell behind
        starts over with the whole state, and level-triggered controllers do not mind."""
        stream: AsyncIterator[Change] | None = None
        try:
            stream = self._api.watch(resources, since="0")
            async for change in stream:
                self._hand_out(change)
                if change.resource.key == DEFINITIONS.key:
                    self._sync_custom(tasks)
        except ApiError as error:
            _log.warning("the controllers' watch starts over: %s", error)
        except Exception:
            _log.exception("the controllers' watch starts over")
        finally:
            if (close := getattr(stream, "aclose", None)) is not None:
                await close()
        await self._clock.sleep(_PAUSE)

    def _hand_out(self, change: Change) -> None:
        if change.type is ChangeType.BOOKMARK:
            return
        for controller, queue in self._listeners(change.resource.key):
            try:
                for key in controller.keys(change):
                    queue.add(key)
            except Exception:
                _log.exception("%s cannot tell what a change concerns", controller.name)

    def _listeners(self, key: str) -> Sequence[tuple[Controller, WorkQueue]]:
        """Who wants to hear of a resource."""
        found = self._audience.get(key)
        if found is None:
            found = self._audience[key] = [
                (controller, queue)
                for controller, queue in zip(self._controllers, self._queues, strict=True)
                if any(kind.key == key for kind in controller.kinds)
                # Events are nobody's owners, and there are too many of them to be asked about.
                or (controller.everything and not key.startswith("events"))
            ]
        return found

    def _sync_custom(self, tasks: asyncio.TaskGroup) -> None:
        """Watch the custom resources that are served now, and no others."""
        if not any(controller.everything for controller in self._controllers):
            return
        served: dict[str, ResourceType] = {}
        for resource in self._api.resources():
            if resource.custom:
                served.setdefault(resource.key, resource)
        for key, task in list(self._custom.items()):
            if key not in served or task.done():
                task.cancel()
                del self._custom[key]
        for key, resource in served.items():
            if key not in self._custom:
                self._custom[key] = tasks.create_task(
                    self._follow_custom(resource, tasks), name=f"controllers' watch of {key}"
                )

    async def _follow_custom(self, resource: ResourceType, tasks: asyncio.TaskGroup) -> None:
        while self._api.resource(resource.group, resource.version, resource.plural) is not None:
            await self._follow((resource,), tasks)
