"""The narrow door to whatever runs containers, and the values that go through it.

`launcher` (namespaces) and `plain` (none) implement it for real; `fake` is one in memory. The
same contract test runs on all three.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kindling.cluster.model.streams import ContainerProcess, ExecRequest

__all__ = [
    "Container",
    "ContainerExit",
    "ContainerSpec",
    "Isolation",
    "Mount",
    "RootFs",
    "Runtime",
    "Sandbox",
    "SandboxSpec",
    "StartError",
    "words",
]


class StartError(Exception):
    """A container or sandbox that could not be made. `reason` is what the kubelet would report
    (`CreateContainerError`, `RunContainerError`, `CreateContainerConfigError`)."""

    def __init__(self, message: str, reason: str = "RunContainerError") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Isolation:
    """What this machine lets us keep apart; `missing` says in a line each what it does not, and
    why.

    `pids`: the app is PID 1 of its own namespace. `root`: it has its own root file system.
    `network`: the pod has its own address. `memory`: a limit is enforced by the kernel. `users`:
    containers can run as any uid. All False is a plain process.
    """

    pids: bool
    root: bool
    network: bool
    memory: bool
    users: bool
    missing: tuple[str, ...] = ()


def words(isolation: Isolation) -> str:
    """How pods run, in a few words."""
    if not (isolation.pids or isolation.root or isolation.network):
        return "plain processes"
    kept = [
        word
        for word, there in (
            ("processes", isolation.pids),
            ("files", isolation.root),
            ("network", isolation.network),
            ("memory", isolation.memory),
            ("users", isolation.users),
        )
        if there
    ]
    return f"isolated: {', '.join(kept)}"


@dataclass(frozen=True, slots=True)
class RootFs:
    """What a container sees as `/`, read-only under a private layer.

    `layers` are folders in overlayfs form (whiteouts as devices 0:0, opaque folders by the
    attribute `user.overlay.opaque`), lowest first. With `host`, the machine's own root lies below
    them all.
    """

    layers: tuple[Path, ...] = ()
    host: bool = False


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of this machine in the container; `source` None is a tmpfs of `size` bytes
    (0: no limit). The target is made when it is missing."""

    target: str
    source: Path | None
    read_only: bool = False
    size: int = 0


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What the containers of a pod share. `id` is the pod's UID. With `host_network` they are in
    the node's network, which is not this machine's (see `Runtime.open_socket`)."""

    id: str
    hostname: str
    host_network: bool = False
    shared_pids: bool = False


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A pod's place. `address` is its IP: its own, or the node's where there is no isolation."""

    id: str
    address: str


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One container to start. `id` is new for each start, and safe as a file name.

    `argv` is not empty; a program without a slash is looked for in `env`'s PATH inside the
    container. `user` is `name`, `uid`, `uid:gid` or `user:group` as in an image, looked up in the
    container's /etc/passwd; empty is root. `groups` are supplementary. `memory` in bytes and `cpus`
    are limits. `folder` is the container's own on this machine: its private layer is `folder/upper`
    until `Container.remove`, or a failed start, frees it; who wants to keep it renames it before.
    """

    id: str
    sandbox: str
    folder: Path
    root: RootFs
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    cwd: str = "/"
    user: str = ""
    groups: tuple[int, ...] = ()
    mounts: tuple[Mount, ...] = ()
    stdin: bool = False
    tty: bool = False
    read_only_root: bool = False
    privileged: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    memory: int | None = None
    cpus: float | None = None


@dataclass(frozen=True, slots=True)
class ContainerExit:
    """How a container ended. `code` is 128 + `signal` for a killed one; `at` in seconds since the
    epoch."""

    code: int
    at: float
    signal: int = 0
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """A container that was started. `pid` is that of its first process, as this machine counts.

    `stdout` and `stderr` (None with a tty) must be read or the app will block. `wait` may be
    awaited by several, and ends when the container's every process has. `exec` runs a further
    process in its namespaces, with the container's environment and user. `remove` frees what is
    left of an ended one, and kills one that runs.
    """

    id: str
    pid: int
    started_at: float
    stdin: asyncio.StreamWriter | None
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader | None
    wait: Callable[[], Awaitable[ContainerExit]]
    signal: Callable[[int], None]
    """To the first process. SIGKILL takes all of them."""
    resize: Callable[[int, int], None]
    """Columns and rows of its terminal."""
    exec: Callable[[ExecRequest], Awaitable[ContainerProcess]]
    remove: Callable[[], Awaitable[None]]


class Runtime(Protocol):
    """Starts and ends sandboxes and containers. When the process that holds it dies in any way, so
    do all of them, and nothing of theirs stays on the machine but their folders."""

    @property
    def isolation(self) -> Isolation: ...

    @property
    def node_address(self) -> str:
        """The node's own address as pods see it."""
        ...

    async def start(self) -> None:
        """Begin; ends what an earlier holder that was killed has left, where anything can be."""
        ...

    async def close(self) -> None:
        """Kill every container and wait until they are gone."""
        ...

    async def lost(self) -> None:
        """Return when that which holds the containers has died unasked, and they with it. Never
        returns before `close` otherwise."""
        ...

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox: ...

    async def remove_sandbox(self, sandbox: str) -> None:
        """Idempotent. Kills what runs in it."""
        ...

    async def run(self, spec: ContainerSpec) -> Container:
        """Start a container; returns once its program was executed. Raises `StartError`."""
        ...

    def open_socket(
        self,
        family: socket.AddressFamily,
        kind: socket.SocketKind,
        sandbox: str = "",
    ) -> socket.socket:
        """A non-blocking socket of ours, not yet bound or connected, inside the network of a
        sandbox, or of the node when `sandbox` is empty: services, DNS and port-forwards live on
        these. The node's network is where the pods' bridge is; every address of the service network
        is local there, so that one may bind to it. Without network isolation all of this is this
        machine's."""
        ...
