"""The application of these tests: it reaches a backing service by the injected variable alone.

It runs in a pod of image python:3.12-slim, so it has the standard library and nothing else, and the
protocols are spoken by hand. Usage, with a command after `python3 -c`:

    serve                     listen on $PORT, so that the pod is ready
    write SORT VARIABLE TEXT  store a text in the service of that type
    read SORT VARIABLE        print what is stored
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Protocol
from urllib.parse import unquote, urlsplit

SECONDS = 10


def connected(host: str, port: int) -> socket.socket:
    """A new pod is ready some moments before its Service leads to it."""
    until = time.monotonic() + 3 * SECONDS
    while True:
        try:
            return socket.create_connection((host, port), timeout=SECONDS)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


class Stream:
    """A connection that is read by lines or by bytes."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = connected(host, port)
        self.file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def exactly(self, size: int) -> bytes:
        data = self.file.read(size)
        assert len(data) == size, f"the connection ended after {data!r}"
        return data

    def line(self) -> bytes:
        line = self.file.readline()
        assert line.endswith(b"\r\n"), f"the connection ended after {line!r}"
        return line[:-2]


class Service(Protocol):
    def write(self, text: str) -> None: ...

    def read(self) -> str: ...


Query = Callable[[str], list[str]]


class Place:
    """What a URL says, decoded."""

    def __init__(self, url: str, scheme: str, default: int) -> None:
        parts = urlsplit(url if "://" in url else f"{scheme}://{url}")
        assert parts.scheme == scheme, f"{parts.scheme} is not {scheme}"
        self.host, self.port = parts.hostname or "", parts.port or default
        self.user = unquote(parts.username or "")
        self.password = unquote(parts.password or "")
        self.path = unquote(parts.path[1:])

    def connect(self) -> Stream:
        return Stream(self.host, self.port)


# Postgres: protocol 3 with SCRAM-SHA-256 ----------------------------------------------------------


def postgres(url: str) -> Query:
    place = Place(url, "postgres", 5432)
    stream = place.connect()

    def message(kind: bytes, body: bytes) -> None:
        stream.send(kind + struct.pack("!i", len(body) + 4) + body)

    def answer() -> tuple[bytes, bytes]:
        kind = stream.exactly(1)
        body = stream.exactly(struct.unpack("!i", stream.exactly(4))[0] - 4)
        assert kind != b"E", body.replace(b"\0", b" ").decode(errors="replace")
        return kind, body

    def auth(code: int) -> bytes:
        kind, body = answer()
        assert (kind, struct.unpack("!i", body[:4])[0]) == (b"R", code), (kind, body)
        return body[4:]

    told = f"user\0{place.user}\0database\0{place.path}\0\0".encode()
    message(b"", struct.pack("!i", 196608) + told)
    assert b"SCRAM-SHA-256\0" in auth(10)
    nonce = base64.b64encode(os.urandom(18)).decode()
    first = f"n=,r={nonce}"
    opening = f"n,,{first}".encode()
    message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(opening)) + opening)
    challenge = auth(11).decode()
    parts = dict(one.split("=", 1) for one in challenge.split(","))
    assert parts["r"].startswith(nonce)
    salted = hashlib.pbkdf2_hmac(
        "sha256", place.password.encode(), base64.b64decode(parts["s"]), int(parts["i"])
    )
    key = hmac.digest(salted, b"Client Key", "sha256")
    last = f"c=biws,r={parts['r']}"
    signed = f"{first},{challenge},{last}".encode()
    signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
    message(b"p", f"{last},p={proof}".encode())
    auth(12)
    auth(0)
    while answer()[0] != b"Z":
        pass

    def query(text: str) -> list[str]:
        message(b"Q", text.encode() + b"\0")
        rows: list[str] = []
        while True:
            kind, body = answer()
            if kind == b"D":
                size = struct.unpack("!i", body[2:6])[0]
                rows.append(body[6 : 6 + size].decode())
            if kind == b"Z":
                return rows

    return query


# MySQL and MariaDB: protocol 10 with mysql_native_password ----------------------------------------


