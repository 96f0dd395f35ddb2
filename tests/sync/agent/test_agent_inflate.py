"""Contents travel deflated where that pays; the agent takes what zlib takes, and nothing else."""

from __future__ import annotations

import errno
import os
import random
import zlib
from pathlib import Path

import pytest

from kindling.sync.agent.frames import KEEP_TIME, Commit, Committed, Data, Feature, Put, PutEnd
from kindling.sync.agent.frames import Refused as RefusedFrame
from kindling.sync.agent.protocol import BODY_MOST, compressed, digest
from tests.sync.agent.talk import Talk, serving

ROUNDS = int(os.environ.get("KINDLING_FUZZ_ROUNDS", "1"))
"""How many times as long as usual what is random is tried."""
STRATEGIES = (
    zlib.Z_DEFAULT_STRATEGY,
    zlib.Z_FILTERED,
    zlib.Z_HUFFMAN_ONLY,
    zlib.Z_RLE,
    zlib.Z_FIXED,
)


def _deflate(content: bytes, level: int = 6, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    deflater = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)
    return deflater.compress(content) + deflater.flush()


def _zlib_takes(packed: bytes, most: int = BODY_MOST) -> bytes | None:
    """What zlib makes of it, if it is one whole stream with nothing behind."""
    inflater = zlib.decompressobj(-15)
    try:
        content = inflater.decompress(packed, most + 1)
    except zlib.error:
        return None
    whole = inflater.eof and not inflater.unused_data and len(content) <= most
    return content if whole else None


