"""Digests of file contents, remembered by what `stat` says.

A file whose size, times, inode and mode are as they were holds what it held, with one exception
that git calls "racily clean": changed twice within one tick of the file system's clock, once before
it was hashed and once after, it looks unchanged. So an entry is kept only when the file was older,
at the moment it was hashed, than such a tick.
"""

from __future__ import annotations

import json
import os
import threading
import time

from kindling.errors import StoreError
from kindling.store.database import Store

__all__ = ["FolderCache", "StatCache", "is_settled"]

FolderCache = dict[str, list[int | str]]
"""File name to [size, mtime, ctime, inode, mode, manifest entry], times in nanoseconds."""

_TICK = 50_000_000
"""Nanoseconds. Linux stamps files by a clock that ticks every 1 to 10 ms; the rest is margin."""
_COARSE_TICK = 2_000_000_000
"""For file systems that store whole seconds (FAT: every other one), told by a time without a
fraction."""

_MAX_FILES = 1_000_000
_UNSAVED = 1_000
"""Results that are worth a write of their own before the session ends, since it may be killed."""


class StatCache:
    """Digest by (path, size, times, inode, mode). Safe from several threads.

    Lives in memory; `save` writes what is new to the store, one row per folder. Without a store it
    lasts as long as it does. Folders are named relative to the root of whoever reads through it.
    """

    def __init__(self, store: Store | None = None) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._packed: dict[str, bytes] = dict(store.stats()) if store else {}
        self._folders: dict[str, FolderCache] = {}
        self._changed: set[str] = set()
        self._fresh = 0

    def folder(self, folder: str) -> FolderCache:
        """What is known of the files of a folder. Only `put` may change it."""
        known = self._folders.get(folder)
        if known is None:
            with self._lock:
                known = self._folders.get(folder)
                if known is None:
                    packed = self._packed.pop(folder, None)
                    known = _unpack(packed) if packed else {}
                    self._folders[folder] = known
        return known

    def put(self, folder: str, name: str, seen: os.stat_result, entry: str) -> None:
        """Keep the manifest entry of a file that was `seen` so before and after it was read."""
        known = self.folder(folder)
        with self._lock:
            known[name] = [
                seen.st_size,
                seen.st_mtime_ns,
                seen.st_ctime_ns,
                seen.st_ino,
                seen.st_mode,
                entry,
            ]
            self._changed.add(folder)
            self._fresh += 1

    def trim(self, folder: str, names: set[str]) -> None:
        """Forget files of a folder that holds just `names` now."""
        known = self.folder(folder)
        if len(known) > len(names) or not known.keys() <= names:
            with self._lock:
                for name in known.keys() - names:
                    del known[name]
                self._changed.add(folder)

    def now(self) -> int:
        """The present moment (nanoseconds) by the clock that stamps the project's files.

        A network file system stamps by its server's clock, so a file beside the store is asked, not
        this machine alone. The earlier of both is the careful one.
        """
        here = time.time_ns()
        if self._store is None:
            return here
        probe = self._store.path.with_name("clock")
        try:
            os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            os.utime(probe)
            return min(here, probe.stat().st_mtime_ns)
        except OSError:
            # A full or read-only disk: the store itself will say so where it matters.
            return here

    @property
    def worth_saving(self) -> bool:
        """Has enough gathered that a killed session should not lose it?"""
        return self._fresh >= _UNSAVED

    def save(self) -> None:
        """Write what is new to the store.

        Raises:
            StoreError: It could not be written; it stays in memory and the next `save` tries again.
        """
        if self._store is None:
            return
        with self._lock:
            changed, self._changed = self._changed, set()
            fresh, self._fresh = self._fresh, 0
            rows = {
                folder: _pack(self._folders[folder]) if self._folders[folder] else None
                for folder in changed
                if _is_text(folder)
            }
            if sum(map(len, self._folders.values())) > _MAX_FILES:
                # What nobody read for a whole session goes first, and is all there is to go.
                rows.update(dict.fromkeys(self._packed, None))
                self._packed.clear()
        if not rows:
            return
        try:
            self._store.save_stats(rows)
        except StoreError:
            with self._lock:
                self._changed |= changed
                self._fresh += fresh
            raise


def is_settled(seen: os.stat_result, now: int) -> bool:
    """Would a change after `now` be sure to show in what `stat` says?"""
    last = max(seen.st_mtime_ns, seen.st_ctime_ns)
    coarse = seen.st_ctime_ns % 1_000_000_000 == 0
    return last < now - (_COARSE_TICK if coarse else _TICK)


def _pack(known: FolderCache) -> bytes:
    return json.dumps(known, separators=(",", ":")).encode("ascii")


def _unpack(packed: bytes) -> FolderCache:
    try:
        known: FolderCache = json.loads(packed)
    except ValueError:
        return {}
    return known


def _is_text(folder: str) -> bool:
    """Can the name be stored? A file name that is not UTF-8 cannot, and is hashed anew each
    time."""
    try:
        folder.encode()
    except UnicodeEncodeError:
        return False
    return True
