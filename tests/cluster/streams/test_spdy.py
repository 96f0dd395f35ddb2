"""SPDY framing: whatever is cut in pieces is the same, and hostile bytes end a connection."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kindling.cluster.apiserver.streams.headers import HeaderError, HeaderReader, HeaderWriter
from kindling.cluster.apiserver.streams.spdy import (
    MAX_STREAMS,
    WINDOW,
    Data,
    Event,
    GoAway,
    Opened,
    Reset,
    SpdyConnection,
    SpdyError,
    WindowOpened,
)
from tests.cluster.streams.client import SpdyClient, bomb, control, data

NAMES = st.text("abcdefghij-", min_size=1, max_size=12)
HEADERS = st.dictionaries(NAMES, st.text(max_size=20), max_size=6)
LAW = settings(max_examples=100, deadline=None)


def joined(events: list[Event]) -> list[Event]:
    """Pieces of data that follow each other as one."""
    result: list[Event] = []
    for event in events:
        before = result[-1] if result else None
        if (
            isinstance(event, Data)
            and isinstance(before, Data)
            and before.stream == event.stream
            and not before.end
        ):
            result[-1] = Data(event.stream, before.data + event.data, event.end)
        else:
            result.append(event)
    return result


@LAW
@given(st.lists(HEADERS, max_size=5))
def test_law_blocks_are_read_as_they_were_written(blocks: list[dict[str, str]]) -> None:
    writer, reader = HeaderWriter(), HeaderReader()
    for headers in blocks:
        assert reader.headers(writer.block(headers)) == headers


def test_the_dictionary_is_the_one_of_the_specification() -> None:
    """Its Adler-32 stands in the first bytes of every SPDY/3 stream of headers."""
    assert HeaderWriter().block({})[:6] == bytes.fromhex("78bbe3c6a7c2")


@LAW
@given(
    st.lists(st.tuples(HEADERS, st.lists(st.binary(max_size=50), max_size=3)), max_size=4),
    st.data(),
)
def test_law_pieces_make_no_difference(
    streams: list[tuple[dict[str, str], list[bytes]]], draw: st.DataObject
) -> None:
    client, sent = SpdyClient(), b""
    for headers, pieces in streams:
        stream, opening = client.open(headers)
        sent += opening + b"".join(data(stream, piece) for piece in pieces)
        sent += data(stream, b"", end=True)
    whole = SpdyConnection().incoming(sent)
    cut, events = SpdyConnection(), []
    while sent:
        size = draw.draw(st.integers(1, 40))
        events += cut.incoming(sent[:size])
        sent = sent[size:]
    assert joined(events) == joined(whole)
    assert [event.headers for event in whole if isinstance(event, Opened)] == [
        headers for headers, _ in streams
    ]


@LAW
@given(st.binary(max_size=200))
def test_law_no_bytes_do_worse_than_end_the_connection(hostile: bytes) -> None:
    client = SpdyClient()
    connection = SpdyConnection()
    connection.incoming(client.open({"a": "b"})[1])
    try:
        connection.incoming(hostile)
    except SpdyError:
        assert connection.outgoing().startswith(b"\x80\x03\x00\x07")


@pytest.mark.parametrize(
    "frames",
    [
        control(1, bytes(4)),
        control(1, bytes(10) + b"not zlib"),
        control(1, (2).to_bytes(4) + bytes(6) + HeaderWriter().block({})),
        control(3, bytes(7)),
        control(4, b"\xff\xff\xff\xff"),
        control(6, bytes(3)),
        control(9, bytes(4)),
        control(6, (1).to_bytes(4), version=2),
        b"\x80\x03\x00\x01\x00\xff\xff\xff",
        data(0, b"x"),
        data(99, b"x"),
    ],
)
def test_frames_that_break_the_rules_end_the_connection(frames: bytes) -> None:
    connection = SpdyConnection()
    with pytest.raises(SpdyError):
        connection.incoming(frames)
    assert connection.outgoing() == control(7, bytes(4) + (1).to_bytes(4))


def test_a_block_that_swells_costs_no_memory() -> None:
    frames = control(1, (1).to_bytes(4) + bytes(6) + bomb())
    connection = SpdyConnection()
    tracemalloc.start()
    try:
        with pytest.raises(SpdyError):
            connection.incoming(frames)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0\0\0\1",
        b"\0\0\xff\xff",
        b"\0\0\0\1\0\0\0\1a\0\0\0\5b",
        b"\0\0\0\2" + b"\0\0\0\1a\0\0\0\1b" * 2,
        b"\0\0\0\0x",
    ],
)
def test_blocks_that_are_none_are_refused(text: bytes) -> None:
    writer = HeaderWriter()
    packed = writer._zlib.compress(text) + writer._zlib.flush(2)
    with pytest.raises(HeaderError):
        HeaderReader().headers(packed)


def test_a_ping_is_answered_and_an_answer_is_not() -> None:
    connection = SpdyConnection()
    connection.incoming(control(6, (7).to_bytes(4)) + control(6, (8).to_bytes(4)))
    assert connection.outgoing() == control(6, (7).to_bytes(4))


def test_a_stream_beyond_the_bound_is_refused_alone() -> None:
    client, connection = SpdyClient(), SpdyConnection()
    for _ in range(MAX_STREAMS):
        connection.incoming(client.open({})[1])
    stream, opening = client.open({})
    assert connection.incoming(opening) == []
    assert connection.outgoing() == control(3, stream.to_bytes(4) + (3).to_bytes(4))


def test_both_ends_end_a_stream() -> None:
    client, connection = SpdyClient(), SpdyConnection()
    stream, opening = client.open({})
    assert connection.incoming(opening) == [Opened(stream, {}, False)]
    connection.reply(stream)
    assert connection.incoming(data(stream, b"hi", end=True)) == [Data(stream, b"hi", True)]
    connection.send(stream, b"yes", end=True)
    frames = list(client.frames(connection.outgoing()))
    assert [(frame.kind, frame.payload[:3], frame.flags) for frame in frames][1] == (0, b"yes", 1)
    assert not connection.is_open(stream)
    connection.send(stream, b"more")
    assert connection.outgoing() == b""
    assert connection.incoming(data(stream, b"late")) == []


def test_a_reset_stream_is_forgotten() -> None:
    client, connection = SpdyClient(), SpdyConnection()
    stream, opening = client.open({})
    connection.incoming(opening)
    events = connection.incoming(control(3, stream.to_bytes(4) + (5).to_bytes(4)))
    assert events == [Reset(stream, 5)]
    connection.send(stream, b"x")
    assert connection.outgoing() == b""


def test_a_window_counts_once_the_peer_has_shown_that_it_has_one() -> None:
    client, connection = SpdyClient(), SpdyConnection()
    stream, opening = client.open({})
    connection.incoming(opening)
    connection.send(stream, bytes(WINDOW))
    assert connection.room(stream) > 0
    events = connection.incoming(control(9, stream.to_bytes(4) + (10).to_bytes(4)))
    assert events == [WindowOpened(stream)]
    assert connection.room(stream) == 10
    connection.send(stream, bytes(10))
    assert connection.room(stream) == 0


def test_what_was_consumed_is_given_back() -> None:
    client, connection = SpdyClient(), SpdyConnection()
    stream, opening = client.open({})
    connection.incoming(opening)
    connection.consumed(stream, 10)
    assert connection.outgoing() == b""
    connection.consumed(stream, WINDOW)
    size = (WINDOW + 10).to_bytes(4)
    assert connection.outgoing() == control(9, stream.to_bytes(4) + size)


def test_what_is_unknown_is_passed_over() -> None:
    connection = SpdyConnection()
    initial = (1).to_bytes(4) + b"\0\0\0\7" + (5).to_bytes(4)
    frames = control(99, b"what") + control(4, initial) + control(7, bytes(8))
    assert connection.incoming(frames) == [GoAway()]
