"""The registry: what the verbs mean, on objects that are in memory and on disk.

Webhook configurations and APIServices are stored and not acted upon; so are RBAC objects,
LimitRanges and ResourceQuotas.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from kindling.cluster.model.api import (
    DeleteOptions,
    Listing,
    Obj,
    PatchType,
    Selection,
    WriteOptions,
)
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.schema import Schemas
from kindling.cluster.model.status import ApiError
from kindling.cluster.registry.changing import Changing
from kindling.cluster.registry.housekeeping import Housekeeping
from kindling.cluster.registry.listing import list_page
from kindling.cluster.registry.memory import Memory
from kindling.cluster.registry.scales import scale_of
from kindling.cluster.registry.served import Served
from kindling.cluster.registry.versions import storage_key, view
from kindling.cluster.registry.watching import Filter, Watch, Watches
from kindling.cluster.registry.writing import Writer
from kindling.cluster.storage.database import ObjectStore
from kindling.cluster.storage.document import Document, encode

__all__ = ["Registry"]

_ANY = Selection()
_PLAIN = WriteOptions()
_DELETE = DeleteOptions()


_log = structlog.get_logger("kindling.cluster")


def _tell(task: asyncio.Task[None]) -> None:
    """Say at once that the housekeeping has failed; `close` raises it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("the registry's housekeeping failed", exc_info=error)


class Registry:
    """Implements `kindling.cluster.model.api.Api` on one event loop.

    `clock` gives seconds since the epoch, and is used for timestamps in objects and for nothing
    else, so that a clock that jumps does no harm. `bookmark_interval` is in seconds. Without
    `admission`, which is for tests of other things, namespaces and service accounts need not be
    there, and pods get nothing added.
    """

    def __init__(
        self,
        store: ObjectStore,
        schemas: Schemas,
        *,
        clock: Callable[[], float] = time.time,
        bookmark_interval: float = 60.0,
        admission: bool = True,
    ) -> None:
        self._memory = memory = Memory(store)
        self._served = served = Served(memory, schemas)
        self._watches = watches = Watches(memory)
        changing = Changing(memory, served, schemas, clock, admission=admission)
        self._writer = Writer(memory, served, watches, changing, clock, admission=admission)
        self._housekeeping = Housekeeping(
            memory, served, watches, self._writer, bookmark_interval=bookmark_interval
        )
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the database. Raises `StoreError`."""
        self._memory.open()
        self._served.load()
        self._running = asyncio.create_task(self._housekeeping.run(), name="registry-housekeeping")
        self._running.add_done_callback(_tell)

    async def close(self) -> None:
        """End every watch, finish the writes under way, and close the database."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        await self._watches.close()
        await asyncio.to_thread(self._memory.close)
        running, self._running = self._running, None
        if running is not None and not running.cancelled():
            running.result()

    async def keep_house(self) -> None:
        """Go on for as long as the registry is open, and fail with what its own work fails with."""
        if self._running is not None:
            await asyncio.wait([self._running])
            if self._running is not None and not self._running.cancelled():
                self._running.result()

    # What is served

    def resources(self) -> Sequence[ResourceType]:
        return self._served.all()

    def resource(self, group: str, version: str, plural: str) -> ResourceType | None:
        return self._served.resource(group, version, plural)

    def by_kind(self, group: str, kind: str, version: str = "") -> ResourceType | None:
        return self._served.by_kind(group, kind, version)

    # Reading

    @property
    def revision(self) -> int:
        return self._memory.revision

    def get(self, resource: ResourceType, name: str, namespace: str = "") -> Obj | None:
        place = namespace if resource.namespaced else ""
        found = self._memory.get((storage_key(resource), place, name))
        return view(found, resource) if found is not None else None

    def select(self, resource: ResourceType, selection: Selection = _ANY) -> list[Obj]:
        chosen = Filter.of(resource, selection)
        return [
            view(document, resource)
            for document in self._memory.select(storage_key(resource), chosen.namespace)
            if chosen.matches(document)
        ]

    def by_owner(self, uid: str) -> list[tuple[ResourceType, Obj]]:
        found: list[tuple[ResourceType, Obj]] = []
        for key, document in self._memory.owned(uid):
            resource = self._served.stored_as(key[0], str(document["apiVersion"]))
            if resource is not None:
                found.append((resource, document))
        return found

    def scale(self, resource: ResourceType, name: str, namespace: str = "") -> Obj | None:
        if "scale" not in resource.subresources:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        found = self.get(resource, name, namespace)
        if found is None:
            return None
        return scale_of(resource, found, self._served.scale_paths(resource))

    def list(
        self,
        resource: ResourceType,
        selection: Selection = _ANY,
        *,
        limit: int = 0,
        proceed: str = "",
        resource_version: str = "",
        match: str = "",
    ) -> Listing:
        return list_page(
            self._memory,
            resource,
            selection,
            limit=limit,
            proceed=proceed,
            resource_version=resource_version,
            match=match,
        )

    def watch(
        self,
        resources: Sequence[ResourceType],
        selection: Selection = _ANY,
        *,
        since: str = "",
        bookmarks: bool = False,
        initial: bool = False,
    ) -> Watch:
        return self._watches.open(
            resources, selection, since=since, bookmarks=bookmarks, initial=initial
        )

    @staticmethod
    def encoded(obj: Obj) -> bytes:
        """The object as JSON. What the registry handed out carries its bytes along, so that lists
        and watches encode nothing twice."""
        return obj.encoded if isinstance(obj, Document) else encode(obj)

    # Writing

    async def create(
        self,
        resource: ResourceType,
        obj: Obj,
        namespace: str = "",
        options: WriteOptions = _PLAIN,
    ) -> Obj:
        return await self._writer.create(resource, obj, namespace, options)

    async def update(
        self,
        resource: ResourceType,
        obj: Obj,
        subresource: str = "",
        options: WriteOptions = _PLAIN,
    ) -> Obj:
        return await self._writer.update(resource, obj, subresource, options)

    async def patch(
        self,
        resource: ResourceType,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        patch_type: PatchType = PatchType.MERGE,
        subresource: str = "",
        options: WriteOptions = _PLAIN,
    ) -> Obj:
        return await self._writer.patch(
            resource, name, patch, namespace, patch_type, subresource, options
        )

    async def delete(
        self,
        resource: ResourceType,
        name: str,
        namespace: str = "",
        options: DeleteOptions = _DELETE,
    ) -> tuple[Obj, bool]:
        return await self._writer.delete(resource, name, namespace, options)

    async def delete_collection(
        self,
        resource: ResourceType,
        selection: Selection = _ANY,
        options: DeleteOptions = _DELETE,
    ) -> tuple[Obj, ...]:
        deleted = []
        for obj in self.select(resource, selection):
            metadata = obj["metadata"]
            try:
                now, _ = await self.delete(
                    resource, metadata["name"], metadata.get("namespace", ""), options
                )
            except ApiError as error:
                if error.code != 404:  # another was faster, which is as good
                    raise
            else:
                deleted.append(now)
        return tuple(deleted)
