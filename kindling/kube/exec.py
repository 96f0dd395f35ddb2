"""Commands in containers, over a WebSocket with one channel per stream."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

from kindling.errors import ClusterError
from kindling.kube.discovery import resource_path
from kindling.kube.errors import (
    ServerFaultError,
    UnreachableError,
    error_of_exception,
    error_of_status,
)
from kindling.kube.logs import POD
from kindling.kube.protocol import ExecResult
from kindling.kube.wire import Wire

__all__ = ["CHANNELS", "NoProgramError", "exit_code", "run_in_container"]

CHANNELS = "v4.channel.k8s.io"
"""The subprotocol of 1.20 and all later servers: each message begins with its channel's number."""

_STDOUT, _STDERR, _STATUS = 1, 2, 3
_NO_PROGRAM = re.compile(
    r"executable file .*not found|exec: .*(no such file or directory|permission denied)"
    r"|exec format error"
)
"""What the runtimes of containers say of a program that is not there, or that none can run."""


class NoProgramError(ClusterError):
    """The container has no such program, or none that it can run."""


async def run_in_container(
    wire: Wire, namespace: str, pod: str, container: str, argv: Sequence[str], *, timeout: float
) -> ExecResult:
    """Run `argv` to its end. See `Cluster.exec`. A command that is cut off by the time limit may go
    on running in the container: the protocol cannot stop it."""
    import aiohttp

    doing = f"run `{argv[0]}` in {pod}/{container} in {namespace}"
    params = [("command", word) for word in argv]
    params += [("container", container)] if container else []
    params += [("stdout", "true"), ("stderr", "true")]
    streams = {_STDOUT: bytearray(), _STDERR: bytearray(), _STATUS: bytearray()}
    try:
        async with asyncio.timeout(timeout):
            socket = await wire.websocket(
                resource_path(POD, namespace, pod, "exec"),
                doing,
                params=params,
                protocol=CHANNELS,
                timeout=timeout,
            )
            try:
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.BINARY and message.data:
                        streams.setdefault(message.data[0], bytearray()).extend(message.data[1:])
            finally:
                await socket.close()
    except TimeoutError as error:
        raise error_of_exception(error, doing, wire.server) from error
    except aiohttp.ClientError as error:
        raise error_of_exception(error, doing, wire.server) from error
    code = exit_code(bytes(streams[_STATUS]), doing)
    return ExecResult(code, bytes(streams[_STDOUT]), bytes(streams[_STDERR]))


def exit_code(text: bytes, doing: str) -> int:
    """The exit code that the last message on the channel for it tells.

    Raises:
        NoProgramError: There was nothing to run.
        ClusterError: It did not come to an exit code.
    """
    if not text:
        raise UnreachableError(f"Cannot {doing}: the connection broke", transient=True)
    try:
        status: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise ServerFaultError(
            f"Cannot {doing}: the cluster answered nonsense", transient=True
        ) from error
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    if not status.get("code"):
        raise ClusterError(f"Cannot {doing}: {status.get('message') or 'no reason given'}")
    if _NO_PROGRAM.search(str(status.get("message"))):
        raise NoProgramError(f"Cannot {doing}: the container has no such program")
    raise error_of_status(status, doing)
