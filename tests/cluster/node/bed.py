"""A node on the real registry, with a runtime and images in memory and a clock that tests move."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from kindling.cluster.images.protocol import Credentials, Image, ImageConfig, Images, PullError
from kindling.cluster.model.api import DeleteOptions, Obj, Selection
from kindling.cluster.model.resource import builtin
from kindling.cluster.model.schema import Schemas
from kindling.cluster.model.streams import LogRequest
from kindling.cluster.node.clock import Clock
from kindling.cluster.node.node import Node
from kindling.cluster.registry.permissive import PermissiveSchemas
from kindling.cluster.registry.registry import Registry
from kindling.cluster.runtime.fake import FakeProcess, FakeRuntime
from kindling.cluster.runtime.protocol import RootFs, Runtime
from kindling.cluster.storage.database import ObjectStore

__all__ = ["Bed", "FakeClock", "FakeImages", "open_bed"]

PODS = builtin("pods")
NODE = "here"


class FakeClock:
    """Time passes only in `advance`."""

    def __init__(self, busy: Callable[[], bool] = lambda: False) -> None:
        self.now = float(int(time.time()))
        self.busy = busy
        self._count = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._off: set[int] = set()

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Callable[[], None]:
        number = next(self._count)
        heapq.heappush(self._due, (self.now + max(0.0, delay), number, callback))
        return lambda: self._off.add(number)

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that it brings about, in order."""
        end = self.now + seconds
        await settle(self.busy)
        while self._due and self._due[0][0] <= end:
            at, number, callback = heapq.heappop(self._due)
            if number in self._off:
                continue
            self.now = max(self.now, at)
            callback()
            await settle(self.busy)
        self.now = end
        await settle(self.busy)


async def settle(busy: Callable[[], bool]) -> None:
    """Until the loop has nothing more to do at once, and no write is under way."""
    quiet = 0
    while quiet < 4:
        for _ in range(25):
            await asyncio.sleep(0)
        quiet = 0 if busy() else quiet + 1
        await asyncio.sleep(0.0005)


class CountingRegistry(Registry):
    """Knows how many writes are under way."""

    writes = 0

    @contextlib.contextmanager
    def _write(self) -> Iterator[None]:
        self.writes += 1
        try:
            yield
        finally:
            self.writes -= 1

    async def create(self, *args: Any, **options: Any) -> Obj:
        with self._write():
            return await super().create(*args, **options)

    async def update(self, *args: Any, **options: Any) -> Obj:
        with self._write():
            return await super().update(*args, **options)

    async def patch(self, *args: Any, **options: Any) -> Obj:
        with self._write():
            return await super().patch(*args, **options)

    async def delete(self, *args: Any, **options: Any) -> tuple[Obj, bool]:
        with self._write():
            return await super().delete(*args, **options)


class FakeImages:
    """Every image is here but those a test puts into `missing` (which a pull brings) or `broken`
    (a pull fails with the text)."""

    def __init__(self) -> None:
        self.config = ImageConfig(cmd=("run",))
        self.configs: dict[str, ImageConfig] = {}
        self.missing: set[str] = set()
        self.broken: dict[str, str] = {}
        self.pulled: list[tuple[str, tuple[Credentials, ...]]] = []

    def find(self, reference: str) -> Image | None:
        if reference != reference.lower():
            text = f'couldn\'t parse image reference "{reference}": invalid reference format'
            raise PullError(text, "InvalidImageName")
        if reference in self.missing or reference in self.broken:
            return None
        config = self.configs.get(reference, self.config)
        return Image(
            "sha256:" + "0" * 64, config, RootFs(), names=(f"docker.io/library/{reference}",)
        )

    async def pull(self, reference: str, credentials: tuple[Credentials, ...] = ()) -> Image:
        self.pulled.append((reference, credentials))
        if reference in self.broken:
            raise PullError(self.broken[reference])
        self.missing.discard(reference)
        image = self.find(reference)
        assert image is not None
        return image

    def all(self) -> tuple[Image, ...]:
        return ()

    @contextlib.contextmanager
    def lease(self, image: str) -> Iterator[None]:
        assert image
        yield


class FakeTokens:
    """Counts the tokens it makes."""

    def __init__(self) -> None:
        self.issued: list[dict[str, Any]] = []

    def issue(self, namespace: str, service_account: str, **about: Any) -> str:
        self.issued.append({"namespace": namespace, "account": service_account, **about})
        return f"token-{len(self.issued)}"


