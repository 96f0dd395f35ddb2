"""A registry in a folder of the test's own, and a node's network that is this machine's
loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kindling.cluster.model.api import Obj
from kindling.cluster.model.resource import builtin
from kindling.cluster.registry.permissive import PermissiveSchemas
from kindling.cluster.registry.registry import Registry
from kindling.cluster.runtime.fake import FakeRuntime
from kindling.cluster.storage.database import ObjectStore

SERVICES = builtin("services")
SLICES = builtin("endpointslices", "discovery.k8s.io")


@dataclass(frozen=True, slots=True)
class Town:
    """A namespace `default` with verbs for what the network reads."""

    api: Registry
    runtime: FakeRuntime

    async def service(self, name: str, **spec: Any) -> Obj:
        body = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "default"},
            "spec": spec,
        }
        return await self.api.create(SERVICES, body, "default")

    async def behind(self, name: str, *addresses: str, **ports: int) -> Obj:
        """An EndpointSlice of ready pods; `host/address` gives a pod its hostname."""
        endpoints = []
        for one in addresses:
            hostname, _, address = one.rpartition("/")
            endpoint: Obj = {"addresses": [address], "conditions": {"ready": True}}
            endpoints.append(endpoint | ({"hostname": hostname} if hostname else {}))
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{name}-1",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [
                {"name": "" if key == "unnamed" else key, "port": port, "protocol": "TCP"}
                for key, port in ports.items()
            ],
        }
        return await self.api.create(SLICES, body, "default")


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    api = Registry(ObjectStore(tmp_path / "objects.db"), PermissiveSchemas())
    await api.start()
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
    await api.create(builtin("namespaces"), body)
    runtime = FakeRuntime()
    await runtime.start()
    try:
        yield Town(api, runtime)
    finally:
        await runtime.close()
        await api.close()


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs something that goes on until it is cancelled."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
