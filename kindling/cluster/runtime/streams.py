"""Pipes, terminals and plain memory as asyncio streams."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import struct
import termios
from collections.abc import Callable

__all__ = ["memory_reader", "memory_writer", "read_end", "set_size", "write_end"]

LIMIT = 1 << 18
"""Bytes a reader holds back before the process that writes is made to wait."""


class _ReadProtocol(asyncio.StreamReaderProtocol):
    """A terminal whose last process has closed it fails with EIO, which is its end of file."""

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, OSError) and exc.errno == errno.EIO:
            exc = None
        super().connection_lost(exc)


class _WriteProtocol(asyncio.StreamReaderProtocol):
    """The other end may go at any time: that is no error of ours, and writes after it vanish."""

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, OSError) and exc.errno in (errno.EIO, errno.EPIPE):
            exc = None
        super().connection_lost(exc)


async def read_end(
    fd: int,
) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """A reader of `fd`, which now belongs to the transport."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LIMIT)
    file = os.fdopen(fd, "rb", 0)
    try:
        transport, _ = await loop.connect_read_pipe(lambda: _ReadProtocol(reader), file)
    except BaseException:
        file.close()
        raise
    return reader, transport


async def write_end(fd: int) -> asyncio.StreamWriter:
    """A writer to `fd`, which now belongs to it."""
    loop = asyncio.get_running_loop()
    file = os.fdopen(fd, "wb", 0)
    try:
        transport, protocol = await loop.connect_write_pipe(
            lambda: _WriteProtocol(asyncio.StreamReader()), file
        )
    except BaseException:
        file.close()
        raise
    return asyncio.StreamWriter(transport, protocol, None, loop)


def set_size(fd: int, columns: int, rows: int) -> None:
    """Tell the terminal how large it is; its foreground processes get SIGWINCH."""
    with contextlib.suppress(OSError):
        packed = struct.pack("HHHH", min(rows, 65535), min(columns, 65535), 0, 0)
        fcntl.ioctl(fd, termios.TIOCSWINSZ, packed)


class _Memory(asyncio.WriteTransport):
    def __init__(self, write: Callable[[bytes], None], close: Callable[[], None]) -> None:
        super().__init__()
        self._write = write
        self._close = close
        self._closing = False
        self.protocol: asyncio.BaseProtocol | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            self._write(bytes(data))

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.close()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._close()
            if self.protocol is not None:
                asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is held back."""


def memory_reader() -> asyncio.StreamReader:
    """A reader that is fed by hand. Needs a running loop."""
    return asyncio.StreamReader(limit=LIMIT)


def memory_writer(
    write: Callable[[bytes], None], close: Callable[[], None]
) -> asyncio.StreamWriter:
    """A writer that calls `write` for every piece and `close` once at the end."""
    loop = asyncio.get_running_loop()
    transport = _Memory(write, close)
    protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
    protocol.connection_made(transport)
    transport.protocol = protocol
    return asyncio.StreamWriter(transport, protocol, None, loop)
