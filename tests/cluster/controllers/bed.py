"""A cluster of the registry, the controllers and a node that only pretends, on a clock that tests
move."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kindling.cluster.controllers.catalog import CONTROLLERS
from kindling.cluster.controllers.controller import Controller
from kindling.cluster.controllers.kinds import EVENTS, NAMESPACES, NODES, PODS, SERVICE_ACCOUNTS
from kindling.cluster.controllers.manager import Controllers
from kindling.cluster.controllers.meta import stamp, with_condition
from kindling.cluster.model.api import Change, ChangeType, DeleteOptions, Obj, Selection
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.status import ApiError
from kindling.cluster.registry.registry import Registry
from kindling.cluster.schema.catalog import Catalog
from kindling.cluster.storage.database import ObjectStore
from kindling.testing.clock import FakeClock

Verdict = Callable[[Obj], str]
"""What becomes of a bound pod: `ready`, `running`, `pending`, `failed` or `succeeded`."""


class FakeNode:
    """Marks bound pods Running and Ready, and lets deleted ones go, as the verdict says."""

    def __init__(self, api: Registry, clock: FakeClock) -> None:
        self.api = api
        self.clock = clock
        self.verdict: Verdict = lambda _: "ready"
        self.holds_deletions = False
        self.busy = False
        self._addresses = 0

    async def run(self) -> None:
        stream = self.api.watch([PODS], since="0")
        try:
            async for change in stream:
                self.busy = True
                try:
                    await self._see(change)
                finally:
                    self.busy = False
        finally:
            await stream.aclose()

    async def _see(self, change: Change) -> None:
        if change.type is ChangeType.DELETED or change.type is ChangeType.BOOKMARK:
            return
        meta = change.object["metadata"]
        await self.look_at(meta["namespace"], meta["name"])

    async def look_at(self, namespace: str, name: str) -> None:
        pod = self.api.get(PODS, name, namespace)
        if pod is None or not pod["spec"].get("nodeName"):
            return
        try:
            if pod["metadata"].get("deletionTimestamp"):
                if not self.holds_deletions:
                    await self.api.delete(PODS, name, namespace, DeleteOptions(grace=0))
            elif (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
                await self.set_state(pod, self.verdict(pod))
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    async def set_state(self, pod: Obj, state: str) -> None:
        phase = {"failed": "Failed", "succeeded": "Succeeded", "pending": "Pending"}.get(
            state, "Running"
        )
        now = stamp(self.clock.time())
        status = dict(pod.get("status") or {})
        ready = {"type": "Ready", "status": "True" if state == "ready" else "False"}
        status["phase"] = phase
        status["conditions"] = with_condition(status.get("conditions"), ready, now=now)
        if "podIP" not in status:
            self._addresses += 1
            status["podIP"] = f"10.199.0.{self._addresses}"
            status["podIPs"] = [{"ip": status["podIP"]}]
            status["startTime"] = now
        if phase in ("Failed", "Succeeded"):
            code = 0 if phase == "Succeeded" else 1
            ended = {"terminated": {"exitCode": code, "finishedAt": now, "reason": "Error"}}
            status["containerStatuses"] = [
                {"name": container["name"], "ready": False, "restartCount": 0, "state": ended}
                for container in pod["spec"]["containers"]
            ]
        if status != pod.get("status"):
            await self.api.update(PODS, {**pod, "status": status}, "status")


class Bed:
    def __init__(self, api: Registry, clock: FakeClock, controllers: Controllers) -> None:
        self.api = api
        self.clock = clock
        self.controllers = controllers
        self.node = FakeNode(api, clock)
        self._running: asyncio.Task[None] | None = None

    def start_controllers(self) -> None:
        self._running = asyncio.create_task(self.controllers.run(), name="controllers")

    async def stop_controllers(self) -> None:
        """End them, wherever they are; what they were about to do is lost."""
        assert self._running is not None
        task, self._running = self._running, None
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(result, Exception):
            raise result

    async def restart_controllers(self, folder: Path | None = None) -> None:
        """Begin anew with controllers that know nothing."""
        self.controllers = Controllers(
            self.api, clock=self.clock, volumes=folder, authority="PEM", controllers=CONTROLLERS
        )
        self.start_controllers()
        await self.settle()

    async def settle(self) -> None:
        """Wait until nobody has anything to do."""
        quiet = 0
        seen = -1
        async with asyncio.timeout(20):
            while quiet < 4:
                await asyncio.sleep(0.0005)
                still = self.controllers.idle and not self.node.busy and seen == self.api.revision
                quiet = quiet + 1 if still else 0
                seen = self.api.revision

    async def advance(self, seconds: float) -> None:
        await self.settle()
        await self.clock.advance(seconds)
        await self.settle()

    async def create(self, resource: ResourceType, obj: Obj) -> Obj:
        made = await self.api.create(resource, obj, obj["metadata"].get("namespace") or "")
        await self.settle()
        return made

    async def patch(
        self,
        resource: ResourceType,
        name: str,
        change: Obj,
        namespace: str = "default",
        sub: str = "",
    ) -> Obj:
        space = namespace if resource.namespaced else ""
        made = await self.api.patch(resource, name, change, space, subresource=sub)
        await self.settle()
        return made

    async def delete(
        self, resource: ResourceType, name: str, namespace: str = "default", **options: Any
    ) -> None:
        space = namespace if resource.namespaced else ""
        await self.api.delete(resource, name, space, DeleteOptions(**options))
        await self.settle()

    def get(self, resource: ResourceType, name: str, namespace: str = "default") -> Obj:
        found = self.api.get(resource, name, namespace if resource.namespaced else "")
        assert found is not None, f"there is no {resource.kind} {name}"
        return found

    def all(self, resource: ResourceType, namespace: str | None = "default") -> list[Obj]:
        return self.api.select(resource, Selection(namespace))

    def pods(self, namespace: str = "default") -> list[Obj]:
        return self.all(PODS, namespace)

    async def set_pod(self, name: str, state: str, namespace: str = "default") -> None:
        await self.node.set_state(self.get(PODS, name, namespace), state)
        await self.settle()

    async def node_looks_again(self) -> None:
        """After the verdict was changed."""
        for pod in self.api.select(PODS):
            await self.node.look_at(pod["metadata"]["namespace"], pod["metadata"]["name"])
        await self.settle()

    def events(self, reason: str = "", namespace: str = "default") -> list[str]:
        """The messages of events, oldest first."""
        found = [
            event
            for event in self.all(EVENTS, namespace)
            if not reason or event["reason"] == reason
        ]
        found.sort(key=lambda event: event["metadata"]["name"].rpartition(".")[2])
        return [event["message"] for event in found]


@asynccontextmanager
async def bed_in(
    folder: Path,
    *,
    controllers: Sequence[type[Controller]] = CONTROLLERS,
    node: bool = True,
    default: bool = True,
) -> AsyncIterator[Bed]:
    clock = FakeClock()
    api = Registry(ObjectStore(folder / "objects.db"), Catalog(), clock=clock.time)
    await api.start()
    running = Controllers(
        api, clock=clock, volumes=folder / "volumes", authority="PEM", controllers=controllers
    )
    bed = Bed(api, clock, running)
    try:
        if default:
            await api.create(NAMESPACES, {**namespace_obj("default")})
            account = {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "default"},
            }
            await api.create(SERVICE_ACCOUNTS, account, "default")
        if node:
            await api.create(NODES, node_obj())
        bed.start_controllers()
        node_task = asyncio.create_task(bed.node.run(), name="node")
        try:
            await bed.settle()
            yield bed
        finally:
            await bed.stop_controllers()
            node_task.cancel()
            (result,) = await asyncio.gather(node_task, return_exceptions=True)
        if isinstance(result, Exception):
            raise result
    finally:
        await api.close()


def namespace_obj(name: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def node_obj(**spec: Any) -> Obj:
    room = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node", "labels": {"kubernetes.io/hostname": "node"}},
        "spec": spec,
        "status": {
            "capacity": room,
            "allocatable": room,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def template(image: str = "app:1", *, app: str = "web", **spec: Any) -> Obj:
    return {
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": image}], **spec},
    }


def deployment(name: str = "web", replicas: int = 3, **spec: Any) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(app=name),
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 10,
            **spec,
        },
    }


def pod_obj(name: str = "one", *, labels: dict[str, str] | None = None, **spec: Any) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
        "spec": {"containers": [{"name": "main", "image": "app:1"}], **spec},
    }


def on_memory_disk() -> Path | None:
    """A folder without a disk below it, where syncing costs nothing."""
    shm = Path("/dev/shm")
    return shm if shm.is_dir() and os.access(shm, os.W_OK) else None
