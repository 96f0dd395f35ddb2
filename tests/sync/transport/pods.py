"""Pods that links are made to, on the cluster of KUBECONFIG, and files to bring there."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from kindling.graph.spec import ObjectRef
from kindling.kube.client import KubeCluster, connect
from kindling.kube.contexts import read_kubeconfig
from kindling.sync.protocol import Container
from kindling.sync.trees.batch import Put

__all__ = ["LIMIT", "Folder", "apart", "connected", "namespace", "start"]

LIMIT = 120.0
_Value = TypeVar("_Value")


class Folder:
    """A folder of this machine as the contents of batches: a place is a path in it."""

    def __init__(self, root: Path, base: str = "") -> None:
        self.root = root
        self.base = base
        """The place in the container that the folder lands on."""

    def file(self, place: str) -> Path:
        return self.root / place.removeprefix(self.base).lstrip("/")

    def place(self, path: str) -> str:
        return f"{self.base}/{path}" if self.base else path

    def write(self, path: str, content: bytes, mode: int = 0o644) -> Put:
        """Write a file; the operation that brings it over."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return Put(self.place(path), mode, f"sha256:{sha256(content).hexdigest()}", len(content))


def apart(work: Coroutine[None, None, _Value]) -> _Value:
    """Run it to its end in a loop of its own, wherever the caller is: a fixture of a module lives
    longer than the loops of its tests."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()


@asynccontextmanager
async def connected() -> AsyncIterator[KubeCluster]:
    context = read_kubeconfig(os.environ).current
    assert context is not None
    cluster = await connect(context, os.environ)
    try:
        yield cluster
    finally:
        await cluster.close()


@contextmanager
def namespace() -> Iterator[str]:
    """A namespace that goes with the block, with all in it."""
    name = f"sync-link-{secrets.token_hex(4)}"
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}

    async def make() -> None:
        async with connected() as cluster:
            await cluster.apply(manifest)
            async with (
                asyncio.timeout(LIMIT),
                aclosing(cluster.watch("v1", "ServiceAccount", namespace=name)) as accounts,
            ):
                async for event in accounts:
                    if event.items or event.object:
                        return

    async def remove() -> None:
        async with connected() as cluster:
            for pod in (await cluster.list("v1", "Pod", namespace=name)).items:
                await cluster.delete(ObjectRef("v1", "Pod", pod["metadata"]["name"], name), grace=0)
            await cluster.delete(ObjectRef("v1", "Namespace", name))

    apart(make())
    try:
        yield name
    finally:
        apart(remove())


async def start(
    cluster: KubeCluster,
    namespace: str,
    name: str,
    image: str,
    container: Mapping[str, Any],
    **spec: Any,
) -> Container:
    """A pod with one container, once that runs."""
    about = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", **container}
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [about], "terminationGracePeriodSeconds": 0, **spec},
    }
    await cluster.apply(manifest)
    fields = (("metadata.name", name),)
    async with (
        asyncio.timeout(LIMIT),
        aclosing(cluster.watch("v1", "Pod", namespace=namespace, fields=fields)) as events,
    ):
        async for event in events:
            for pod in event.items or ((event.object,) if event.object else ()):
                states = (pod.get("status") or {}).get("containerStatuses") or ()
                if any("running" in state["state"] for state in states):
                    node = str(pod["spec"].get("nodeName", ""))
                    return Container(namespace, name, "main", node=node)
    raise AssertionError("the watch ended")
