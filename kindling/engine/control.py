"""The door into a running session: a Unix socket that `kindling trigger` and `kindling status` use.

One JSON object per line in each direction. The socket's folder is readable by its owner alone,
which is the only authentication there is and all that is needed: who can open it can also signal
the process.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from kindling.errors import HostError

__all__ = ["NoSessionError", "ask", "serve", "socket_path"]

_LONGEST = 100
"""Bytes a socket's path may have (108 on Linux, 104 on macOS, less a little)."""
_LIMIT = 2**24

Answer = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


class NoSessionError(HostError):
    """No session is running in this project."""


def socket_path(state_dir: Path) -> Path:
    """Where the session of `state_dir` listens: in it, or in a private temporary folder where that
    path would be too long for a socket."""
    path = state_dir.absolute() / "session.sock"
    if len(os.fsencode(path)) <= _LONGEST:
        return path
    name = hashlib.blake2b(os.fsencode(path), digest_size=12).hexdigest()
    return Path(tempfile.gettempdir()) / f"kindling-{os.getuid()}" / f"{name}.sock"


@asynccontextmanager
async def serve(state_dir: Path, answer: Answer) -> AsyncIterator[None]:
    """Answer requests for as long as the context is open. The session lock must be held: a socket
    that is there already was left behind by a session that was killed."""
    path = socket_path(state_dir)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_uid != os.getuid():
        raise HostError(f"The folder `{path.parent}` belongs to another user")
    path.unlink(missing_ok=True)

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            try:
                request = json.loads(line)
                reply = await answer(request if isinstance(request, dict) else {})
            except ValueError as error:
                reply = {"error": f"This is not a request: {error}"}
            writer.write(json.dumps(reply).encode() + b"\n")
            with suppress(ConnectionError):
                await writer.drain()
        finally:
            writer.close()

    old = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(one, path, limit=_LIMIT)
    except OSError as error:
        raise HostError(f"Cannot listen at `{path}`: {error.strerror}") from error
    finally:
        os.umask(old)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


async def ask(
    state_dir: Path, request: Mapping[str, Any], *, timeout: float = 10.0
) -> dict[str, Any]:
    """Ask the running session something.

    Raises:
        NoSessionError: None is running, or it does not answer in time.
    """
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_unix_connection(
                socket_path(state_dir), limit=_LIMIT
            )
            writer.write(json.dumps(request).encode() + b"\n")
            line = await reader.readline()
            writer.close()
    except (FileNotFoundError, ConnectionError) as error:
        raise NoSessionError(
            "No kindling session is running here", hint="Start one with `kindling up`."
        ) from error
    except TimeoutError as error:
        raise NoSessionError(f"The running session did not answer within {timeout:g} s") from error
    if not line:
        raise NoSessionError("The running session closed the connection")
    reply: dict[str, Any] = json.loads(line)
    return reply
