"""The folder `.kindling/` itself: made once, private, invisible to git, and what its failures
mean."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kindling.errors import StoreError

__all__ = ["guarded", "prepare", "store_error"]

_FULL = {errno.ENOSPC, errno.EDQUOT}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


def prepare(state_dir: Path, *parts: str) -> Path:
    """Create `state_dir` (0700, with a `.gitignore` of its own) and a folder of `parts` in it.

    Returns the inner folder.

    Raises:
        StoreError: It cannot be created.
    """
    with guarded(state_dir):
        if not state_dir.is_dir():
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = state_dir / ".gitignore"
        if not ignore.exists():
            # By way of rename: an empty file left by a full disk would let git see everything.
            fresh = state_dir / f".gitignore.{os.getpid()}.{threading.get_ident()}"
            try:
                fresh.write_text("*\n")
                fresh.replace(ignore)
            finally:
                fresh.unlink(missing_ok=True)
        folder = state_dir.joinpath(*parts)
        if parts:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn what the system or SQLite say about `path` into a `StoreError`."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise store_error(path, error) from error


def store_error(path: Path, error: OSError | sqlite3.Error) -> StoreError:
    """What a failed read or write below `path` means to a user, and what to do."""
    if isinstance(error, OSError):
        where = Path(os.fsdecode(error.filename)) if error.filename else path
        if error.errno in _FULL:
            return _full(where)
        if error.errno in _READ_ONLY:
            return _read_only(where)
        if error.errno in {errno.ENOTDIR, errno.EEXIST, errno.EISDIR}:
            return StoreError(
                f"`{where}` is in the way of kindling's state folder",
                hint="Move it away: kindling keeps its state in a folder of that name.",
            )
        return StoreError(f"`{where}`: {error.strerror or error}")
    # The primary result code; the extended ones (SQLITE_IOERR_WRITE...) carry it in the low byte.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return _full(path)
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
        return _read_only(path)
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreError(
            f"`{path}` is busy: another process has been writing to it for too long",
            hint="See which with `kindling status`, then try again.",
        )
    if code == sqlite3.SQLITE_IOERR:
        return StoreError(
            f"`{path}` cannot be read or written: {error}",
            hint=f"Look for a full or failing disk (`df {path.parent}`), then try again.",
        )
    return StoreError(
        f"`{path}`: {error}",
        hint=f"It is a cache: move `{path}` away and run kindling again.",
    )


def _full(path: Path) -> StoreError:
    return StoreError(
        f"No space is left for `{path}`",
        hint="Free some space on that disk and try again: nothing that was finished is lost.",
    )


def _read_only(path: Path) -> StoreError:
    return StoreError(
        f"`{path}` cannot be written: permission denied or a read-only file system",
        hint="kindling keeps its state beside the Kindlingfile: make that folder writable.",
    )
