"""The writing verbs: decide, hand to the disk, wait until it is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from kindling.cluster.model.api import DeleteOptions, Obj, PatchType, Selection, WriteOptions
from kindling.cluster.model.resource import ResourceType, builtin
from kindling.cluster.model.status import (
    ApiError,
    already_exists,
    bad_request,
    conflict,
    not_found,
)
from kindling.cluster.registry.admission.pods import service_account_of
from kindling.cluster.registry.changing import Changing
from kindling.cluster.registry.deletion import gone_by_update, judge
from kindling.cluster.registry.incoming import metadata_of
from kindling.cluster.registry.memory import Key, Memory
from kindling.cluster.registry.podverbs import (
    bound,
    eviction_options,
    guarding_budget,
    success,
    with_ephemeral,
)
from kindling.cluster.registry.scales import scale_of, with_replicas
from kindling.cluster.registry.served import Served
from kindling.cluster.registry.strategies import may_create_on_update
from kindling.cluster.registry.versions import to_storage, view
from kindling.cluster.registry.watching import Watches
from kindling.cluster.storage.document import Document

__all__ = ["Writer"]

_ACCOUNT_SECONDS = 2.0
"""How long a new pod waits for the default service account of a namespace that was just made."""


class Writer:
    """Create, update, patch and delete."""

    def __init__(
        self,
        memory: Memory,
        served: Served,
        watches: Watches,
        changing: Changing,
        clock: Callable[[], float],
        *,
        admission: bool,
    ) -> None:
        self._memory = memory
        self._served = served
        self._watches = watches
        self._changing = changing
        self._clock = clock
        self._admission = admission

    async def create(
        self,
        resource: ResourceType,
        obj: Obj,
        namespace: str,
        options: WriteOptions,
        *,
        owned: bool = False,
    ) -> Obj:
        name = str(metadata_of(obj).get("name") or "")
        if resource.key == "pods" and self._admission:
            await self._account_is_there(obj, namespace)
        async with self._settled_refusals(self._changing.place(resource, name, namespace)):
            key, new = self._changing.new(resource, obj, namespace, options, owned=owned)
            if self._memory.current(key) is not None:
                raise already_exists(resource.plural, key[2], resource.group)
        if options.dry_run:
            return new
        return await self._store(resource, key, new)

    async def update(
        self, resource: ResourceType, obj: Obj, subresource: str, options: WriteOptions
    ) -> Obj:
        metadata = metadata_of(obj)
        key = self._changing.place(
            resource, str(metadata.get("name") or ""), str(metadata.get("namespace") or "")
        )
        if subresource == "eviction":
            return await self._evict(resource, key, obj, options)
        async with self._settled_refusals(key):
            old = self._memory.current(key)
            if old is None:
                fresh = not subresource and not metadata.get("resourceVersion")
                if not fresh or not may_create_on_update(resource):
                    raise not_found(resource.plural, key[2], resource.group)
            else:
                return await self._asked(resource, key, old, obj, subresource, options)
        return await self.create(resource, obj, key[1], options)

    async def _asked(
        self,
        resource: ResourceType,
        key: Key,
        stored: Document,
        asked: Obj,
        subresource: str,
        options: WriteOptions,
        *,
        owned: bool = False,
        patch: Any = None,
    ) -> Obj:
        """Replace by what was asked for, in the form that the subresource has."""
        old = view(stored, resource)
        match subresource:
            case "binding":
                new = bound(old, asked, self._changing.now)
                # No schema has a say: nothing but the node is set.
                await self._finish(resource, key, stored, new, options)
                return success()
            case "scale":
                self._same_version(resource, key, asked, old)
                paths = self._served.scale_paths(resource)
                asked = with_replicas(old, asked, paths)
                new = self._changing.next(resource, old, asked, subresource, options)
                done = await self._finish(resource, key, stored, new, options)
                return scale_of(resource, done, paths)
            case "ephemeralcontainers":
                asked = self._changing.read(resource, asked, options)
                self._same_version(resource, key, asked, old)
                asked = with_ephemeral(old, asked)
        new = self._changing.next(
            resource, old, asked, subresource, options, owned=owned, patch=patch
        )
        return await self._finish(resource, key, stored, new, options)

    async def patch(
        self,
        resource: ResourceType,
        name: str,
        patch: Any,
        namespace: str,
        patch_type: PatchType,
        subresource: str,
        options: WriteOptions,
    ) -> Obj:
        key = self._changing.place(resource, name, namespace)
        owned = patch_type is PatchType.APPLY
        if owned:
            patch = _addressed(resource, patch, name, key[1])
        async with self._settled_refusals(key):
            stored = self._memory.current(key)
            if stored is not None:
                old: Obj = view(stored, resource)
                if subresource == "scale":
                    scale = scale_of(resource, old, self._served.scale_paths(resource))
                    shape_free = PatchType.MERGE if owned else patch_type
                    asked = self._changing.patched(
                        _SCALE, scale, patch, shape_free, subresource, options
                    )
                    asked = {k: v for k, v in asked.items() if k != "status"}
                    return await self._asked(resource, key, stored, asked, subresource, options)
                asked = self._changing.patched(
                    resource, old, patch, patch_type, subresource, options
                )
                return await self._asked(
                    resource, key, stored, asked, subresource, options, owned=owned, patch=patch
                )
            if not owned or subresource:
                raise not_found(resource.plural, name, resource.group)
            asked = self._changing.applied(resource, None, patch, subresource, options)
        return await self.create(resource, asked, key[1], options, owned=True)

    async def delete(
        self, resource: ResourceType, name: str, namespace: str, options: DeleteOptions
    ) -> tuple[Obj, bool]:
        key = self._changing.place(resource, name, namespace)
        async with self._settled_refusals(key):
            old = self._memory.current(key)
            if old is None:
                raise not_found(resource.plural, name, resource.group)
            verdict = judge(resource, old, options, self._clock())
        if options.dry_run:
            return view(Document(verdict.obj), resource), verdict.remove
        if verdict.remove:
            await self._memory.commit(key, None)
            return view(Document(verdict.obj), resource), True
        if verdict.obj is old:
            await self._memory.settle(key)
            return view(old, resource), False
        return view(await self._memory.commit(key, verdict.obj), resource), False

    async def release(self, resource: ResourceType, obj: Document, finalizer: str) -> None:
        """Take a finalizer off an object that is being deleted, which goes if it was the last."""
        metadata = dict(obj["metadata"])
        metadata["finalizers"] = [f for f in metadata.get("finalizers") or () if f != finalizer]
        if not metadata["finalizers"]:
            del metadata["finalizers"]
        key = self._changing.place(resource, metadata["name"], metadata.get("namespace", ""))
        await self._finish(resource, key, obj, obj | {"metadata": metadata}, WriteOptions())

    async def _finish(
        self,
        resource: ResourceType,
        key: Key,
        stored: Document,
        new: Obj,
        options: WriteOptions,
    ) -> Obj:
        if new is view(stored, resource):
            await self._memory.settle(key)
            return new
        if options.dry_run:
            return new
        if gone_by_update(resource, new):
            await self._memory.commit(key, None)
            return new
        return await self._store(resource, key, new)

    async def _store(self, resource: ResourceType, key: Key, new: Obj) -> Obj:
        stored = to_storage(resource, new, self._served.storage_version(resource))
        return view(await self._memory.commit(key, stored), resource)

    @asynccontextmanager
    async def _settled_refusals(self, key: Key) -> AsyncIterator[None]:
        """A refusal may rest on a write that is not durable yet: it is given only when that one is,
        or else gives way to its failure."""
        try:
            yield
        except ApiError:
            await self._memory.settle(key)
            raise

    def _same_version(self, resource: ResourceType, key: Key, asked: Obj, old: Obj) -> None:
        version = metadata_of(asked).get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            raise conflict(resource.plural, key[2], resource.group)

    async def _evict(
        self, resource: ResourceType, key: Key, eviction: Obj, options: WriteOptions
    ) -> Obj:
        pod = self._memory.current(key)
        if pod is None:
            raise not_found(resource.plural, key[2], resource.group)
        how = eviction_options(eviction, key[2], dry_run=options.dry_run)
        budgets = builtin("poddisruptionbudgets", "policy")
        budget = guarding_budget(pod, self._memory.current_all(budgets.key, key[1]))
        if budget is not None and not how.dry_run:
            status = budget["status"]
            left = status | {"disruptionsAllowed": status["disruptionsAllowed"] - 1}
            await self.update(budgets, budget | {"status": left}, "status", options)
        await self.delete(resource, key[2], key[1], how)
        return success()

    async def _account_is_there(self, pod: Obj, namespace: str) -> None:
        """Wait a little for the default service account of the namespace: the controller that makes
        it has just heard of the namespace."""
        namespace = namespace or str(metadata_of(pod).get("namespace") or "")
        account = service_account_of(pod)
        key = ("serviceaccounts", namespace, "default")
        if account != "default" or self._memory.current(key) is not None:
            return
        if self._memory.current(("namespaces", "", namespace)) is None:
            return
        watch = self._watches.open(
            [builtin("serviceaccounts")],
            Selection(namespace),
            since="0",
            bookmarks=False,
            initial=False,
        )
        try:
            async with asyncio.timeout(_ACCOUNT_SECONDS), aclosing(watch):
                async for change in watch:
                    if change.object["metadata"]["name"] == "default":
                        return
        except TimeoutError:
            return  # admission refuses it in the right words


_SCALE = ResourceType("autoscaling", "v1", "Scale", "scales")


def _addressed(resource: ResourceType, patch: Any, name: str, namespace: str) -> Any:
    """An applied configuration with the name it is sent to. Raises `ApiError` 400 for another name
    or namespace. A namespace that it leaves out stays out, since it may be noted as last applied.
    """
    if not patch or not isinstance(patch, dict):
        return patch
    if not isinstance(patch.get("metadata") or {}, dict):
        return patch
    metadata = dict(patch.get("metadata") or {})
    if metadata.setdefault("name", name) != name:
        raise bad_request(
            f"name in URL ({name}) does not match name in the object ({metadata['name']})"
        )
    if resource.namespaced and metadata.get("namespace", namespace) != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    return patch | {"metadata": metadata}
