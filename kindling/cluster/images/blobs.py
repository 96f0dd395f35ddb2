"""Content by its digest: files named by their SHA-256, complete or not there at all.

A blob is written under a name of its own in `tmp`, made durable, and then renamed to its digest.
What a process that was killed leaves in `tmp` is removed at the next start.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["BlobError", "BlobWriter", "Blobs", "digest_of", "is_digest", "remove_tree"]

_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_MOST_BYTES = 1 << 40


class BlobError(Exception):
    """Content that is not what it was said to be."""


def digest_of(data: bytes) -> str:
    """`sha256:...` of bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def is_digest(text: str) -> bool:
    """Whether this is a digest that can name a blob (and so is safe as a file name)."""
    return _DIGEST.fullmatch(text) is not None


class BlobWriter:
    """A blob on its way in. It becomes visible by `commit`, and leaves nothing by `abort`."""

    def __init__(self, blobs: Blobs, path: Path) -> None:
        self._blobs = blobs
        self._file = path.open("xb")
        self._hash = hashlib.sha256()
        self.path = path
        self.size = 0

    @property
    def digest(self) -> str:
        """The digest of what was written so far."""
        return "sha256:" + self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)
        if self.size > _MOST_BYTES:
            raise BlobError("a blob of more than 1 TiB")

    def commit(self, expected: str = "") -> str:
        """Make it a blob, durable once this returns; its digest.

        Raises:
            BlobError: It is not `expected`; nothing is kept.
        """
        digest = self.digest
        if expected and digest != expected:
            self.abort()
            raise BlobError(f"content is {digest}, not {expected} as promised")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        target = self._blobs.path(digest)
        os.replace(self.path, target)
        _sync_folder(target.parent)
        return digest

    def abort(self) -> None:
        """Drop it. Idempotent, and harmless after `commit`."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class Blobs:
    """The blobs in `folder`, with `tmp` beside them for what is not finished.

    One process at a time may hold a folder: opening it removes what another has left in `tmp`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "blobs" / "sha256"
        self.temporary = folder / "tmp"
        self._names = itertools.count()
        self._folder.mkdir(parents=True, exist_ok=True)
        if self.temporary.exists():
            remove_tree(self.temporary)
        self.temporary.mkdir(mode=0o700)

    def new_path(self) -> Path:
        """A name in `tmp` that is not in use."""
        return self.temporary / f"{os.getpid()}-{next(self._names)}"

    def path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise BlobError(f"`{digest[:80]}` is no digest")
        return self._folder / digest.removeprefix("sha256:")

    def has(self, digest: str) -> bool:
        return is_digest(digest) and self.path(digest).exists()

    def size(self, digest: str) -> int:
        """Bytes; raises `FileNotFoundError`."""
        return self.path(digest).stat().st_size

    def open(self, digest: str) -> BinaryIO:
        """Raises `FileNotFoundError`."""
        return self.path(digest).open("rb")

    def read(self, digest: str) -> bytes:
        """A small blob whole; raises `FileNotFoundError`."""
        return self.path(digest).read_bytes()

    def writer(self) -> BlobWriter:
        return BlobWriter(self, self.new_path())

    def put(self, data: bytes, expected: str = "") -> str:
        """Keep bytes; their digest."""
        digest = digest_of(data)
        if expected and digest != expected:
            raise BlobError(f"content is {digest}, not {expected} as promised")
        if not self.has(digest):
            writer = self.writer()
            try:
                writer.write(data)
                writer.commit()
            finally:
                writer.abort()
        return digest

    def remove(self, digest: str) -> None:
        """Idempotent."""
        self.path(digest).unlink(missing_ok=True)

    def all(self) -> Iterator[tuple[str, float]]:
        """Every digest, and when it was written (seconds since the epoch)."""
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    yield f"sha256:{entry.name}", entry.stat().st_mtime


def remove_tree(folder: Path) -> None:
    """Remove a folder of an image's files: also those that forbid their owner to write."""
    if os.geteuid() != 0:
        with contextlib.suppress(FileNotFoundError):
            for path, _, _ in os.walk(folder):
                os.chmod(path, 0o700)  # before it is listed: the walk is lazy, from above
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
