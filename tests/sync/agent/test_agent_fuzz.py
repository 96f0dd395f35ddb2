"""Whatever is sent, the agent stays inside of its root and its memory, and leaves nothing behind.

It is the agent with sanitizers that is tried, where the compiler has them: it ends with another
code than 0 and 2 when it reads or writes where it must not. `KINDLING_FUZZ_ROUNDS=100` tries for
minutes what is tried for seconds here.
"""

from __future__ import annotations

import os
import random
import subprocess
import zlib
from pathlib import Path

import pytest

from kindling.sync.agent.frames import (
    KEEP_TIME,
    Abort,
    Chmod,
    Cmdline,
    Commit,
    Copy,
    Data,
    Delete,
    Frame,
    Hello,
    Mkdir,
    Ping,
    Processes,
    Put,
    PutEnd,
    Read,
    Rename,
    Resolve,
    Rmdir,
    Rmtree,
    Sums,
    Symlink,
    Tree,
)
from kindling.sync.agent.protocol import HEADER, TEMPORARY, Decoder, ProtocolError, digest, encode
from tests.sync.agent.talk import LIMIT

ROUNDS = int(os.environ.get("KINDLING_FUZZ_ROUNDS", "1"))
NAMES = (b"a", b"b", b"link", b"up", b"loop", b"..", b".", b"", b"\xff\n", b"n" * 255, b"x" * 300)
TARGETS = (b"a", b"..", b"/", b"../outside", b"/proc/self", b"loop", b"x" * 4000, b".//b/")
MODES = (0, 0o644, 0o755, 0o7777, 2**32 - 1)


def _path(rng: random.Random) -> bytes:
    path = b"/".join(rng.choices(NAMES, k=rng.choice((1, 1, 2, 2, 3, 9))))
    match rng.randrange(40):
        case 0:
            return b"/" + path
        case 1:
            return rng.randbytes(rng.randrange(20))
        case 2:
            return path * rng.randrange(1, 50)
        case _:
            return path


def _put(rng: random.Random, ident: int) -> list[Frame]:
    content = rng.randbytes(rng.choice((0, 3, 700, 5000))) * rng.randrange(1, 4)
    size = len(content) if rng.randrange(8) else rng.getrandbits(rng.choice((4, 33, 64)))
    basis = _path(rng) if rng.randrange(3) == 0 else b""
    middle: list[Frame] = []
    for at in range(0, len(content), 4000):
        piece = content[at : at + 4000]
        match rng.randrange(4):
            case 0:
                deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
                middle.append(Data(ident, deflater.compress(piece) + deflater.flush(), True))
            case 1 if rng.randrange(3) == 0:
                middle.append(Data(ident, rng.randbytes(50), True))
            case _:
                middle.append(Data(ident, piece))
    if basis:
        pieces = [(rng.getrandbits(rng.choice((3, 64))), rng.getrandbits(rng.choice((3, 12, 64))))]
        middle.append(Copy(ident, tuple(pieces * rng.randrange(3))))
    head = Put(ident, _path(rng), rng.choice(MODES), rng.choice((KEEP_TIME, 0, -7)), size, basis)
    return [head, *middle, PutEnd(ident, digest(content))]


def _request(rng: random.Random, ident: int) -> list[Frame]:
    path, flag = _path(rng), bool(rng.randrange(2))
    match rng.randrange(20):
        case 0:
            return [Delete(ident, path, flag)]
        case 1:
            return [Rename(ident, path, _path(rng))]
        case 2 | 3:
            return [Mkdir(ident, path, rng.choice(MODES), flag)]
        case 4:
            return [Rmtree(ident, path, flag)]
        case 5 | 6:
            return [Rmdir(ident, path, flag)]
        case 7 | 8:
            return [Symlink(ident, path, rng.choice(TARGETS))]
        case 9:
            return [Chmod(ident, path, rng.choice(MODES))]
        case 10:
            return [Commit(ident, flag)]
        case 11:
            return [Abort(ident)]
        case 12:
            return [Tree(ident, (path, b""), (b"b",), flag, bool(rng.randrange(2)))]
        case 13:
            return [Sums(ident, path, rng.choice((512, 4096, 1 << 20)))]
        case 14 | 15:
            return [Resolve(ident, path)]
        case 16:
            where = rng.choice((path, b"/proc/self/cmdline", b"/proc/self/exe", b"/dev/zero"))
            most = rng.getrandbits(rng.choice((4, 17, 32)))
            return [Read(ident, where, rng.getrandbits(rng.choice((2, 64))), most, flag)]
        case 17:
            return rng.choice([[Processes(ident)], [Cmdline(ident, 1)], [Ping(ident, path[:4096])]])
        case _:
            return _put(rng, ident)