def mysql(url: str) -> Query:
    place = Place(url, "mysql", 3306)
    stream = place.connect()
    number = 0

    def packet() -> bytes:
        nonlocal number
        head = stream.exactly(4)
        number = head[3] + 1
        body = stream.exactly(int.from_bytes(head[:3], "little"))
        assert body[:1] != b"\xff", body[3:].decode(errors="replace")
        return body

    def message(body: bytes) -> None:
        stream.send(len(body).to_bytes(3, "little") + bytes([number]) + body)

    def scrambled(salt: bytes) -> bytes:
        one = hashlib.sha1(place.password.encode()).digest()
        two = hashlib.sha1(salt + hashlib.sha1(one).digest()).digest()
        return bytes(a ^ b for a, b in zip(one, two, strict=True))

    greeting = packet()
    rest = greeting[greeting.index(b"\0", 1) + 5 :]
    salt = rest[:8] + rest[27:39]
    # CONNECT_WITH_DB, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH; texts are utf8mb4.
    flags = 0x1 | 0x8 | 0x200 | 0x8000 | 0x80000
    message(
        struct.pack("<IIB23x", flags, 1 << 24, 45)
        + place.user.encode()
        + b"\0\x14"
        + scrambled(salt)
        + place.path.encode()
        + b"\0mysql_native_password\0"
    )
    body = packet()
    if body[:1] == b"\xfe":
        plugin, salt = body[1:].split(b"\0", 1)
        assert plugin == b"mysql_native_password", plugin
        message(scrambled(salt[:20]))
        body = packet()
    assert body[:1] == b"\0", body

    def query(text: str) -> list[str]:
        nonlocal number
        number = 0
        message(b"\x03" + text.encode())
        head = packet()
        if head[:1] == b"\0":
            return []
        rows: list[str] = []
        for _ in range(head[0]):
            packet()
        assert packet()[:1] == b"\xfe"
        while True:
            row = packet()
            if row[:1] == b"\xfe" and len(row) < 9:
                return rows
            rows.append(row[1 : 1 + row[0]].decode())

    return query


class Table:
    """One text in a database that speaks SQL."""

    def __init__(self, query: Query) -> None:
        self.query = query

    def write(self, text: str) -> None:
        self.query("CREATE TABLE IF NOT EXISTS kept (number serial, said varchar(200))")
        self.query(f"INSERT INTO kept (said) VALUES ('{text}')")

    def read(self) -> str:
        return self.query("SELECT said FROM kept ORDER BY number DESC LIMIT 1")[0]


# Redis --------------------------------------------------------------------------------------------


class Redis:
    def __init__(self, url: str) -> None:
        place = Place(url, "redis", 6379)
        self.stream = place.connect()
        assert self.call("PING") == "+PONG"
        assert self.call("SELECT", place.path or "0") == "+OK"

    def call(self, *words: str) -> str:
        told = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in map(str.encode, words))
        self.stream.send(b"*%d\r\n" % len(words) + told)
        line = self.stream.line()
        assert not line.startswith(b"-"), line
        if line.startswith(b"$"):
            size = int(line[1:])
            assert size >= 0, "nothing is stored"
            return self.stream.exactly(size + 2)[:-2].decode()
        return line.decode()

    def write(self, text: str) -> None:
        assert self.call("SET", "kept", text) == "+OK"

    def read(self) -> str:
        return self.call("GET", "kept")


# memcached ----------------------------------------------------------------------------------------


class Memcached:
    def __init__(self, url: str) -> None:
        self.stream = Place(url, "memcached", 11211).connect()
        self.stream.send(b"version\r\n")
        assert self.stream.line().startswith(b"VERSION ")

    def write(self, text: str) -> None:
        self.stream.send(b"set kept 0 0 %d\r\n%s\r\n" % (len(text), text.encode()))
        assert self.stream.line() == b"STORED"

    def read(self) -> str:
        self.stream.send(b"get kept\r\n")
        assert self.stream.line().startswith(b"VALUE kept ")
        return self.stream.line().decode()


# NATS: it keeps nothing, so a message goes out and comes back -------------------------------------


