"""A link to a container in which our agent runs."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256

from kindling.errors import ClusterError
from kindling.kube.protocol import ExecStream
from kindling.sync.agent import frames
from kindling.sync.protocol import (
    CannotCarryError,
    Contents,
    LinkLostError,
    NoRoomError,
    Process,
    Sent,
)
from kindling.sync.transport.carrying import carry
from kindling.sync.transport.channel import Channel
from kindling.sync.transport.listing import manifest
from kindling.sync.transport.pace import Pace
from kindling.sync.transport.running import run
from kindling.sync.transport.signals import number_of
from kindling.sync.transport.trouble import (
    LINKS,
    MISSING,
    NO_PROCESS,
    NOT_A_FOLDER,
    error_of,
    text_of,
)
from kindling.sync.trees.batch import Batch
from kindling.sync.trees.manifest import TreeManifest, above, path_bytes

__all__ = ["AgentLink"]

_MACHINES = {frames.Arch.X86_64: "x86_64", frames.Arch.AARCH64: "aarch64"}
_CONNECTION_REFUSED = 111
_PATIENCE = 30.0
"""How long beyond its grace a restart may take, on a node that is busy."""


class AgentLink:
    """`kindling.sync.protocol.Link` over frames; that Protocol documents the methods. Make it with
    `open`."""

    def __init__(self, channel: Channel, welcome: frames.Welcome) -> None:
        self._channel = channel
        self._welcome = welcome
        self._pace = Pace()
        self._batches = asyncio.Lock()
        self._commands = asyncio.Lock()

    @classmethod
    async def open(cls, stream: ExecStream, name: str) -> AgentLink:
        """Greet the agent at the other end of `stream`; `name` is how messages call the container.
        The stream is the link's from now on, and closed when this fails.

        Raises:
            LinkLostError: There is no agent of our version at the other end.
        """
        return cls(*await Channel.open(stream, name))

    @property
    def machine(self) -> str:
        return _MACHINES[self._welcome.arch]

    @property
    def way(self) -> str:
        return "agent"

    @property
    def uid(self) -> int:
        """The user that the agent runs as."""
        return self._welcome.uid

    @property
    def pid(self) -> int:
        """The agent's own process."""
        return self._welcome.pid

    async def resolve(self, place: str) -> str:
        async with self._channel.asking() as replies:
            request = frames.Resolve(replies.ident, path_bytes(place))
            frame = await self._channel.ask(request, replies)
        if isinstance(frame, frames.Refused):
            raise self._error(frame)
        assert isinstance(frame, frames.Text)
        return frame.payload.decode("utf-8", "surrogateescape")

    async def tree(self, places: Sequence[str], skip: Collection[str] = ()) -> TreeManifest:
        subtrees = tuple(path_bytes(place) for place in places)
        names = tuple(path_bytes(name) for name in skip)
        entries = await self._list(subtrees, names)
        # A place below something that is no folder: what is there instead is part of the answer.
        hidden = {
            up
            for entry in entries
            if entry.kind is frames.Kind.UNKNOWN and entry.error in (NOT_A_FOLDER, LINKS)
            for up in above(entry.path.decode("utf-8", "surrogateescape"))
        }
        if hidden:
            wanted = {path_bytes(path) for path in hidden}
            folders = {path_bytes(posixpath.dirname(path)) for path in hidden}
            around = await self._list(tuple(sorted(folders)), (), one_level=True)
            entries += [entry for entry in around if entry.path in wanted]
        return manifest(entries)

    async def apply(self, batch: Batch, contents: Contents) -> Sent:
        async with self._batches:
            return await carry(self._channel, self._welcome, batch, contents, self._pace)

    async def try_out(self, place: str) -> None:
        # Staged as any other, and taken away again.
        refused: list[frames.Refused] = []
        async with self._batches, self._channel.asking() as replies:
            ident, path = replies.ident, path_bytes(place)
            async with self._channel.turn:
                await self._channel.send(
                    frames.Put(ident, path, 0o600, frames.KEEP_TIME, 0),
                    frames.PutEnd(ident, sha256().digest()),
                    frames.Abort(ident),
                )
            while not isinstance(frame := await replies.next(), frames.Ok):
                if isinstance(frame, frames.Refused):
                    refused.append(frame)
        if refused:
            error = error_of(refused, self._channel.name, self.uid)
            if isinstance(error, CannotCarryError) and not isinstance(error, NoRoomError):
                raise error

    async def run(
        self,
        argv: Sequence[str],
        *,
        folder: str = "/",
        variables: Mapping[str, str] | None = None,
        log: Callable[[str], None] | None = None,
        timeout: float = 600.0,
    ) -> int:
        async with self._commands:
            place = await self.resolve(folder.strip("/"))
            return await run(self._channel, argv, place, variables or {}, log, timeout)

    async def read(self, path: str, most: int = 1 << 20) -> bytes | None:
        found = b""
        while len(found) < most:
            async with self._channel.asking() as replies:
                wanted = min(most - len(found), frames.READ_MOST)
                request = frames.Read(replies.ident, path_bytes(path), len(found), wanted)
                frame = await self._channel.ask(request, replies)
            if not isinstance(frame, frames.Text):
                return None
            found += frame.payload
            if len(frame.payload) < wanted:
                break
        return found

    async def processes(self) -> tuple[Process, ...]:
        found: list[Process] = []
        async with self._channel.asking() as replies:
            frame = await self._channel.ask(frames.Processes(replies.ident), replies)
            while isinstance(frame, frames.ProcessEntries):
                found += map(_process, frame.entries)
                frame = await replies.next()
        if isinstance(frame, frames.Refused):
            raise self._error(frame)
        return tuple(found)

    async def signal(self, pid: int, name: str) -> None:
        number = number_of(name)
        async with self._channel.asking() as replies:
            frame = await self._channel.ask(frames.Signal(replies.ident, pid, number), replies)
        if isinstance(frame, frames.Refused):
            hint = ""
            if frame.errno != NO_PROCESS:
                hint = f"The agent runs as user {self.uid}, and the process as another."
            raise ClusterError(
                f"Cannot send SIG{name.upper().removeprefix('SIG')} to process {pid} in "
                f"{self._channel.name}: {text_of(frame.errno)}",
                hint=hint,
            )

    async def status(self) -> frames.Status | None:
        if not self._welcome.features & frames.Feature.CONTROL:
            return None
        frame = await self._control(frames.Command.STATUS, 0, 0.0)
        if isinstance(frame, frames.Status):
            return frame
        if frame.errno in (MISSING, _CONNECTION_REFUSED):
            return None
        raise self._supervisor_error(frame)

    async def restart(self, name: str = "TERM", grace: float = 10.0) -> frames.Status:
        frame = await self._control(frames.Command.RESTART, number_of(name), grace)
        if isinstance(frame, frames.Status):
            return frame
        raise self._supervisor_error(frame)

    async def close(self) -> None:
        await self._channel.close()

    async def _list(
        self, subtrees: tuple[bytes, ...], skip: tuple[bytes, ...], *, one_level: bool = False
    ) -> list[frames.Entry]:
        found: list[frames.Entry] = []
        async with self._channel.asking() as replies:
            request = frames.Tree(replies.ident, subtrees, skip, True, one_level)
            frame = await self._channel.ask(request, replies)
            while isinstance(frame, frames.Entries):
                found += frame.entries
                frame = await replies.next()
        if isinstance(frame, frames.Refused):
            raise self._error(frame)
        return found

    async def _control(
        self, command: frames.Command, number: int, grace: float
    ) -> frames.Status | frames.Refused:
        async with self._channel.asking() as replies:
            request = frames.Control(replies.ident, command, number, round(grace * 1000))
            frame = await self._channel.ask(request, replies, grace + _PATIENCE)
        if isinstance(frame, frames.Status | frames.Refused):
            return frame
        raise LinkLostError(f"The sync agent in {self._channel.name} answered something else")

    def _error(self, refused: frames.Refused) -> ClusterError:
        return error_of([refused], self._channel.name, self.uid)

    def _supervisor_error(self, refused: frames.Refused) -> ClusterError:
        if refused.errno in (MISSING, _CONNECTION_REFUSED):
            text = "nothing supervises its program"
        else:
            text = text_of(refused.errno)
        return ClusterError(
            f"Cannot restart the program in {self._channel.name}: {text}", details=[refused.what]
        )


def _process(entry: frames.ProcessEntry) -> Process:
    return Process(
        entry.pid,
        entry.parent,
        entry.started,
        entry.image.decode("utf-8", "surrogateescape"),
        tuple(word.decode("utf-8", "surrogateescape") for word in entry.argv),
        entry.exe.decode("utf-8", "surrogateescape"),
    )
