"""`hostPort`: ports of pods on this machine's own loopback.

A real node opens them on all its addresses; here it is the loopback alone, whatever `hostIP` says.
TCP only. With the pods in a network of their own, a pod in the host's network is in the node's, so
its ports are passed on as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator

from kindling.cluster.model.api import Obj
from kindling.cluster.node.dial import open_stream
from kindling.cluster.runtime.protocol import Runtime

__all__ = ["HostPorts", "host_ports"]

_CHUNK = 64 * 1024
_log = logging.getLogger(__name__)


def host_ports(pod: Obj) -> Iterator[tuple[int, int]]:
    """The ports of the host that a pod asks for, and those of the pod that are meant."""
    spec = pod["spec"]
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            for port in container.get("ports") or ():
                if port.get("hostPort") and port.get("protocol", "TCP") == "TCP":
                    yield int(port["hostPort"]), int(port["containerPort"])


class HostPorts:
    """The open ports of one pod. `run` keeps them open until it is cancelled."""

    def __init__(self, runtime: Runtime, pod: Obj, address: str) -> None:
        self._runtime = runtime
        self._address = address
        # Without a network of its own the pod has its ports on the loopback already.
        own = runtime.isolation.network
        self._ports = [(outer, inner) for outer, inner in host_ports(pod) if own or outer != inner]
        self.refused: list[str] = []
        self.opened = asyncio.Event()

    async def run(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for outer, inner in self._ports:
                try:
                    server = await asyncio.start_server(self._pass_on(inner), "127.0.0.1", outer)
                except OSError as error:
                    self.refused.append(f"cannot open hostPort {outer}: {error.strerror}")
                else:
                    await stack.enter_async_context(server)
            self.opened.set()
            await asyncio.Event().wait()

    def _pass_on(self, port: int) -> _Relay:
        return _Relay(self._runtime, self._address, port)


class _Relay:
    """Serves one connection by another one into the pod."""

    def __init__(self, runtime: Runtime, address: str, port: int) -> None:
        self._runtime = runtime
        self._address = address
        self._port = port

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                inner = await open_stream(self._runtime, self._address, self._port)
            except OSError as error:
                _log.debug("hostPort: %s:%s: %s", self._address, self._port, error)
                return
            with contextlib.closing(inner[1]):
                await asyncio.gather(_copy(reader, inner[1]), _copy(inner[0], writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
