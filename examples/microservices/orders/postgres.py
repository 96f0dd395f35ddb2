"""As much of Postgres' protocol as this service needs, so that its image needs no package.

A service of yours would have psycopg here. This one speaks version 3 and logs in by SCRAM-SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
import struct
from urllib.parse import unquote, urlsplit

Row = list[str | None]


class PostgresError(Exception):
    """What the server said."""


class Connection:
    """One connection to what a URL such as `postgres://user:password@host:5432/name` names."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        user, password = unquote(place.username or ""), unquote(place.password or "")
        address = place.hostname or "localhost", place.port or 5432
        self._socket = socket.create_connection(address, timeout=10)
        self._file = self._socket.makefile("rb")
        told = f"user\0{user}\0database\0{unquote(place.path[1:])}\0\0".encode()
        self._send(b"", struct.pack("!i", 3 << 16) + told)
        self._log_in(password.encode())
        self._rows()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def query(self, text: str, *values: object) -> list[Row]:
        """The rows of one statement; `$1`, `$2`... in it stand for the values."""
        told = [str(one).encode() for one in values]
        sized = b"".join(struct.pack("!i", len(one)) + one for one in told)
        self._send(b"P", b"\0" + text.encode() + b"\0\0\0")
        self._send(b"B", b"\0\0\0\0" + struct.pack("!h", len(told)) + sized + b"\0\0")
        self._send(b"E", b"\0\0\0\0\0")
        self._send(b"S", b"")
        return self._rows()

    def _send(self, kind: bytes, body: bytes) -> None:
        self._socket.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def _receive(self) -> tuple[bytes, bytes]:
        head = self._file.read(5)
        if len(head) < 5:
            raise PostgresError("the server closed the connection")
        return head[:1], self._file.read(struct.unpack("!i", head[1:])[0] - 4)

    def _rows(self) -> list[Row]:
        """Everything up to where the server is ready for the next statement."""
        rows: list[Row] = []
        problem = ""
        while True:
            kind, body = self._receive()
            if kind == b"D":
                rows.append(_row(body))
            elif kind == b"E":
                problem = _message(body)
            elif kind == b"Z":
                if problem:
                    raise PostgresError(problem)
                return rows

    def _step(self, code: int) -> bytes:
        """The server's next word of the log-in."""
        kind, body = self._receive()
        if kind == b"E":
            raise PostgresError(_message(body))
        if (kind, struct.unpack("!i", body[:4])[0]) != (b"R", code):
            raise PostgresError("the server wants another log-in than SCRAM-SHA-256")
        return body[4:]

    def _log_in(self, password: bytes) -> None:
        """RFC 5802. The server's own proof is not looked at: it is in the same cluster."""
        self._step(10)
        nonce = base64.b64encode(os.urandom(18)).decode()
        first = f"n=,r={nonce}"
        opening = f"n,,{first}".encode()
        self._send(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(opening)) + opening)
        challenge = self._step(11).decode()
        parts = dict(one.split("=", 1) for one in challenge.split(","))
        salt, rounds = base64.b64decode(parts["s"]), int(parts["i"])
        key = hmac.digest(
            hashlib.pbkdf2_hmac("sha256", password, salt, rounds), b"Client Key", "sha256"
        )
        last = f"c=biws,r={parts['r']}"
        signed = f"{first},{challenge},{last}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        self._send(b"p", f"{last},p={base64.b64encode(proof).decode()}".encode())
        self._step(12)


def _row(body: bytes) -> Row:
    row: Row = []
    at = 2
    for _ in range(struct.unpack("!h", body[:2])[0]):
        size = struct.unpack("!i", body[at : at + 4])[0]
        at += 4
        row.append(None if size < 0 else body[at : at + size].decode())
        at += max(size, 0)
    return row


def _message(body: bytes) -> str:
    fields = {one[:1]: one[1:].decode(errors="replace") for one in body.split(b"\0") if one}
    return fields.get(b"M", "an error without words")
