"""A process in a container, at the far end of a WebSocket or of SPDY: `exec` and `attach`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, TypeGuard
from urllib.parse import parse_qs

import orjson

from kindling.cluster.apiserver.streams.channels import (
    CLOSE,
    ERROR,
    RESIZE,
    STDERR,
    STDIN,
    STDOUT,
    Channels,
    Message,
    Receive,
    Send,
    choose,
)
from kindling.cluster.apiserver.streams.inbox import Inbox
from kindling.cluster.apiserver.streams.link import Link
from kindling.cluster.apiserver.streams.streamed import Streamed, expected_streams
from kindling.cluster.apiserver.streams.upgrade import (
    choose_stream_protocol,
    take_over,
    wants_spdy,
)
from kindling.cluster.model.streams import ContainerProcess, TerminalSize

__all__ = ["serve_exec"]

_V5 = "v5.channel.k8s.io"
_V4 = "v4.channel.k8s.io"
_PROTOCOLS = (
    _V5,
    _V4,
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
)
_SPDY_PROTOCOLS = (_V4, "v3.channel.k8s.io", "v2.channel.k8s.io")
_PIECE = 32 * 1024
_QUIET = 1.0
"""Seconds without output after a process has ended, until its output counts as ended too: a child
that it left behind may hold the pipe open for ever."""


async def serve_exec(
    scope: Message, receive: Receive, send: Send, process: ContainerProcess
) -> None:
    """Carry a process's streams until it ends or the client goes, which ends an exec'd process.

    The caller has neither received nor sent anything yet. Raises `ApiError` when the client speaks
    no subprotocol of ours; `process` is let go of in any case.
    """
    attach = str(scope.get("path", "")).endswith("/attach")
    if wants_spdy(scope):
        await _serve_spdy(scope, process, attach=attach)
        return
    try:
        channels = Channels(receive, send, choose(scope, _PROTOCOLS))
        await channels.accept()
        await _Session(channels, process, attach=attach).run()
    finally:
        await process.end()


async def _serve_spdy(scope: Message, process: ContainerProcess, *, attach: bool) -> None:
    link: Link | None = None
    try:
        protocol = choose_stream_protocol(scope, _SPDY_PROTOCOLS)
        link = Link(await take_over(scope, protocol))
        streamed = Streamed(link, protocol, _expected(scope, protocol))
        if await streamed.accept():
            await _Session(streamed, process, attach=attach).run()
    finally:
        await process.end()  # it does not wait for a client that is slow to hang up
        if link is not None:
            await link.close()


def _expected(scope: Message, protocol: str) -> frozenset[int]:
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)

    def asked(name: str) -> bool:
        return name in query and query[name][0].lower() not in ("false", "0")

    return expected_streams(
        stdin=asked("stdin"),
        stdout=asked("stdout"),
        stderr=asked("stderr"),
        tty=asked("tty"),
        protocol=protocol,
    )


class _Session:
    def __init__(
        self, channels: Channels | Streamed, process: ContainerProcess, *, attach: bool
    ) -> None:
        self._channels = channels
        self._process = process
        self._attach = attach
        self._inbox = Inbox()
        self._pieces = 0
        self._sending = 0

    async def run(self) -> None:
        channels, process = self._channels, self._process
        # An empty message on a channel that we write to tells clients that the process has begun.
        # Those of v5 do not wait for it, and complain of one that comes before their channels.
        if not (isinstance(channels, Channels) and channels.half_close):
            first = STDOUT if process.stdout else STDERR if process.stderr else ERROR
            await channels.write(first, b"")
        output = asyncio.create_task(self._output(), name="exec-output")
        client = asyncio.create_task(self._input(), name="exec-input")
        feed = asyncio.create_task(self._feed(), name="exec-stdin")
        try:
            await asyncio.wait((output, client), return_when=asyncio.FIRST_COMPLETED)
            if not output.done():
                client.result()
                return  # the client is gone
            code = output.result()
            await self._tell(code)
            await channels.close()
        finally:
            for task in (output, client, feed):
                task.cancel()
            await asyncio.gather(output, client, feed, return_exceptions=True)

    async def _output(self) -> int:
        """Carry the output to its end; the exit code."""
        pumps = [
            asyncio.create_task(self._pump(channel, reader), name=f"exec-output-{channel}")
            for channel, reader in (
                (STDOUT, self._process.stdout),
                (STDERR, self._process.stderr),
            )
            if reader is not None
        ]
        try:
            code = await self._process.wait()
            waiting: set[asyncio.Task[None]] = set(pumps)
            while waiting:
                before = self._pieces
                done, waiting = await asyncio.wait(waiting, timeout=_QUIET)
                for pump in done:
                    pump.result()
                if not done and not self._sending and self._pieces == before:
                    break
            return code
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, channel: int, reader: asyncio.StreamReader) -> None:
        while data := await _read(reader):
            self._pieces += 1
            self._sending += 1
            try:
                await self._channels.write(channel, data)
            finally:
                self._sending -= 1

    async def _input(self) -> None:
        """Carry what the client sends until it is gone."""
        while (message := await self._channels.next()) is not None:
            channel, data = message
            if channel == STDIN:
                await self._inbox.put(data)
            elif channel == RESIZE:
                for size in _sizes(data):
                    self._process.resize(size)
            elif channel == CLOSE and self._channels.half_close and data[:1] == bytes((STDIN,)):
                self._inbox.end()

    async def _feed(self) -> None:
        """Write to the process, and wait while it does not read. Nothing that comes after it has
        closed its input goes anywhere."""
        stdin = self._process.stdin
        if stdin is None:
            self._inbox.close()
            return
        try:
            while data := await self._inbox.get():
                stdin.write(data)
                await stdin.drain()
                await self._channels.taken(STDIN, len(data))
        except (OSError, RuntimeError):
            self._inbox.close()
        with contextlib.suppress(OSError, RuntimeError):
            stdin.close()

    async def _tell(self, code: int) -> None:
        """Say how it ended. The oldest protocols know only of failures, in plain words."""
        failed = code != 0 and not self._attach
        told = f"command terminated with non-zero exit code: exit status {code}"
        if self._channels.protocol not in (_V5, _V4, "v4.base64.channel.k8s.io"):
            if failed:
                await self._channels.write(ERROR, told.encode())
            return
        status: dict[str, Any] = {"metadata": {}, "status": "Failure" if failed else "Success"}
        if failed:
            causes = [{"reason": "ExitCode", "message": str(code)}]
            status["message"] = told
            status["reason"] = "NonZeroExitCode"
            status["details"] = {"causes": causes}
        await self._channels.write(ERROR, orjson.dumps(status))


async def _read(reader: asyncio.StreamReader) -> bytes:
    """The next piece; empty at the end, as which a terminal's hang-up counts too."""
    try:
        return await reader.read(_PIECE)
    except OSError:
        return b""


def _sizes(data: bytes) -> list[TerminalSize]:
    """The terminal sizes in a message: JSON values one after another. What is none is passed
    over."""
    text = data.decode("utf-8", "replace").strip()
    sizes: list[TerminalSize] = []
    decoder = json.JSONDecoder()
    while text:
        try:
            value, end = decoder.raw_decode(text)
        except (ValueError, RecursionError):
            break
        text = text[end:].lstrip()
        width, height = (
            (value.get("Width"), value.get("Height")) if isinstance(value, dict) else (None, None)
        )
        if _is_length(width) and _is_length(height):
            sizes.append(TerminalSize(width, height))
    return sizes


def _is_length(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536
