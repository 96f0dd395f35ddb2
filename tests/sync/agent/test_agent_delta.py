"""What two versions of a file have in common is found, and the agent puts them together."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kindling.sync.agent.delta import (
    Literal,
    Match,
    Signature,
    block_size,
    difference,
    literal_size,
    signature,
    weak_sum,
)
from kindling.sync.agent.frames import (
    KEEP_TIME,
    Blocks,
    BlocksEnd,
    Copy,
    Data,
    Frame,
    Put,
    PutEnd,
    Refused,
    Sums,
)
from kindling.sync.agent.protocol import CHUNK, digest
from tests.sync.agent.talk import Talk

MB = 1 << 20


def _restored(old: bytes, new: bytes, pieces: tuple[Match | Literal, ...]) -> bytes:
    return b"".join(
        old[piece.offset : piece.offset + piece.size]
        if isinstance(piece, Match)
        else new[piece.start : piece.end]
        for piece in pieces
    )


def _noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


EDITS = {
    "nothing": lambda old: old,
    "one byte in place": lambda old: old[:70_000] + b"!" + old[70_001:],
    "a line put in": lambda old: old[:70_001] + b"a new line\n" + old[70_001:],
    "a line taken out": lambda old: old[:70_001] + old[70_050:],
    "put before the start": lambda old: b"#!/bin/sh\n" + old,
    "put after the end": lambda old: old + b"more",
    "two halves exchanged": lambda old: old[100_003:] + old[:100_003],
}


@pytest.mark.parametrize("name", EDITS)
def test_a_small_edit_of_a_file_costs_a_few_blocks(name: str) -> None:
    old = _noise(200_000)
    new = EDITS[name](old)
    older = signature(old, 1024)
    pieces = difference(new, older)
    assert _restored(old, new, pieces) == new
    assert literal_size(pieces) <= 2 * 1024 + 20


def test_equal_files_are_one_match() -> None:
    old = _noise(100_500)
    assert difference(old, signature(old, 1024)) == (Match(0, 100_500),)


def test_a_file_with_nothing_in_common_is_one_literal() -> None:
    old, new = _noise(50_000), _noise(60_000, 2)
    assert difference(new, signature(old, 1024)) == (Literal(0, 60_000),)
    assert difference(new, signature(b"", 1024)) == (Literal(0, 60_000),)
    assert difference(b"", signature(old, 1024)) == ()


def test_without_searching_blocks_in_place_are_found_still() -> None:
    old = _noise(200_000)
    new = EDITS["one byte in place"](old)
    pieces = difference(new, signature(old, 1024), search_most=0)
    assert _restored(old, new, pieces) == new
    assert literal_size(pieces) == 1024


def test_changes_in_place_are_not_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    old = _noise(2 * MB)
    new = bytearray(old)
    # As a linker leaves it that finds everything a little farther on: hundreds of addresses.
    places = range(500, len(old) - 10_000, 5000)
    for at in places:
        new[at : at + 4] = b"\0\1\2\3"

    def searched(*_: object) -> int:
        raise AssertionError("a change in place was searched for")

    monkeypatch.setattr("kindling.sync.agent.delta._next", searched)
    pieces = difference(bytes(new), signature(old, 1024))
    assert _restored(old, bytes(new), pieces) == new
    assert literal_size(pieces) <= 2 * 1024 * len(places)


def test_a_block_that_is_there_many_times_is_no_sign_of_a_change_in_place() -> None:
    """Every fourth block is of zeros, and all behind the first is farther on by a little."""
    parts = [bytes(1024) if n % 4 == 3 else _noise(1024, n) for n in range(400)]
    old = b"".join(parts)
    new = old[:700] + b"a little" + old[700:]
    pieces = difference(new, signature(old, 1024))
    assert _restored(old, new, pieces) == new
    assert literal_size(pieces) < 8 * 1024


def test_a_block_of_equal_weak_sums_is_not_taken_for_the_same() -> None:
    old = bytes([1, 0, 0]) + bytes(1021)
    new = bytes([0, 1, 0]) + bytes(1020) + b"\1"
    assert weak_sum(bytes([0, 0, 2])) == weak_sum(bytes([0, 1, 0]))
    assert _restored(old, new, difference(new, signature(old, 1024))) == new


@settings(max_examples=80, deadline=None, database=None, derandomize=True)
@given(
    st.lists(st.sampled_from([b"a" * 7, b"bc" * 9, bytes(16), b"xyz", b"q"]), max_size=60),
    st.lists(
        st.tuples(st.integers(0, 500), st.integers(0, 40), st.binary(max_size=20)), max_size=4
    ),
    st.sampled_from([4, 16, 31]),
    st.sampled_from([0, 50, 1 << 20]),
)
def test_any_edits_of_any_file_are_put_together_again(
    parts: list[bytes], edits: list[tuple[int, int, bytes]], block: int, search: int
) -> None:
    old = new = b"".join(parts)
    for at, cut, put in edits:
        new = new[:at] + put + new[at + cut :]
    pieces = difference(new, signature(old, block), search_most=search)
    assert _restored(old, new, pieces) == new
    assert all(
        piece.size > 0 if isinstance(piece, Match) else piece.end > piece.start for piece in pieces
    )


def test_blocks_grow_with_the_file() -> None:
    assert [block_size(size) for size in (0, 1, 5 * MB, 16 * MB, 1 << 40)] == [
        1024,
        1024,
        4096,
        4096,
        65536,
    ]


def _sums(agent: Talk, path: bytes, block: int) -> tuple[Signature, bytes]:
    agent.send(Sums(agent.ident(), path, block))
    sums: list[tuple[int, bytes]] = []
    while not isinstance(frame := agent.frame(), BlocksEnd):
        assert isinstance(frame, Blocks), frame
        sums += frame.sums
    return Signature(frame.size, block, tuple(sums)), frame.digest


def _put_difference(agent: Talk, path: bytes, new: bytes, older: Signature) -> int:
    """Send a file as a difference; the bytes that went out for its contents."""
    ident = agent.ident()
    pieces = difference(new, older)
    frames: list[Frame] = [Put(ident, path, 0o755, KEEP_TIME, len(new), path)]
    for piece in pieces:
        if isinstance(piece, Match):
            frames.append(Copy(ident, ((piece.offset, piece.size),)))
        else:
            frames += [
                Data(ident, new[at : min(at + CHUNK, piece.end)])
                for at in range(piece.start, piece.end, CHUNK)
            ]
    agent.send(*frames, PutEnd(ident, digest(new)))
    return literal_size(pieces)


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 100_000])
def test_both_sides_make_the_same_sums(agent: Talk, root: Path, size: int) -> None:
    content = _noise(size)
    (root / "f").write_bytes(content)
    assert _sums(agent, b"f", 1024) == (signature(content, 1024), digest(content))


def test_sums_of_the_biggest_blocks_do_not_overflow(agent: Talk, root: Path) -> None:
    content = b"\xff" * (MB + 5)
    (root / "f").write_bytes(content)
    assert _sums(agent, b"f", MB)[0] == signature(content, MB)


def test_20_mb_with_a_small_edit_travel_as_little(agent: Talk, root: Path) -> None:
    old = _noise(20 * MB)
    new = old[: 9 * MB + 7] + b"one more line\n" + old[9 * MB + 7 :]
    (root / "app").write_bytes(old)
    older, _ = _sums(agent, b"app", block_size(len(old)))
    sent = _put_difference(agent, b"app", new, older)
    assert agent.commit()[1] == []
    assert (root / "app").read_bytes() == new
    assert sent < 20_000


def test_a_basis_that_changed_meanwhile_is_caught_by_the_digest(agent: Talk, root: Path) -> None:
    old = _noise(50_000)
    (root / "app").write_bytes(old)
    older, _ = _sums(agent, b"app", 1024)
    (root / "app").write_bytes(_noise(50_000, 3))
    _put_difference(agent, b"app", old + b"x", older)
    agent.commit()
    refused = [frame for frame in agent.seen if isinstance(frame, Refused)]
    assert [r.errno for r in refused] == [errno.EBADMSG]
    assert (root / "app").read_bytes() == _noise(50_000, 3)


@pytest.mark.parametrize("piece", [(0, 11), (11, 1), (2**63, 1), (0, 2**63)])
def test_a_copy_beyond_the_basis_is_refused(
    agent: Talk, root: Path, piece: tuple[int, int]
) -> None:
    (root / "a").write_bytes(b"0123456789")
    agent.send(Put(1, b"b", 0o644, 0, 100, b"a"), Copy(1, (piece,)), PutEnd(1, digest(b"")))
    done, _ = agent.commit()
    assert done.failed == 1
    assert not (root / "b").exists()


def test_a_copy_without_a_basis_is_refused(agent: Talk, root: Path) -> None:
    agent.send(Put(1, b"b", 0o644, 0, 1), Copy(1, ((0, 1),)), PutEnd(1, digest(b"x")))
    agent.send(Put(2, b"c", 0o644, 0, 1, b"none"), Copy(2, ((0, 1),)), PutEnd(2, digest(b"x")))
    assert agent.commit()[0].failed == 2
    assert list(root.iterdir()) == []
