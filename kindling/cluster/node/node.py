"""The node: a kubelet in the cluster's own process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

from kindling.cluster.events import EventSink
from kindling.cluster.images.protocol import Images
from kindling.cluster.model.api import Api, Change, ChangeType, Obj, Selection
from kindling.cluster.model.resource import builtin
from kindling.cluster.model.status import ApiError
from kindling.cluster.model.streams import ContainerProcess, ExecRequest, LogRequest
from kindling.cluster.node.clock import Clock, SystemClock, sleep
from kindling.cluster.node.ending import stop_signal
from kindling.cluster.node.machine import machine
from kindling.cluster.node.names import DNS_ADDRESS, Resolver
from kindling.cluster.node.pulling import Puller
from kindling.cluster.node.registration import Registration, allocatable_of
from kindling.cluster.node.site import Site
from kindling.cluster.node.slot import Run
from kindling.cluster.node.streaming import Streaming
from kindling.cluster.node.volumes import TokenIssuer
from kindling.cluster.node.worker import PodWorker
from kindling.cluster.runtime.protocol import Runtime

__all__ = ["Node"]

_PODS, _NODES = builtin("pods"), builtin("nodes")
_REFERRED = tuple(builtin(plural) for plural in ("configmaps", "secrets", "persistentvolumeclaims"))
_log = logging.getLogger(__name__)


class Node:
    """Runs the pods that are bound to the node `name`, and serves their streams (`NodeStreams`).

    `folder` holds a folder for each pod. The runtime is started and closed by whoever made it,
    after and before this. Pods keep running until the runtime closes; `close` only lets go of them.
    """

    def __init__(
        self,
        api: Api,
        runtime: Runtime,
        images: Images,
        *,
        name: str,
        folder: Path,
        tokens: TokenIssuer | None,
        clock: Clock | None = None,
        dns_address: str = DNS_ADDRESS,
    ) -> None:
        self._api = api
        self._runtime = runtime
        self._images = images
        self._clock: Clock = clock or SystemClock()
        self._name = name
        self._folder = folder
        self._sink = EventSink(api, self._clock.time)
        self._events = self._sink.recorder("kubelet", name)
        self._tokens = tokens
        self._dns_address = dns_address
        self._site: Site | None = None
        self._workers: dict[str, PodWorker] = {}
        self._main: asyncio.Task[None] | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._registration = Registration(api, runtime, images, name, folder, self._clock)
        self._streams = Streaming(api, runtime, self._workers.get)

    async def start(self) -> None:
        """Register the node and take up its pods; returns when both are done."""
        self._folder.mkdir(parents=True, exist_ok=True)
        resolver = Resolver.of_host()
        if self._runtime.isolation.network:
            resolver = resolver.reached_from_pods(self._dns_address)
        self._site = Site(
            name=self._name,
            folder=self._folder,
            api=self._api,
            runtime=self._runtime,
            images=self._images,
            puller=Puller(self._api, self._images, self._clock, self._events, self.images_changed),
            tokens=self._tokens,
            clock=self._clock,
            events=self._events,
            resolver=resolver,
            dns_address=self._dns_address,
            allocatable=allocatable_of(machine(self._folder)),
        )
        await self._registration.refresh()
        ready = asyncio.Event()
        self._main = asyncio.create_task(self._run(ready), name="node")
        waiter = asyncio.create_task(ready.wait(), name="node-ready")
        await asyncio.wait((self._main, waiter), return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        if self._main.done():
            await self._main
        node = self._api.get(_NODES, self._name)
        if node is not None:
            self._events.normal(_about(node), "Starting", "Starting kubelet.")

    async def close(self) -> None:
        """Let go of every pod and of the API; the objects stay as they are."""
        if self._main is not None:
            self._main.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._main
            self._main = None

    async def drain(self, limit: float) -> None:
        """Before `close`: ask every container to end, and wait for each as long as its pod grants,
        `limit` seconds at most, while its last words still go to its log. What is left then ends
        with the runtime. The objects stay as they are: the next start brings the pods back."""
        for worker in self._workers.values():
            worker.freeze()
        runs = [
            (slot.run, min(limit, worker.grace))
            for worker in self._workers.values()
            for slot in worker.slots
            if slot.run is not None and not slot.run.ended.is_set()
        ]
        async with asyncio.TaskGroup() as group:
            for run, grace in runs:
                group.create_task(_ask_to_end(run, grace), name="drain")

    def images_in_use(self) -> frozenset[str]:
        """The ids of the images that containers run from now."""
        return frozenset(
            slot.run.image.id
            for worker in self._workers.values()
            for slot in worker.slots
            if slot.run is not None
        )

    def images_changed(self) -> None:
        """Images were loaded, built or removed: the Node is to say so."""
        self._registration.changed.set()

    async def exec(
        self, namespace: str, pod: str, container: str, request: ExecRequest
    ) -> ContainerProcess:
        return await self._streams.exec(namespace, pod, container, request)

    async def attach(
        self, namespace: str, pod: str, container: str, request: ExecRequest
    ) -> ContainerProcess:
        return await self._streams.attach(namespace, pod, container, request)

    async def logs(self, namespace: str, pod: str, request: LogRequest) -> AsyncIterator[bytes]:
        return await self._streams.logs(namespace, pod, request)

    async def connect(
        self, namespace: str, pod: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await self._streams.connect(namespace, pod, port)

    async def _run(self, ready: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._sink.run(), name="node-events")
            tasks.create_task(self._keep_up(self._registration.run), name="node-registration")
            tasks.create_task(self._keep_up(self._follow_references), name="node-references")
            await self._keep_up(partial(self._follow_pods, tasks, ready))

    async def _keep_up(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do what never ends, and begin again should it fail: the node lasts as long as the
        cluster."""
        while True:
            try:
                await work()
            except Exception:
                _log.exception("a part of the node failed, and begins again")
            await sleep(self._clock, 1.0)

    async def _follow_pods(self, tasks: asyncio.TaskGroup, ready: asyncio.Event) -> None:
        selection = Selection(fields=f"spec.nodeName={self._name}")
        while True:
            watch = self._api.watch([_PODS], selection)
            try:
                present = {
                    pod["metadata"]["uid"]: pod for pod in self._api.select(_PODS, selection)
                }
                for uid in [uid for uid in self._workers if uid not in present]:
                    self._workers[uid].vanish()
                if not ready.is_set():
                    await asyncio.to_thread(self._remove_strangers, frozenset(present))
                for uid, pod in present.items():
                    self._take(tasks, uid, pod)
                ready.set()
                async for change in watch:
                    self._pod_changed(tasks, change)
                return  # the API ends
            except ApiError as error:
                if error.code != 410:
                    raise
            finally:
                await _aclose(watch)

    def _pod_changed(self, tasks: asyncio.TaskGroup, change: Change) -> None:
        if change.type is ChangeType.BOOKMARK:
            return
        uid = change.object["metadata"]["uid"]
        if change.type is ChangeType.DELETED:
            if worker := self._workers.get(uid):
                worker.vanish()
            return
        self._take(tasks, uid, change.object)

    def _take(self, tasks: asyncio.TaskGroup, uid: str, pod: Obj) -> None:
        if worker := self._workers.get(uid):
            worker.update(pod)
            return
        assert self._site is not None
        self._workers[uid] = PodWorker(self._site, pod)
        tasks.create_task(self._work(uid), name=f"pod-{uid}")

    async def _work(self, uid: str) -> None:
        """Run a pod's worker to its end. One that breaks takes no other pod with it: it is begun
        anew after a pause, as after a restart of the cluster."""
        assert self._site is not None
        while True:
            worker = self._workers[uid]
            try:
                await worker.run()
            except Exception:
                _log.exception("the worker of pod %s broke", worker.pod["metadata"].get("name"))
                await self._runtime.remove_sandbox(uid)
                await sleep(self._clock, 10.0)
                name, namespace = (worker.pod["metadata"][key] for key in ("name", "namespace"))
                pod = self._api.get(_PODS, name, namespace)
                if pod is not None and pod["metadata"]["uid"] == uid:
                    self._workers[uid] = PodWorker(self._site, pod)
                    continue
                await asyncio.to_thread(shutil.rmtree, worker.home.folder, ignore_errors=True)
            del self._workers[uid]
            return

    async def _follow_references(self) -> None:
        """Wake the pods that refer to an object that changed."""
        while True:
            watch = self._api.watch(_REFERRED)
            try:
                async for change in watch:
                    if change.type is ChangeType.BOOKMARK:
                        continue
                    metadata = change.object["metadata"]
                    key = (change.resource.plural, metadata.get("namespace", ""), metadata["name"])
                    for worker in tuple(self._workers.values()):
                        if key in worker.interests:
                            worker.inputs_changed()
                return  # the API ends
            except ApiError as error:
                if error.code != 410:
                    raise
                for worker in tuple(self._workers.values()):
                    worker.inputs_changed()
            finally:
                await _aclose(watch)

    def _remove_strangers(self, known: frozenset[str]) -> None:
        """Folders of pods that nobody knows."""
        for folder in self._folder.iterdir():
            if folder.name not in known and folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)


def _about(node: Obj) -> Obj:
    """As the kubelet refers to its node: the UID is the name, in no namespace."""
    name = node["metadata"]["name"]
    return {"kind": "Node", "name": name, "uid": name, "apiVersion": "v1"}


async def _ask_to_end(run: Run, grace: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        run.container.signal(stop_signal(run.image.config.stop_signal))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(grace):
            await run.container.wait()
            if run.output.running:
                await run.output.ended.wait()


async def _aclose(watch: AsyncIterator[Change]) -> None:
    close = getattr(watch, "aclose", None)
    if close is not None:
        await close()
