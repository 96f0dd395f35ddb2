"""What an executor is, and the narrow doors through which it sees the world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from kindling.graph.node import Kind, Node, NodeId
from kindling.graph.outcome import Failure, Output

if TYPE_CHECKING:
    from kindling.build.protocol import ContainerEngine
    from kindling.kube.protocol import Cluster

__all__ = [
    "BlobStore",
    "Carrier",
    "Clock",
    "Executor",
    "Failed",
    "FilesSaved",
    "Forecaster",
    "Job",
    "Live",
    "LogSink",
    "Observation",
    "Outcome",
    "ProcessResult",
    "ProcessRunner",
    "ReadinessReport",
    "RunningProcess",
    "Succeeded",
    "World",
]


class Clock(Protocol):
    """Time, so that tests can own it."""

    def time(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """How a program ended. `code` is negative for a signal, as `subprocess` has it."""

    code: int
    stdout: bytes = b""
    stderr: bytes = b""


class RunningProcess(Protocol):
    """A program that keeps running. Stopping takes its whole process group, grandchildren
    included."""

    @property
    def pid(self) -> int: ...

    async def wait(self) -> int:
        """The exit code, once it has one."""
        ...

    async def stop(self, *, grace: float = 30.0) -> int:
        """Interrupt, then terminate, then after `grace` seconds kill; the exit code."""
        ...


class LogSink(Protocol):
    """Takes one line of a node's output. `stream` is `stdout`, `stderr`, `pod/...` or
    `kindling`."""

    def __call__(self, line: str, stream: str = "stdout") -> None: ...


class ProcessRunner(Protocol):
    """Programs of this machine. Every run has its own process group and no terminal."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: LogSink | None = None,
        stdin: bytes = b"",
        timeout: float = 0.0,
        keep_output: bool = True,
    ) -> ProcessResult:
        """Run to the end. Cancelling kills the process group. `timeout` 0: none.

        Raises:
            HostError: The program or the folder does not exist, or may not be run.
            ExecutionError: The time limit ran out.
        """
        ...

    async def start(
        self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: LogSink
    ) -> RunningProcess:
        """Start a program that keeps running.

        Raises:
            HostError: The program or the folder does not exist, or may not be run.
        """
        ...


class BlobStore(Protocol):
    """File contents by digest: what the action cache restores outputs from. Blocking; call in a
    thread."""

    def put(self, path: Path) -> str:
        """Keep a copy of a regular file; its digest."""
        ...

    def get(self, digest: str, path: Path) -> bool:
        """Write the content to `path` whole or not at all. False when it is not kept (any more)."""
        ...


class World(Protocol):
    """Everything outside that an executor may touch."""

    @property
    def root(self) -> Path:
        """The folder of the Kindlingfile: what every path of a spec is relative to."""
        ...

    @property
    def state_dir(self) -> Path:
        """`.kindling`: the only folder that is written without being asked."""
        ...

    @property
    def project(self) -> str:
        """The owner written on every object (`kindling.dev/project`)."""
        ...

    @property
    def clock(self) -> Clock: ...

    @property
    def processes(self) -> ProcessRunner: ...

    @property
    def environment(self) -> Mapping[str, str]: ...

    @property
    def blobs(self) -> BlobStore: ...

    async def cluster(self) -> Cluster:
        """The client of the target cluster. Raises `ClusterError` where there is none."""
        ...

    async def containers(self) -> ContainerEngine:
        """The Docker engine. Raises `ContainerError` where there is none."""
        ...

    async def operate(self, namespace: str, name: str = "", log: LogSink | None = None) -> str:
        """See to it that an operator acts on the environments of a namespace: the one that holds
        the Lease, else one inside this session that goes on until it ends. Who it is.

        What an operator of this session says about the environment `name` goes to `log`.

        Raises:
            ClusterError: None acts, and none of ours can.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReadinessReport:
    """A settled node's part of the world became healthy, or ceased to be and why."""

    ready: bool
    failure: Failure | None = None
    ended: bool = False
    """It will not come back by itself (a server exited): the node has failed."""


