"""The database file: one row an object, and an undo log of the newest changes.

Every commit is synced to the disk before it is reported (`synchronous=FULL`), and the writes that
wait while one commit is under way share the next one. A commit that fails fails every write that
was handed in before the failure became known, since later ones may have been built on it.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SCHEMA_VERSION", "Contents", "ObjectStore", "StoreError", "Undo", "Write"]

SCHEMA_VERSION = 1
"""`PRAGMA user_version` of the file. There is no way back from a newer one."""

_KEPT_HISTORY = 1_000
"""Rows of the undo log that stay on disk, for watches that come back after a restart."""

_LARGEST_BATCH = 1_000

_LAYOUT = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)
);
CREATE TABLE IF NOT EXISTS history (
    revision INTEGER PRIMARY KEY,
    resource TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    before BLOB
);
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


class StoreError(Exception):
    """The file cannot be opened or written; the text says why."""


@dataclass(frozen=True, slots=True)
class Write:
    """One object's next state; `body` None removes it, `before` None is a new object.

    `epoch` counts failures that the writing side knew of when it made this write.
    """

    revision: int
    resource: str
    namespace: str
    name: str
    body: bytes | None
    before: bytes | None
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Undo:
    """What one object was before a revision; None: it was not there."""

    revision: int
    resource: str
    namespace: str
    name: str
    before: bytes | None


@dataclass(frozen=True, slots=True)
class Contents:
    """All that the file holds. `objects` are (resource, namespace, name, body); `history` is oldest
    first and has every change after `history_start`."""

    revision: int
    objects: Sequence[tuple[str, str, str, bytes]]
    history: Sequence[Undo]
    history_start: int


class ObjectStore:
    """The database of one cluster. One process at a time, one thread that submits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._report: Callable[[Sequence[Write], Exception | None], None] = lambda _w, _e: None
        self._unpruned = 0
        self._failed_epoch = -1

    def open(self, report: Callable[[Sequence[Write], Exception | None], None]) -> Contents:
        """Open or make the file and read it whole. From then on `report` is called, on a thread of
        its own, with each batch of writes that is durable, or has failed, in order. Raises
        `StoreError`."""
        try:
            new = not self._path.exists()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = connection = self._connect()
            if new:
                _sync_folders(self._path)
            contents = self._read(connection)
        except (OSError, sqlite3.Error) as error:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            raise StoreError(f"cannot open {self._path}: {error}") from error
        self._report = report
        self._thread = threading.Thread(target=self._work, name="object-store", daemon=True)
        self._thread.start()
        return contents

    def submit(self, write: Write) -> None:
        """Hand in a write. Revisions must rise."""
        self._queue.put(write)

    def close(self) -> None:
        """Finish what was handed in, and close the file."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=1.0
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA fullfsync=1")  # macOS: a plain fsync stays in the drive
            connection.execute("PRAGMA checkpoint_fullfsync=1")
            found = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if found > SCHEMA_VERSION:
                raise StoreError(
                    f"{self._path} was written by a newer kindling (layout {found}, this one"
                    f" knows {SCHEMA_VERSION}); use that one, or reset the cluster"
                )
            if found < SCHEMA_VERSION:
                connection.executescript(
                    f"BEGIN; {_LAYOUT} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def _read(self, connection: sqlite3.Connection) -> Contents:
        marks = dict(connection.execute("SELECT name, value FROM marks"))
        return Contents(
            marks.get("revision", 0),
            connection.execute("SELECT resource, namespace, name, body FROM objects").fetchall(),
            [
                Undo(*row)
                for row in connection.execute(
                    "SELECT revision, resource, namespace, name, before FROM history"
                    " ORDER BY revision"
                )
            ],
            marks.get("history_start", 0),
        )

    def _work(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            batch = [first]
            last = False
            while len(batch) < _LARGEST_BATCH and not last:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                else:
                    batch.append(more)
            self._settle(batch)
            if last:
                return

    def _settle(self, batch: list[Write]) -> None:
        doomed = [write for write in batch if write.epoch <= self._failed_epoch]
        if doomed:
            self._report(doomed, StoreError("an earlier write failed"))
        batch = [write for write in batch if write.epoch > self._failed_epoch]
        if not batch:
            return
        try:
            self._commit(batch)
        except Exception as error:
            self._failed_epoch = batch[-1].epoch
            self._report(batch, error)
        else:
            self._report(batch, None)

    def _commit(self, batch: list[Write]) -> None:
        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for write in batch:
                key = (write.resource, write.namespace, write.name)
                if write.body is None:
                    connection.execute(
                        "DELETE FROM objects WHERE resource=? AND namespace=? AND name=?", key
                    )
                else:
                    connection.execute(
                        "INSERT INTO objects VALUES (?, ?, ?, ?)"
                        " ON CONFLICT DO UPDATE SET body=excluded.body",
                        (*key, write.body),
                    )
                connection.execute(
                    "INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?)",
                    (write.revision, *key, write.before),
                )
            revision = batch[-1].revision
            self._unpruned += len(batch)
            if self._unpruned >= _KEPT_HISTORY:
                start = revision - _KEPT_HISTORY
                connection.execute("DELETE FROM history WHERE revision <= ?", (start,))
                connection.execute(
                    "INSERT OR REPLACE INTO marks VALUES ('history_start', ?)", (max(start, 0),)
                )
                self._unpruned = 0
            connection.execute("INSERT OR REPLACE INTO marks VALUES ('revision', ?)", (revision,))
            connection.execute("COMMIT")
        except BaseException:
            # A connection that failed is of no more use: the next write opens a new one.
            self._connection = None
            connection.close()
            raise


def _sync_folders(path: Path) -> None:
    """Make the names of a new file and of its folder as durable as what is in it."""
    for folder in (path.parent, path.parent.parent):
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except PermissionError:
            continue  # a folder that we may not read is not one that we made
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
