"""Which images are here, and under which names: a small SQLite file with all of it in memory.

Everything is written in transactions that are durable before they are believed. Reading needs no
disk, so that the node may ask at any time.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CacheEntry", "Catalogue", "ManifestRow"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS manifests (
    digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, size INTEGER NOT NULL,
    image TEXT NOT NULL, parts TEXT NOT NULL, added REAL NOT NULL);
CREATE TABLE IF NOT EXISTS names (
    repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (repository, tag));
CREATE TABLE IF NOT EXISTS held (
    repository TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (repository, digest));
CREATE TABLE IF NOT EXISTS cache (
    key TEXT PRIMARY KEY, diff_id TEXT NOT NULL, blob TEXT NOT NULL, size INTEGER NOT NULL,
    used REAL NOT NULL);
"""
_VERSION = 1


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """A manifest that is here. `image` is the id of the image that it means on this machine, empty
    for what is no image; `parts` are the digests that it points to."""

    digest: str
    media_type: str
    size: int
    image: str
    parts: tuple[str, ...]
    added: float


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """The layer that a step of a build made."""

    key: str
    diff_id: str
    blob: str
    size: int


class Catalogue:
    """The file `path`, which one process at a time holds. Use on one thread.

    One that is damaged is put aside as `.broken`, and all images with it. Writes raise `OSError`
    (a full disk).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._db = _open(path)
        except sqlite3.DatabaseError:
            # What is listed here can be had again; a cluster that does not start helps nobody.
            os.replace(path, path.with_suffix(".broken"))
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._db = _open(path)
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            # What is listed here can be pulled and built again; a guess at it could not be undone.
            for table in ("manifests", "names", "held", "cache"):
                self._db.execute(f"DROP TABLE IF EXISTS {table}")
        self._db.executescript(_SCHEMA)
        self._db.execute(f"PRAGMA user_version = {_VERSION}")
        self.manifests: dict[str, ManifestRow] = {
            row[0]: ManifestRow(row[0], row[1], row[2], row[3], tuple(json.loads(row[4])), row[5])
            for row in self._db.execute(
                "SELECT digest, media_type, size, image, parts, added FROM manifests"
            )
        }
        self.names: dict[tuple[str, str], str] = {
            (repository, tag): digest
            for repository, tag, digest in self._db.execute("SELECT * FROM names")
        }
        self.held: set[tuple[str, str]] = set(self._db.execute("SELECT * FROM held"))
        self._cache: dict[str, CacheEntry] = {
            row[0]: CacheEntry(*row)
            for row in self._db.execute(
                "SELECT key, diff_id, blob, size FROM cache ORDER BY used, rowid"
            )
        }

    def close(self) -> None:
        self._db.close()

    def add(
        self,
        row: ManifestRow,
        names: Iterable[tuple[str, str]] = (),
        held: Iterable[str] = (),
    ) -> None:
        """Record a manifest with names (repository and tag) and repositories that it is known in by
        digest. A name that stood for another manifest moves."""
        names, held = tuple(names), tuple(held)
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?, ?, ?)",
                (
                    row.digest,
                    row.media_type,
                    row.size,
                    row.image,
                    json.dumps(row.parts),
                    row.added,
                ),
            )
            for repository, tag in names:
                self._db.execute(
                    "INSERT OR REPLACE INTO names VALUES (?, ?, ?)", (repository, tag, row.digest)
                )
            for repository in held:
                self._db.execute(
                    "INSERT OR IGNORE INTO held VALUES (?, ?)", (repository, row.digest)
                )
        self.manifests[row.digest] = row
        self.names.update((name, row.digest) for name in names)
        self.held.update((repository, row.digest) for repository in held)

    def forget(
        self,
        *,
        names: Iterable[tuple[str, str]] = (),
        held: Iterable[tuple[str, str]] = (),
        manifests: Iterable[str] = (),
    ) -> None:
        """Drop rows; what they meant on disk is another's business."""
        names, held, manifests = tuple(names), tuple(held), tuple(manifests)
        with self._transaction():
            self._db.executemany("DELETE FROM names WHERE repository = ? AND tag = ?", names)
            self._db.executemany("DELETE FROM held WHERE repository = ? AND digest = ?", held)
            self._db.executemany(
                "DELETE FROM manifests WHERE digest = ?", [(digest,) for digest in manifests]
            )
        for name in names:
            self.names.pop(name, None)
        self.held.difference_update(held)
        for digest in manifests:
            self.manifests.pop(digest, None)

    # The cache of builds -------------------------------------------------------------------------

    def cached(self, key: str) -> CacheEntry | None:
        """The layer of a step, which then counts as used just now."""
        entry = self._cache.pop(key, None)
        if entry is not None:
            self._cache[key] = entry
        return entry

    def remember(self, entry: CacheEntry) -> None:
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO cache VALUES (?, ?, ?, ?, ?)",
                (entry.key, entry.diff_id, entry.blob, entry.size, time.time()),
            )
        self._cache[entry.key] = entry

    def cache(self) -> tuple[CacheEntry, ...]:
        """All of it, what was used longest ago first."""
        return tuple(self._cache.values())

    def uncache(self, keys: Iterable[str]) -> None:
        keys = tuple(keys)
        with self._transaction():
            self._db.executemany("DELETE FROM cache WHERE key = ?", [(key,) for key in keys])
        for key in keys:
            self._cache.pop(key, None)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            full = "full" in str(error)
            number = errno.ENOSPC if full else errno.EIO
            raise OSError(number, os.strerror(number), str(self._path)) from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("damaged")
    except BaseException:
        db.close()
        raise
    return db
