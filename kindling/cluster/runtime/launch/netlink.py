"""The few rtnetlink messages that a pod network is made of.

Written out by hand: the launcher starts without site packages, and importing a netlink library
costs ten times what all of this does. Message layouts: the kernel's `rtnetlink.h`, `if_link.h`.
"""

from __future__ import annotations

import os
import socket
import struct

__all__ = ["Netlink"]

_NEWLINK, _DELLINK, _NEWADDR, _NEWROUTE = 16, 17, 20, 24
_REQUEST, _ACK, _CREATE, _EXCL = 1, 4, 0x400, 0x200
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 1, 3, 10, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_IFF_UP = 1
_TABLE_MAIN, _TABLE_LOCAL = 254, 255
_PROT_BOOT = 3
_SCOPE_UNIVERSE, _SCOPE_LINK, _SCOPE_HOST = 0, 253, 254
_TYPE_UNICAST, _TYPE_LOCAL = 1, 2


def _attribute(kind: int, data: bytes) -> bytes:
    size = 4 + len(data)
    return struct.pack("=HH", size, kind) + data + b"\0" * (-size % 4)


def _link(index: int = 0, flags: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


class Netlink:
    """Changes the network namespace that it was made in, whichever is entered later."""

    def __init__(self) -> None:
        self._sock = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._sock.bind((0, 0))
        self._count = 0

    def close(self) -> None:
        self._sock.close()

    def add_bridge(self, name: str, mac: str) -> None:
        """A bridge that is up. Its own hardware address, or it would take one of its ports', and
        change it as pods go."""
        info = _attribute(_INFO_KIND, b"bridge")
        self._ask(
            _NEWLINK,
            _link(0, _IFF_UP)
            + _attribute(_IFLA_IFNAME, name.encode() + b"\0")
            + _attribute(_IFLA_ADDRESS, _mac(mac))
            + _attribute(_IFLA_LINKINFO, info),
            _CREATE | _EXCL,
        )

    def add_pair(self, name: str, peer: str, mac: str, namespace: int, master: int = 0) -> None:
        """A cable: `name` here (a port of `master`), `peer` with the hardware address `mac` in the
        network namespace of the descriptor. The far end is still down: it cannot be up before its
        peer is there."""
        far = (
            _link()
            + _attribute(_IFLA_IFNAME, peer.encode() + b"\0")
            + _attribute(_IFLA_ADDRESS, _mac(mac))
            + _attribute(_IFLA_NET_NS_FD, struct.pack("=I", namespace))
        )
        info = _attribute(_INFO_KIND, b"veth") + _attribute(_INFO_DATA, _attribute(_VETH_PEER, far))
        body = _link(0, _IFF_UP) + _attribute(_IFLA_IFNAME, name.encode() + b"\0")
        if master:
            body += _attribute(_IFLA_MASTER, struct.pack("=I", master))
        self._ask(_NEWLINK, body + _attribute(_IFLA_LINKINFO, info), _CREATE | _EXCL)

    def set_up(self, index: int) -> None:
        self._ask(_NEWLINK, _link(index, _IFF_UP))

    def delete(self, index: int) -> None:
        self._ask(_DELLINK, _link(index))

    def add_address(self, index: int, address: str, prefix: int) -> None:
        raw = socket.inet_aton(address)
        head = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, _SCOPE_UNIVERSE, index)
        self._ask(
            _NEWADDR,
            head + _attribute(_IFA_LOCAL, raw) + _attribute(_IFA_ADDRESS, raw),
            _CREATE | _EXCL,
        )

    def add_default(self, gateway: str = "", index: int = 0) -> None:
        """Through a gateway, or straight out of an interface."""
        head = struct.pack(
            "=BBBBBBBBI",
            socket.AF_INET,
            0,
            0,
            0,
            _TABLE_MAIN,
            _PROT_BOOT,
            _SCOPE_UNIVERSE if gateway else _SCOPE_LINK,
            _TYPE_UNICAST,
            0,
        )
        way = (
            _attribute(_RTA_GATEWAY, socket.inet_aton(gateway))
            if gateway
            else _attribute(_RTA_OIF, struct.pack("=I", index))
        )
        self._ask(_NEWROUTE, head + way, _CREATE | _EXCL)

    def add_local(self, network: str, prefix: int, index: int) -> None:
        """Every address of `network` is ours: one can bind to each, and packets for it arrive."""
        head = struct.pack(
            "=BBBBBBBBI",
            socket.AF_INET,
            prefix,
            0,
            0,
            _TABLE_LOCAL,
            _PROT_BOOT,
            _SCOPE_HOST,
            _TYPE_LOCAL,
            0,
        )
        self._ask(
            _NEWROUTE,
            head
            + _attribute(_RTA_DST, socket.inet_aton(network))
            + _attribute(_RTA_OIF, struct.pack("=I", index)),
            _CREATE | _EXCL,
        )

    def _ask(self, kind: int, body: bytes, flags: int = 0) -> None:
        self._count += 1
        head = struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | _ACK | flags, self._count, 0)
        self._sock.send(head + body)
        answer = self._sock.recv(65536)
        code = -struct.unpack_from("=i", answer, 16)[0]
        if code:
            raise OSError(code, os.strerror(code), f"netlink message {kind}")
