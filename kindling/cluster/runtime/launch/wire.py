"""Messages and file descriptors between the cluster's process and its launcher.

A message is a JSON object behind its length, over a stream socket of this machine; descriptors
travel with its first byte and are taken off in order. Both ends are non-blocking, and what does
not fit is kept, so that neither can hold up the other.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import struct
from collections import deque
from typing import Any

__all__ = ["Channel", "Message"]

Message = dict[str, Any]

_MOST_FDS = 64
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Channel:
    """One end. After `feed` has seen the other end close, `closed` is true."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.closed = False
        self._got = bytearray()
        self._fds: deque[int] = deque()
        self._out: deque[tuple[memoryview, tuple[int, ...], bool]] = deque()

    @property
    def pending(self) -> bool:
        """Something waits to be sent: call `flush` when the socket is writable."""
        return bool(self._out)

    def post(self, message: Message, fds: tuple[int, ...] = (), *, close: bool = False) -> None:
        """Send, now or later. With `close` the descriptors are closed once they were sent."""
        body = json.dumps({**message, "fds": len(fds)}).encode("ascii")
        self._out.append((memoryview(struct.pack("<I", len(body)) + body), fds, close))
        self.flush()

    def flush(self) -> None:
        while self._out:
            data, fds, close = self._out.popleft()
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                sent = self.sock.sendmsg([data], rights)
            except (BlockingIOError, InterruptedError):
                self._out.appendleft((data, fds, close))
                return
            except OSError:
                self.closed = True
                sent = len(data)
            if close:
                for fd in fds:
                    os.close(fd)
            if sent < len(data):
                self._out.appendleft((data[sent:], (), False))

    def feed(self) -> list[tuple[Message, tuple[int, ...]]]:
        """All whole messages that have come; the descriptors are the caller's now."""
        while not self.closed:
            try:
                data, rights, _, _ = self.sock.recvmsg(
                    1 << 16, socket.CMSG_SPACE(4 * _MOST_FDS), _FLAGS
                )
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                data, rights = b"", []
            for level, kind, packed in rights:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds = array.array("i")
                    fds.frombytes(packed[: len(packed) - len(packed) % fds.itemsize])
                    for fd in fds:
                        if not _FLAGS:
                            os.set_inheritable(fd, False)
                        self._fds.append(fd)
            if not data:
                self.closed = True
            self._got += data
        found = []
        while len(self._got) >= 4:
            size = int.from_bytes(self._got[:4], "little")
            if len(self._got) < 4 + size:
                break
            message = json.loads(bytes(self._got[4 : 4 + size]))
            del self._got[: 4 + size]
            found.append((message, tuple(self._fds.popleft() for _ in range(message.pop("fds")))))
        return found

    def close(self) -> None:
        self.closed = True
        self.sock.close()
        for fd in self._fds:
            with contextlib.suppress(OSError):
                os.close(fd)
        self._fds.clear()
        for _, fds, close in self._out:
            for fd in fds if close else ():
                with contextlib.suppress(OSError):
                    os.close(fd)
        self._out.clear()
