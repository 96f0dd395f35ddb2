"""The launcher process as the cluster's event loop sees it: requests, answers, endings."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from kindling.cluster.runtime.launch.wire import Channel, Message
from kindling.cluster.runtime.protocol import StartError

__all__ = ["Link"]

_READY_SECS = 20.0
_QUICK_SECS = 10.0
_ROOT = str(Path(__file__).parents[3])
_PROGRAM = (
    f"import sys; sys.path.insert(0, {_ROOT!r});"
    " from kindling.cluster.runtime.launch.main import main; main()"
)
_LOST = "the launcher of containers is gone"


class Link:
    """Starts a launcher and talks to it. `on_exit` gets the message of each ending, and `on_lost`
    is called once when the launcher has
    gone. `interpreter` is the command that runs Python."""

    def __init__(
        self,
        log: Path,
        on_exit: Callable[[Message], None],
        on_lost: Callable[[], None],
        interpreter: tuple[str, ...] = (sys.executable,),
    ) -> None:
        self._log = log
        self._interpreter = interpreter
        self._on_exit = on_exit
        self._on_lost = on_lost
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[tuple[Message, tuple[int, ...]]]] = {}
        self._channel: Channel | None = None
        self._quick: socket.socket | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._ready: asyncio.Future[tuple[Message, tuple[int, ...]]] | None = None
        self._gone = asyncio.Event()
        self._closing = False
        self._writing = False

    @property
    def alive(self) -> bool:
        return self._channel is not None and not self._gone.is_set()

    async def lost(self) -> None:
        """Return once the launcher has gone, or was closed."""
        await self._gone.wait()

    @property
    def pid(self) -> int:
        """Of the guard."""
        return self._guard.pid if self._guard is not None else 0

    async def start(self, config: Message) -> tuple[Message, tuple[int, ...]]:
        """What the launcher says of itself, and what it hands over. Raises `StartError` with its
        reason why it cannot."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        quick, answers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        quick.settimeout(_QUICK_SECS)
        try:
            with theirs, answers:
                self._guard = _spawn(
                    self._interpreter, self._log, theirs.fileno(), answers.fileno()
                )
        except OSError as error:
            ours.close()
            quick.close()
            raise StartError(f"the launcher cannot be started: {error}") from error
        self._channel, self._quick = Channel(ours), quick
        self._ready = loop.create_future()
        loop.add_reader(ours.fileno(), self._readable)
        self._post(config)
        try:
            async with asyncio.timeout(_READY_SECS):
                message, fds = await self._ready
        except TimeoutError:
            await self.close()
            raise StartError("the launcher does not answer") from None
        except BaseException:
            await self.close()
            raise
        if "failed" in message:
            await self.close()
            raise StartError(message["failed"])
        return message, fds

    async def ask(
        self, message: Message, fds: tuple[int, ...] = ()
    ) -> tuple[Message, tuple[int, ...]]:
        """The answer to a request. Raises `StartError` when it is a refusal, and when the launcher
        goes. The descriptors stay the caller's."""
        if not self.alive or self._closing:
            raise StartError(_LOST, "CreateContainerError")
        number = next(self._numbers)
        future: asyncio.Future[tuple[Message, tuple[int, ...]]]
        future = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        # The caller may close its own at once, the launcher may read later.
        copies = tuple(os.dup(fd) for fd in fds)
        self._post({**message, "id": number}, copies)
        return await future

    def tell(self, message: Message) -> None:
        if self.alive:
            self._post(message)

    def open_socket(self, family: int, kind: int, sandbox: str) -> socket.socket:
        """Blocks for the round trip, some 0.1 ms."""
        if not self.alive or self._quick is None:
            raise StartError(_LOST)
        question = {"family": family, "kind": kind, "sandbox": sandbox}
        try:
            self._quick.send(json.dumps(question).encode())
            answer, fds, _, _ = socket.recv_fds(self._quick, 4096, 1)
        except OSError as error:
            raise StartError(f"{_LOST}: {error}") from error
        if answer != b"+" or not fds:
            raise StartError(answer.decode("utf-8", "replace") or _LOST)
        made = socket.socket(fileno=fds[0])
        made.set_inheritable(False)
        made.setblocking(False)
        return made

    async def close(self) -> None:
        """End the launcher and all that it started; it is gone afterwards."""
        self._closing = True
        if self._channel is None:
            return
        if not self._gone.is_set():
            self._post({"verb": "close"})
        try:
            async with asyncio.timeout(_READY_SECS):
                await self._gone.wait()
        except TimeoutError:
            if self._guard is not None:
                self._guard.kill()
            self._drop()
        if self._guard is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._guard.wait)
            self._guard = None

    def _post(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        channel = self._channel
        if channel is None:
            return
        channel.post(message, fds, close=True)
        if channel.pending and not self._writing:
            self._writing = True
            asyncio.get_running_loop().add_writer(channel.sock.fileno(), self._writable)

    def _writable(self) -> None:
        channel = self._channel
        if channel is not None:
            channel.flush()
            if not channel.pending:
                self._writing = False
                asyncio.get_running_loop().remove_writer(channel.sock.fileno())

    def _readable(self) -> None:
        channel = self._channel
        if channel is None:
            return
        for message, fds in channel.feed():
            self._heard(message, fds)
        if channel.closed:
            self._drop()

    def _heard(self, message: Message, fds: tuple[int, ...]) -> None:
        if "exit" in message:
            self._on_exit(message)
            return
        if "ready" in message or "failed" in message:
            if self._ready is not None and not self._ready.done():
                self._ready.set_result((message, fds))
            return
        future = self._asked.pop(message["id"], None)
        if future is None or future.done():
            for fd in fds:
                os.close(fd)
        elif "error" in message:
            future.set_exception(StartError(message["error"], message["reason"]))
        else:
            future.set_result((message, fds))

    def _drop(self) -> None:
        """The other end is gone, and with it every container."""
        channel, self._channel = self._channel, None
        if channel is None or self._gone.is_set():
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(channel.sock.fileno())
        loop.remove_writer(channel.sock.fileno())
        channel.close()
        if self._quick is not None:
            self._quick.close()
        self._gone.set()
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(({"failed": self._last_words()}, ()))
        for future in self._asked.values():
            if not future.done():
                future.set_exception(StartError(_LOST, "CreateContainerError"))
        self._asked.clear()
        if self._guard is not None:
            # Reaped if it is gone already; by `close` otherwise.
            self._guard.poll()
        self._on_lost()

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._log.read_text("utf-8", "replace").strip().splitlines()
            if lines:
                return f"the launcher ended: {lines[-1]}"
        return "the launcher ended at once"


def _spawn(
    interpreter: tuple[str, ...], log: Path, channel: int, quick: int
) -> subprocess.Popen[bytes]:
    """Some 2 ms; what the launcher says of itself goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as said:
        return subprocess.Popen(
            [*interpreter, "-I", "-S", "-c", _PROGRAM, str(channel), str(quick)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            pass_fds=(channel, quick),
            start_new_session=True,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            cwd="/",
        )
