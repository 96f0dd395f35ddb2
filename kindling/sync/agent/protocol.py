"""How the frames of kindling and its agent are written and read. Pure: bytes in, frames out.

PROTOCOL.md has the same as a text; `source/wire.h` is the other side's.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import TypeVar, cast

from kindling.sync.agent.frames import (
    Abort,
    Arch,
    Blocks,
    BlocksEnd,
    Chmod,
    Cmdline,
    Command,
    Commit,
    Committed,
    Control,
    Copy,
    Data,
    Delete,
    Entries,
    Entry,
    Exited,
    Frame,
    Hello,
    Kind,
    Mkdir,
    Ok,
    Output,
    Ping,
    Pong,
    ProcessEntries,
    ProcessEntry,
    Processes,
    ProcessesEnd,
    Put,
    PutEnd,
    Read,
    Refused,
    Rename,
    Resolve,
    Rmdir,
    Rmtree,
    Run,
    Signal,
    Started,
    Status,
    Sums,
    Symlink,
    Text,
    Tree,
    TreeEnd,
    Welcome,
)

__all__ = [
    "BODY_MOST",
    "CHUNK",
    "HEADER",
    "MAGIC",
    "TEMPORARY",
    "Decoder",
    "ProtocolError",
    "compressed",
    "decode",
    "digest",
    "encode",
]

MAGIC = 0x4C444E4B
BODY_MOST = 1 << 20
CHUNK = 256 << 10
"""How much of a file goes into one frame of its contents: as big as is quick, small enough that
what runs meanwhile is heard."""
TEMPORARY = b".kindling-tmp-"
"""How the agent's own names begin. No path of a tree may have a component like it."""

_HEADER = struct.Struct("<IBBHI")
HEADER = _HEADER.size
_FLAG = 1
_DEFLATED = 0x80
_DIGEST = 32
_PAYS_FROM = 512
_SAMPLE = 4 << 10
_BLOCK = struct.Struct("<I16s")
_ENTRY = struct.Struct("<BIIQq32s")
_PROCESS = struct.Struct("<IIQ")


class ProtocolError(Exception):
    """Bytes that are no frame of this protocol. Nothing after them can be read."""


