"""A client's end of SPDY/3.1, written from the specification alone, for tests."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from kindling.cluster.apiserver.streams.headers import DICTIONARY, HeaderReader, HeaderWriter

__all__ = ["Frame", "SpdyClient", "control", "data"]


@dataclass(frozen=True)
class Frame:
    """A frame from the server; `kind` 0 is data."""

    kind: int
    stream: int
    flags: int
    payload: bytes


def control(kind: int, payload: bytes, flags: int = 0, version: int = 3) -> bytes:
    head = (0x8000 | version).to_bytes(2) + kind.to_bytes(2)
    return head + bytes((flags,)) + len(payload).to_bytes(3) + payload


def data(stream: int, payload: bytes, *, end: bool = False) -> bytes:
    return stream.to_bytes(4) + bytes((int(end),)) + len(payload).to_bytes(3) + payload


class SpdyClient:
    """Writes frames, and reads those of the server."""

    def __init__(self) -> None:
        self._writer = HeaderWriter()
        self._reader = HeaderReader()
        self._buffer = b""
        self._next = 1

    def open(self, headers: dict[str, str], flags: int = 0) -> tuple[int, bytes]:
        stream, self._next = self._next, self._next + 2
        payload = stream.to_bytes(4) + bytes(6) + self._writer.block(headers)
        return stream, control(1, payload, flags)

    def pair(self, port: int, request: str) -> tuple[int, int, bytes]:
        """The two streams of a connection: error, data, and the bytes that open them."""
        headers = {"streamtype": "error", "port": str(port), "requestID": request}
        error, first = self.open(headers)
        stream, second = self.open(headers | {"streamtype": "data"})
        return error, stream, first + data(error, b"", end=True) + second

    def frames(self, received: bytes) -> Iterator[Frame]:
        self._buffer += received
        while len(self._buffer) >= 8:
            length = int.from_bytes(self._buffer[5:8])
            if len(self._buffer) < 8 + length:
                return
            head, payload = self._buffer[:8], self._buffer[8 : 8 + length]
            self._buffer = self._buffer[8 + length :]
            if head[0] & 0x80:
                kind = int.from_bytes(head[2:4])
                if kind == 2:
                    assert self._reader.headers(payload[4:]) == {}
                yield Frame(kind, int.from_bytes(payload[:4]), head[4], payload)
            else:
                yield Frame(0, int.from_bytes(head[:4]), head[4], payload)


def bomb() -> bytes:
    """A header block that is small, and 50 MB when it is open."""
    packer = zlib.compressobj(zdict=DICTIONARY)
    size = 50_000_000
    text = (1).to_bytes(4) + (1).to_bytes(4) + b"a" + size.to_bytes(4) + bytes(size)
    return packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)