class Live(Protocol):
    """The part of a node that goes on after it succeeded: a server, a port-forward, a followed
    rollout."""

    async def follow(self, report: Callable[[ReadinessReport], None]) -> None:
        """Report every change of health until cancelled or over. Cancelling must leave no trace but
        the thing itself; `close` ends that."""
        ...

    async def close(self) -> None:
        """End it: stop the server, close the port. Called once, after `follow` is over."""
        ...


@dataclass(frozen=True, slots=True)
class Observation:
    """Whether the world is still as `Output` recorded. `difference` says in one line what is
    not."""

    same: bool
    difference: str = ""
    live: Live | None = field(default=None, compare=False)
    """What goes on for a node that need not run (a rollout that is still being followed)."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """It worked, and this came of it. `idle`: it found nothing to do, so that nobody is told that
    it did something."""

    output: Output
    live: Live | None = field(default=None, compare=False)
    idle: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not work. `live` may go on watching: a crashing pod that recovers makes the node
    ready. `rebuild` says why building the image anew is the way on (of a sync session); empty: it
    is not."""

    failure: Failure
    live: Live | None = field(default=None, compare=False)
    rebuild: str = ""


Outcome = Succeeded | Failed


@dataclass(frozen=True, slots=True)
class FilesSaved:
    """What a sync session is to look at: `paths`, relative to the project, and with `rescan`
    everything. `since` is when the first of it was seen, by the session's monotonic clock; 0:
    unknown."""

    paths: tuple[str, ...] = ()
    rescan: bool = False
    since: float = 0.0


@runtime_checkable
class Carrier(Protocol):
    """A live part that takes changes without being ended and begun again: a sync session."""

    async def follow(self, report: Callable[[ReadinessReport], None]) -> None: ...

    async def close(self) -> None: ...

    def takes(self, job: Job) -> bool:
        """Whether a job is about the session as it goes on; if not, it ends and a new one
        begins."""
        ...

    async def carry(self, saved: FilesSaved) -> Outcome:
        """Bring what was saved into the containers. One call at a time; others wait."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """One settling of one node.

    `inputs` holds the outputs of every settled predecessor, whatever its edge. `previous` is the
    output of this node's last success, in this or an earlier session. `once`: the session ends by
    itself (`ci`, `up --once`), so that what would be waited for without end must fail early
    instead.
    """

    node: Node
    key: str
    attempt: int
    world: World
    log: LogSink
    inputs: Mapping[NodeId, Output] = field(default_factory=dict)
    previous: Output | None = None
    forced: bool = False
    once: bool = False
    saved: FilesSaved = FilesSaved()
    """For a sync session: what differs from the files that its image was built of."""


class Executor(Protocol):
    """The code that runs one node kind. Holds no state of its own between calls."""

    @property
    def kind(self) -> Kind: ...

    async def observe(self, job: Job, recorded: Output) -> Observation:
        """Is the world still as `recorded`? Reads only. Raises `KindlingError` when it cannot
        tell."""
        ...

    async def run(self, job: Job) -> Outcome:
        """Do the work. Only `asyncio.CancelledError` passes through; a `KindlingError` that escapes
        is turned into a `Failed` by the caller, any other exception is reported as a bug of
        kindling."""
        ...

    async def restore(self, job: Job, cached: Output) -> bool:
        """Put `cached`, the output of an earlier run with this very key, back in place.

        Only called for kinds whose traits say `cacheable`. False: it cannot be had, so `run` is
        needed. Never leaves half of it behind.
        """
        ...

    async def undo(self, job: Job, recorded: Output) -> tuple[str, ...]:
        """Undo what `recorded` says was done, and return one line per thing that was kept and why.

        Raises:
            KindlingError: It could not be undone.
        """
        ...


@runtime_checkable
class Forecaster(Protocol):
    """An executor that can tell what a run would do to objects of the cluster."""

    async def diff(self, job: Job) -> tuple[str, ...]:
        """One line for each object that a run would create, change or delete.

        Raises:
            KindlingError: The cluster cannot be asked.
        """
        ...
