"""Live streams between a client and a container: what the node offers, and HTTP carries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["ContainerProcess", "ExecRequest", "LogRequest", "NodeStreams", "TerminalSize"]


@dataclass(frozen=True, slots=True)
class TerminalSize:
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A command to run in a container, and which of its streams are wanted. With `tty`, stderr goes
    the way of stdout. `command` is empty for attach."""

    command: tuple[str, ...] = ()
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


@dataclass(frozen=True, slots=True)
class LogRequest:
    """As `kubectl logs` asks. `since` is seconds since the epoch, 0 for all; `tail` None is all."""

    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since: float = 0.0
    tail: int | None = None
    limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ContainerProcess:
    """A process in a container and the streams that were asked for; the others are None.

    Closing `stdin` is its end of file. `wait` gives the exit code (128 + signal for a killed one)
    and may be awaited by several; streams may still hold output then. `end` lets go of the process:
    it is killed if it came by exec, left running if it came by attach.
    """

    stdin: asyncio.StreamWriter | None
    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader | None
    wait: Callable[[], Awaitable[int]]
    resize: Callable[[TerminalSize], None]
    end: Callable[[], Awaitable[None]]


class NodeStreams(Protocol):
    """What a kubelet serves. Every method raises `ApiError` (404 for no such pod, 400 for a
    container that is not there, has not started or has no previous run, each in the kubelet's
    words). An empty container is the pod's default one (annotation
    `kubectl.kubernetes.io/default-container`, or the only one)."""

    async def exec(
        self, namespace: str, pod: str, container: str, request: ExecRequest
    ) -> ContainerProcess: ...

    async def attach(
        self, namespace: str, pod: str, container: str, request: ExecRequest
    ) -> ContainerProcess: ...

    async def logs(self, namespace: str, pod: str, request: LogRequest) -> AsyncIterator[bytes]:
        """Chunks of whole lines. Refusals come before the first chunk."""
        ...

    async def connect(
        self, namespace: str, pod: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to a port of the pod's own loopback, as port-forward makes it. Raises
        `OSError` when nothing listens there."""
        ...
