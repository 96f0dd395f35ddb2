"""A runtime in memory: nothing is started, and a test says what containers do.

A container runs its `Program`, found by the last part of `argv[0]`; a few as everybody has them
are there (`true`, `false`, `echo`, `cat`, `sleep`), and a test adds or replaces others in
`FakeRuntime.programs`. What has no program is not found, as in a real container; `*` is for
whatever has none. A program that is still at it when the container is signalled is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal as signals
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from kindling.cluster.model.streams import ContainerProcess, ExecRequest, TerminalSize
from kindling.cluster.runtime.protocol import (
    Container,
    ContainerExit,
    ContainerSpec,
    Isolation,
    Sandbox,
    SandboxSpec,
    StartError,
)
from kindling.cluster.runtime.streams import memory_reader, memory_writer

__all__ = ["FakeProcess", "FakeRuntime", "Program"]

NODE_ADDRESS = "10.199.0.1"


@dataclass(eq=False)
class FakeProcess:
    """What a program sees of itself, and a test of it.

    `traps` are signals that do nothing but stand in `signals`; SIGKILL cannot be trapped.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    spec: ContainerSpec
    stdin: asyncio.StreamReader
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader
    ended: asyncio.Future[ContainerExit]
    tty: bool = False
    signals: list[int] = field(default_factory=list)
    traps: set[int] = field(default_factory=set)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def write(self, data: bytes | str, *, stderr: bool = False) -> None:
        """Say something; nobody needs to listen, and after the end nothing is said."""
        stream = self.stderr if stderr and not self.tty else self.stdout
        if not self.ended.done() and data:
            stream.feed_data(data.encode() if isinstance(data, str) else data)

    def exit(self, code: int = 0, *, signal: int = 0, out_of_memory: bool = False) -> None:
        """End it; the first end counts."""
        if self.ended.done():
            return
        if signal:
            code = 128 + signal
        self.stdout.feed_eof()
        self.stderr.feed_eof()
        self.ended.set_result(ContainerExit(code, time.time(), signal, out_of_memory))
        if self.task is not None:
            self.task.cancel()

    def signal(self, number: int) -> None:
        self.signals.append(number)
        if number not in self.traps or number == signals.SIGKILL:
            self.exit(signal=number)


Program = Callable[[FakeProcess], Awaitable[int]]
"""Runs to the end of a process and gives its exit code."""


async def _true(_process: FakeProcess) -> int:
    return 0


async def _false(_process: FakeProcess) -> int:
    return 1


async def _echo(process: FakeProcess) -> int:
    process.write(" ".join(process.argv[1:]) + "\n")
    return 0


async def _cat(process: FakeProcess) -> int:
    while data := await process.stdin.read(65536):
        process.write(data)
    return 0


async def _sleep(process: FakeProcess) -> int:
    await asyncio.sleep(float(process.argv[1]) if process.argv[1:] != ("infinity",) else 1e9)
    return 0


