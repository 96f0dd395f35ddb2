"""Service addresses: every cluster IP and node port is a socket in the node's network.

kube-proxy rewrites packets in the kernel. We accept the connection and open another one to a pod,
which needs no privileges, no kernel modules and leaves nothing on the machine. The price: the pod
sees the node's address as its client, and a few dozen microseconds a round trip.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from kindling.cluster.model.api import Api, Obj, Selection
from kindling.cluster.network.datagrams import DatagramListener
from kindling.cluster.network.endpoints import SERVICES, Endpoint, endpoints_of
from kindling.cluster.network.relay import Listener
from kindling.cluster.runtime.protocol import Runtime

__all__ = ["ServiceAddresses"]

_log = structlog.get_logger("kindling.cluster.network")
_AFFINITY_SECS = 10800


@dataclass(frozen=True, slots=True)
class _Front:
    """One address that is listened on, and the Service port that it means."""

    address: str
    port: int
    protocol: str
    namespace: str
    service: str
    port_name: str
    affinity: float


class ServiceAddresses:
    """Listens on what the Services of the cluster say. `reserved` are addresses that others
    serve."""

    def __init__(
        self, api: Api, runtime: Runtime, reserved: frozenset[tuple[str, int]] = frozenset()
    ) -> None:
        self._api = api
        self._runtime = runtime
        self._reserved = reserved
        self._open: dict[_Front, Listener | DatagramListener] = {}
        self._turns: dict[_Front, Iterator[int]] = {}
        self._stuck: dict[_Front, str] = {}
        self._kept: dict[tuple[_Front, str], tuple[Endpoint, float]] = {}

    async def run(self) -> None:
        """Follow the Services until cancelled."""
        watch = self._api.watch([SERVICES])
        try:
            await self._settle()
            async for _ in watch:
                await self._settle()
        finally:
            await asyncio.gather(*(one.close() for one in self._open.values()))
            self._open.clear()

    async def _settle(self) -> None:
        wanted = {
            front
            for service in self._api.select(SERVICES, Selection())
            for front in _fronts(service, self._runtime.node_address)
            if (front.address, front.port) not in self._reserved
        }
        for front in [front for front in self._open if front not in wanted]:
            await self._open.pop(front).close()
            self._turns.pop(front, None)
        for front in wanted - self._open.keys():
            await self._listen(front)

    async def _listen(self, front: _Front) -> None:
        stream = front.protocol == "TCP"
        kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
        sock = self._runtime.open_socket(socket.AF_INET, kind)
        try:
            if stream:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((front.address, front.port))
        except OSError as error:
            sock.close()
            if self._stuck.get(front) != str(error):
                self._stuck[front] = str(error)
                _log.warning(
                    "service address not served",
                    address=f"{front.address}:{front.port}",
                    service=f"{front.namespace}/{front.service}",
                    error=str(error),
                )
            return
        self._stuck.pop(front, None)
        listener = (
            Listener(sock, lambda peer: self._choose(front, peer, socket.SOCK_STREAM))
            if stream
            else DatagramListener(sock, lambda peer: self._choose(front, peer, socket.SOCK_DGRAM))
        )
        await listener.start()
        self._open[front] = listener

    def _choose(
        self, front: _Front, peer: str, kind: socket.SocketKind
    ) -> tuple[socket.socket, tuple[str, int]] | None:
        found = endpoints_of(self._api, front.namespace, front.service, front.port_name)
        if not found:
            return None
        now = asyncio.get_running_loop().time()
        endpoint: Endpoint | None = None
        if front.affinity:
            kept, until = self._kept.get((front, peer), (None, 0.0))
            endpoint = kept if kept in found and now < until else None
        if endpoint is None:
            turn = next(self._turns.setdefault(front, itertools.count()))
            endpoint = found[turn % len(found)]
        if front.affinity:
            self._kept[front, peer] = (endpoint, now + front.affinity)
        return (
            self._runtime.open_socket(socket.AF_INET, kind),
            (endpoint.address, endpoint.port),
        )


def _fronts(service: Obj, node: str) -> Iterator[_Front]:
    spec = service.get("spec", {})
    if spec.get("type") == "ExternalName":
        return
    metadata = service["metadata"]
    affinity = 0.0
    if spec.get("sessionAffinity") == "ClientIP":
        told = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        affinity = float(told.get("timeoutSeconds") or _AFFINITY_SECS)
    addresses = [a for a in spec.get("clusterIPs") or [spec.get("clusterIP")] if _is_v4(a)]
    for port in spec.get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        if protocol not in ("TCP", "UDP"):
            continue
        places = [(address, port["port"]) for address in addresses]
        places += [(address, port["port"]) for address in spec.get("externalIPs") or ()]
        if port.get("nodePort"):
            places.append((node, port["nodePort"]))
        for address, number in places:
            yield _Front(
                address,
                int(number),
                protocol,
                metadata["namespace"],
                metadata["name"],
                port.get("name") or "",
                affinity,
            )


def _is_v4(address: object) -> bool:
    return isinstance(address, str) and address not in ("", "None") and ":" not in address
