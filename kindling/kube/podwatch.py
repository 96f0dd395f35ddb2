"""What there is of a resource's workloads, replica sets, pods and warnings, kept up to date by
watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import ForbiddenError, NotFoundError, UnknownKindError
from kindling.kube.protocol import Cluster, EventKind, Object, PodSource, Selector, WatchEvent
from kindling.objects.revision import label_selector

__all__ = ["PodWatch"]

_OWN_PODS = frozenset(
    {"DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"}
)
"""Kinds whose selector finds all their pods."""


class PodWatch:
    """The objects of one rollout. `changed` is set whenever something new was learnt.

    Tasks begin with `start` and end with `close`; whoever calls the one must call the other.
    `error` is what ended the watching for good; `away` why the API server did not answer when a
    watch last heard nothing of it, empty again with the next thing learnt.
    """

    def __init__(
        self, cluster: Cluster, refs: tuple[ObjectRef, ...], selectors: tuple[Selector, ...]
    ) -> None:
        self.changed = asyncio.Event()
        self.error: Exception | None = None
        self.away = ""
        self.workloads: dict[ObjectRef, Object | None] = {}
        self.last: dict[ObjectRef, Object] = {}
        """Workloads that were deleted, as they were in the end."""
        self._cluster = cluster
        self._refs = refs
        self._selectors = selectors
        self._tables: dict[str, dict[str, Object]] = {}
        self._synced: dict[str, bool] = {}
        self._warnings: dict[str, dict[tuple[str, str], Object]] = {}
        self._foreign: dict[ObjectRef, tuple[Object, ...]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._warning_tasks: list[asyncio.Task[None]] = []

    @property
    def started(self) -> bool:
        return bool(self._tasks)

    @property
    def complete(self) -> bool:
        """Whether every list has come once. A bare Pod has none: it was read by `start`."""
        return self.started and all(self._synced.values())

    async def start(self) -> None:
        """Read the workloads, then watch them and all that is theirs."""
        await self._read_workloads()
        namespaces = sorted({ref.namespace for ref in self._refs})
        for ref in self._refs:
            self._run(f"watch {ref}", self._watch_workload(ref))
        for name, api_version, kind, namespace, labels in self._sources(namespaces):
            self._synced[name] = False
            self._run(
                f"watch {name}", self._watch_table(name, api_version, kind, namespace, labels)
            )
        for namespace in namespaces:
            task = asyncio.create_task(self._watch_warnings(namespace), name="watch warnings")
            self._warning_tasks.append(task)
        self._tasks += self._warning_tasks

    async def look(self) -> None:
        """Read everything once, and watch nothing."""
        await self._read_workloads()
        namespaces = sorted({ref.namespace for ref in self._refs})
        for name, api_version, kind, namespace, labels in self._sources(namespaces):
            listing = await self._cluster.list(
                api_version, kind, namespace=namespace, labels=labels
            )
            self._tables[name] = {item["metadata"]["uid"]: item for item in listing.items}
        await self._find_foreign()

    async def ease(self) -> None:
        """Nothing is wrong: events need not be watched any more."""
        for task in self._warning_tasks:
            task.cancel()
        await asyncio.gather(*self._warning_tasks, return_exceptions=True)
        self._warnings.clear()

    async def close(self) -> None:
        """End all watching."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def replica_sets(self) -> list[Object]:
        return [
            item
            for name, table in self._tables.items()
            if name.startswith("replica sets")
            for item in table.values()
        ]

    def pods(self, ref: ObjectRef) -> list[Object]:
        """Pods that may belong to the workload `ref`."""
        if ref.kind in _OWN_PODS:
            return list(self._tables.get(f"pods of {ref}", {}).values())
        return list(self._foreign.get(ref, ()))

    def extra_pods(self) -> list[Object]:
        """Pods that the extra selectors find."""
        return [
            item
            for name, table in self._tables.items()
            if name.startswith("selected pods")
            for item in table.values()
        ]

    def warnings(self, pod: Object) -> list[Object]:
        """Warning events of a pod, the newest last."""
        return list(self._warnings.get(str(pod["metadata"]["uid"]), {}).values())

    async def settle(self) -> None:
        """Find pods that only an owner chain finds; to be called after a change, before judging."""
        await self._find_foreign()

    def _sources(self, namespaces: list[str]) -> list[tuple[str, str, str, str, Selector]]:
        found: list[tuple[str, str, str, str, Selector]] = []
        for ref, workload in self.workloads.items():
            labels = label_selector(workload) if workload else ()
            if ref.kind in _OWN_PODS:
                found.append((f"pods of {ref}", "v1", "Pod", ref.namespace, labels))
            elif ref.kind != "Pod":
                found.append((f"all pods near {ref}", "v1", "Pod", ref.namespace, ()))
            if ref.kind == "Deployment":
                name = f"replica sets of {ref}"
                found.append((name, "apps/v1", "ReplicaSet", ref.namespace, labels))
        for number, selector in enumerate(self._selectors):
            for namespace in namespaces:
                name = f"selected pods {number} in {namespace}"
                found.append((name, "v1", "Pod", namespace, selector))
        return found

    async def _read_workloads(self) -> None:
        for ref in self._refs:
            try:
                self.workloads[ref] = await self._cluster.get(ref)
            except NotFoundError:
                self.workloads[ref] = None

    async def _find_foreign(self) -> None:
        for ref, workload in self.workloads.items():
            if workload is not None and ref.kind not in _OWN_PODS and ref.kind != "Pod":
                self._foreign[ref] = await self._cluster.pods_of(PodSource((ref,)))

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                self.error = error
                self.changed.set()

        self._tasks.append(asyncio.create_task(guarded(), name=name))

    async def _watch_workload(self, ref: ObjectRef) -> None:
        def learn(event: WatchEvent) -> None:
            if event.kind is EventKind.SYNCED:
                self.workloads[ref] = event.items[0] if event.items else None
            else:
                deleted = event.kind is EventKind.DELETED
                self.workloads[ref] = None if deleted else event.object
                if deleted:
                    self.last[ref] = event.object

        fields = (("metadata.name", ref.name),)
        known = self.workloads.get(ref)
        # What the apply has just written must not be taken back by what others saw before it.
        since = str(known["metadata"].get("resourceVersion") or "") if known else ""
        await self._watch(ref.api_version, ref.kind, ref.namespace, (), fields, learn, since)

    async def _watch_table(
        self, name: str, api_version: str, kind: str, namespace: str, labels: Selector
    ) -> None:
        table = self._tables.setdefault(name, {})

        def learn(event: WatchEvent) -> None:
            if event.kind is EventKind.SYNCED:
                table.clear()
                table.update({item["metadata"]["uid"]: item for item in event.items})
                self._synced[name] = True
            elif event.kind is EventKind.DELETED:
                table.pop(event.object["metadata"]["uid"], None)
            else:
                table[event.object["metadata"]["uid"]] = event.object

        await self._watch(api_version, kind, namespace, labels, (), learn)

    async def _watch_warnings(self, namespace: str) -> None:
        def learn(event: WatchEvent) -> None:
            if event.kind is EventKind.SYNCED:
                for known in self._warnings.values():
                    _drop_namespace(known, namespace)
            for item in event.items or ((event.object,) if event.object else ()):
                subject = (item.get("involvedObject") or {}).get("uid")
                if subject:
                    of_subject = self._warnings.setdefault(str(subject), {})
                    of_subject.pop(_event_id(item), None)  # the newest comes last
                    if event.kind is not EventKind.DELETED:
                        of_subject[_event_id(item)] = item

        try:
            await self._watch("v1", "Event", namespace, (), (("type", "Warning"),), learn)
        except (ForbiddenError, UnknownKindError):
            return  # they only help to explain
        except ClusterError as error:
            self.error = error
            self.changed.set()

    async def _watch(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        labels: Selector,
        fields: Selector,
        learn: Callable[[WatchEvent], None],
        since: str = "",
    ) -> None:
        events = self._cluster.follow(
            api_version, kind, namespace=namespace, labels=labels, fields=fields, since=since
        )
        async with aclosing(events):
            async for event in events:
                self.away = event.problem if event.kind is EventKind.AWAY else ""
                if event.kind is not EventKind.AWAY:
                    learn(event)
                self.changed.set()


def _event_id(item: Object) -> tuple[str, str]:
    return str(item["metadata"].get("namespace") or ""), str(item["metadata"]["name"])


def _drop_namespace(known: dict[tuple[str, str], Object], namespace: str) -> None:
    for key in [key for key in known if key[0] == namespace]:
        del known[key]
