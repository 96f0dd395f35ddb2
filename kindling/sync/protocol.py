"""What the parts of sync are to each other: containers, links to them, contents, and what is told.

    Source (files here) ─ Batch ─▶ Replica (what one container holds) ─ Link ─▶ agent
                                      ▲
    Hold (the workload in our hands: patch, pods as they come and go, the way back)

Places are paths in a container as `kindling.sync.rules.landing` has them: absolute, without the
first slash (`app/main.py`). Links are made by `kindling.sync.transport`; a second implementation,
in `kindling.testing`, runs the real agent in a folder of this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kindling.errors import ClusterError
from kindling.sync.agent.frames import Status
from kindling.sync.trees.batch import Batch
from kindling.sync.trees.manifest import TreeManifest

__all__ = [
    "CannotCarryError",
    "Clock",
    "Container",
    "Contents",
    "LineSink",
    "Link",
    "LinkLostError",
    "NoRoomError",
    "Process",
    "ProcessResult",
    "ProcessRunner",
    "Sent",
    "SourceChangedError",
]


class LinkLostError(ClusterError):
    """The way to a container broke off. Another attempt, by a new link, may work; what of the
    batch arrived is found by reading the tree again."""


class CannotCarryError(ClusterError):
    """It will never work in this container as it is: no permission, a read-only file system. The
    message says which, and the hint what to do."""


class NoRoomError(CannotCarryError):
    """The container's disk is full: it does not work before somebody makes room, which may be
    whoever saves files. `place` is what did not fit; empty where that is not known."""

    def __init__(
        self, message: str, *, details: Iterable[str] = (), hint: str = "", place: str = ""
    ) -> None:
        super().__init__(message, details=details, hint=hint)
        self.place = place


class SourceChangedError(Exception):
    """A file of the source is no longer what the batch says; the source must be looked at again."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


@dataclass(frozen=True, slots=True)
class Container:
    """A running container of a pod. `id` is the runtime's, another one after each restart of the
    container. `supervised`: our agent is its first process."""

    namespace: str
    pod: str
    name: str
    pod_uid: str = ""
    id: str = ""
    node: str = ""
    supervised: bool = False
    mounted: bool = False
    """The agent lies at `AGENT_PATH` (`kindling.sync.template.patch`)."""

    def __str__(self) -> str:
        return f"{self.pod}/{self.name}"


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a container. `started` is in clock ticks since the node's boot and, with `pid`,
    tells two processes of one number apart; `image` changes when the process executes itself anew.
    """

    pid: int
    parent: int
    started: int
    image: str
    argv: tuple[str, ...]
    exe: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """What bringing a batch over came to. `size` counts bytes on the wire."""

    operations: int
    size: int
    seconds: float


class Contents(Protocol):
    """Where the bytes of the source are."""

    def file(self, place: str) -> Path:
        """The file of this machine that lands on `place`. It is read in chunks, in a thread; what
        it turns out to hold is compared with the digest of the batch (`SourceChangedError`)."""
        ...


class Link(Protocol):
    """A connection to one container. Calls raise `LinkLostError`, `CannotCarryError` or another
    `ClusterError`; after `LinkLostError` the link is of no further use. Safe for several tasks."""

    @property
    def machine(self) -> str:
        """The architecture by its Linux name, as `x86_64`; empty where no agent runs."""
        ...

    @property
    def way(self) -> str:
        """How it reaches the container, for people: `agent`, or `tar`."""
        ...

    async def resolve(self, place: str) -> str:
        """The place with every link on its way followed, as far as it exists."""
        ...

    async def tree(self, places: Sequence[str], skip: Collection[str] = ()) -> TreeManifest:
        """What is at and below `places`, as one tree whose root is the container's `/`. Members
        named as in `skip` are left out."""
        ...

    async def apply(self, batch: Batch, contents: Contents) -> Sent:
        """Bring a batch over; it becomes visible in its order. Strict: where it cannot be done
        whole, nothing that was not yet visible becomes so.

        Raises: SourceChangedError: A file is not what the batch says; nothing was made visible.
        """
        ...

    async def try_out(self, place: str) -> None:
        """Find out whether a file may be put at the place, where its folder is there; nothing
        becomes visible.

        Raises: CannotCarryError: It may not.
        """
        ...

    async def run(
        self,
        argv: Sequence[str],
        *,
        folder: str = "/",
        variables: Mapping[str, str] | None = None,
        log: Callable[[str], None] | None = None,
        timeout: float = 600.0,
    ) -> int:
        """Run a command in the container to its end; its exit code. `log` gets each line."""
        ...

    async def read(self, path: str, most: int = 1 << 20) -> bytes | None:
        """The first bytes of a file (absolute path; `/proc/1/cmdline`, an entry point's script);
        None where it cannot be read."""
        ...

    async def processes(self) -> tuple[Process, ...]:
        """What runs in the container."""
        ...

    async def signal(self, pid: int, name: str) -> None:
        """Send a signal by its name without `SIG`."""
        ...

    async def status(self) -> Status | None:
        """What the supervisor says of its child; None where nothing supervises."""
        ...

    async def restart(self, name: str = "TERM", grace: float = 10.0) -> Status:
        """Let the supervisor end its child and start it again; answered when it was started."""
        ...

    async def close(self) -> None: ...


class Clock(Protocol):
    """The part of a clock that sync needs (`kindling.executors.protocol.Clock` is one)."""

    def time(self) -> float: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class ProcessResult(Protocol):
    """How a program of this machine ended."""

    @property
    def code(self) -> int: ...

    @property
    def stdout(self) -> bytes: ...

    @property
    def stderr(self) -> bytes: ...


class LineSink(Protocol):
    """Takes one line of a program's output, without its end."""

    def __call__(self, line: str, stream: str = "stdout") -> None: ...


class ProcessRunner(Protocol):
    """Programs of this machine, for local builds (`kindling.executors.processes` has one)."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: LineSink | None = None,
        stdin: bytes = b"",
        timeout: float = 0.0,
        keep_output: bool = True,
    ) -> ProcessResult: ...
