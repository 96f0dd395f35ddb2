"""The codec is its own inverse, and neither side takes what is no frame."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kindling.sync.agent import frames as known
from kindling.sync.agent.frames import Data, Frame, Hello, Ping, Pong, Put, Tree, Welcome
from kindling.sync.agent.protocol import (
    BODY_MOST,
    HEADER,
    MAGIC,
    Decoder,
    ProtocolError,
    decode,
    digest,
    encode,
)
from tests.sync.agent.talk import LIMIT, serving

_T = TypeVar("_T")

U8 = st.integers(0, 255)
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
I32 = st.integers(-(2**31), 2**31 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.binary(max_size=40)
TEXTS = st.lists(TEXT, max_size=4).map(tuple)
HASH = st.binary(min_size=32, max_size=32)
ENTRY = st.builds(known.Entry, st.sampled_from(known.Kind), U32, U32, U64, I64, HASH, TEXT, TEXT)
PROCESS = st.builds(known.ProcessEntry, U32, U32, U64, TEXT, TEXT, TEXT)
BLOCK = st.tuples(U32, st.binary(min_size=16, max_size=16))


def _many(one: st.SearchStrategy[_T]) -> st.SearchStrategy[tuple[_T, ...]]:
    return st.lists(one, max_size=4).map(tuple)


SIGNALS = st.builds(known.Signal, U32, I32, U32)
RUNS = st.builds(known.Run, U32, TEXTS, TEXT, TEXTS)
FRAMES: list[st.SearchStrategy[Frame]] = [
    st.builds(known.Hello, U32, st.integers(0, 2**16 - 1)),
    st.builds(known.Ping, U32, TEXT),
    st.builds(known.Put, U32, TEXT, U32, I64, U64, TEXT),
    st.builds(known.Data, U32, TEXT, st.booleans()),
    st.builds(known.Copy, U32, _many(st.tuples(U64, U64))),
    st.builds(known.PutEnd, U32, HASH),
    st.builds(known.Delete, U32, TEXT, st.booleans()),
    st.builds(known.Rename, U32, TEXT, TEXT),
    st.builds(known.Mkdir, U32, TEXT, U32, st.booleans()),
    st.builds(known.Rmtree, U32, TEXT, st.booleans()),
    st.builds(known.Symlink, U32, TEXT, TEXT),
    st.builds(known.Chmod, U32, TEXT, U32),
    st.builds(known.Rmdir, U32, TEXT, st.booleans()),
    st.builds(known.Commit, U32, st.booleans()),
    st.builds(known.Abort, U32),
    st.builds(known.Tree, U32, TEXTS, TEXTS, st.booleans(), st.booleans()),
    st.builds(known.Sums, U32, TEXT, U32),
    SIGNALS,
    RUNS,
    st.builds(known.Control, U32, st.sampled_from(known.Command), U8, U32),
    st.builds(known.Cmdline, U32, U32),
    st.builds(known.Resolve, U32, TEXT),
    st.builds(known.Read, U32, TEXT, U64, U32, st.booleans()),
    st.builds(known.Processes, U32),
    st.builds(
        known.Welcome,
        U32,
        st.integers(0, 2**16 - 1),
        st.sampled_from(known.Arch),
        st.booleans(),
        U32,
        U32,
        U32,
        U32,
        U32,
    ),
    st.builds(known.Pong, U32, TEXT),
    st.builds(known.Ok, U32),
    st.builds(known.Refused, U32, U32, TEXT, st.text(max_size=20)),
    st.builds(known.Committed, U32, U32, U32, U32),
    st.builds(known.Entries, U32, _many(ENTRY)),
    st.builds(known.TreeEnd, U32, U32, U32),
    st.builds(known.Blocks, U32, _many(BLOCK)),
    st.builds(known.BlocksEnd, U32, U64, HASH),
    st.builds(known.Started, U32, U32),
    st.builds(known.Output, U32, U8, TEXT),
    st.builds(known.Exited, U32, I32),
    st.builds(known.Status, U32, U32, U32, I32, st.booleans()),
    st.builds(known.Text, U32, TEXT),
    st.builds(known.ProcessEntries, U32, _many(PROCESS)),
    st.builds(known.ProcessesEnd, U32, U32),
]
ANY = st.one_of(FRAMES)
bounded = settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


KINDS = [
    kind
    for kind in vars(known).values()
    if isinstance(kind, type) and issubclass(kind, Frame) and kind is not Frame
]


def test_every_kind_of_frame_is_tried_here() -> None:
    assert len(FRAMES) == len(KINDS) == len({kind.TYPE for kind in KINDS})


@settings(bounded, max_examples=200)
@given(st.lists(ANY, max_size=5), st.lists(st.integers(1, 50), min_size=1, max_size=5))
def test_what_is_written_is_read_again_in_pieces_of_any_size(
    frames: list[Frame], steps: list[int]
) -> None:
    stream = b"".join(map(encode, frames))
    decoder = Decoder()
    found: list[Frame] = []
    at = turn = 0
    while at < len(stream):
        step = steps[turn % len(steps)]
        found += decoder.feed(stream[at : at + step])
        at += step
        turn += 1
    assert found == frames
    assert not decoder.inside


@settings(bounded, max_examples=300)
@given(st.binary(max_size=200))
def test_random_bytes_are_frames_or_a_protocol_error(content: bytes) -> None:
    try:
        frames = list(Decoder().feed(content))
    except ProtocolError:
        return
    assert all(isinstance(frame, Frame) for frame in frames)


@settings(bounded, max_examples=300)
@given(st.sampled_from(sorted(kind.TYPE for kind in KINDS)), TEXT)
def test_a_known_type_with_a_random_body_is_a_frame_or_a_protocol_error(
    kind: int, body: bytes
) -> None:
    try:
        frame = decode(kind, 0, 1, body)
    except ProtocolError:
        return
    assert encode(frame)[HEADER:] == body or isinstance(frame, known.Refused)


def test_a_frame_that_is_cut_is_not_handed_out() -> None:
    whole = encode(Ping(1, b"abc"))
    for at in range(1, len(whole)):
        decoder = Decoder()
        assert list(decoder.feed(whole[:at])) == []
        assert decoder.inside
        assert list(decoder.feed(whole[at:])) == [Ping(1, b"abc")]


def test_what_cannot_be_written_is_said() -> None:
    with pytest.raises(ValueError, match=r"^a Data of"):
        encode(Data(1, bytes(BODY_MOST + 1)))
    with pytest.raises(ValueError, match="does not fit"):
        encode(known.Chmod(1, b"a", -1))
    with pytest.raises(ValueError, match="a digest has 32 bytes"):
        encode(known.PutEnd(1, b"short"))


def _header(size: int, kind: int, flags: int = 0, reserved: int = 0) -> bytes:
    return struct.pack("<IBBHI", size, kind, flags, reserved, 1)


GREETING = encode(Hello(1))
WRONG: dict[str, tuple[bytes, str]] = {
    "no greeting": (encode(Ping(1)), "a request came before the greeting"),
    "other magic": (_header(6, 1) + b"GET /\n", "the first frame is no greeting of kindling"),
    "two greetings": (GREETING * 2, "a second greeting came"),
    "too long": (_header(BODY_MOST + 1, 2), "a frame is longer than allowed"),
    "reserved": (_header(0, 2, 0, 1), "a reserved field of a frame is not zero"),
    "deflated and no contents": (
        GREETING + _header(0, 0x10, 0x80),
        "a frame has flags that this agent does not know",
    ),
    "flag without a meaning": (
        GREETING + _header(0, 2, 1),
        "a frame has flags that this agent does not know",
    ),
    "unknown type": (
        GREETING + _header(0, 0x7F),
        "a frame has a type that this agent does not know",
    ),
    "field beyond the end": (
        GREETING + _header(5, 0x20) + b"\xff\xff\xff\xffa",
        "a frame ends inside one of its fields",
    ),
    "bytes at the end": (
        GREETING + _header(6, 0x20) + b"\1\0\0\0ab",
        "a frame has bytes after its last field",
    ),
    "half a header": (GREETING + b"\0\0", "the input ended inside of a frame"),
    "half a body": (
        GREETING + encode(Ping(1, b"abc"))[:-1],
        "the input ended inside of a frame",
    ),
    "contents of nothing": (GREETING + encode(Data(1, b"x")), "contents came for no file"),
    "two files at once": (
        GREETING + encode(Put(1, b"a", 0, 0, 1)) + encode(Put(2, b"b", 0, 0, 1)),
        "a file is put while another is under way",
    ),
    "commit inside a file": (
        GREETING + encode(Put(1, b"a", 0, 0, 1)) + encode(known.Commit(2)),
        "a batch ends inside of a file",
    ),
    "block size": (
        GREETING + encode(known.Sums(1, b"a", 1)),
        "a block size is out of range",
    ),
}


def _feed(binary: Path, root: Path, content: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [binary, "serve", root], input=content, capture_output=True, timeout=LIMIT, check=False
    )


@pytest.mark.parametrize("name", WRONG)
def test_a_protocol_error_ends_the_agent_with_one_line(binary: Path, root: Path, name: str) -> None:
    content, message = WRONG[name]
    done = _feed(binary, root, content)
    assert done.returncode == 2
    assert done.stderr == f"kindling-agent: {message}\n".encode()
    assert list(root.iterdir()) == []


@pytest.fixture
def shared_root(tmp_path: Path) -> Path:
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


HARMLESS = [
    frames
    for frames in FRAMES
    # With random numbers they could reach processes of this machine.
    if frames not in (SIGNALS, RUNS)
]


@bounded
@given(st.lists(st.one_of(HARMLESS), max_size=8), st.binary(max_size=60), st.booleans())
def test_the_agent_survives_any_input_or_says_what_is_wrong(
    binary: Path, shared_root: Path, frames: list[Frame], rest: bytes, greet: bool
) -> None:
    content = (GREETING if greet else b"") + b"".join(map(encode, frames)) + rest
    if b"\x40" in content or b"\x41" in content:
        # A type byte of SIGNAL or RUN might come about by chance.
        content = content.replace(b"\x40", b"\x3f").replace(b"\x41", b"\x3f")
    done = _feed(binary, shared_root, content)
    assert done.returncode in (0, 2), done
    assert done.stderr.count(b"\n") == (1 if done.returncode == 2 else 0)
    list(Decoder().feed(done.stdout))
    assert [p.name for p in shared_root.parent.iterdir()] == ["shared"]


def test_the_agent_reads_frames_in_pieces(binary: Path, root: Path) -> None:
    with serving(binary, root) as talk:
        stream = GREETING + encode(Ping(2, b"hello")) + encode(Tree(3))
        for at in range(len(stream)):
            talk.raw(stream[at : at + 1])
        assert talk.until(Welcome).version == 1
        assert talk.until(Pong) == Pong(2, b"hello")
        assert talk.until(known.TreeEnd).id == 3


def test_ten_thousand_requests_at_once_are_answered_in_order(binary: Path, root: Path) -> None:
    with serving(binary, root) as talk:
        talk.hello()
        talk.send(*(Ping(at, bytes(100)) for at in range(10_000)))
        for at in range(10_000):
            assert talk.frame() == Pong(at, bytes(100))


def test_a_frame_of_the_longest_body_is_taken(binary: Path, root: Path) -> None:
    with serving(binary, root) as talk:
        talk.hello()
        content = bytes(BODY_MOST) * 3
        talk.send(Put(5, b"a", 0o644, 0, len(content)))
        for at in range(0, len(content), BODY_MOST):
            talk.send(Data(5, content[at : at + BODY_MOST]))
        talk.send(known.PutEnd(5, digest(content)))
        assert talk.commit()[0].done == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["serve"], "a root is needed"),
        (["serve", "/no/such/folder"], "the root cannot be opened `/no/such/folder` (2)"),
        (["serve", "--nonsense", "/"], "unknown option `--nonsense`"),
        (["supervise", "--"], "the command to supervise is missing"),
        (["what"], "unknown command `what`"),
        ([], "a command is missing"),
    ],
)
def test_wrong_words_are_said(binary: Path, argv: list[str], message: str) -> None:
    done = subprocess.run([binary, *argv], capture_output=True, timeout=LIMIT, check=False)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[0] == f"kindling-agent: {message}"


def test_a_root_is_made_when_asked_for(binary: Path, tmp_path: Path) -> None:
    with serving(binary, tmp_path / "a/b", "--create") as talk:
        assert talk.hello().alone
    assert (tmp_path / "a/b").is_dir()


def test_the_magic_is_a_word() -> None:
    assert int.from_bytes(b"KNDL", "little") == MAGIC