def _spoiled(rng: random.Random, content: bytes) -> bytes:
    """The same with some bytes changed, lost or doubled."""
    spoiled = bytearray(content)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(HEADER, len(spoiled))
        match rng.randrange(4):
            case 0:
                del spoiled[at : at + rng.randrange(1, 9)]
            case 1:
                spoiled[at:at] = spoiled[at : at + rng.randrange(1, 40)]
            case _:
                spoiled[at] = rng.choice((0, 0xFF, 0x7F, spoiled[at] ^ 1, rng.randrange(256)))
        if len(spoiled) <= HEADER:
            break
    # A type byte of SIGNAL or RUN must not come about: they reach processes of this machine.
    return bytes(spoiled).replace(b"\x40", b"\x3f").replace(b"\x41", b"\x3f")


@pytest.mark.parametrize("seed", range(40 * ROUNDS))
def test_no_input_leads_the_agent_astray(checking: Path, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "a/b").mkdir(parents=True)
    (root / "a/link").write_bytes(bytes(3000))
    (root / "link").symlink_to("../outside")
    (root / "loop").symlink_to("loop")
    outside.mkdir()
    (outside / "a").write_text("kept")
    frames: list[Frame] = [Hello(1)]
    for ident in range(2, 2 + rng.randrange(5, 60)):
        frames += _request(rng, ident)
    content = b"".join(map(encode, frames))
    whole = rng.randrange(3) == 0
    if not whole:
        content = _spoiled(rng, content)
    done = subprocess.run(
        [checking, "serve", root, "a", "link/x"],
        input=content,
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    said = done.stderr.decode(errors="replace")
    assert done.returncode in ((0,) if whole else (0, 2)), said
    assert said.count("\n") == (1 if done.returncode == 2 else 0), said
    decoder = Decoder()
    try:
        list(decoder.feed(done.stdout))
    except ProtocolError as error:
        raise AssertionError(f"the agent answers what is no frame: {error}") from error
    assert not decoder.inside
    assert sorted(os.listdir(tmp_path)) == ["outside", "root"]
    assert os.listdir(outside) == ["a"]
    assert (outside / "a").read_text() == "kept"
    for _, folders, files in os.walk(os.fsencode(root)):
        assert not [name for name in (*folders, *files) if name.startswith(TEMPORARY)]


@pytest.mark.parametrize("seed", range(3 * ROUNDS))
def test_no_stream_leads_the_inflater_out_of_its_memory(
    checking: Path, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    frames: list[Frame] = [Hello(1)]
    for ident in range(2, 500):
        deflater = zlib.compressobj(rng.randrange(10), zlib.DEFLATED, -15, 9, rng.randrange(5))
        text = bytes(rng.choices(rng.randbytes(9), k=rng.randrange(900)))
        packed = bytearray(deflater.compress(text) + deflater.flush())
        for _ in range(rng.randrange(4)):
            packed[rng.randrange(len(packed))] = rng.randrange(256)
        frames += [
            Put(ident, b"f", 0o644, KEEP_TIME, 1 << 40),
            Data(ident, bytes(packed[: rng.randrange(1, len(packed) + 1)]), True),
            PutEnd(ident, bytes(32)),
        ]
    done = subprocess.run(
        [checking, "serve", tmp_path],
        input=b"".join(map(encode, [*frames, Commit(9000)])),
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert os.listdir(tmp_path) == []
