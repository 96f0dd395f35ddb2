"""Listening sockets that outlive a lack of descriptors.

When a process has no descriptors left, asyncio's listeners (until Python 3.13 at least) try again
many times at once, each try begins further ones, and nothing else gets a turn. Here a connection
that there is no room for is taken and dropped instead, with the help of one descriptor that is kept
for this.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import Any

__all__ = ["shedding"]


def shedding(listener: socket.socket) -> socket.socket:
    """The same listening socket, which drops what it has no room for. The one given is empty
    afterwards."""
    return _Shedding(listener)


class _Shedding(socket.socket):
    def __init__(self, listener: socket.socket) -> None:
        timeout = listener.gettimeout()
        super().__init__(fileno=listener.detach())
        self.settimeout(timeout)
        self._spare = _spare()

    def accept(self) -> tuple[socket.socket, Any]:
        while True:
            try:
                return super().accept()
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                if self._spare >= 0:
                    os.close(self._spare)
                # Raises `BlockingIOError`, which ends this, once nobody waits any more.
                try:
                    super().accept()[0].close()
                finally:
                    self._spare = _spare()
                if self._spare < 0:
                    raise BlockingIOError from error

    def close(self) -> None:
        if self._spare >= 0:
            with contextlib.suppress(OSError):
                os.close(self._spare)
            self._spare = -1
        super().close()


def _spare() -> int:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
