"""A batch as frames, in pieces of a size that travels well. Runs in a thread: it reads the source.

Many small files go into one piece, so that neither a thread nor a message is needed for each; a
big file is many pieces, so that it is never in memory whole unless it travels as a difference.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from kindling.sync.agent import frames
from kindling.sync.agent.delta import Match, Signature, difference, literal_size
from kindling.sync.agent.protocol import CHUNK, compressed, encode
from kindling.sync.protocol import Contents, SourceChangedError
from kindling.sync.transport.pace import Pace
from kindling.sync.trees.batch import (
    Chmod,
    Delete,
    Link,
    Mkdir,
    Move,
    Operation,
    Put,
    Rmdir,
)
from kindling.sync.trees.manifest import path_bytes

__all__ = ["BIG", "Piece", "Surroundings", "opening", "pieces", "read_file"]

BIG = 256 << 10
"""From this size on it is worth asking what the container has of a file already."""

_PIECE = 512 << 10
_NOTED_MOST = 12 << 20
"""What the agent must note of one batch before it is made visible; it has room for 16 MiB."""
_NOTE = 64
_WHOLE_MOST = 512 << 20
"""A bigger file is not taken into memory to look for what it has in common with the older one."""
_WORTH = 0.9
"""A difference that is nearly as big as the file is more work for nothing."""
_COPIES = 4096
_PREFIX = "sha256:"
_HEADER = struct.Struct("<IBBHI")
_LENGTH = struct.Struct("<I")
_ABOUT = struct.Struct("<IqQI")


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole frames. With `commits`, the last one is a COMMIT whose answer has to be waited for.
    `done` operations of the batch are complete with it."""

    data: bytes
    commits: bool
    last: bool
    done: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the container was found to have before the batch: sums of older versions of big files,
    the modes of files to be moved that hold what they should, and whether its agent takes contents
    deflated; and what is known of the speed of the way there."""

    signatures: Mapping[str, Signature] = field(default_factory=dict[str, Signature])
    movable: Mapping[str, int] = field(default_factory=dict[str, int])
    deflates: bool = False
    pace: Pace = field(default_factory=Pace)


def opening(operations: Sequence[Operation]) -> int:
    """How many of the first operations open folders for the time of the batch. They have to be
    visible before anything can be staged in those folders."""
    count = 0
    while count < len(operations) and isinstance(operations[count], Chmod):
        count += 1
    return count if count < len(operations) else 0


def pieces(
    operations: Sequence[Operation],
    contents: Contents,
    ident: int,
    around: Surroundings,
) -> Generator[Piece, None, None]:
    """The batch, ended by a COMMIT. All frames bear one id.

    Raises:
        SourceChangedError: A file is not what the batch says. What was given out so far is to be
            aborted.
    """
    held = bytearray()
    noted = 0
    first = opening(operations)
    last = len(operations)
    for done, operation in enumerate(operations, 1):
        for data in _frames(operation, contents, ident, around):
            held += data
            if len(held) >= _PIECE:
                yield Piece(bytes(held), commits=False, last=False, done=done - 1)
                held.clear()
        noted += _NOTE + len(operation.path) * 4
        if (done == first or noted > _NOTED_MOST) and done < last:
            held += encode(frames.Commit(ident))
            yield Piece(bytes(held), commits=True, last=False, done=done)
            held.clear()
            noted = 0
    held += encode(frames.Commit(ident))
    yield Piece(bytes(held), commits=True, last=True, done=last)


def read_file(path: Path) -> bytes:
    """A regular file, whole. Raises `OSError`."""
    handle = _open(path)
    try:
        return _rest(handle, os.fstat(handle).st_size)
    finally:
        os.close(handle)


def _frames(
    operation: Operation, contents: Contents, ident: int, around: Surroundings
) -> Iterator[bytes]:
    path = path_bytes(operation.path)
    match operation:
        case Put():
            yield from _put(operation, contents, ident, around)
        case Move(source, _, mode, digest):
            held = around.movable.get(source)
            if held is None:
                yield from _put(Put(operation.path, mode, digest), contents, ident, around)
                yield encode(frames.Delete(ident, path_bytes(source), missing_ok=True))
                return
            if held != mode:
                yield encode(frames.Chmod(ident, path_bytes(source), mode))
            yield encode(frames.Rename(ident, path_bytes(source), path))
        case Mkdir(_, mode):
            yield encode(frames.Mkdir(ident, path, mode, parents=True))
        case Link(_, target):
            yield encode(frames.Symlink(ident, path, path_bytes(target)))
        case Chmod(_, mode):
            yield encode(frames.Chmod(ident, path, mode))
        case Delete():
            yield encode(frames.Delete(ident, path, missing_ok=True))
        case Rmdir():
            yield encode(frames.Rmdir(ident, path, if_empty=True))


def _put(put: Put, contents: Contents, ident: int, around: Surroundings) -> Iterator[bytes]:
    try:
        handle = _open(contents.file(put.path))
    except OSError as error:
        raise SourceChangedError(put.path) from error
    try:
        size = os.fstat(handle).st_size
        if put.size is not None and put.size != size:
            raise SourceChangedError(put.path)
        older = around.signatures.get(put.path)
        deflate = around.deflates
        if size <= CHUNK:
            yield _small(put, _rest(handle, size), ident, deflate)
        elif older is not None and size <= _WHOLE_MOST:
            search = around.pace.search_most(size)
            yield from _different(put, _rest(handle, size), ident, older, deflate, search)
        else:
            yield from _streamed(put, handle, size, ident, deflate)
    except OSError as error:
        raise SourceChangedError(put.path) from error
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    """The file for reading; a pipe in its place is not waited for.

    Raises:
        OSError: It cannot be read, or is no regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{path} is no regular file")
    return handle


