"""Blocks of names and values as SPDY/3 writes them: compressed by zlib with its own dictionary.

One compression runs through all of a connection's blocks, so a block that cannot be read ends the
connection. Source of the format and the dictionary: the SPDY Protocol, draft 3, 2.6.10.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

__all__ = ["HeaderError", "HeaderReader", "HeaderWriter"]

MAX_BLOCK = 64 * 1024
"""Bytes of a block when it is open. Those of kubectl have fewer than 100."""
_MAX_NAMES = 100

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language "
    "accept-ranges age allow authorization cache-control connection content-base "
    "content-encoding content-language content-length content-location content-md5 "
    "content-range content-type date etag expect expires from host if-match if-modified-since "
    "if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer "
    "transfer-encoding upgrade user-agent vary via warning www-authenticate method get status"
)
_MORE_WORDS = (
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
)
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00"
    " Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
    "gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _sized(text: bytes) -> bytes:
    return len(text).to_bytes(4) + text


DICTIONARY = (
    b"".join(_sized(word.encode()) for word in (*_WORDS.split(), *_MORE_WORDS)) + _TAIL.encode()
)
"""What a compressor is primed with."""


class HeaderError(ValueError):
    """A block that is no block."""


class HeaderWriter:
    """Writes the blocks of one direction of a connection, in their order."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(zdict=DICTIONARY)

    def block(self, headers: Mapping[str, str]) -> bytes:
        parts = [len(headers).to_bytes(4)]
        for name, value in headers.items():
            parts += (_sized(name.lower().encode()), _sized(value.encode()))
        return self._zlib.compress(b"".join(parts)) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class HeaderReader:
    """Reads the blocks of one direction of a connection, in their order."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def headers(self, block: bytes) -> dict[str, str]:
        """Names are in lower case. Raises `HeaderError`, after which nothing can be read any
        more; a block that swells beyond all measure is one of these, and costs no memory."""
        try:
            text = self._zlib.decompress(block, MAX_BLOCK + 1)
        except zlib.error as error:
            raise HeaderError(f"a block that zlib cannot read: {error}") from error
        if len(text) > MAX_BLOCK or self._zlib.unconsumed_tail:
            raise HeaderError("a block that is too large")
        return _parsed(text)


def _parsed(text: bytes) -> dict[str, str]:
    count, place = _number(text, 0), 4
    if count > _MAX_NAMES:
        raise HeaderError("too many names in a block")
    headers: dict[str, str] = {}
    for _ in range(count):
        name, place = _text(text, place)
        value, place = _text(text, place)
        if name.lower() in headers:
            raise HeaderError("a name that stands twice in a block")
        headers[name.lower()] = value
    if place != len(text):
        raise HeaderError("bytes after the last name of a block")
    return headers


def _number(text: bytes, place: int) -> int:
    if place + 4 > len(text):
        raise HeaderError("a block that ends too soon")
    return int.from_bytes(text[place : place + 4])


def _text(text: bytes, place: int) -> tuple[str, int]:
    length = _number(text, place)
    start, end = place + 4, place + 4 + length
    if end > len(text):
        raise HeaderError("a block that ends too soon")
    return text[start:end].decode("utf-8", "replace"), end