class FakeRuntime:
    """See the module. `started` are the specs of every container, in order; `running` the living
    ones by id; `failures` are raised by the next `run` or `create_sandbox`, one each."""

    def __init__(self, isolation: Isolation | None = None) -> None:
        self.isolation = isolation or Isolation(True, True, True, True, True)
        self.node_address = NODE_ADDRESS
        self.programs: dict[str, Program] = {
            "true": _true,
            "false": _false,
            "echo": _echo,
            "cat": _cat,
            "sleep": _sleep,
        }
        self.sandboxes: dict[str, Sandbox] = {}
        self.specs: dict[str, SandboxSpec] = {}
        self.started: list[ContainerSpec] = []
        self.executed: list[tuple[str, ...]] = []
        self.running: dict[str, FakeProcess] = {}
        self.failures: list[StartError] = []
        self._known: dict[str, FakeProcess] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pids = itertools.count(1000)
        self._hosts = itertools.count(2)

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        for process in list(self.running.values()):
            process.exit(signal=signals.SIGKILL)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.sandboxes.clear()

    async def lost(self) -> None:
        await asyncio.Event().wait()  # nobody can kill it

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        if self.failures:
            raise self.failures.pop(0)
        if spec.id in self.sandboxes:
            raise StartError(f"there is a sandbox `{spec.id}` already", "CreatePodSandboxError")
        own = self.isolation.network and not spec.host_network
        host = next(self._hosts)
        address = f"10.199.{host // 256}.{host % 256}" if own else self.node_address
        self.sandboxes[spec.id] = Sandbox(spec.id, address)
        self.specs[spec.id] = spec
        return self.sandboxes[spec.id]

    async def remove_sandbox(self, sandbox: str) -> None:
        for process in list(self.running.values()):
            if process.spec.sandbox == sandbox:
                process.exit(signal=signals.SIGKILL)
        self.sandboxes.pop(sandbox, None)
        self.specs.pop(sandbox, None)

    async def run(self, spec: ContainerSpec) -> Container:
        if self.failures:
            raise self.failures.pop(0)
        if spec.sandbox not in self.sandboxes:
            raise StartError(f"there is no sandbox `{spec.sandbox}`", "CreateContainerError")
        if spec.id in self._known:
            raise StartError(f"there is a container `{spec.id}` already", "CreateContainerError")
        process = self._begin(spec, spec.argv, dict(spec.env), tty=spec.tty)
        self.started.append(spec)
        self.running[spec.id] = self._known[spec.id] = process
        process.ended.add_done_callback(lambda _: self.running.pop(spec.id, None))
        if not spec.stdin:
            process.stdin.feed_eof()

        async def wait() -> ContainerExit:
            return await asyncio.shield(process.ended)

        async def execute(request: ExecRequest) -> ContainerProcess:
            return self._execute(process, request)

        async def remove() -> None:
            process.exit(signal=signals.SIGKILL)
            self._known.pop(spec.id, None)

        return Container(
            id=spec.id,
            pid=next(self._pids),
            started_at=time.time(),
            stdin=_into(process) if spec.stdin else None,
            stdout=process.stdout,
            stderr=None if spec.tty else process.stderr,
            wait=wait,
            signal=process.signal,
            resize=lambda columns, rows: process.sizes.append((columns, rows)),
            exec=execute,
            remove=remove,
        )

    def open_socket(
        self,
        family: socket.AddressFamily,
        kind: socket.SocketKind,
        sandbox: str = "",
    ) -> socket.socket:
        """Always one of this machine."""
        if sandbox and sandbox not in self.sandboxes:
            raise StartError(f"there is no sandbox `{sandbox}`")
        made = socket.socket(family, kind)
        made.setblocking(False)
        return made

    def _execute(self, container: FakeProcess, request: ExecRequest) -> ContainerProcess:
        if container.ended.done():
            raise StartError("the container has ended")
        process = self._begin(container.spec, request.command, container.env, tty=request.tty)
        self.executed.append(request.command)
        container.ended.add_done_callback(lambda _: process.exit(signal=signals.SIGKILL))
        if not request.stdin:
            process.stdin.feed_eof()

        async def wait() -> int:
            return (await asyncio.shield(process.ended)).code

        async def end() -> None:
            process.exit(signal=signals.SIGKILL)

        def resize(size: TerminalSize) -> None:
            process.sizes.append((size.width, size.height))

        return ContainerProcess(
            stdin=_into(process) if request.stdin else None,
            stdout=process.stdout if request.stdout else None,
            stderr=process.stderr if request.stderr and not request.tty else None,
            wait=wait,
            resize=resize,
            end=end,
        )

    def _begin(
        self, spec: ContainerSpec, argv: tuple[str, ...], env: dict[str, str], *, tty: bool
    ) -> FakeProcess:
        if not argv:
            raise StartError("no command specified", "CreateContainerError")
        program = self.programs.get(argv[0].rpartition("/")[2]) or self.programs.get("*")
        if program is None and "/" in argv[0]:
            raise StartError(f'exec: "{argv[0]}": stat {argv[0]}: no such file or directory')
        if program is None:
            raise StartError(f'exec: "{argv[0]}": executable file not found in $PATH')
        process = FakeProcess(
            argv=argv,
            env=env,
            spec=spec,
            stdin=memory_reader(),
            stdout=memory_reader(),
            stderr=memory_reader(),
            ended=asyncio.get_running_loop().create_future(),
            tty=tty,
        )

        async def work() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                try:
                    process.exit(await program(process))
                finally:
                    process.exit(255)

        task = asyncio.get_running_loop().create_task(work(), name=f"fake {argv[0]} {spec.id}")
        process.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return process


def _into(process: FakeProcess) -> asyncio.StreamWriter:
    return memory_writer(process.stdin.feed_data, process.stdin.feed_eof)
