"""Tar streams from strangers: decompressed, digested and limited while they are read.

Python's tarfile parses the headers; this module keeps it from reading more than is good, and lets
the reader of an entry take its bytes without a copy in between.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import IO, Protocol, cast

__all__ = [
    "LIMITS",
    "ArchiveError",
    "Limits",
    "Source",
    "Stopped",
    "Tape",
    "decompressed",
    "entries",
]

_CHUNK = 256 * 1024
_MOST_HEADER = 8 * 1024 * 1024
"""The most that one extended header may have; tarfile reads these whole."""


class ArchiveError(Exception):
    """An archive that is broken, or that asks for what an archive must not do."""


class Stopped(Exception):  # noqa: N818 - not a failure
    """The reader was told to stop."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one layer may be: bytes of all files (as they claim, holes included), and
    entries."""

    size: int = 64 << 30
    entries: int = 4_000_000


LIMITS = Limits()


class Source(Protocol):
    """Anything with a blocking `read`."""

    def read(self, size: int, /) -> bytes: ...


class Tape:
    """A stream read forward only, with its digest and position.

    `tee` sees every chunk. Reading raises `ArchiveError` beyond `limit` bytes, `Stopped` once
    `stop` is set.
    """

    def __init__(
        self,
        source: Source,
        *,
        limit: int,
        stop: Event | None = None,
        tee: Callable[[bytes], object] | None = None,
    ) -> None:
        self._source = source
        self._limit = limit
        self._stop = stop
        self._tee = tee
        self._hash = hashlib.sha256()
        self._at = 0

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def tell(self) -> int:
        return self._at

    def seek(self, to: int) -> int:
        """Forward only."""
        if to < self._at:
            raise ArchiveError("the archive's entries lie before their headers")
        while self._at < to:
            if not self.chunk(min(to - self._at, _CHUNK)):
                break
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Exactly `size` bytes, less only at the end; for headers."""
        if size < 0 or size > _MOST_HEADER:
            raise ArchiveError(f"a header of the archive wants {size} bytes")
        first = self.chunk(size)
        if len(first) == size or not first:
            return first
        parts = [first]
        left = size - len(first)
        while left and (data := self.chunk(left)):
            parts.append(data)
            left -= len(data)
        return b"".join(parts)

    def chunk(self, most: int) -> bytes:
        """Some bytes, none at the end."""
        if most == 0:
            return b""
        if self._stop is not None and self._stop.is_set():
            raise Stopped
        data = self._source.read(most)
        self._at += len(data)
        if self._at > self._limit:
            raise ArchiveError(f"the archive has more than {self._limit} bytes")
        self._hash.update(data)
        if self._tee is not None:
            self._tee(data)
        return data

    def content(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes in chunks."""
        while size:
            data = self.chunk(min(size, _CHUNK))
            if not data:
                raise ArchiveError("the archive ends within a file")
            size -= len(data)
            yield data

    def drain(self) -> None:
        """Read to the end, so that the digest is that of the whole."""
        while self.chunk(_CHUNK):
            pass


def decompressed(source: Source) -> Source:
    """The stream unpacked, by what its first bytes are: gzip, zstd, or plain."""
    head = source.read(4)
    whole = _Rejoined(head, source)
    if head[:2] == b"\x1f\x8b":
        return _Gunzip(whole)
    if head == b"\x28\xb5\x2f\xfd":
        return _Unzstd(whole)
    return whole


def entries(tape: Tape, limits: Limits) -> Iterator[tarfile.TarInfo]:
    """Every entry's header; its content is next on the tape when it is yielded.

    Raises:
        ArchiveError: The archive is broken or too large.
    """
    try:
        archive = tarfile.TarFile(fileobj=_AsFile(tape), errorlevel=2)  # type: ignore[arg-type]
        count = 0
        while (entry := archive.next()) is not None:
            count += 1
            if count > limits.entries:
                raise ArchiveError(f"the archive has more than {limits.entries} entries")
            archive.members.clear()  # type: ignore[attr-defined] # it would keep all of them
            yield entry
        tape.drain()
    except tarfile.ReadError as error:
        if tape.tell() == 0:
            return  # nothing at all, which some builders write for an empty layer
        raise ArchiveError(f"the archive is broken: {error}") from error
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise ArchiveError(f"the archive is broken: {error}") from error


class _AsFile:
    """What tarfile wants of a file, and no more."""

    mode = "rb"
    name = None

    def __init__(self, tape: Tape) -> None:
        self.read = tape.read
        self.tell = tape.tell
        self.seek = tape.seek


class _Rejoined:
    def __init__(self, head: bytes, rest: Source) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int = _CHUNK, /) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._rest.read(size)


class _Gunzip:
    """Gzip members one after another, in bounded memory."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._inflate = zlib.decompressobj(31)
        self._input = b""
        self._begun = False

    def read(self, size: int, /) -> bytes:
        while True:
            if self._inflate.eof:
                self._input = self._inflate.unused_data
                self._inflate = zlib.decompressobj(31)
                self._begun = False
            if not self._input:
                self._input = self._source.read(_CHUNK)
                if not self._input:
                    if self._begun:
                        raise ArchiveError("the gzip stream ends early")
                    return b""
            if not self._begun and not self._input.strip(b"\0"):
                self._input = b""  # padding after the last member
                continue
            self._begun = True
            try:
                data = self._inflate.decompress(self._input, size)
            except zlib.error as error:
                raise ArchiveError(f"the gzip stream is broken: {error}") from error
            self._input = self._inflate.unconsumed_tail
            if data:
                return data


class _Unzstd:
    """Zstandard frames one after another; a window of at most 256 MiB."""

    def __init__(self, source: Source) -> None:
        import zstandard

        frames = zstandard.ZstdDecompressor(max_window_size=1 << 28)
        self._reader = frames.stream_reader(cast("IO[bytes]", source), read_across_frames=True)
        self._error = zstandard.ZstdError

    def read(self, size: int, /) -> bytes:
        try:
            return self._reader.read(size)
        except self._error as error:
            raise ArchiveError(f"the zstd stream is broken: {error}") from error
