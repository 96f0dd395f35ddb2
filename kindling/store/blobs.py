"""File contents by digest: what the action cache puts outputs back from.

A blob is written to a temporary name and renamed, so that no half one is ever found under its
digest. Nothing is synced: what a power failure tears is found by the digest, which every `get`
checks, and costs one run of the node. The modification time of a blob is when it was last used.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import threading
import time
from pathlib import Path
from typing import BinaryIO

from kindling.errors import StoreError
from kindling.store.folder import guarded

__all__ = ["FileBlobs"]

_CHUNK = 1 << 20
_PREFIX = "sha256:"
_ABANDONED = 3600.0
"""A temporary file older than this (seconds) belongs to a process that died."""
_HEADROOM = 0.9
"""When the bound is reached, this share of it is kept, so that not every `put` has to look."""


class FileBlobs:
    """A content-addressed folder, behind the `BlobStore` protocol. Blocking; call in a thread.

    `folder` is created when first written to. Beyond `max_bytes` the least recently used go.
    """

    def __init__(self, folder: Path, max_bytes: int = 5 * 2**30) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._kept: int | None = None
        self._lock = threading.Lock()

    def put(self, path: Path) -> str:
        """Keep a copy of a regular file; its digest (`sha256:...`).

        Raises:
            StoreError: `path` is not a regular file or cannot be read, or there is no space.
        """
        with guarded(path), _regular(path) as source:
            name = _digest(source)
            kept = self._path(name)
            if kept.is_file():
                os.utime(kept)
                return name
            source.seek(0)
            size = 0
            with guarded(self._folder):
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                file, temporary = tempfile.mkstemp(prefix="tmp-", dir=self._folder)
                try:
                    # The file may change between the two readings; what counts is what is copied.
                    with os.fdopen(file, "wb") as target:
                        name = _copy(source, target)
                        size = target.tell()
                    kept = self._path(name)
                    kept.parent.mkdir(mode=0o700, exist_ok=True)
                    os.replace(temporary, kept)
                except BaseException:
                    Path(temporary).unlink(missing_ok=True)
                    raise
        self._grow(size)
        return name

    def get(self, digest: str, path: Path) -> bool:
        """Write the content to `path` whole or not at all. False when it is not kept (any more).

        Folders on the way are created. The file is readable as any new file is; its mode is the
        caller's to set. A blob that does not hold what its name says is dropped.

        Raises:
            StoreError: `path` cannot be written.
        """
        kept = self._path(digest)
        try:
            source = kept.open("rb")
        except FileNotFoundError:
            return False
        with source, guarded(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}-{threading.get_ident()}")
            try:
                with temporary.open("wb") as target:
                    found = _copy(source, target)
                if found != digest:
                    kept.unlink(missing_ok=True)
                    return False
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        try:
            os.utime(kept)
        except OSError:
            # Pruned meanwhile, or a cache that may only be read: the content is in place all the
            # same.
            return True
        return True

    def prune(self, max_bytes: int | None = None) -> int:
        """Drop what was not used for longest until at most `max_bytes` are kept; the bytes
        freed."""
        bound = self._max_bytes if max_bytes is None else max_bytes
        with self._lock, guarded(self._folder):
            blobs = self._scan()
            kept = sum(size for _, size, _ in blobs)
            freed = 0
            for _, size, path in sorted(blobs):
                if kept - freed <= bound:
                    break
                path.unlink(missing_ok=True)
                freed += size
            self._kept = kept - freed
            return freed

    def _grow(self, size: int) -> None:
        with self._lock:
            if self._kept is None:
                self._kept = sum(size for _, size, _ in self._scan())
            else:
                self._kept += size
            full = self._kept > self._max_bytes
        if full:
            self.prune(int(self._max_bytes * _HEADROOM))

    def _scan(self) -> list[tuple[int, int, Path]]:
        """Every blob as (last use, size, path); drops what dead processes left."""
        found: list[tuple[int, int, Path]] = []
        if not self._folder.is_dir():
            return found
        for shelf in os.scandir(self._folder):
            if not shelf.is_dir(follow_symlinks=False):
                if shelf.name.startswith("tmp-") and _age(shelf) > _ABANDONED:
                    Path(shelf.path).unlink(missing_ok=True)
                continue
            for entry in os.scandir(shelf.path):
                try:
                    seen = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                found.append((seen.st_mtime_ns, seen.st_size, Path(entry.path)))
        return found

    def _path(self, digest: str) -> Path:
        name = digest.removeprefix(_PREFIX)
        if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
            raise StoreError(f"`{digest}` is not a digest")
        return self._folder / name[:2] / name[2:]


def _regular(path: Path) -> BinaryIO:
    # Not blocking: opening a fifo would wait for a writer.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise StoreError(f"`{path}` is not a regular file, so its content cannot be kept")
    return os.fdopen(file, "rb")


def _digest(source: BinaryIO) -> str:
    sums = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        sums.update(chunk)
    return _PREFIX + sums.hexdigest()


def _copy(source: BinaryIO, target: BinaryIO) -> str:
    sums = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        sums.update(chunk)
        target.write(chunk)
    return _PREFIX + sums.hexdigest()


def _age(entry: os.DirEntry[str]) -> float:
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return 0.0