def _contents(rng: random.Random) -> bytes:
    size = rng.choice([0, 1, 2, 10, 300, 5000, 70_000])
    kind = rng.randrange(5)
    if kind == 0:
        return rng.randbytes(size)
    if kind == 1:
        return bytes(size)
    if kind == 2:
        return bytes(rng.choices(range(256), [1 / (at + 1) ** 3 for at in range(256)], k=size))
    if kind == 3:
        return bytes(rng.choices(b"abc \n", k=size))
    piece = rng.randbytes(rng.randrange(1, 40_000))
    return (piece * (size // len(piece) + 2))[:size]


def _compare(agent: Talk, root: Path, streams: list[bytes]) -> int:
    """Put each stream as one file; say how many both sides took."""
    wanted = [_zlib_takes(packed) for packed in streams]
    for at, (packed, content) in enumerate(zip(streams, wanted, strict=True)):
        known = b"" if content is None else content
        # Of what zlib does not take any size would do, and the agent must not get that far.
        size = len(known) if content is not None else BODY_MOST
        agent.send(
            Put(at, b"f%d" % at, 0o644, KEEP_TIME, size),
            Data(at, packed, True),
            PutEnd(at, digest(known)),
        )
    before = len(agent.seen)
    agent.send(Commit(1 << 20, lenient=True))
    done = agent.until(Committed)
    refused = {frame.id: frame for frame in agent.seen[before:] if isinstance(frame, RefusedFrame)}
    for at, content in enumerate(wanted):
        if content is None:
            assert refused[at].errno == errno.EBADMSG, streams[at]
            assert refused[at].what == "the contents cannot be inflated", streams[at]
        else:
            assert at not in refused, streams[at]
            assert (root / f"f{at}").read_bytes() == content
            (root / f"f{at}").unlink()
    taken = sum(content is not None for content in wanted)
    assert done.done == taken
    return taken


@pytest.mark.parametrize("seed", range(4 * ROUNDS))
def test_what_zlib_makes_is_inflated(agent: Talk, root: Path, seed: int) -> None:
    rng = random.Random(seed)
    streams = [
        _deflate(_contents(rng), rng.randrange(10), rng.choice(STRATEGIES)) for _ in range(40)
    ]
    assert _compare(agent, root, streams) == len(streams)


def _broken(rng: random.Random, packed: bytes) -> bytes:
    broken = bytearray(packed)
    match rng.randrange(5):
        case 0:
            return packed[: rng.randrange(len(packed))]
        case 1:
            return packed + rng.randbytes(rng.randrange(1, 3))
        case 2:
            for _ in range(rng.randrange(1, 4)):
                broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        case 3:
            # The lengths of the codes are where it is easiest to be wrong.
            at = rng.randrange(min(len(broken), 40))
            broken[at] = rng.randrange(256)
        case _:
            broken[: rng.randrange(len(broken) + 1)] = rng.randbytes(rng.randrange(30))
    return bytes(broken)


@pytest.mark.parametrize("seed", range(4 * ROUNDS))
def test_of_broken_streams_the_agent_takes_what_zlib_takes(
    agent: Talk, root: Path, seed: int
) -> None:
    rng = random.Random(1000 + seed)
    streams = [
        _broken(rng, _deflate(_contents(rng)[:3000], rng.randrange(10), rng.choice(STRATEGIES)))
        for _ in range(400)
    ]
    assert _compare(agent, root, streams) < len(streams)


ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)


class _Block:
    """A block with codes of its own, right or nearly so, which no random bytes would make."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._bits: list[int] = []
        self.number(0b101, 3)
        self.number(29, 5)
        self.number(29, 5)
        self.number(15, 4)
        for symbol in ORDER:
            self.number(4 if symbol < 16 else 0, 3)
        lengths = self._sizes(286, must=256)
        distances = self._sizes(30)
        for size in (*lengths, *distances):
            self._code(size, 4)
        far, near = self._codes(lengths), self._codes(distances)
        for _ in range(rng.randrange(80)):
            symbol = rng.choice(list(far))
            if symbol == 256:
                continue
            self._code(*far[symbol])
            if symbol > 256 and near:
                self.number(rng.getrandbits(5), 0 if symbol in (285, *range(265)) else 5)
                self._code(*rng.choice(list(near.values())))
                self.number(0, rng.randrange(3))
        self._code(*far[256])

    def number(self, value: int, size: int) -> None:
        self._bits += [value >> bit & 1 for bit in range(size)]

    def _code(self, value: int, size: int) -> None:
        self._bits += [value >> bit & 1 for bit in reversed(range(size))]

    def _sizes(self, count: int, must: int | None = None) -> list[int]:
        """How long the codes of `count` symbols are: a tree whose leaves are split at random."""
        rng = self._rng
        leaves = [1] if rng.randrange(4) == 0 else [1, 1]
        for _ in range(rng.randrange(25)):
            size = leaves.pop(rng.randrange(len(leaves)))
            leaves += [size + 1] * 2 if size < 15 else [size]
        if rng.randrange(6) == 0:
            at = rng.randrange(len(leaves))
            leaves[at] = max(1, min(15, leaves[at] + rng.choice((-1, 1))))
        used = rng.sample([symbol for symbol in range(count) if symbol != must], len(leaves))
        if must is not None:
            used[0] = must
        given = dict(zip(used, leaves, strict=True))
        return [given.get(symbol, 0) for symbol in range(count)]

    def _codes(self, sizes: list[int]) -> dict[int, tuple[int, int]]:
        found: dict[int, tuple[int, int]] = {}
        code = before = 0
        for size, symbol in sorted((size, symbol) for symbol, size in enumerate(sizes) if size):
            code <<= size - before
            found[symbol] = (code, size)
            code, before = code + 1, size
        return found

    def content(self) -> bytes:
        bits = [*self._bits, *[0] * (-len(self._bits) % 8)]
        return bytes(
            sum(bit << at for at, bit in enumerate(bits[start : start + 8]))
            for start in range(0, len(bits), 8)
        )


@pytest.mark.parametrize("seed", range(2 * ROUNDS))
def test_of_odd_codes_the_agent_takes_what_zlib_takes(agent: Talk, root: Path, seed: int) -> None:
    rng = random.Random(2000 + seed)
    streams = [_Block(rng).content() for _ in range(500)]
    assert 25 < _compare(agent, root, streams) < len(streams) - 25


def test_a_stream_that_is_much_longer_than_a_frame_is_refused(agent: Talk, root: Path) -> None:
    just = _deflate(bytes(BODY_MOST), 9)
    bomb = _deflate(bytes(BODY_MOST + 1), 9)
    assert _compare(agent, root, [just, bomb, _deflate(bytes(100_000_000), 9)]) == 1


def test_more_than_was_announced_is_refused(agent: Talk, root: Path) -> None:
    agent.send(
        Put(1, b"a", 0o644, KEEP_TIME, 10), Data(1, _deflate(bytes(11)), True), PutEnd(1, bytes(32))
    )
    assert [r.errno for r in agent.commit()[1]] == [errno.EFBIG]
    assert os.listdir(root) == []


def test_an_agent_says_that_it_can_inflate(binary: Path, root: Path) -> None:
    with serving(binary, root) as talk:
        assert talk.hello().features & Feature.INFLATE


@pytest.mark.parametrize(
    ("content", "pays"),
    [
        (b"", False),
        (b"a" * 511, False),
        (b"a" * 512, True),
        (b"def f():\n    return 1\n" * 100, True),
        (random.Random(1).randbytes(2000), False),
        (random.Random(1).randbytes(256 << 10), False),
        (zlib.compress(bytes(random.Random(2).choices(b"abcdef \n", k=300_000))), False),
        ((b"text " * 100_000)[: 256 << 10], True),
    ],
    ids=["nothing", "small", "least", "source", "random", "much", "archive", "text"],
)
def test_only_what_gets_shorter_is_deflated(content: bytes, pays: bool) -> None:
    sent = compressed(Data(7, content))
    assert (sent.id, sent.deflated) == (7, pays)
    if pays:
        assert len(sent.payload) <= len(content) * 7 // 8
        assert zlib.decompress(sent.payload, -15) == content
    else:
        assert sent == Data(7, content)
    assert compressed(sent) is sent
