"""File contents by digest: whole, true to their name, and bounded."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from kindling.errors import StoreError
from kindling.executors.protocol import BlobStore
from kindling.store.blobs import FileBlobs


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "blobs")


def make(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_was_put_can_be_had_again(tmp_path: Path, blobs: FileBlobs) -> None:
    store: BlobStore = blobs
    for content in (b"", b"hello", os.urandom(3 << 20)):
        digest = store.put(make(tmp_path, "in", content))
        assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
        target = tmp_path / "new" / "deep" / "out"
        assert store.get(digest, target)
        assert target.read_bytes() == content
        target.unlink()


def test_a_file_in_the_way_is_replaced_whole(tmp_path: Path, blobs: FileBlobs) -> None:
    digest = blobs.put(make(tmp_path, "in", b"new"))
    target = make(tmp_path, "out", b"old")
    assert blobs.get(digest, target)
    assert target.read_bytes() == b"new"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_same_content_is_kept_once(tmp_path: Path, blobs: FileBlobs) -> None:
    assert blobs.put(make(tmp_path, "a", b"x")) == blobs.put(make(tmp_path, "b", b"x"))
    assert len(kept(tmp_path / "blobs")) == 1


def test_what_is_not_kept_is_not_had(tmp_path: Path, blobs: FileBlobs) -> None:
    assert not blobs.get("sha256:" + "0" * 64, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_blob_that_was_torn_is_dropped_and_leaves_the_target_alone(
    tmp_path: Path, blobs: FileBlobs
) -> None:
    digest = blobs.put(make(tmp_path, "in", b"hello"))
    (blob,) = kept(tmp_path / "blobs")
    blob.write_bytes(b"hel")
    target = make(tmp_path, "out", b"old")
    assert not blobs.get(digest, target)
    assert target.read_bytes() == b"old"
    assert kept(tmp_path / "blobs") == []


@pytest.mark.parametrize("digest", ["", "sha256:../../etc/passwd", "sha256:" + "A" * 64, "x" * 64])
def test_a_digest_is_checked_before_it_becomes_a_path(
    tmp_path: Path, blobs: FileBlobs, digest: str
) -> None:
    with pytest.raises(StoreError, match="is not a digest"):
        blobs.get(digest, tmp_path / "out")


def test_only_regular_files_are_kept(tmp_path: Path, blobs: FileBlobs) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(StoreError):
            blobs.put(path)
    with pytest.raises(StoreError, match="missing"):
        blobs.put(tmp_path / "missing")


def test_the_least_recently_used_go_first(tmp_path: Path, blobs: FileBlobs) -> None:
    digests = [blobs.put(make(tmp_path, "in", bytes([at]) * 1000)) for at in range(5)]
    for at, path in enumerate(kept(tmp_path / "blobs")):
        os.utime(path, (at, at))
    by_age = sorted(kept(tmp_path / "blobs"), key=lambda path: path.stat().st_mtime)
    oldest = "sha256:" + by_age[0].parent.name + by_age[0].name
    assert blobs.get(oldest, tmp_path / "out")
    assert blobs.prune(2500) == 3000
    left = {digest for digest in digests if blobs.get(digest, tmp_path / "out")}
    assert len(left) == 2
    assert oldest in left


def test_the_bound_is_kept_by_itself(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "blobs", max_bytes=10_000)
    for at in range(50):
        blobs.put(make(tmp_path, "in", at.to_bytes(2, "big") * 500))
    assert sum(path.stat().st_size for path in kept(tmp_path / "blobs")) <= 10_000


def test_what_dead_processes_left_is_cleaned_up(tmp_path: Path, blobs: FileBlobs) -> None:
    blobs.put(make(tmp_path, "in", b"x"))
    left = make(tmp_path / "blobs", "tmp-dead", b"half")
    os.utime(left, (1, 1))
    young = make(tmp_path / "blobs", "tmp-alive", b"half")
    blobs.prune()
    assert not left.exists()
    assert young.exists()


def test_many_may_put_and_get_at_once(tmp_path: Path, blobs: FileBlobs) -> None:
    source = make(tmp_path, "in", os.urandom(100_000))
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(10):
                assert blobs.get(blobs.put(source), tmp_path / f"out{number}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