class Nats:
    def __init__(self, url: str) -> None:
        self.stream = Place(url, "nats", 4222).connect()
        assert self.stream.line().startswith(b"INFO ")
        self.stream.send(b'CONNECT {"verbose":false,"pedantic":true}\r\nSUB kept 1\r\nPING\r\n')
        assert self.stream.line() == b"PONG"

    def write(self, text: str) -> None:
        self.stream.send(b"PUB kept %d\r\n%s\r\n" % (len(text), text.encode()))
        head = self.stream.line()
        assert head == b"MSG kept 1 %d" % len(text), head
        assert self.stream.line() == text.encode()

    def read(self) -> str:
        raise NotImplementedError("NATS keeps nothing")


# RabbitMQ: AMQP 0-9-1, a durable queue and persistent messages ------------------------------------


class Rabbit:
    def __init__(self, url: str) -> None:
        place = Place(url, "amqp", 5672)
        self.stream = place.connect()
        self.stream.send(b"AMQP\0\0\x09\x01")
        self.expect(0, 10, 10)
        login = f"\0{place.user}\0{place.password}".encode()
        words = struct.pack("!I", 0) + b"\x05PLAIN" + struct.pack("!I", len(login)) + login
        self.send(0, 10, 11, words + b"\x05en_US")
        tune = self.expect(0, 10, 30)
        self.send(0, 10, 31, tune[:6] + b"\0\0")
        host = (place.path or "/").encode()
        self.send(0, 10, 40, bytes([len(host)]) + host + b"\0\0")
        self.expect(0, 10, 41)
        self.send(1, 20, 10, b"\0")
        self.expect(1, 20, 11)
        # Confirmed, or a write could be lost with the server that has just taken it.
        self.send(1, 85, 10, b"\0")
        self.expect(1, 85, 11)
        self.send(1, 50, 10, b"\0\0\x04kept\x02" + struct.pack("!I", 0))
        self.expect(1, 50, 11)

    def frame(self, kind: int, channel: int, body: bytes) -> None:
        self.stream.send(struct.pack("!BHI", kind, channel, len(body)) + body + b"\xce")

    def send(self, channel: int, group: int, method: int, words: bytes) -> None:
        self.frame(1, channel, struct.pack("!HH", group, method) + words)

    def receive(self) -> tuple[int, int, bytes]:
        kind, channel, size = struct.unpack("!BHI", self.stream.exactly(7))
        body = self.stream.exactly(size)
        assert self.stream.exactly(1) == b"\xce"
        return self.receive() if kind == 8 else (kind, channel, body)

    def expect(self, channel: int, group: int, method: int) -> bytes:
        kind, came, body = self.receive()
        told = struct.unpack("!HH", body[:4])
        assert (kind, came, told) == (1, channel, (group, method)), (kind, came, told, body[4:])
        return body[4:]

    def write(self, text: str) -> None:
        self.send(1, 60, 40, b"\0\0\0\x04kept\0")
        head = struct.pack("!HHQ", 60, 0, len(text)) + struct.pack("!HB", 0x1000, 2)
        self.frame(2, 1, head)
        self.frame(3, 1, text.encode())
        self.expect(1, 60, 80)

    def read(self) -> str:
        self.send(1, 60, 70, b"\0\0\x04kept\x01")
        self.expect(1, 60, 71)
        self.receive()
        return self.receive()[2].decode()


SERVICES: dict[str, Callable[[str], Service]] = {
    "postgres": lambda url: Table(postgres(url)),
    "mysql": lambda url: Table(mysql(url)),
    "redis": Redis,
    "memcached": Memcached,
    "nats": Nats,
    "rabbitmq": Rabbit,
}


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok\n")


def main(arguments: list[str]) -> None:
    command, *rest = arguments
    if command == "serve":
        # The first process of a container is not ended by a signal that it does not handle.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        HTTPServer(("", int(os.environ["PORT"])), Page).serve_forever()
        return
    service = SERVICES[rest[0]](os.environ[rest[1]])
    if command == "write":
        service.write(rest[2])
    else:
        sys.stdout.write(service.read())


if __name__ == "__main__":
    main(sys.argv[1:])
