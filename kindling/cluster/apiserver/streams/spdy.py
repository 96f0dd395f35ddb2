"""SPDY/3.1 frames: bytes in, events out, and the other way. No I/O.

As much of it as exec and port-forwards need, at the server's end. Source: the SPDY Protocol,
draft 3.1.
kubectl's library (moby/spdystream) knows nothing of windows: it sends no WINDOW_UPDATE and passes
over those that it gets. So a window for what we send counts only once a peer has sent one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from kindling.cluster.apiserver.streams.headers import HeaderError, HeaderReader, HeaderWriter

__all__ = [
    "Data",
    "Event",
    "GoAway",
    "Opened",
    "Reset",
    "ResetStatus",
    "SpdyConnection",
    "SpdyError",
    "WindowOpened",
]

WINDOW = 64 * 1024
"""Bytes that may be on their way on a stream before its receiver allows more."""
MAX_CONTROL = 64 * 1024
"""Bytes of a control frame; SPDY allows 16 MiB, and no client sends more than a few hundred."""
MAX_STREAMS = 2_000
"""Streams that one connection may have open."""
_HEAD = 8
_VERSION = 3
_FIN = 0x01
_UNIDIRECTIONAL = 0x02
_ID = 0x7FFFFFFF


class _Type(IntEnum):
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class ResetStatus(IntEnum):
    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    CANCEL = 5
    INTERNAL_ERROR = 6
    FLOW_CONTROL_ERROR = 7
    STREAM_ALREADY_CLOSED = 9


class SpdyError(ValueError):
    """Bytes that are no SPDY/3.1, or that break its rules: the connection is at its end."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer opened a stream; `end` is that it will send nothing on it."""

    stream: int
    headers: Mapping[str, str]
    end: bool


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream, in pieces that need not be the peer's frames."""

    stream: int
    data: bytes
    end: bool


