"""What the two real runtimes share: what a launcher starts, as the event loop has it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from kindling.cluster.model.streams import ContainerProcess, ExecRequest, TerminalSize
from kindling.cluster.runtime.launch.wire import Message
from kindling.cluster.runtime.link import Link
from kindling.cluster.runtime.process_streams import ProcessStreams
from kindling.cluster.runtime.protocol import (
    Container,
    ContainerExit,
    ContainerSpec,
    Sandbox,
    SandboxSpec,
    StartError,
)

__all__ = ["SpawnedRuntime"]


class SpawnedRuntime:
    """Everything but what a launcher is told at its start and what it makes of a specification."""

    def __init__(self, folder: Path, interpreter: tuple[str, ...] = (sys.executable,)) -> None:
        self._folder = folder
        self._interpreter = interpreter
        self._link: Link | None = None
        self._sandboxes: dict[str, Sandbox] = {}
        self._exits: dict[str, asyncio.Future[ContainerExit]] = {}
        self._numbers = itertools.count(1)
        self._address = ""

    @property
    def node_address(self) -> str:
        return self._address

    @property
    def alive(self) -> bool:
        """Started, and its launcher lives. When somebody has killed it, containers are told as
        killed, and `start` begins anew, without any sandbox."""
        return self._link is not None and self._link.alive

    @property
    def launcher_pid(self) -> int:
        """Of the launcher's guard, whose death is that of all; 0 when there is none."""
        return self._link.pid if self._link is not None and self.alive else 0

    async def lost(self) -> None:
        await self._linked().lost()

    async def _begin(self, config: Message) -> tuple[Message, tuple[int, ...]]:
        if self._link is not None:
            await self._link.close()  # an earlier one that was killed
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / "launcher.log"
        link = Link(log, self._on_exit, self._on_lost, self._interpreter)
        ready, fds = await link.start({**config, "folder": str(self._folder)})
        self._link = link
        self._address = ready["address"]
        return ready, fds

    async def close(self) -> None:
        if self._link is not None:
            await self._link.close()
            self._link = None
        self._on_lost()
        self._sandboxes.clear()

    async def create_sandbox(self, spec: SandboxSpec) -> Sandbox:
        link = self._linked()
        answer, _ = await link.ask(
            {
                "verb": "sandbox",
                "sandbox": spec.id,
                "hostname": spec.hostname,
                "host_network": spec.host_network,
                "shared_pids": spec.shared_pids,
            }
        )
        self._sandboxes[spec.id] = Sandbox(spec.id, answer["address"])
        return self._sandboxes[spec.id]

    async def remove_sandbox(self, sandbox: str) -> None:
        if self._sandboxes.pop(sandbox, None) is None:
            return
        if self._link is not None and self._link.alive:
            with contextlib.suppress(StartError):  # it went, and all sandboxes with it
                await self._link.ask({"verb": "unsandbox", "sandbox": sandbox})

    async def run(self, spec: ContainerSpec) -> Container:
        link = self._linked()
        if not spec.argv:
            raise StartError("no command specified", "CreateContainerError")
        if spec.id in self._exits:
            raise StartError(f"there is a container `{spec.id}` already", "CreateContainerError")
        told = await self._prepare(spec)
        exited = self._expect(spec.id)
        streams: ProcessStreams | None = None
        try:
            streams = ProcessStreams(stdin=spec.stdin, stdout=True, stderr=True, tty=spec.tty)
            answer = await self._launch(
                link,
                {"verb": "run", "key": spec.id, "tty": spec.tty, "spec": told},
                spec.id,
                streams,
            )
        except BaseException:
            self._exits.pop(spec.id, None)
            self._forget(spec.id)
            if streams is not None:
                streams.close()
            await self.discard(spec)
            raise
        assert streams.stdout is not None
        ends = streams.ended
        exited.add_done_callback(lambda _: ends())
        return Container(
            id=spec.id,
            pid=answer["pid"],
            started_at=answer["at"],
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
            wait=lambda: _wait(exited),
            signal=lambda number: self._signal(spec.id, number),
            resize=streams.resize,
            exec=lambda request: self._execute(spec, told, exited, request),
            remove=lambda: self._remove(spec, exited, streams),
        )

    def open_socket(
        self,
        family: socket.AddressFamily,
        kind: socket.SocketKind,
        sandbox: str = "",
    ) -> socket.socket:
        return self._linked().open_socket(family, kind, sandbox)

    # For the two kinds of runtime ----------------------------------------------------------------

    async def _prepare(self, spec: ContainerSpec) -> dict[str, Any]:
        """The specification as the launcher gets it."""
        return {
            "id": spec.id,
            "sandbox": spec.sandbox,
            "folder": str(spec.folder),
            "layers": [str(layer) for layer in spec.root.layers],
            "host": spec.root.host,
            "argv": list(spec.argv),
            "env": [list(row) for row in spec.env],
            "cwd": spec.cwd or "/",
            "user": spec.user,
            "groups": list(spec.groups),
            "mounts": [
                {
                    "target": mount.target,
                    "source": None if mount.source is None else str(mount.source),
                    "read_only": mount.read_only,
                    "size": mount.size,
                }
                for mount in spec.mounts
            ],
            "read_only_root": spec.read_only_root,
            "privileged": spec.privileged,
            "add": list(spec.add_capabilities),
            "drop": list(spec.drop_capabilities),
            "memory": spec.memory,
            "cpus": spec.cpus,
        }

    def _command(self, told: dict[str, Any], request: ExecRequest) -> list[str]:  # noqa: ARG002
        return list(request.command)

    # ---------------------------------------------------------------------------------------------

    def _linked(self) -> Link:
        if self._link is None:
            raise StartError("the runtime has not been started", "CreateContainerError")
        return self._link

    def _expect(self, key: str) -> asyncio.Future[ContainerExit]:
        future: asyncio.Future[ContainerExit] = asyncio.get_running_loop().create_future()
        self._exits[key] = future
        return future

    async def _launch(
        self, link: Link, message: Message, key: str, streams: ProcessStreams
    ) -> Message:
        message = {**message, "streams": streams.names}
        asking = asyncio.create_task(link.ask(message, tuple(streams.far)), name=f"launch {key}")
        try:
            answer, terminal = await asyncio.shield(asking)
        except asyncio.CancelledError:
            # Nobody wants it any more: it must not run on unseen.
            self._signal(key, signal.SIGKILL)
            with contextlib.suppress(StartError):
                _, terminal = await asking
                self._signal(key, signal.SIGKILL)
                for fd in terminal:
                    os.close(fd)
                await _wait(self._exits[key])
            raise
        streams.handed_over()
        await streams.open(terminal)
        return answer

    async def _execute(
        self,
        spec: ContainerSpec,
        told: dict[str, Any],
        container: asyncio.Future[ContainerExit],
        request: ExecRequest,
    ) -> ContainerProcess:
        link = self._linked()
        if container.done():
            raise StartError("container not running", "CreateContainerError")
        if not request.command:
            raise StartError("no command specified", "CreateContainerError")
        key = f"{spec.id}/{next(self._numbers)}"
        exited = self._expect(key)
        streams: ProcessStreams | None = None
        message = {
            "verb": "exec",
            "key": key,
            "container": spec.id,
            "tty": request.tty,
            "argv": self._command(told, request),
        }
        try:
            streams = ProcessStreams(
                stdin=request.stdin,
                stdout=request.stdout,
                stderr=request.stderr,
                tty=request.tty,
            )
            await self._launch(link, message, key, streams)
        except BaseException:
            self._exits.pop(key, None)
            if streams is not None:
                streams.close()
            raise
        made = streams

        async def wait() -> int:
            return (await _wait(exited)).code

        async def end() -> None:
            self._signal(key, signal.SIGKILL)
            await _wait(exited)
            made.close()

        def resize(size: TerminalSize) -> None:
            made.resize(size.width, size.height)

        def forget(_: asyncio.Future[ContainerExit]) -> None:
            self._exits.pop(key, None)
            made.ended()

        exited.add_done_callback(forget)
        return ContainerProcess(
            stdin=made.stdin,
            stdout=made.stdout,
            stderr=made.stderr,
            wait=wait,
            resize=resize,
            end=end,
        )

    def _signal(self, key: str, number: int) -> None:
        if self._link is not None and key in self._exits and not self._exits[key].done():
            self._link.tell({"verb": "signal", "key": key, "number": int(number)})

    async def discard(self, spec: ContainerSpec) -> None:
        """Free the private layer of a container that has ended or never began. Its files may
        belong to users that only the launcher has power over."""
        if self._link is not None and self._link.alive:
            with contextlib.suppress(StartError):  # the launcher went
                await self._link.ask(
                    {"verb": "remove", "container": spec.id, "folder": str(spec.folder)}
                )

    def _forget(self, key: str) -> None:
        """A container was removed."""

    async def _remove(
        self, spec: ContainerSpec, exited: asyncio.Future[ContainerExit], streams: ProcessStreams
    ) -> None:
        self._signal(spec.id, signal.SIGKILL)
        await _wait(exited)
        streams.close()
        if self._exits.get(spec.id) is exited:
            del self._exits[spec.id]
            self._forget(spec.id)
            await self.discard(spec)

    def _on_exit(self, message: Message) -> None:
        future = self._exits.get(message["exit"])
        if future is not None and not future.done():
            future.set_result(
                ContainerExit(message["code"], message["at"], message["signal"], message["oom"])
            )

    def _on_lost(self) -> None:
        """The kernel has killed them all with the launcher."""
        self._sandboxes.clear()
        for future in list(self._exits.values()):
            if not future.done():
                future.set_result(ContainerExit(137, time.time(), signal.SIGKILL))


async def _wait(exited: asyncio.Future[ContainerExit]) -> ContainerExit:
    return await asyncio.shield(exited)
