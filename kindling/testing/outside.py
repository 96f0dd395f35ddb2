"""The outside of a whole session in memory: a cluster, a container engine and a registry.

    async with Outside.open() as outside:
        outside.stand_before(bench)
        result = await bench.run("up")

No controllers run in it: workloads whose pods nobody plays are declared `pod_readiness="ignore"`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kindling.engine.operating import Begin, Target
from kindling.engine.run import Connections
from kindling.kube.protocol import RegistryHosting
from kindling.testing.cluster import FakeCluster
from kindling.testing.containers import FakeContainers
from kindling.testing.operating import FakeOperation

if TYPE_CHECKING:
    from kindling.build.protocol import ContainerEngine
    from kindling.executors.protocol import ProcessRunner
    from kindling.kube.contexts import KubeContext
    from kindling.kube.protocol import Cluster
    from kindling.operator.controller.run import Operation
    from kindling.testing.workbench import Workbench

__all__ = ["Outside"]

_KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: {context}
contexts:
- name: {context}
  context: {{cluster: {context}, user: {context}}}
clusters:
- name: {context}
  cluster: {{server: "https://fake"}}
users:
- name: {context}
  user: {{token: none}}
"""


class Outside:
    """What a session reaches. The registry listens on a real port of this machine, since images are
    asked for over HTTP; what it holds is what was pushed by `containers`."""

    def __init__(self, listening: asyncio.Server, containers: FakeContainers) -> None:
        self.registry = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        self.cluster = FakeCluster(registry=RegistryHosting(self.registry, self.registry))
        self.containers = containers
        self.operations: list[FakeOperation] = []
        """The operators that sessions have started, the latest last."""

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Outside]:
        """An outside whose registry answers until the end of the context."""
        containers = FakeContainers()
        listening = await asyncio.start_server(_registry_of(containers), "127.0.0.1", 0)
        try:
            yield cls(listening, containers)
        finally:
            listening.close()
            await listening.wait_closed()

    def stand_before(self, bench: Workbench, context: str = "kind-fake") -> None:
        """Let the workbench reach this outside, by a kubeconfig with this context alone."""

        async def cluster(_context: KubeContext, _environment: Mapping[str, str]) -> Cluster:
            return self.cluster

        async def containers(
            _programs: ProcessRunner, _environment: Mapping[str, str], _root: Path
        ) -> ContainerEngine:
            return self.containers

        def operator(_target: Target) -> Begin:
            return self._begin

        bench.connections = Connections(cluster, containers, operator)
        file = bench.write("kubeconfig", _KUBECONFIG.format(context=context))
        bench.environment["KUBECONFIG"] = str(file)

    async def _begin(
        self, namespaces: tuple[str, ...], identity: str, say: Callable[[str], None]
    ) -> Operation:
        del identity
        self.operations.append(FakeOperation(self.cluster, namespaces, say))
        return self.operations[-1]

    def writes(self) -> list[str]:
        """Every accepted write to the cluster, such as `apply ConfigMap/settings`."""
        return [f"{verb} {ref.kind}/{ref.name}" for verb, ref in self.cluster.writes]

    def builds(self) -> list[str]:
        """The name of every image that was built, in order."""
        return [request.name.removeprefix("image:") for request in self.containers.requests]


def _registry_of(
    containers: FakeContainers,
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """A registry that holds what was pushed, under whatever host it was named."""

    def answer(path: str) -> tuple[int, bytes]:
        if path == "/v2/":
            return 200, b"{}"
        wanted = path.removeprefix("/v2/").replace("/manifests/", ":")
        for ref, image in containers.registries.items():
            if ref.partition("/")[2] == wanted:
                return 200, json.dumps({"config": {"digest": image}}).encode()
        return 404, b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            status, body = answer(path)
            head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
        writer.close()

    return serve