class Bed:
    """Verbs for tests of the node. `programs` say what a container does, by its command."""

    def __init__(
        self,
        folder: Path,
        runtime: Runtime | None = None,
        *,
        images: Images | None = None,
        clock: Clock | None = None,
        schemas: Schemas | None = None,
    ) -> None:
        self.folder = folder
        self.clock = FakeClock(lambda: self.api.writes > 0)
        self._clock: Clock = clock or self.clock
        self.fake = FakeRuntime()
        self.runtime: Runtime = runtime or self.fake
        self.images = FakeImages()
        self._images: Images = images or self.images
        self.tokens = FakeTokens()
        self.api = CountingRegistry(
            ObjectStore(folder / "objects.db"),
            schemas or PermissiveSchemas(),
            clock=self.clock.time,
        )
        self.node = self._node()
        self.fake.programs["run"] = forever

    def _node(self) -> Node:
        return Node(
            self.api,
            self.runtime,
            self._images,
            name=NODE,
            folder=self.folder / "pods",
            tokens=self.tokens,
            clock=self._clock,
        )

    async def open(self) -> None:
        await self.api.start()
        for name in ("default", "kube-node-lease"):
            with contextlib.suppress(Exception):
                await self.api.create(
                    builtin("namespaces"),
                    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
                )
        with contextlib.suppress(Exception):
            await self.create("configmaps", "kube-root-ca.crt", data={"ca.crt": "CERTIFICATE"})
            await self.create("serviceaccounts", "default")
        await self.runtime.start()
        await self.node.start()

    async def close(self) -> None:
        await self.node.close()
        await self.runtime.close()
        await self.api.close()

    async def crash(self) -> None:
        """The cluster dies and is started again: what is on the disk is all there is."""
        await self.close()
        programs = self.fake.programs
        self.runtime = self.fake = FakeRuntime()
        self.fake.programs = programs
        self.api = CountingRegistry(
            ObjectStore(self.folder / "objects.db"), PermissiveSchemas(), clock=self.clock.time
        )
        self.node = self._node()
        await self.api.start()
        await self.node.start()

    async def create(self, plural: str, name: str, group: str = "", **fields: Any) -> Obj:
        resource = builtin(plural, group)
        obj = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, **({"namespace": "default"} if resource.namespaced else {})},
            **fields,
        }
        return await self.api.create(resource, obj, "default" if resource.namespaced else "")

    async def pod(
        self, name: str = "web", /, containers: Any = None, meta: Any = None, **spec: Any
    ) -> Obj:
        """Create a pod that is bound to the node: one container `main` running `run`, unless said
        otherwise."""
        containers = containers or [{}]
        full = [container("main" if i == 0 else f"c{i}", **one) for i, one in enumerate(containers)]
        spec = {"nodeName": NODE, "terminationGracePeriodSeconds": 30, **spec, "containers": full}
        if inits := spec.get("initContainers"):
            spec["initContainers"] = [container(f"init{i}", **one) for i, one in enumerate(inits)]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", **(meta or {})},
            "spec": spec,
        }
        return await self.api.create(PODS, pod, "default")

    def get(self, name: str = "web") -> Obj:
        pod = self.api.get(PODS, name, "default")
        assert pod is not None, f"there is no pod {name}"
        return pod

    def status(self, name: str = "web") -> Obj:
        return dict(self.get(name).get("status") or {})

    def entry(self, container: str = "main", pod: str = "web") -> Obj:
        """The container's entry in the status; empty before there is one."""
        status = self.status(pod)
        for field in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
            for one in status.get(field) or ():
                if one["name"] == container:
                    return dict(one)
        return {}

    def condition(self, kind: str, pod: str = "web") -> Obj:
        for one in self.status(pod).get("conditions") or ():
            if one["type"] == kind:
                return dict(one)
        return {}

    async def until(self, holds: Callable[[], Any], what: str = "") -> None:
        """Wait, without letting the fake clock's time pass, until something holds."""
        end = time.monotonic() + 5
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(f"did not come about: {what}\n{self.shown()}")
            await asyncio.sleep(0.001)

    async def until_async(self, get: Callable[[], Awaitable[str]], wanted: str) -> None:
        """Wait until a text is as wanted."""
        end = time.monotonic() + 5
        while (text := await get()) != wanted:
            assert time.monotonic() < end, text
            await asyncio.sleep(0.005)

    def shown(self) -> str:
        import json

        pods = self.api.select(PODS)
        return json.dumps([pod.get("status") for pod in pods], indent=1)[:6000] + str(self.events())

    async def running(self, container: str = "main", pod: str = "web", restarts: int = 0) -> None:
        def holds() -> bool:
            entry = self.entry(container, pod)
            return "running" in entry.get("state", {}) and entry["restartCount"] == restarts

        await self.until(holds, f"{pod}/{container} running with {restarts} restarts")

    async def phase(self, phase: str, pod: str = "web") -> None:
        await self.until(lambda: self.status(pod).get("phase") == phase, f"{pod} {phase}")

    async def gone(self, pod: str = "web") -> None:
        await self.until(lambda: self.api.get(PODS, pod, "default") is None, f"{pod} gone")

    async def delete(self, name: str = "web", grace: int | None = None) -> None:
        await self.api.delete(PODS, name, "default", DeleteOptions(grace=grace))

    def process(self, index: int = -1) -> FakeProcess:
        """A running container's process, by the order of their starts."""
        return list(self.fake.running.values())[index]

    def events(self) -> list[tuple[str, str]]:
        """Reason and message of every event about pods."""
        return [
            (event["reason"], event["message"])
            for event in self.api.select(builtin("events"), Selection())
            if event["involvedObject"]["kind"] == "Pod"
        ]

    async def told(self, reason: str, message: str = "") -> None:
        def holds() -> bool:
            return any(one == reason and message in text for one, text in self.events())

        await self.until(holds, f"event {reason} {message}")

    async def log(self, pod: str = "web", **request: Any) -> str:
        log = await self.node.logs("default", pod, LogRequest(**request))
        chunks = [chunk async for chunk in log]
        return b"".join(chunks).decode()


def container(name: str, **fields: Any) -> Obj:
    return {"name": name, "image": "app:1", **fields}


async def forever(_process: FakeProcess) -> int:
    await asyncio.Event().wait()
    return 0


@contextlib.asynccontextmanager
async def open_bed(folder: Path, runtime: Runtime | None = None) -> AsyncIterator[Bed]:
    bed = Bed(folder, runtime)
    await bed.open()
    try:
        yield bed
    finally:
        await bed.close()
