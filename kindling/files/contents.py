"""What one path holds: the entry of a manifest, read from the disk."""

from __future__ import annotations

import hashlib
import os
import stat

__all__ = ["entry_of_file", "entry_of_other"]

_CHUNK = 1 << 18
_TRIES = 5

_TYPE = 0o170000
_OTHERS = {
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def entry_of_file(place: str) -> tuple[str | None, os.stat_result | None]:
    """The entry of a file that may change, vanish or become something else meanwhile: None when it
    is gone. What `stat` said of it, where it said the same before and after it was read.

    Raises:
        OSError: It cannot be read.
    """
    entry: str | None = None
    for _ in range(_TRIES):
        try:
            # Not blocking and not following: it may be a fifo or a link by now.
            opened = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None, None
        except OSError:
            if (entry := _became(place)) is not None:
                return entry, None
            raise
        try:
            before = os.fstat(opened)
            if not stat.S_ISREG(before.st_mode):
                return _became(place), None
            content = _content(opened, before.st_size)
            after = os.fstat(opened)
        finally:
            os.close(opened)
        entry = f"file:{after.st_mode & 0o7777:o}:sha256:{content}"
        if _same(before, after):
            return entry, after
    # It never stands still (a log that is being written): what was read last has to do, and the
    # event of the next change brings us here again.
    return entry, None


def entry_of_other(place: str, seen: os.stat_result) -> str | None:
    """The entry of what is no regular file, as `seen`; None when it is gone.

    Raises:
        OSError: It is a link that cannot be read.
    """
    kind = seen.st_mode & _TYPE
    if kind == stat.S_IFDIR:
        return f"dir:{seen.st_mode & 0o7777:o}"
    if kind != stat.S_IFLNK:
        return f"{_OTHERS.get(kind, 'other')}:{seen.st_mode & 0o7777:o}"
    try:
        return "link:" + os.readlink(place)
    except OSError as error:
        # Another kind of thing by now: its event brings us here again.
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return None
        raise


def _became(place: str) -> str | None:
    """The entry of what is no regular file any more; None when it is one, or nothing."""
    try:
        seen = os.lstat(place)
    except OSError:
        return None
    return None if stat.S_ISREG(seen.st_mode) else entry_of_other(place, seen)


def _content(opened: int, size: int) -> str:
    if size < _CHUNK:
        # Most files: one read for all, one that finds the end.
        data = os.read(opened, size + 1)
        if len(data) == size:
            return hashlib.sha256(data).hexdigest()
        sums = hashlib.sha256(data)
    else:
        sums = hashlib.sha256()
    while chunk := os.read(opened, _CHUNK):
        sums.update(chunk)
    return sums.hexdigest()


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (
        before.st_mtime_ns == after.st_mtime_ns
        and before.st_ctime_ns == after.st_ctime_ns
        and before.st_size == after.st_size
        and before.st_mode == after.st_mode
    )
