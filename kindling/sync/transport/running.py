"""A command that an agent runs in the container, with its output line by line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from kindling.kube.errors import TimeLimitError
from kindling.sync.agent import frames
from kindling.sync.agent.protocol import encode
from kindling.sync.protocol import CannotCarryError
from kindling.sync.transport.channel import SILENCE_LIMIT, Channel, Replies
from kindling.sync.transport.trouble import LINKS, MISSING, NOT_A_FOLDER, text_of

__all__ = ["Lines", "run", "silently"]

_KILL = 9
_LINE_MOST = 64 * 1024
"""A line without an end is told in parts of this size."""


class Lines:
    """Bytes that come in pieces, as lines for people."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._held = b""

    def feed(self, data: bytes) -> None:
        *whole, self._held = (self._held + data).split(b"\n")
        for line in whole:
            self._say(line)
        if len(self._held) > _LINE_MOST:
            self.end()

    def end(self) -> None:
        """Tell what came after the last newline."""
        if self._held:
            self._say(self._held)
        self._held = b""

    def _say(self, line: bytes) -> None:
        self._tell(line.decode("utf-8", "replace").rstrip("\r"))


async def run(
    channel: Channel,
    argv: Sequence[str],
    folder: str,
    variables: Mapping[str, str],
    log: Callable[[str], None] | None,
    timeout: float,
) -> int:
    """See `Link.run`. The caller lets no other command run meanwhile, and `folder` is a place
    without links on its way."""
    lines = {stream: Lines(log or silently) for stream in (1, 2)}
    async with channel.asking() as replies:
        request = frames.Run(
            replies.ident,
            tuple(_bytes(word) for word in argv),
            _bytes(folder.strip("/")),
            tuple(_bytes(f"{name}={value}") for name, value in variables.items()),
        )
        first = await channel.ask(request, replies)
        if isinstance(first, frames.Refused):
            raise _refused(first, argv, folder, channel.name)
        assert isinstance(first, frames.Started)
        ended = False
        try:
            async with asyncio.timeout(timeout):
                while isinstance(
                    frame := await replies.next(timeout + SILENCE_LIMIT), frames.Output
                ):
                    lines[frame.stream].feed(frame.payload)
            ended = True
        except TimeoutError as error:
            raise TimeLimitError(
                f"`{' '.join(argv)}` in {channel.name} did not end within {timeout:.0f} s; "
                "it was stopped"
            ) from error
        finally:
            if not ended:
                await asyncio.shield(_stop(channel, replies, first.pid))
        assert isinstance(frame, frames.Exited)
        for held in lines.values():
            held.end()
        return frame.code


async def _stop(channel: Channel, replies: Replies, pid: int) -> None:
    """Kill the command with all that it started, and wait until the agent has noticed."""
    if channel.lost:
        return
    async with channel.turn:
        await channel.write(encode(frames.Signal(replies.ident, -pid, _KILL)))
    while not isinstance(await replies.next(), frames.Exited):
        pass


def _refused(
    refused: frames.Refused, argv: Sequence[str], folder: str, name: str
) -> CannotCarryError:
    """Why a command was not started."""
    where = refused.path.decode("utf-8", "replace")
    if where == argv[0]:
        if refused.errno == MISSING:
            return CannotCarryError(
                f"Cannot run `{argv[0]}` in {name}: the image has no such program",
                hint="Run it with a program that the image has, or use another image for "
                "development.",
            )
        return CannotCarryError(f"Cannot run `{argv[0]}` in {name}: {text_of(refused.errno)}")
    if refused.errno in (MISSING, NOT_A_FOLDER, LINKS):
        return CannotCarryError(
            f"Cannot run `{argv[0]}` in {name}: there is no folder `{folder}` to run it in"
        )
    return CannotCarryError(
        f"Cannot run `{argv[0]}` in {name}: {text_of(refused.errno)}", details=[refused.what]
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def silently(line: str) -> None:
    """Nobody hears of it."""
    del line
