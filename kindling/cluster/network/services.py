"""Service addresses: every cluster IP and node port is a socket in the node's network.

kube-proxy rewrites packets in the kernel. We accept the connection and open another one to a pod,
which needs no privileges, no kernel modules and leaves nothing on the machine. The price: the pod
sees the node's address as its client, and a few dozen microseconds a round trip.

Where no pod is ready nothing listens, so that a connection is refused as kube-proxy refuses it: one
that is taken and then dropped would tell a client who waits for a service that it is there.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import structlog

from kindling.cluster.model.api import Api, Obj, Selection
from kindling.cluster.network.datagrams import DatagramListener
from kindling.cluster.network.endpoints import (
    ENDPOINT_SLICES,
    SERVICES,
    Endpoint,
    endpoints_of,
    service_behind,
)
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
        self._closed: dict[_Front, list[Listener]] = {}
        """Listeners that take no more connections; those that they have go on."""
        self._turns: dict[_Front, Iterator[int]] = {}
        self._stuck: dict[_Front, str] = {}
        self._kept: dict[tuple[_Front, str], tuple[Endpoint, float]] = {}

    async def run(self) -> None:
        """Follow the Services until cancelled."""
        watch = self._api.watch([SERVICES, ENDPOINT_SLICES])
        try:
            for service in self._api.select(SERVICES, Selection()):
                await self._settle(service["metadata"]["namespace"], service["metadata"]["name"])
            async for change in watch:
                head = change.object["metadata"]
                name = (
                    head["name"] if change.resource == SERVICES else service_behind(change.object)
                )
                await self._settle(head["namespace"], name)
                for front in list(self._stuck):
                    await self._settle(front.namespace, front.service)
        finally:
            listeners = [*self._open.values(), *itertools.chain(*self._closed.values())]
            await asyncio.gather(*(one.close() for one in listeners))
            self._open.clear()
            self._closed.clear()

    async def _settle(self, namespace: str, name: str) -> None:
        """Listen for one Service where it now says, if there is somebody behind it."""
        service = self._api.get(SERVICES, name, namespace)
        wanted = {
            front
            for front in (_fronts(service, self._runtime.node_address) if service else ())
            if (front.address, front.port) not in self._reserved
        }
        for front in self._of(self._open, namespace, name):
            if front not in wanted:
                await self._open.pop(front).close()
            elif not self._led(front) and isinstance(listener := self._open[front], Listener):
                del self._open[front]
                await listener.close(cut=False)
                self._closed.setdefault(front, []).append(listener)
        for front in self._of(self._closed, namespace, name):
            if front not in wanted:
                await asyncio.gather(*(one.close() for one in self._closed.pop(front)))
            else:
                self._closed[front] = [one for one in self._closed[front] if not one.idle]
        for place in (self._turns, self._stuck):
            for front in self._of(place, namespace, name):
                if front not in wanted:
                    del place[front]
        for front in wanted - self._open.keys():
            if self._led(front):
                await self._listen(front)

    def _led(self, front: _Front) -> bool:
        """Whether a connection to the address would lead to a pod. Datagrams are always taken."""
        if front.protocol != "TCP":
            return True
        return bool(endpoints_of(self._api, front.namespace, front.service, front.port_name))

    @staticmethod
    def _of(place: Mapping[_Front, object], namespace: str, name: str) -> list[_Front]:
        return [one for one in place if (one.namespace, one.service) == (namespace, name)]

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