def _rest(handle: int, size: int) -> bytes:
    """All of a file that was seen to have `size` bytes; up to one more shows that it has grown."""
    content = os.read(handle, size + 1)
    while len(content) <= size and (more := os.read(handle, size + 1 - len(content))):
        content += more
    return content


def _checked(put: Put, digest: bytes) -> bytes:
    if put.digest and put.digest != _PREFIX + digest.hex():
        raise SourceChangedError(put.path)
    return digest


def _small(put: Put, content: bytes, ident: int, deflate: bool) -> bytes:
    """A file in one go: what `encode` makes of PUT, DATA and PUT_END. There are thousands of them
    in a first copy."""
    digest = _checked(put, sha256(content).digest())
    path = path_bytes(put.path)
    about = _ABOUT.pack(put.mode, frames.KEEP_TIME, len(content), 0)
    parts = [
        _HEADER.pack(4 + len(path) + len(about), frames.Put.TYPE, 0, 0, ident),
        _LENGTH.pack(len(path)),
        path,
        about,
    ]
    if content:
        parts.append(_data(ident, content, deflate))
    parts += (_HEADER.pack(len(digest), frames.PutEnd.TYPE, 0, 0, ident), digest)
    return b"".join(parts)


def _streamed(put: Put, handle: int, size: int, ident: int, deflate: bool) -> Iterator[bytes]:
    yield encode(frames.Put(ident, path_bytes(put.path), put.mode, frames.KEEP_TIME, size))
    sums = sha256()
    left = size
    while left and (content := os.read(handle, min(CHUNK, left))):
        sums.update(content)
        left -= len(content)
        yield _data(ident, content, deflate)
    if left or os.read(handle, 1):
        raise SourceChangedError(put.path)
    yield encode(frames.PutEnd(ident, _checked(put, sums.digest())))


def _different(
    put: Put, content: bytes, ident: int, older: Signature, deflate: bool, search_most: int
) -> Iterator[bytes]:
    digest = _checked(put, sha256(content).digest())
    path = path_bytes(put.path)
    parts = difference(content, older, search_most=search_most)
    if literal_size(parts) > _WORTH * len(content):
        yield encode(frames.Put(ident, path, put.mode, frames.KEEP_TIME, len(content)))
        for at in range(0, len(content), CHUNK):
            yield _data(ident, content[at : at + CHUNK], deflate)
        yield encode(frames.PutEnd(ident, digest))
        return
    yield encode(frames.Put(ident, path, put.mode, frames.KEEP_TIME, len(content), path))
    copies: list[tuple[int, int]] = []
    for part in parts:
        if isinstance(part, Match):
            copies.append((part.offset, part.size))
            if len(copies) < _COPIES:
                continue
        if copies:
            yield encode(frames.Copy(ident, tuple(copies)))
            copies.clear()
        if not isinstance(part, Match):
            for at in range(part.start, part.end, CHUNK):
                yield _data(ident, content[at : min(at + CHUNK, part.end)], deflate)
    if copies:
        yield encode(frames.Copy(ident, tuple(copies)))
    yield encode(frames.PutEnd(ident, digest))


def _data(ident: int, content: bytes, deflate: bool) -> bytes:
    """A frame of contents, deflated where that pays."""
    if deflate:
        data = compressed(frames.Data(ident, content))
        if data.deflated:
            return encode(data)
    return _HEADER.pack(len(content), frames.Data.TYPE, 0, 0, ident) + content