class _Reader:
    """The fields of one body, in order."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise ProtocolError("a frame ends inside one of its fields")
        self._at += size
        return self._body[self._at - size : self._at]

    def number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)

    def text(self) -> bytes:
        return self.take(self.number(4))

    def texts(self) -> tuple[bytes, ...]:
        # No list is longer than its frame has room for lengths.
        count = self.number(4)
        if count > self.left // 4:
            raise ProtocolError("a frame ends inside one of its fields")
        return tuple(self.text() for _ in range(count))

    def end(self) -> None:
        if self.left:
            raise ProtocolError("a frame has bytes after its last field")


def _text(value: bytes) -> bytes:
    return len(value).to_bytes(4, "little") + value


def _texts(values: tuple[bytes, ...]) -> bytes:
    return len(values).to_bytes(4, "little") + b"".join(map(_text, values))


def _entry(entry: Entry) -> bytes:
    head = _ENTRY.pack(entry.kind, entry.error, entry.mode, entry.size, entry.mtime, entry.digest)
    return head + _text(entry.path) + _text(entry.target)


def _take_entry(reader: _Reader) -> Entry:
    kind, error, mode, size, mtime, content = _ENTRY.unpack(reader.take(_ENTRY.size))
    return Entry(
        _member(Kind, kind), error, mode, size, mtime, content, reader.text(), reader.text()
    )


def _process(entry: ProcessEntry) -> bytes:
    head = _PROCESS.pack(entry.pid, entry.parent, entry.started)
    return head + b"".join(map(_text, (entry.image, entry.command, entry.exe)))


def _take_process(reader: _Reader) -> ProcessEntry:
    pid, parent, started = _PROCESS.unpack(reader.take(_PROCESS.size))
    return ProcessEntry(pid, parent, started, reader.text(), reader.text(), reader.text())


_Member = TypeVar("_Member", bound=IntEnum)


def _member(kind: type[_Member], value: int) -> _Member:
    try:
        return kind(value)
    except ValueError:
        raise ProtocolError(f"{value} is no {kind.__name__} that is known") from None


def _boolean(value: int) -> bool:
    if value > 1:
        raise ProtocolError("a truth value is neither 0 nor 1")
    return bool(value)


@dataclass(frozen=True, slots=True)
class _Field:
    """How one field of a frame is written and read."""

    write: Callable[[object], bytes]
    read: Callable[[_Reader], object]


def _number(size: int, *, signed: bool = False) -> _Field:
    return _Field(
        lambda value: cast(int, value).to_bytes(size, "little", signed=signed),
        lambda reader: reader.number(size, signed=signed),
    )


def _repeat(write: Callable[[object], bytes], read: Callable[[_Reader], object]) -> _Field:
    """A list that fills the rest of the body."""

    def read_all(reader: _Reader) -> object:
        found: list[object] = []
        while reader.left:
            found.append(read(reader))
        return tuple(found)

    return _Field(
        lambda values: b"".join(write(value) for value in cast(tuple[object, ...], values)),
        read_all,
    )


_U8, _U16, _U32, _U64 = (_number(size) for size in (1, 2, 4, 8))
_I32, _I64 = (_number(size, signed=True) for size in (4, 8))
_TEXT = _Field(lambda value: _text(cast(bytes, value)), _Reader.text)
_TEXTS = _Field(lambda value: _texts(cast("tuple[bytes, ...]", value)), _Reader.texts)
_REST = _Field(lambda value: cast(bytes, value), lambda reader: reader.take(reader.left))
_HASH = _Field(lambda value: _sized(cast(bytes, value)), lambda reader: reader.take(_DIGEST))
_BOOL = _Field(lambda value: b"\1" if value else b"\0", lambda reader: _boolean(reader.number(1)))
_STATE = _Field(
    lambda value: int(cast(bool, value)).to_bytes(4, "little"),
    lambda reader: _boolean(reader.number(4)),
)
_WORDS = _Field(
    lambda value: _text(cast(str, value).encode()),
    lambda reader: reader.text().decode("utf-8", "replace"),
)
_PIECES = _repeat(
    lambda pair: struct.pack("<QQ", *cast("tuple[int, int]", pair)),
    lambda reader: struct.unpack("<QQ", reader.take(16)),
)
_BLOCKS = _repeat(
    lambda pair: _BLOCK.pack(*cast("tuple[int, bytes]", pair)),
    lambda reader: _BLOCK.unpack(reader.take(_BLOCK.size)),
)
_ENTRIES = _repeat(lambda entry: _entry(cast(Entry, entry)), _take_entry)
_PROCESSES = _repeat(lambda entry: _process(cast(ProcessEntry, entry)), _take_process)
_COMMAND = _Field(
    lambda value: bytes([cast(Command, value)]),
    lambda reader: _member(Command, reader.number(1)),
)
_ARCH = _Field(
    lambda value: bytes([cast(Arch, value)]), lambda reader: _member(Arch, reader.number(1))
)


def _sized(value: bytes) -> bytes:
    if len(value) != _DIGEST:
        raise ValueError(f"a digest has {_DIGEST} bytes, not {len(value)}")
    return value


_LAYOUTS: dict[type[Frame], dict[str, _Field]] = {
    Hello: {"version": _U16},
    Ping: {"payload": _REST},
    Put: {"path": _TEXT, "mode": _U32, "mtime": _I64, "size": _U64, "basis": _TEXT},
    Data: {"payload": _REST},
    Copy: {"pieces": _PIECES},
    PutEnd: {"digest": _HASH},
    Delete: {"path": _TEXT},
    Rename: {"path": _TEXT, "to": _TEXT},
    Mkdir: {"path": _TEXT, "mode": _U32},
    Rmtree: {"path": _TEXT},
    Symlink: {"path": _TEXT, "target": _TEXT},
    Chmod: {"path": _TEXT, "mode": _U32},
    Rmdir: {"path": _TEXT},
    Commit: {},
    Abort: {},
    Tree: {"subtrees": _TEXTS, "skip": _TEXTS},
    Sums: {"path": _TEXT, "block": _U32},
    Signal: {"pid": _I32, "signal": _U32},
    Run: {"cwd": _TEXT, "argv": _TEXTS, "environment": _TEXTS},
    Control: {"command": _COMMAND, "signal": _U8, "grace_ms": _U32},
    Cmdline: {"pid": _U32},
    Resolve: {"path": _TEXT},
    Read: {"path": _TEXT, "offset": _U64, "most": _U32},
    Processes: {},
    Welcome: {
        "version": _U16,
        "arch": _ARCH,
        "alone": _BOOL,
        "features": _U32,
        "body_most": _U32,
        "pid": _U32,
        "uid": _U32,
        "cleaned": _U32,
    },
    Pong: {"payload": _REST},
    Ok: {},
    Refused: {"errno": _U32, "path": _TEXT, "what": _WORDS},
    Committed: {"done": _U32, "failed": _U32, "skipped": _U32},
    Entries: {"entries": _ENTRIES},
    TreeEnd: {"count": _U32, "errors": _U32},
    Blocks: {"sums": _BLOCKS},
    BlocksEnd: {"size": _U64, "digest": _HASH},
    Started: {"pid": _U32},
    Output: {"stream": _U8, "payload": _REST},
    Exited: {"code": _I32},
    Status: {"pid": _U32, "generation": _U32, "last": _I32, "running": _STATE},
    Text: {"payload": _REST},
    ProcessEntries: {"entries": _PROCESSES},
    ProcessesEnd: {"count": _U32},
}
_BY_TYPE = {frame.TYPE: frame for frame in _LAYOUTS}
_FLAGGED: dict[type[Frame], tuple[str, int]] = {
    Data: ("deflated", _DEFLATED),
    Delete: ("missing_ok", _FLAG),
    Rmtree: ("missing_ok", _FLAG),
    Rmdir: ("if_empty", _FLAG),
    Mkdir: ("parents", _FLAG),
    Commit: ("lenient", _FLAG),
    Read: ("target", _FLAG),
}
"""Frames whose header has a flag: the field that it is, and its bit."""
_GREETS = (Hello, Welcome)
"""Their bodies begin with MAGIC."""


def encode(frame: Frame) -> bytes:
    """The bytes of one frame.

    Raises:
        ValueError: The frame is longer than one may be, or a number does not fit.
    """
    kind = type(frame)
    try:
        body = b"".join(field.write(getattr(frame, name)) for name, field in _LAYOUTS[kind].items())
    except (OverflowError, struct.error) as error:
        raise ValueError(f"a number in {kind.__name__} does not fit: {error}") from error
    if kind in _GREETS:
        body = MAGIC.to_bytes(4, "little") + body
    if isinstance(frame, Tree):
        body = bytes([frame.digests | frame.one_level << 1]) + body
    if len(body) > BODY_MOST:
        raise ValueError(f"a {kind.__name__} of {len(body)} bytes is longer than {BODY_MOST}")
    flag, bit = _FLAGGED.get(kind, ("", 0))
    flags = bit if flag and getattr(frame, flag) else 0
    return _HEADER.pack(len(body), frame.TYPE, flags, 0, frame.id) + body


def decode(kind: int, flags: int, ident: int, body: bytes) -> Frame:
    """The frame of a header's parts and its body.

    Raises:
        ProtocolError: They are no frame of this protocol.
    """
    frame = _BY_TYPE.get(kind)
    if frame is None:
        raise ProtocolError(f"a frame has the unknown type 0x{kind:02x}")
    flag, bit = _FLAGGED.get(frame, ("", 0))
    if flags & ~bit:
        raise ProtocolError(f"a frame has the unknown flags 0x{flags:02x}")
    reader = _Reader(body)
    values: dict[str, object] = {}
    if frame in _GREETS and reader.number(4) != MAGIC:
        raise ProtocolError("the other side is no agent of kindling")
    if frame is Tree:
        how = reader.number(1)
        if how & ~3:
            raise ProtocolError("unknown bits in a request")
        values = {"digests": bool(how & 1), "one_level": bool(how & 2)}
    values |= {name: field.read(reader) for name, field in _LAYOUTS[frame].items()}
    reader.end()
    if flag:
        values[flag] = bool(flags & bit)
    return cast(Callable[..., Frame], frame)(id=ident, **values)


class Decoder:
    """Frames out of a stream that comes in pieces of any size."""

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def inside(self) -> bool:
        """Has part of a frame come? Then the stream must not end here."""
        return bool(self._held)

    def feed(self, piece: bytes) -> Iterator[Frame]:
        """All frames that are whole with this piece. Take them all before feeding again.

        Raises:
            ProtocolError: What came is no frame; the stream is of no further use.
        """
        self._held += piece
        at = 0
        try:
            while len(self._held) - at >= HEADER:
                size, kind, flags, reserved, ident = _HEADER.unpack_from(self._held, at)
                if size > BODY_MOST:
                    raise ProtocolError("a frame is longer than allowed")
                if reserved:
                    raise ProtocolError("a reserved field of a frame is not zero")
                if len(self._held) - at < HEADER + size:
                    break
                body = bytes(self._held[at + HEADER : at + HEADER + size])
                at += HEADER + size
                yield decode(kind, flags, ident, body)
        finally:
            del self._held[:at]


def compressed(data: Data, level: int = 1) -> Data:
    """The same contents in fewer bytes, or as they are where that saves too little: what is small,
    and what is compressed already (an image, an archive), of which only a sample is tried."""
    size = len(data.payload)
    if data.deflated or size < _PAYS_FROM:
        return data
    if size > 8 * _SAMPLE:
        at = (size - _SAMPLE) // 2
        if not _saves(_SAMPLE, len(_deflate(data.payload[at : at + _SAMPLE], level))):
            return data
    packed = _deflate(data.payload, level)
    return Data(data.id, packed, True) if _saves(size, len(packed)) else data


def _deflate(content: bytes, level: int) -> bytes:
    deflater = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(content) + deflater.flush()


def _saves(before: int, after: int) -> bool:
    """Is it worth the work of both sides?"""
    return after <= before - before // 8


def digest(content: bytes) -> bytes:
    """The digest that the protocol knows contents by."""
    return sha256(content).digest()
