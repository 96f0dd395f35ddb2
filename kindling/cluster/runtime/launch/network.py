"""The pods' network: a bridge in a namespace of its own, a cable to every pod.

The node's namespace is the launcher's. Every address of the service network is a local one there,
so that the cluster's process can listen on each. Nothing of this is in the machine's own network.
"""

from __future__ import annotations

import contextlib
import os
import socket

from kindling.cluster.runtime.launch import kernel
from kindling.cluster.runtime.launch.netlink import Netlink
from kindling.cluster.runtime.launch.redirect import redirect
from kindling.cluster.runtime.launch.refusal import reason_of

__all__ = ["NodeNetwork", "PodNetwork"]

_BRIDGE = "kindling0"
_SYSCTLS = {
    # As containerd sets them: any user may listen on port 80 and ping.
    "net/ipv4/ip_unprivileged_port_start": "0",
    "net/ipv4/ping_group_range": "0 2147483647",
}


def _sysctl(name: str, value: str) -> None:
    with contextlib.suppress(OSError), open(f"/proc/sys/{name}", "w") as file:
        file.write(value)


def _number(address: str) -> int:
    return int.from_bytes(socket.inet_aton(address), "big")


def _text(number: int) -> str:
    return socket.inet_ntoa(number.to_bytes(4, "big"))


class PodNetwork:
    """The namespaces that the containers of a pod share: network, IPC, host name."""

    def __init__(self, address: str, net: int, ipc: int, uts: int) -> None:
        self.address = address
        self.net = net
        self.ipc = ipc
        self.uts = uts

    def enter(self) -> None:
        kernel.setns(self.uts, kernel.CLONE_NEWUTS)
        kernel.setns(self.ipc, kernel.CLONE_NEWIPC)
        kernel.setns(self.net, kernel.CLONE_NEWNET)

    def close(self) -> None:
        for fd in (self.net, self.ipc, self.uts):
            os.close(fd)


class NodeNetwork:
    """Of the namespace that we are in. Networks are `address/prefix`."""

    def __init__(self, pods: str, services: str) -> None:
        base, _, prefix = pods.partition("/")
        self._pods = pods
        self._base, self._prefix = _number(base), int(prefix)
        self.address = _text(self._base + 1)
        self._services = services
        self._next = 1
        self._used: set[str] = set()
        self._own = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in _KINDS]
        self._netlink = Netlink()

    def begin(self) -> None:
        """Raises `OSError` when this kernel lacks bridges or cables."""
        loopback = socket.if_nametoindex("lo")
        self._netlink.set_up(loopback)
        for name, value in _SYSCTLS.items():
            _sysctl(name, value)
        self._netlink.add_bridge(_BRIDGE, _mac_of(self.address))
        self._bridge = socket.if_nametoindex(_BRIDGE)
        self._netlink.add_address(self._bridge, self.address, self._prefix)
        network, _, prefix = self._services.partition("/")
        self._netlink.add_local(network, int(prefix), loopback)
        _sysctl("net/ipv4/ip_forward", "1")

    def leave(self) -> tuple[tuple[int, ...], str]:
        """Sockets that what leaves the pods' network is sent to: a listener for TCP, and two for
        questions to name servers (of pods, of the node). Or none, and why."""
        opened = []
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_DGRAM):
                opened.append(socket.socket(socket.AF_INET, kind))
            listener, pods, node = opened
            listener.bind(("0.0.0.0", 0))
            listener.listen(512)
            pods.bind((self.address, 0))
            port = pods.getsockname()[1]
            node.bind(("127.0.0.1", port))
            redirect(listener.getsockname()[1], port, (self._pods, self._services))
            # Without a route nothing comes as far as being redirected.
            self._netlink.add_default(index=self._bridge)
        except OSError as error:
            for made in opened:
                made.close()
            return (), f"{error.filename or 'socket'}: {reason_of(error)}"
        return tuple(made.detach() for made in opened), ""

    def add_pod(self, hostname: str, *, own_network: bool) -> PodNetwork:
        """New namespaces, with an address of their own unless the pod is to have the node's."""
        if not own_network:
            made = kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
            address, cable = self.address, 0
        else:
            made = kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWNET
            address, cable = self._take()
        try:
            kernel.unshare(made)
            socket.sethostname(hostname[:64])
            net, ipc, uts = (os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in _KINDS)
            pod = PodNetwork(address, net, ipc, uts)
            try:
                if own_network:
                    self._connect(pod, cable)
            except BaseException:
                pod.close()
                raise
            return pod
        except BaseException:
            self._used.discard(address)
            raise
        finally:
            self._return()

    def remove_pod(self, pod: PodNetwork) -> None:
        """The kernel takes the cable away with the namespace, once nothing is in it."""
        pod.close()
        self._used.discard(pod.address)

    def socket_in(self, pod: PodNetwork | None, family: int, kind: int) -> socket.socket:
        if pod is None:
            return socket.socket(family, kind)
        try:
            kernel.setns(pod.net, kernel.CLONE_NEWNET)
            return socket.socket(family, kind)
        finally:
            kernel.setns(self._own[0], kernel.CLONE_NEWNET)

    def _connect(self, pod: PodNetwork, cable: int) -> None:
        for name, value in _SYSCTLS.items():
            _sysctl(name, value)
        mac = _mac_of(pod.address)
        self._netlink.add_pair(f"pod{cable}", "eth0", mac, pod.net, self._bridge)
        here = Netlink()
        try:
            here.set_up(socket.if_nametoindex("lo"))
            index = socket.if_nametoindex("eth0")
            here.add_address(index, pod.address, self._prefix)
            here.set_up(index)
            here.add_default(self.address)
        finally:
            here.close()

    def _return(self) -> None:
        for fd, flag in zip(self._own, _FLAGS, strict=True):
            kernel.setns(fd, flag)

    def _take(self) -> tuple[str, int]:
        """The next free address; one that was given back comes again as late as can be, since
        others may remember where it was."""
        size = (1 << (32 - self._prefix)) - 2
        for _ in range(size):
            self._next = self._next % size + 1
            address = _text(self._base + self._next)
            if self._next > 1 and address not in self._used:
                self._used.add(address)
                return address, self._next
        raise OSError("every address of the pods' network is taken")


_KINDS = ("net", "ipc", "uts")
_FLAGS = (kernel.CLONE_NEWNET, kernel.CLONE_NEWIPC, kernel.CLONE_NEWUTS)


def _mac_of(address: str) -> str:
    """A hardware address that an IP address always has, so that no neighbour's memory is ever
    wrong; 0a:58 is locally administered."""
    return "0a58" + socket.inet_aton(address).hex()
