"""A command in a container with its input and output open, over a WebSocket.

The connection is watched by itself: what does not answer a ping is given up within some 15 s, be it
that the laptop slept or the API server went away. A command that does not read its input holds up
the pings behind it too, so then the other side has two minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kindling.errors import ClusterError
from kindling.kube.discovery import resource_path
from kindling.kube.errors import UnreachableError, error_of_exception
from kindling.kube.exec import CHANNELS, exit_code
from kindling.kube.logs import POD
from kindling.kube.protocol import ExecResult, ExecStream
from kindling.kube.wire import Wire

if TYPE_CHECKING:
    import aiohttp

__all__ = ["PULSE", "open_stream"]

PULSE = 5.0
"""After so many seconds of silence the other side is asked whether it is there."""

_STDIN, _STDOUT, _STDERR, _STATUS = 0, 1, 2, 3
_PIECE = 64 * 1024
"""How much goes into one message. Servers are slower with larger ones, and a ping waits longer."""
_HELD_MOST = 1 << 20
"""Output that nobody has read yet; beyond it the other side is made to wait."""
_STDERR_KEPT = 8 * 1024
_QUIET = 2
"""After so many half pulses without a sign of life it is asked for,"""
_UNANSWERED = 5
"""after so many it is the end,"""
_UNREAD = 48
"""and after so many where it does not read what was written, a question least of all."""
_PIPE = 64 * 1024
"""What is on its way to a command without its reading: more, and it may hold up an answer."""
_FAREWELL = 2.0


async def open_stream(
    wire: Wire,
    namespace: str,
    pod: str,
    container: str,
    argv: Sequence[str],
    *,
    timeout: float,
    pulse: float = PULSE,
) -> ExecStream:
    """Start `argv` and stay connected. See `Cluster.open_exec`."""
    doing = f"run `{argv[0]}` in {pod}/{container} in {namespace}"
    params = [("command", word) for word in argv]
    params += [("container", container)] if container else []
    params += [("stdin", "true"), ("stdout", "true"), ("stderr", "true")]
    opened = await wire.websocket(
        resource_path(POD, namespace, pod, "exec"),
        doing,
        params=params,
        protocol=CHANNELS,
        timeout=timeout,
        heartbeat=None,
        farewell=_FAREWELL,
    )
    return _WebSocketExec(opened, doing, wire.server, pulse)


class _WebSocketExec:
    """`ExecStream` over the channels of a WebSocket."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, doing: str, server: str, pulse: float
    ) -> None:
        self._socket = socket
        self._doing = doing
        self._server = server
        self._pulse = pulse
        self._output: deque[bytes] = deque()
        self._held = 0
        self._status = bytearray()
        self._stderr = bytearray()
        self._over = False
        self._problem: ClusterError | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._writing = asyncio.Lock()
        self._unheard = 0
        """Bytes written since anything was heard."""
        self._heard = False
        """Was anything heard since `_watch` looked last?"""
        self._tasks = (
            asyncio.create_task(self._pump(), name=f"exec {doing}"),
            asyncio.create_task(self._watch(), name=f"exec pulse {doing}"),
        )

    async def read(self) -> bytes:
        while not self._output:
            if self._over:
                self._code()
                return b""
            self._news.clear()
            await self._news.wait()
        data = self._output[0] if len(self._output) == 1 else b"".join(self._output)
        self._output.clear()
        self._held = 0
        self._room.set()
        return data

    async def write(self, data: bytes) -> None:
        import aiohttp

        async with self._writing:
            view = memoryview(data)
            for start in range(0, len(view), _PIECE):
                if self._over:
                    raise self._problem or UnreachableError(
                        f"Cannot {self._doing}: it has ended", details=self._last_words()
                    )
                piece = b"\0" + view[start : start + _PIECE]
                self._unheard += len(piece)
                try:
                    await self._socket.send_bytes(piece)
                    # What is on its way is bounded, so that to get rid of more is to be heard.
                    self._heard = True
                except (aiohttp.ClientError, OSError) as error:
                    raise self._problem or error_of_exception(
                        error, self._doing, self._server
                    ) from error

    async def ended(self) -> ExecResult:
        while not self._over:
            self._drop_output()
            self._news.clear()
            await self._news.wait()
        self._drop_output()
        return ExecResult(self._code(), b"", bytes(self._stderr))

    async def close(self) -> None:
        self._end(UnreachableError(f"Cannot {self._doing}: the connection was closed"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._socket.close()

    def _code(self) -> int:
        """The exit code; raises where there is none."""
        if self._problem is not None:
            raise self._problem
        return exit_code(bytes(self._status), self._doing)

    def _last_words(self) -> list[str]:
        return self._stderr.decode("utf-8", "replace").splitlines()[-5:]

    def _drop_output(self) -> None:
        self._output.clear()
        self._held = 0
        self._room.set()

    def _end(self, problem: ClusterError | None) -> None:
        """Nothing more will come. A command that had ended by then ended well."""
        if not self._over:
            self._over = True
            self._problem = None if self._status else problem
        self._news.set()

    async def _pump(self) -> None:
        """Take what comes, so that pings are answered and ends are noticed whoever reads."""
        import aiohttp

        lost: ClusterError = UnreachableError(
            f"Cannot {self._doing}: the connection broke", transient=True
        )
        try:
            while True:
                message = await self._socket.receive()
                self._heard, self._unheard = True, 0
                if message.type is aiohttp.WSMsgType.BINARY:
                    if message.data:
                        self._take(message.data[0], message.data)
                    if self._held > _HELD_MOST:
                        self._room.clear()
                        await self._room.wait()
                elif message.type is aiohttp.WSMsgType.PING:
                    await self._socket.pong(message.data)
                elif message.type is aiohttp.WSMsgType.ERROR:
                    if isinstance(message.data, Exception):
                        lost = error_of_exception(message.data, self._doing, self._server)
                    break
                elif message.type is not aiohttp.WSMsgType.PONG:
                    break
        except (aiohttp.ClientError, OSError) as error:
            lost = error_of_exception(error, self._doing, self._server)
        finally:
            self._end(lost)

    def _take(self, channel: int, message: bytes) -> None:
        if channel == _STDOUT:
            if len(message) > 1:
                self._output.append(message[1:])
                self._held += len(message) - 1
                self._news.set()
        elif channel == _STDERR:
            self._stderr += message[1:]
            del self._stderr[:-_STDERR_KEPT]
        elif channel == _STATUS:
            self._status += message[1:]

    async def _watch(self) -> None:
        """Ask for a sign of life when there was none for a while, and give up without one."""
        import aiohttp

        missed = 0
        while not self._over:
            await asyncio.sleep(self._pulse / 2)
            # Turns are counted, not seconds: a process that was stopped for a minute, or slept with
            # its laptop, has to ask before it knows.
            if self._heard or not self._room.is_set():
                missed = 0
                self._heard = False
                continue
            missed += 1
            unread = self._unheard > _PIPE
            if missed >= (_UNREAD if unread else _UNANSWERED):
                self._end(
                    UnreachableError(
                        f"Cannot {self._doing}: no sign of life for "
                        f"{missed * self._pulse / 2:.0f} s",
                        transient=True,
                    )
                )
                # The farewell of a WebSocket would wait for an answer, and so would what is still
                # to be written.
                self._cut()
            elif missed >= _QUIET and not self._writing.locked():
                with contextlib.suppress(aiohttp.ClientError, OSError):  # `_pump` hears of it
                    await self._socket.ping()

    def _cut(self) -> None:
        inner = self._socket.get_extra_info("socket")
        if inner is not None:
            with contextlib.suppress(OSError):
                inner.shutdown(sockets.SHUT_RDWR)
