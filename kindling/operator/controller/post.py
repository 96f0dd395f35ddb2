"""An operator's post: one namespace, or all, which it watches, and where it acts while it may."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any

from kindling.errors import ClusterError
from kindling.kube.contexts import KubeContext
from kindling.kube.errors import ForbiddenError, NotFoundError
from kindling.kube.protocol import Cluster, EventKind, Listing
from kindling.operator.controller.lease import Election, Terms
from kindling.operator.controller.queue import Key, WorkQueue
from kindling.operator.controller.reading import CLASSES, PODS, SORTS
from kindling.operator.controller.reconcile import Reconciler
from kindling.operator.controller.seen import Seen, keys_of
from kindling.operator.controller.watching import OwnerWatch
from kindling.operator.definitions.environment import KIND
from kindling.operator.definitions.pool import POOL_KINDS

__all__ = ["Post", "mentions", "told_of"]

Object = Mapping[str, Any]

_MISSING_AGAIN = 5.0
"""Seconds until a ConfigMap that was missing is asked for again; those are not watched."""


class Post:
    """Made and run in the operator's loop. `changed` is called when it begins or ceases to act."""

    def __init__(
        self,
        cluster: Cluster,
        context: KubeContext,
        environment: Mapping[str, str],
        namespace: str,
        *,
        identity: str,
        image: str,
        pools: bool,
        say: Callable[[str], None],
        changed: Callable[[], None],
        terms: Terms,
    ) -> None:
        self.namespace = namespace
        self._cluster = cluster
        self._say = say
        self._changed = changed
        self._kinds = (KIND, *(POOL_KINDS if pools else ()))
        sorts = [SORTS[kind] for kind in self._kinds]
        owners = [(sort.api_version, sort.kind) for sort in sorts]
        children = [kind for sort in sorts for kind in sort.children]
        self._followed = tuple(dict.fromkeys((*children, PODS, CLASSES)))
        self._unsynced = set(self._followed)
        self._seen = Seen(cluster, (*owners, *self._followed))
        self._reconciler = Reconciler(cluster, image=image, reader=self._seen, say=say)
        self._queue = WorkQueue(self._work, say=say)
        self._troubled: set[Key] = set()
        self._owners = OwnerWatch(
            context, environment, namespace, self._kinds, self._owner, self._begun, say
        )
        self._election = Election(
            cluster,
            namespace or terms.system,
            identity,
            self._turn,
            above=terms.system if namespace else "",
            terms=terms,
            say=say,
        )
        self._synced = asyncio.Event()
        self._relist = asyncio.Event()

    @property
    def acting(self) -> bool:
        return self._synced.is_set() and self._election.holding

    @property
    def decided(self) -> bool:
        """Whether it is known who acts here."""
        return self._synced.is_set() and self._election.decided

    @property
    def holder(self) -> str:
        return self._election.holder

    async def run(self) -> None:
        """Watch, and act while it may, until cancelled; what is being written is finished then.

        Raises:
            ClusterError: The cluster does not let us watch or take the Lease.
        """
        work = [
            *(asyncio.create_task(self._follow(*kind)) for kind in self._followed),
            asyncio.create_task(self._relisting()),
            asyncio.create_task(self._stand()),
        ]
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await self._queue.close()
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await self._owners.stop()

    async def _stand(self) -> None:
        """Once everything is known, take part in who acts."""
        await self._synced.wait()
        self._owners.start()
        try:
            await self._election.run()
        finally:
            await self._queue.close()
            await self._election.release()

    async def _follow(self, api_version: str, kind: str) -> None:
        """Take in all objects of a kind, for ever."""
        events = self._cluster.watch(api_version, kind, namespace=self._namespace_of(kind))
        try:
            async with aclosing(events):
                async for event in events:
                    self._take(api_version, kind, event)
        except ForbiddenError:
            if (api_version, kind) != CLASSES:
                raise
            self._listed((api_version, kind))  # then there is none as far as we can know
            await asyncio.Event().wait()

    def _take(self, api_version: str, kind: str, event: Any) -> None:
        if event.kind is EventKind.SYNCED:
            news = self._seen.listed((api_version, kind), event.items, event.version)
            self._listed((api_version, kind))
            for one in news:
                self._news(one, gone=True)  # or perhaps it came: both are looked into
        elif event.kind is EventKind.DELETED:
            self._seen.gone(event.object)
            self._news(event.object, gone=True)
        elif event.kind is not EventKind.AWAY and self._seen.tell(event.object):
            self._news(event.object)

    def _listed(self, kind: tuple[str, str]) -> None:
        self._unsynced.discard(kind)
        if not self._unsynced:
            self._synced.set()

    def _namespace_of(self, kind: str) -> str:
        return "" if kind == CLASSES[1] else self.namespace

    def _news(self, live: Object, *, gone: bool = False) -> None:
        """Something about an object is new: look at what it may matter to. Those that are in
        trouble may wait for a name that is free now."""
        namespace, name = live["metadata"].get("namespace", ""), live["metadata"]["name"]
        keys = keys_of(live)
        for key in keys:
            self._queue.add(key)
        if live["kind"] == CLASSES[1]:
            self._resync()
        elif live["kind"] != "Pod" and (gone or not keys):
            for key in self._troubled:
                if key.namespace == namespace:
                    self._queue.add(key)
        if live["kind"] == "Secret" and not keys:
            for owner in self._seen.owners(namespace):
                if mentions(owner, name):
                    self._queue.add(*keys_of(owner))

    def _owner(self, live: Object, gone: bool) -> None:
        """kopf tells of an environment or a pool."""
        if gone:
            self._seen.gone(live)
            for key in keys_of(live):
                self._troubled.discard(key)
                for other in self._troubled:  # perhaps a name is free now
                    if other.namespace == key.namespace:
                        self._queue.add(other)
        elif self._seen.tell(live):
            for key in keys_of(live):
                self._queue.add(key)

    def _begun(self) -> None:
        self._relist.set()

    async def _relisting(self) -> None:
        """Find out which owners went away while kopf was not watching."""
        while True:
            await self._relist.wait()
            self._relist.clear()
            for kind in self._kinds:
                sort = SORTS[kind]
                with suppress(_AwayError):
                    await self._list_owners(sort.api_version, sort.kind)

    async def _list_owners(self, api_version: str, kind: str) -> None:
        try:
            listing = await self._cluster.list(api_version, kind, namespace=self.namespace)
        except NotFoundError:
            listing = Listing((), "")  # the kind itself is gone, and so are all of them
        except ClusterError as error:
            if error.transient:
                raise _AwayError from error  # kopf will end over it, too, and begin anew
            raise
        for one in self._seen.listed((api_version, kind), listing.items, listing.resource_version):
            for key in keys_of(one):
                self._queue.add(key)

    def _turn(self) -> None:
        """It has begun or ceased to act."""
        if self.acting:
            self._queue.open()
            self._resync()
        else:
            self._queue.pause()
        self._changed()

    def _resync(self) -> None:
        for owner in self._seen.owners():
            for key in keys_of(owner):
                self._queue.add(key)

    async def _work(self, key: Key) -> float | None:
        look = self._reconciler
        if key.kind == KIND:
            result = await look.environment(key.namespace, key.name)
        else:
            result = await look.pool(key.kind, key.namespace, key.name)
        if line := told_of(key, result.writes):
            self._say(line)
        if any(one.blocking for one in result.problems):
            self._troubled.add(key)
        else:
            self._troubled.discard(key)
        if any(one.reason == "ConfigMapNotFound" for one in result.problems):
            return _MISSING_AGAIN
        return result.again


class _AwayError(Exception):
    """A list that is tried again when following begins anew."""


def told_of(key: Key, writes: tuple[str, ...]) -> str:
    """What a pass wrote, in a line: `team-a/shop: create Service/shop, create Deployment/shop`;
    empty where it was a status alone, which tells itself."""
    place = f" in {key.namespace}"
    words = [one.removesuffix(place) for one in writes if not one.startswith("status ")]
    return f"{key.namespace}/{key.name}: {', '.join(words)}" if words else ""


def mentions(owner: Object, secret: str) -> bool:
    """Whether what an environment or a pool wants depends on a Secret of somebody else."""
    spec = owner.get("spec") or {}
    if (spec.get("tokenSecretRef") or {}).get("name") == secret:
        return True
    return any(
        ((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name") == secret
        for dependency in spec.get("dependencies") or ()
        for variable in dependency.get("env") or ()
    )
