"""What goes over the wire for a batch, read back by the protocol's own codec."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from kindling.sync.agent import frames
from kindling.sync.agent.delta import signature
from kindling.sync.agent.frames import Frame
from kindling.sync.agent.protocol import CHUNK, Decoder, encode
from kindling.sync.protocol import SourceChangedError
from kindling.sync.transport.sending import Piece, Surroundings, opening, pieces
from kindling.sync.trees import batch as steps
from kindling.sync.trees.batch import Operation
from tests.sync.transport.pods import Folder


def _sent(source: Folder, around: Surroundings, *operations: Operation) -> list[Frame]:
    decoder = Decoder()
    found: list[Frame] = []
    for piece in pieces(operations, source, 7, around):
        found += decoder.feed(piece.data)
        assert not decoder.inside, "a piece ends inside of a frame"
    return found


def _as_put(path: bytes, mode: int, content: bytes) -> list[Frame]:
    data = [frames.Data(7, content[at : at + CHUNK]) for at in range(0, len(content), CHUNK)]
    put = frames.Put(7, path, mode, frames.KEEP_TIME, len(content))
    return [put, *data, frames.PutEnd(7, sha256(content).digest())]


@pytest.mark.parametrize("size", [0, 1, 5000, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_a_file_is_what_the_codec_makes_of_it(tmp_path: Path, size: int) -> None:
    source = Folder(tmp_path)
    content = os.urandom(size)
    put = source.write("a\n", content, 0o640)
    assert _sent(source, Surroundings(), put) == [
        *_as_put(b"a\n", 0o640, content),
        frames.Commit(7),
    ]


def test_contents_are_deflated_only_for_an_agent_that_takes_it_and_where_it_pays(
    tmp_path: Path,
) -> None:
    source = Folder(tmp_path)
    text, noise = source.write("text", b"again " * 2000), source.write("noise", os.urandom(9000))
    sent = _sent(source, Surroundings(deflates=True), text, noise)
    assert [one.deflated for one in sent if isinstance(one, frames.Data)] == [True, False]
    assert sum(len(encode(one)) for one in sent) < 9000 + 1000
    plain = _sent(source, Surroundings(), text, noise)
    assert [one.deflated for one in plain if isinstance(one, frames.Data)] == [False, False]


def test_many_small_files_share_a_piece_and_a_big_one_has_several(tmp_path: Path) -> None:
    source = Folder(tmp_path)
    small = [source.write(f"small/{n}", os.urandom(1000)) for n in range(200)]
    big = source.write("big", os.urandom(3 << 20))
    found: list[Piece] = list(pieces([*small, big], source, 7, Surroundings()))
    assert len(found[0].data) > 200_000
    assert 4 <= len(found) <= 8
    assert [piece.last for piece in found] == [False] * (len(found) - 1) + [True]
    assert [piece.commits for piece in found] == [piece.last for piece in found]


def test_folders_are_opened_by_a_commit_of_its_own(tmp_path: Path) -> None:
    source = Folder(tmp_path)
    put = source.write("d/f", b"x")
    operations = (steps.Chmod("d", 0o755), put, steps.Chmod("d", 0o555))
    assert opening(operations) == 1
    assert opening(operations[2:]) == 0
    assert _sent(source, Surroundings(), *operations) == [
        frames.Chmod(7, b"d", 0o755),
        frames.Commit(7),
        *_as_put(b"d/f", 0o644, b"x"),
        frames.Chmod(7, b"d", 0o555),
        frames.Commit(7),
    ]


def test_an_older_version_is_copied_from(tmp_path: Path) -> None:
    source = Folder(tmp_path)
    old = os.urandom(600_000)
    new = old[:300_000] + b"new" + old[300_000:]
    put = source.write("f", new)
    sent = _sent(source, Surroundings({"f": signature(old, 1024)}), put)
    head = sent[0]
    assert isinstance(head, frames.Put)
    assert head.basis == b"f"
    made = b""
    for frame in sent:
        if isinstance(frame, frames.Copy):
            made += b"".join(old[at : at + size] for at, size in frame.pieces)
        elif isinstance(frame, frames.Data):
            made += frame.payload
    assert made == new
    assert sum(len(encode(one)) for one in sent) < 5000
    noise = _sent(source, Surroundings({"f": signature(os.urandom(600_000), 1024)}), put)
    assert noise == [*_as_put(b"f", 0o644, new), frames.Commit(7)]


def test_a_batch_that_the_agent_cannot_note_at_once_is_committed_in_parts(tmp_path: Path) -> None:
    source = Folder(tmp_path)
    name = "x" * 200
    operations = [steps.Delete(f"{name}/{name}/{n}") for n in range(20_000)]
    found = list(pieces(operations, source, 7, Surroundings()))
    commits = [piece for piece in found if piece.commits]
    assert 2 <= len(commits) <= 4
    assert [piece.done for piece in commits] == sorted({piece.done for piece in commits})
    assert commits[-1].done == len(operations)


@pytest.mark.parametrize("change", ["gone", "longer", "shorter", "other", "a folder", "a pipe"])
@pytest.mark.parametrize("size", [100, 400_000])
def test_a_file_that_is_not_what_was_said_ends_the_batch(
    tmp_path: Path, change: str, size: int
) -> None:
    source = Folder(tmp_path)
    put = source.write("f", bytes(size))
    file = tmp_path / "f"
    file.unlink()
    match change:
        case "longer":
            file.write_bytes(bytes(size + 1))
        case "shorter":
            file.write_bytes(bytes(size - 1))
        case "other":
            file.write_bytes(b"x" * size)
        case "a folder":
            file.mkdir()
        case "a pipe":
            os.mkfifo(file)
        case _:
            pass
    for given in (put, steps.Put("f", 0o644, put.digest)):
        with pytest.raises(SourceChangedError) as caught:
            _sent(source, Surroundings(), given)
        assert caught.value.place == "f"
