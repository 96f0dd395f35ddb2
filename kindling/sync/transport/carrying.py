"""One batch over one channel: what the container has is asked first where it saves bytes, then
everything is staged, then made visible."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Sequence
from dataclasses import replace

from kindling.errors import ClusterError
from kindling.sync.agent import frames
from kindling.sync.agent.delta import Signature, block_size
from kindling.sync.agent.protocol import encode
from kindling.sync.protocol import Contents, LinkLostError, Sent, SourceChangedError
from kindling.sync.transport.channel import Channel, Replies
from kindling.sync.transport.listing import digest_text
from kindling.sync.transport.pace import Pace
from kindling.sync.transport.sending import BIG, Piece, Surroundings, opening, pieces
from kindling.sync.transport.trouble import CROSSES, error_of
from kindling.sync.trees.batch import Batch, Chmod, Delete, Move, Operation, Put
from kindling.sync.trees.manifest import path_bytes

__all__ = ["carry"]


class _CrossingError(Exception):
    """A file could not be moved, since its new place is on another file system."""

    def __init__(self, source: bytes) -> None:
        super().__init__(source)
        self.source = source


async def carry(
    channel: Channel, agent: frames.Welcome, batch: Batch, contents: Contents, pace: Pace
) -> Sent:
    """See `Link.apply`. The caller lets no other batch in between. `pace` is the link's, and learns
    from this batch."""
    uid = agent.uid
    began = time.perf_counter()
    operations: Sequence[Operation] = batch.operations
    size = 0
    if operations:
        around, sizes = await _look(channel, agent, operations, contents, pace)
        try:
            try:
                sending = time.perf_counter()
                size += await _send(channel, uid, operations, contents, around)
                if not around.signatures:
                    pace.took(sizes, time.perf_counter() - sending)
            except _CrossingError as crossing:
                rest = _without_moves(operations, crossing.source)
                size += await _send(channel, uid, rest, contents, replace(around, movable={}))
        except (ClusterError, SourceChangedError) as error:
            if not isinstance(error, LinkLostError):
                await _close_again(channel, operations)
            raise
    return Sent(len(batch), size, time.perf_counter() - began)


async def _look(
    channel: Channel,
    agent: frames.Welcome,
    operations: Sequence[Operation],
    contents: Contents,
    pace: Pace,
) -> tuple[Surroundings, list[int]]:
    """What the container has of big files, and whether what is to be moved is what it should be;
    and the sizes of all files."""
    moves = {one.source: one.digest for one in operations if isinstance(one, Move)}
    puts = [one for one in operations if isinstance(one, Put)]
    unknown = [one.path for one in puts if one.size is None]
    asked = await asyncio.to_thread(_sizes, contents, unknown) if unknown else {}
    sizes = [asked.get(put.path, 0) if put.size is None else put.size for put in puts]
    big = [
        (put.path, block_size(size)) for put, size in zip(puts, sizes, strict=True) if size > BIG
    ]
    around = Surroundings(
        await _signatures(channel, big) if big else {},
        await _movable(channel, moves) if moves else {},
        bool(agent.features & frames.Feature.INFLATE),
        pace,
    )
    return around, sizes


def _sizes(contents: Contents, places: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for place in places:
        try:
            found[place] = contents.file(place).stat().st_size
        except OSError as error:
            raise SourceChangedError(place) from error
    return found


async def _signatures(channel: Channel, big: Sequence[tuple[str, int]]) -> dict[str, Signature]:
    """The sums of those files that are there and can be read."""
    found: dict[str, Signature] = {}
    async with channel.asking() as replies:
        asked = [encode(frames.Sums(replies.ident, path_bytes(p), block)) for p, block in big]
        async with channel.turn:
            await channel.write(b"".join(asked))
        for path, block in big:
            sums: list[tuple[int, bytes]] = []
            while not isinstance(frame := await replies.next(), frames.BlocksEnd | frames.Refused):
                if isinstance(frame, frames.Blocks):
                    sums += frame.sums
            if isinstance(frame, frames.BlocksEnd) and frame.size:
                found[path] = Signature(frame.size, block, tuple(sums))
    return found


async def _movable(channel: Channel, moves: dict[str, str]) -> dict[str, int]:
    """The modes of those files that hold what they should."""
    found: dict[str, int] = {}
    async with channel.asking() as replies:
        places = tuple(path_bytes(path) for path in moves)
        frame = await channel.ask(frames.Tree(replies.ident, places), replies)
        while isinstance(frame, frames.Entries):
            for entry in frame.entries:
                path = entry.path.decode("utf-8", "surrogateescape")
                if entry.kind is frames.Kind.FILE and moves.get(path) == digest_text(entry.digest):
                    found[path] = entry.mode & 0o777
            frame = await replies.next()
    return found


async def _send(
    channel: Channel,
    uid: int,
    operations: Sequence[Operation],
    contents: Contents,
    around: Surroundings,
) -> int:
    """Stage and commit; the number of bytes that were written."""
    async with channel.asking() as replies:
        source = pieces(operations, contents, replies.ident, around)
        size = 0
        whole = False
        async with channel.turn:
            coming = _next(source)
            try:
                while True:
                    # A thread cannot be cancelled: it is waited for below.
                    piece = await asyncio.shield(coming)
                    if not piece.commits:
                        coming = _next(source)
                    size += await channel.write(piece.data)
                    if piece.commits:
                        await _committed(replies, channel.name, uid)
                        if piece.last:
                            whole = True
                            return size
                        coming = _next(source)
                    elif isinstance(early := replies.waiting(), frames.Refused):
                        raise error_of([early], channel.name, uid)
            except (ClusterError, SourceChangedError) as error:
                if not isinstance(error, LinkLostError):
                    await _abort(channel, replies)
                whole = True
                raise
            except _CrossingError:
                whole = True
                raise
            finally:
                if not whole:
                    channel.lose("a batch was broken off in its middle")
                await asyncio.wait((coming,))
                source.close()


def _next(source: Generator[Piece, None, None]) -> asyncio.Task[Piece]:
    return asyncio.create_task(asyncio.to_thread(next, source), name="read the source")


async def _committed(replies: Replies, name: str, uid: int) -> None:
    """Wait for the answer to a COMMIT; raise what was refused."""
    refused: list[frames.Refused] = []
    while not isinstance(frame := await replies.next(), frames.Committed):
        if isinstance(frame, frames.Refused):
            refused.append(frame)
    if refused and refused[0].errno == CROSSES:
        raise _CrossingError(refused[0].path)
    if refused:
        raise error_of(refused, name, uid)


async def _abort(channel: Channel, replies: Replies) -> None:
    """Let the agent forget the batch; until it says so, older answers may come."""
    await channel.write(encode(frames.Abort(replies.ident)))
    while not isinstance(await replies.next(), frames.Ok):
        pass


def _without_moves(operations: Sequence[Operation], source: bytes) -> list[Operation]:
    """What is left to do from that move on, with files put in place of being moved."""
    rest: list[Operation] = []
    found = False
    for one in operations:
        if isinstance(one, Move):
            found = found or path_bytes(one.source) == source
            if found:
                rest += (Put(one.path, one.mode, one.digest), Delete(one.source))
        elif found:
            rest.append(one)
    return rest


async def _close_again(channel: Channel, operations: Sequence[Operation]) -> None:
    """A batch that failed leaves no folder open that it had opened for its own sake."""
    opened = {one.path for one in operations[: opening(operations)]}
    closing = [one for one in operations[len(opened) :] if isinstance(one, Chmod)]
    modes = [one for one in closing if one.path in opened]
    if not modes:
        return
    async with channel.asking() as replies:
        async with channel.turn:
            await channel.send(
                *(frames.Chmod(replies.ident, path_bytes(one.path), one.mode) for one in modes),
                frames.Commit(replies.ident, lenient=True),
            )
        while not isinstance(await replies.next(), frames.Committed):
            pass
