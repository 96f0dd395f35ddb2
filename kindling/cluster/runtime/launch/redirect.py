"""The few packet filter rules of the pods' network: what leaves it goes to listeners of ours.

TCP connections to anywhere else, from pods and from the node's own network, are redirected to a
port of the node, and the cluster's process carries them on as connections of its own; questions to
name servers likewise. So pods reach what this user reaches, without root and without a single rule,
route or sysctl in the machine's own network.

nftables' netlink messages by hand, as in `netlink`: the kernel's `nf_tables.h`.
"""

from __future__ import annotations

import os
import socket
import struct

__all__ = ["redirect"]

_NETFILTER = 12  # NETLINK_NETFILTER
_SUBSYSTEM = 10  # nftables
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = 0, 3, 6
_REQUEST, _ACK, _CREATE, _APPEND = 1, 4, 0x400, 0x800
_NESTED = 0x8000
_IPV4 = 2
_PREROUTING, _OUTPUT = 0, 3
_DESTINATION_NAT = -100
_EQUAL, _UNEQUAL = 0, 1
_L4_PROTOCOL = 16
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_DESTINATION_OFFSET, _PORT_OFFSET = 16, 2
_DNS = 53
_LOOPBACK = "127.0.0.0/8"
_TABLE = b"kindling\0"


def _attribute(kind: int, data: bytes) -> bytes:
    size = 4 + len(data)
    return struct.pack("=HH", size, kind) + data + b"\0" * (-size % 4)


def _nest(kind: int, *parts: bytes) -> bytes:
    return _attribute(kind | _NESTED, b"".join(parts))


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">i", value))


def _value(kind: int, data: bytes) -> bytes:
    return _nest(kind, _attribute(1, data))


def _expression(name: str, *parts: bytes) -> bytes:
    return _nest(1, _attribute(1, name.encode() + b"\0"), _nest(2, *parts))


def _compare(operation: int, data: bytes) -> bytes:
    return _expression("cmp", _number(1, 1), _number(2, operation), _value(3, data))


def _payload(base: int, offset: int, size: int) -> bytes:
    return _expression(
        "payload", _number(1, 1), _number(2, base), _number(3, offset), _number(4, size)
    )


def _outside(network: str) -> bytes:
    """The destination is not of `address/prefix`."""
    base, _, prefix = network.partition("/")
    mask = (0xFFFFFFFF << (32 - int(prefix)) & 0xFFFFFFFF).to_bytes(4, "big")
    return (
        _payload(_NETWORK_HEADER, _DESTINATION_OFFSET, 4)
        + _expression(
            "bitwise",
            *(_number(1, 1), _number(2, 1), _number(3, 4)),
            *(_value(4, mask), _value(5, bytes(4))),
        )
        + _compare(_UNEQUAL, socket.inet_aton(base))
    )


def _rule(chain: bytes, protocol: int, conditions: bytes, port: int) -> bytes:
    body = (
        _expression("meta", _number(1, 1), _number(2, _L4_PROTOCOL))
        + _compare(_EQUAL, bytes([protocol]))
        + conditions
        + _expression("immediate", _number(1, 1), _value(2, struct.pack(">H", port)))
        + _expression("redir", _number(1, 1))
    )
    return _attribute(1, _TABLE) + _attribute(2, chain) + _nest(4, body)


def redirect(tcp: int, dns: int, inside: tuple[str, ...]) -> None:
    """In the network namespace that we are in, send TCP to anywhere but the networks `inside` to
    our own port `tcp`, and questions to name servers there to the UDP port `dns`. Raises `OSError`
    where the kernel has no nftables or not all of it."""
    foreign = b"".join(map(_outside, inside))
    question = _payload(_TRANSPORT_HEADER, _PORT_OFFSET, 2) + _compare(
        _EQUAL, struct.pack(">H", _DNS)
    )
    messages = [(_NEW_TABLE, _CREATE, _attribute(1, _TABLE))]
    for chain, number in ((b"pods\0", _PREROUTING), (b"node\0", _OUTPUT)):
        hook = _nest(4, _number(1, number), _number(2, _DESTINATION_NAT))
        made = _attribute(1, _TABLE) + _attribute(3, chain) + hook + _attribute(7, b"nat\0")
        messages += [
            (_NEW_CHAIN, _CREATE, made),
            (
                _NEW_RULE,
                _CREATE | _APPEND,
                _rule(chain, socket.IPPROTO_TCP, foreign + _outside(_LOOPBACK), tcp),
            ),
            # A name server on the loopback is the machine's, as systemd-resolved is.
            (
                _NEW_RULE,
                _CREATE | _APPEND,
                _rule(chain, socket.IPPROTO_UDP, foreign + question, dns),
            ),
        ]
    batch = _message(_BATCH_BEGIN, 0, 0, 0, _SUBSYSTEM, b"")
    for number, (kind, flags, body) in enumerate(messages, 1):
        batch += _message(_SUBSYSTEM << 8 | kind, flags | _ACK, number, _IPV4, 0, body)
    batch += _message(_BATCH_END, 0, len(messages) + 1, 0, _SUBSYSTEM, b"")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER) as ask:
        ask.bind((0, 0))
        ask.settimeout(2)
        ask.send(batch)
        _hear(ask, len(messages))


def _message(kind: int, flags: int, number: int, family: int, resource: int, body: bytes) -> bytes:
    head = struct.pack("=IHHII", 20 + len(body), kind, _REQUEST | flags, number, 0)
    return head + struct.pack(">BBH", family, 0, resource) + body


def _hear(ask: socket.socket, expected: int) -> None:
    heard = 0
    while heard < expected:
        answer = ask.recv(65536)
        offset = 0
        while offset + 20 <= len(answer):
            size, kind = struct.unpack_from("=IH", answer, offset)
            code = struct.unpack_from("=i", answer, offset + 16)[0]
            if kind == 2 and code:
                raise OSError(-code, os.strerror(-code), "nftables")
            heard += 1
            offset += size + -size % 4