@dataclass(frozen=True, slots=True)
class Reset:
    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class WindowOpened:
    """More may be sent on a stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """The peer opens no more streams."""


Event = Opened | Data | Reset | WindowOpened | GoAway


@dataclass(slots=True)
class _Stream:
    ours_ended: bool = False
    theirs_ended: bool = False
    sendable: int = WINDOW
    consumed: int = 0


@dataclass(slots=True)
class SpdyConnection:
    """The server's end of a connection. What is to go to the peer gathers until `outgoing`."""

    _buffer: bytearray = field(default_factory=bytearray)
    _out: list[bytes] = field(default_factory=list)
    _streams: dict[int, _Stream] = field(default_factory=dict)
    _reader: HeaderReader = field(default_factory=HeaderReader)
    _writer: HeaderWriter = field(default_factory=HeaderWriter)
    _last: int = 0
    _in_data: tuple[int, int, bool] | None = None
    """The data frame that is being read: its stream, what is still to come, and its FIN."""
    _windows: bool = False
    _initial: int = WINDOW

    def outgoing(self) -> bytes:
        """What is to be sent now; it is then taken as sent."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    # what comes

    def incoming(self, data: bytes) -> list[Event]:
        """Take in bytes as they come, in any pieces. Raises `SpdyError`; then send what is
        outgoing and close."""
        self._buffer += data
        events: list[Event] = []
        while self._buffer:
            if self._in_data is not None:
                self._read_data(events)
                continue
            if len(self._buffer) < _HEAD:
                break
            length = int.from_bytes(self._buffer[5:8])
            if not self._buffer[0] & 0x80:
                stream = int.from_bytes(self._buffer[0:4])
                end = bool(self._buffer[4] & _FIN)
                del self._buffer[:_HEAD]
                self._begin_data(stream, length, end, events)
                continue
            if length > MAX_CONTROL:
                raise self._broken("a control frame that is too large")
            if len(self._buffer) < _HEAD + length:
                break
            version = int.from_bytes(self._buffer[0:2]) & 0x7FFF
            kind, flags = int.from_bytes(self._buffer[2:4]), self._buffer[4]
            payload = bytes(self._buffer[_HEAD : _HEAD + length])
            del self._buffer[: _HEAD + length]
            if version != _VERSION:
                raise self._broken(f"a frame of version {version}")
            self._control(kind, flags, payload, events)
        return events

    def _begin_data(self, stream: int, length: int, end: bool, events: list[Event]) -> None:
        if stream == 0:
            raise self._broken("data of stream 0")
        known = self._streams.get(stream)
        if known is None and stream > self._last:
            raise self._broken("data of a stream that was never opened")
        if length:
            self._in_data = (stream, length, end)
        elif end:
            self._end_theirs(stream, b"", events)

    def _read_data(self, events: list[Event]) -> None:
        assert self._in_data is not None
        stream, left, end = self._in_data
        piece = bytes(self._buffer[:left])
        del self._buffer[:left]
        left -= len(piece)
        self._in_data = (stream, left, end) if left else None
        known = self._streams.get(stream)
        if known is None or known.theirs_ended:
            return  # on its way when the stream was reset
        if end and not left:
            self._end_theirs(stream, piece, events)
        else:
            events.append(Data(stream, piece, False))

    def _end_theirs(self, stream: int, data: bytes, events: list[Event]) -> None:
        known = self._streams.get(stream)
        if known is None or known.theirs_ended:
            return
        known.theirs_ended = True
        events.append(Data(stream, data, True))
        self._forget_if_done(stream, known)

    def _control(self, kind: int, flags: int, payload: bytes, events: list[Event]) -> None:
        match kind:
            case _Type.SYN_STREAM:
                self._open(flags, payload, events)
            case _Type.RST_STREAM:
                stream, status = self._two(payload)
                if self._streams.pop(stream & _ID, None) is not None:
                    events.append(Reset(stream & _ID, status))
            case _Type.PING:
                if len(payload) != 4:
                    raise self._broken("a PING of a wrong length")
                if payload[3] & 1:  # the peer's own; an even one would answer ours
                    self._frame(_Type.PING, 0, payload)
            case _Type.WINDOW_UPDATE:
                self._widen(payload, events)
            case _Type.GOAWAY:
                self._two(payload)
                events.append(GoAway())
            case _Type.SETTINGS:
                self._settings(payload)
            case _Type.HEADERS | _Type.SYN_REPLY:
                if len(payload) < 4:
                    raise self._broken("headers without a stream")
                self._headers(payload[4:])
                stream = int.from_bytes(payload[:4]) & _ID
                if flags & _FIN:
                    self._end_theirs(stream, b"", events)
            case _:
                pass  # a frame of an unknown type is to be passed over

    def _open(self, flags: int, payload: bytes, events: list[Event]) -> None:
        if len(payload) < 10:
            raise self._broken("a SYN_STREAM that is too short")
        stream = int.from_bytes(payload[:4]) & _ID
        headers = self._headers(payload[10:])  # read whatever becomes of it: zlib goes on
        if stream % 2 == 0 or stream <= self._last:
            raise self._broken("a stream whose number is not the next one of a client")
        self._last = stream
        if len(self._streams) >= MAX_STREAMS:
            self._reset_frame(stream, ResetStatus.REFUSED_STREAM)
            return
        end = bool(flags & _FIN)
        self._streams[stream] = _Stream(
            ours_ended=bool(flags & _UNIDIRECTIONAL), theirs_ended=end, sendable=self._initial
        )
        events.append(Opened(stream, headers, end))

    def _widen(self, payload: bytes, events: list[Event]) -> None:
        stream, delta = self._two(payload)
        stream &= _ID
        self._windows = True
        known = self._streams.get(stream)
        if known is not None:
            known.sendable += delta & _ID
            if known.sendable > _ID:
                raise self._broken("a window that is too large")
            events.append(WindowOpened(stream))

    def _settings(self, payload: bytes) -> None:
        count = int.from_bytes(payload[:4])
        if len(payload) < 4 or len(payload) != 4 + 8 * count:
            raise self._broken("SETTINGS of a wrong length")
        for place in range(4, len(payload), 8):
            name = int.from_bytes(payload[place + 1 : place + 4])
            if name == 7:  # INITIAL_WINDOW_SIZE
                value = int.from_bytes(payload[place + 4 : place + 8]) & _ID
                for known in self._streams.values():
                    known.sendable += value - self._initial
                self._initial = value

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            return self._reader.headers(block)
        except HeaderError as error:
            raise self._broken(str(error)) from error

    def _two(self, payload: bytes) -> tuple[int, int]:
        if len(payload) != 8:
            raise self._broken("a frame of a wrong length")
        return int.from_bytes(payload[:4]), int.from_bytes(payload[4:])

    def _broken(self, why: str) -> SpdyError:
        self.go_away(1)
        return SpdyError(why)

    # what goes

    def reply(self, stream: int, headers: Mapping[str, str] | None = None) -> None:
        """Accept a stream."""
        if stream in self._streams:
            block = self._writer.block(headers or {})
            self._frame(_Type.SYN_REPLY, 0, stream.to_bytes(4) + block)

    def room(self, stream: int) -> int:
        """Bytes that may be sent on a stream now; 0 for one that is at its end."""
        known = self._streams.get(stream)
        if known is None or known.ours_ended:
            return 0
        return max(known.sendable, 0) if self._windows else WINDOW

    def is_open(self, stream: int) -> bool:
        """Whether anything can still be sent on a stream."""
        known = self._streams.get(stream)
        return known is not None and not known.ours_ended

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send on a stream; nothing happens on one that is at its end."""
        known = self._streams.get(stream)
        if known is None or known.ours_ended:
            return
        known.sendable -= len(data)
        head = stream.to_bytes(4) + bytes((_FIN if end else 0,)) + len(data).to_bytes(3)
        self._out.append(head + data)
        if end:
            known.ours_ended = True
            self._forget_if_done(stream, known)

    def consumed(self, stream: int, count: int) -> None:
        """Bytes of a stream went to where they belong: the peer may send as many more."""
        known = self._streams.get(stream)
        if known is None or known.theirs_ended:
            return
        known.consumed += count
        if known.consumed >= WINDOW // 2:
            payload = stream.to_bytes(4) + known.consumed.to_bytes(4)
            self._frame(_Type.WINDOW_UPDATE, 0, payload)
            known.consumed = 0

    def reset(self, stream: int, status: ResetStatus = ResetStatus.CANCEL) -> None:
        if self._streams.pop(stream, None) is not None:
            self._reset_frame(stream, status)

    def go_away(self, status: int = 0) -> None:
        """Say that this is the end; 1 is for a protocol error."""
        self._frame(_Type.GOAWAY, 0, self._last.to_bytes(4) + status.to_bytes(4))

    def _reset_frame(self, stream: int, status: ResetStatus) -> None:
        self._frame(_Type.RST_STREAM, 0, stream.to_bytes(4) + int(status).to_bytes(4))

    def _frame(self, kind: _Type, flags: int, payload: bytes) -> None:
        head = (0x8000 | _VERSION).to_bytes(2) + int(kind).to_bytes(2)
        self._out.append(head + bytes((flags,)) + len(payload).to_bytes(3) + payload)

    def _forget_if_done(self, stream: int, known: _Stream) -> None:
        if known.ours_ended and known.theirs_ended:
            del self._streams[stream]
