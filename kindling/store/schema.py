"""The tables of the run database, and opening it in whatever state it is found."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from kindling.errors import StoreError
from kindling.store.folder import guarded
from kindling.store.lock import holder

__all__ = ["SCHEMA_VERSION", "connect", "damaged", "move_aside"]

SCHEMA_VERSION = 1
"""Raised with every change of the tables. Another version's file is set aside, never converted: it
is a cache, and a conversion is one more thing that can be wrong."""

_APPLICATION = 0x6B6E646C
"""`kndl`: marks the file as ours, so that a stranger's database of this name is not taken for
one."""

_TABLES = """
CREATE TABLE records (
    node TEXT PRIMARY KEY, key TEXT NOT NULL, target TEXT NOT NULL,
    manifest BLOB NOT NULL, previous BLOB NOT NULL,
    digest TEXT NOT NULL, data TEXT NOT NULL,
    verdict TEXT NOT NULL, seconds REAL NOT NULL, finished_at REAL NOT NULL,
    session TEXT NOT NULL, reasons TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE failures (
    node TEXT PRIMARY KEY, failure TEXT NOT NULL,
    at REAL NOT NULL, seconds REAL NOT NULL, session TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE runs (id INTEGER PRIMARY KEY, node TEXT NOT NULL, seconds REAL NOT NULL);
CREATE INDEX runs_of_node ON runs (node, id);
CREATE TABLE cache (
    key TEXT PRIMARY KEY, digest TEXT NOT NULL, data TEXT NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX cache_by_use ON cache (used);
CREATE TABLE snapshots (name TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE stats (folder TEXT PRIMARY KEY, data BLOB NOT NULL);
"""


def connect(path: Path) -> tuple[sqlite3.Connection, str]:
    """A connection to the database at `path`, and one line for the user when it had to be begun
    anew.

    Raises:
        StoreError: It cannot be read, written or created.
    """
    with guarded(path):
        try:
            return _open(path), ""
        except _UnusableError as found:
            why = str(found)
        except sqlite3.DatabaseError as error:
            if not damaged(error):
                raise
            why = "it is damaged"
        kept = move_aside(path)
        return _open(path), f"The run database was begun anew, as {why}; the old one is `{kept}`"


def damaged(error: sqlite3.Error) -> bool:
    """Is the file itself broken, rather than the disk, the permissions or a statement of ours?"""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}


def move_aside(path: Path) -> Path:
    """Rename the database with its write-ahead log, so that nothing is lost; its new path.

    Raises:
        StoreError: A running session is using it.
    """
    busy = holder(path.parent)
    if busy is not None and busy.pid != os.getpid():
        raise StoreError(
            f"`{path}` cannot be used as it is, and a running session has it open",
            details=[f"pid {busy.pid}: {busy.command}"],
            hint="Stop that session, then try again.",
        )
    stamp = time.strftime("%Y%m%dT%H%M%S")
    aside = path.with_name(f"{path.stem}-{stamp}{path.suffix}")
    count = 1
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.stem}-{stamp}-{count}{path.suffix}")
    with guarded(path):
        path.rename(aside)
        log = path.with_name(path.name + "-wal")
        if log.exists():
            log.rename(aside.with_name(aside.name + "-wal"))
        path.with_name(path.name + "-shm").unlink(missing_ok=True)
    return aside


class _UnusableError(Exception):
    """A sound database that is not one of this version of kindling."""


def _open(path: Path) -> sqlite3.Connection:
    # Made by us first, so that no moment exists in which others could read it.
    path.touch(mode=0o600)
    db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        _begin(db)
    except BaseException:
        db.close()
        raise
    return db


def _begin(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("PRAGMA temp_store=MEMORY")
    if _version(db) == 0:
        db.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have been faster.
            if _version(db) == 0:
                for statement in _TABLES.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id={_APPLICATION}")
                db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def _version(db: sqlite3.Connection) -> int:
    """The schema version found; 0 for an empty file."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if (application, version) == (_APPLICATION, SCHEMA_VERSION):
        return SCHEMA_VERSION
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (application, version, tables) == (0, 0, 0):
        return 0
    if application == _APPLICATION:
        raise _UnusableError(
            f"another version of kindling wrote it (schema {version}, not {SCHEMA_VERSION})"
        )
    raise _UnusableError("kindling did not write it")
