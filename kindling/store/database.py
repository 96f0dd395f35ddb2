"""The run database: what each node last did, what came of it, and what may be reused.

One SQLite file in `.kindling/`, in WAL mode, so that `status` and `why` read while `up` writes.
Every write is one transaction: whole or absent, whenever the process is killed. After a power
failure the last few may be missing (`synchronous=NORMAL`), which costs work done again and nothing
else: the file is a cache.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, TypeVar

from kindling.errors import StoreError
from kindling.graph.node import NodeId
from kindling.graph.outcome import Failure, FailureKind, Output, Verdict
from kindling.store.folder import prepare, store_error
from kindling.store.records import Entries, FailureRecord, Record
from kindling.store.schema import connect, damaged, move_aside

__all__ = ["Store"]

T = TypeVar("T")

_RUNS_KEPT = 9
"""Enough for a median that one odd run does not move, few enough to follow a build that grows."""

_CACHE_KEPT = 20_000
_CACHE_SLACK = 1_000
"""The cache is cut back to `_CACHE_KEPT` when it has grown this much beyond it, not at every
write."""

_RECORD = (
    "node, key, target, manifest, previous, digest, data,"
    " verdict, seconds, finished_at, session, reasons"
)


class Store:
    """The run database of one `.kindling/`. Safe to use from several threads."""

    def __init__(self, path: Path, db: sqlite3.Connection, notice: str = "") -> None:
        self._path = path
        self._db = db
        self._lock = threading.RLock()
        self._remembered = 0
        self.notice = notice
        """One line for the user when the database had to be begun anew; empty otherwise."""

    @classmethod
    def open(cls, state_dir: Path) -> Store:
        """Open, creating `state_dir` (0700, ignored by git) where it is missing.

        A database of another schema or a damaged one is moved aside and begun anew; `notice` says
        so.

        Raises:
            StoreError: The folder cannot be written, or the disk is full.
        """
        path = prepare(state_dir) / "state.db"
        return cls(path, *connect(path))

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    def close(self) -> None:
        """Close the file. Closing twice is fine."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Successes -----------------------------------------------------------------------------------

    def record(self, node: NodeId) -> Record | None:
        """The last success of a node."""
        rows = self._read(f"SELECT {_RECORD} FROM records WHERE node = ?", (node,))
        return _record(rows[0]) if rows else None

    def records(self) -> Mapping[NodeId, Record]:
        """Every node's last success, by one query."""
        return {row[0]: _record(row) for row in self._read(f"SELECT {_RECORD} FROM records")}

    def save(self, record: Record) -> None:
        """Keep a success in the place of the one before, and forget the node's failure."""
        self.save_many((record,))

    def save_many(self, records: Iterable[Record]) -> None:
        """Keep many, all or none."""
        rows = [_row(record) for record in records]
        nodes = [(row[0],) for row in rows]
        runs = [(row[0], row[8]) for row in rows if row[7] == Verdict.RAN.value]

        def write(db: sqlite3.Connection) -> None:
            marks = ", ".join("?" * 12)
            db.executemany(f"INSERT OR REPLACE INTO records ({_RECORD}) VALUES ({marks})", rows)
            db.executemany("DELETE FROM failures WHERE node = ?", nodes)
            db.executemany("INSERT INTO runs (node, seconds) VALUES (?, ?)", runs)
            db.executemany(
                "DELETE FROM runs WHERE node = ?1 AND id <= (SELECT id FROM runs WHERE node = ?1"
                f" ORDER BY id DESC LIMIT 1 OFFSET {_RUNS_KEPT})",
                [(node,) for node, _ in runs],
            )

        self._write(write)

    def forget(self, node: NodeId) -> None:
        """Drop what is known of a node that was undone. Its durations stay."""

        def write(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM records WHERE node = ?", (node,))
            db.execute("DELETE FROM failures WHERE node = ?", (node,))

        self._write(write)

    def seconds(self) -> Mapping[NodeId, float]:
        """How long each node typically takes: the median of its last real runs."""
        runs: dict[NodeId, list[float]] = {}
        for node, seconds in self._read("SELECT node, seconds FROM runs"):
            runs.setdefault(node, []).append(seconds)
        return {node: median(lasted) for node, lasted in runs.items()}

    # Failures ------------------------------------------------------------------------------------

    def save_failure(
        self,
        node: NodeId,
        failure: Failure,
        *,
        at: float = 0.0,
        seconds: float = 0.0,
        session: str = "",
    ) -> None:
        """Keep a failure. The record of the last success stays as it is."""
        row = (node, _failure_text(failure), at, seconds, session)
        self._write(
            lambda db: db.execute(
                "INSERT OR REPLACE INTO failures (node, failure, at, seconds, session)"
                " VALUES (?, ?, ?, ?, ?)",
                row,
            )
        )

    def failure(self, node: NodeId) -> FailureRecord | None:
        """The node's last failure since its last success."""
        rows = self._read(
            "SELECT node, failure, at, seconds, session FROM failures WHERE node = ?", (node,)
        )
        return _failure_record(rows[0]) if rows else None

    def failures(self) -> Mapping[NodeId, FailureRecord]:
        """Every node's last failure since its last success."""
        rows = self._read("SELECT node, failure, at, seconds, session FROM failures")
        return {row[0]: _failure_record(row) for row in rows}

    # The action cache ----------------------------------------------------------------------------

    def cached(self, key: str) -> Output | None:
        """The output that a run with this very key once had."""
        rows = self._read("SELECT digest, data FROM cache WHERE key = ?", (key,))
        return Output(rows[0][0], json.loads(rows[0][1])) if rows else None

    def remember(self, key: str, output: Output) -> None:
        """Keep an output for every later run with this key. The oldest go when there are too
        many."""
        data = json.dumps(dict(output.data))

        def write(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT OR REPLACE INTO cache (key, digest, data, used) VALUES"
                " (?, ?, ?, (SELECT coalesce(max(used), 0) + 1 FROM cache))",
                (key, output.digest, data),
            )
            if self._remembered % _CACHE_SLACK == 0:
                db.execute(
                    "DELETE FROM cache WHERE used <= (SELECT used FROM cache"
                    f" ORDER BY used DESC LIMIT 1 OFFSET {_CACHE_KEPT})"
                )

        self._write(write)
        self._remembered += 1

    # Snapshots, facts, stat rows -----------------------------------------------------------------

    def snapshot(self, name: str = "") -> bytes | None:
        """What was saved of the last evaluation of the file `name`."""
        rows = self._read("SELECT data FROM snapshots WHERE name = ?", (name,))
        return rows[0][0] if rows else None

    def save_snapshot(self, data: bytes, name: str = "") -> None:
        """Keep what a later start may use instead of evaluating the file `name` again."""
        self._write(
            lambda db: db.execute(
                "INSERT OR REPLACE INTO snapshots (name, data) VALUES (?, ?)", (name, data)
            )
        )

    def fact(self, name: str) -> str | None:
        """A small text kept under a name."""
        rows = self._read("SELECT value FROM facts WHERE name = ?", (name,))
        return rows[0][0] if rows else None

    def set_fact(self, name: str, value: str | None) -> None:
        """Keep a small text under a name; None drops it."""
        if value is None:
            self._write(lambda db: db.execute("DELETE FROM facts WHERE name = ?", (name,)))
        else:
            self._write(
                lambda db: db.execute(
                    "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, value)
                )
            )

    def stats(self) -> Mapping[str, bytes]:
        """The stat cache's rows, one per folder."""
        return dict(self._read("SELECT folder, data FROM stats"))

    def save_stats(self, rows: Mapping[str, bytes | None]) -> None:
        """Replace these rows of the stat cache; None drops one."""
        kept = [(folder, data) for folder, data in rows.items() if data is not None]
        dropped = [(folder,) for folder, data in rows.items() if data is None]

        def write(db: sqlite3.Connection) -> None:
            db.executemany("INSERT OR REPLACE INTO stats (folder, data) VALUES (?, ?)", kept)
            db.executemany("DELETE FROM stats WHERE folder = ?", dropped)

        self._write(write)

    # ---------------------------------------------------------------------------------------------

    def _read(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        return self._attempt(lambda: self._db.execute(query, values).fetchall())

    def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        def transaction() -> None:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                work(self._db)
                self._db.execute("COMMIT")
            except BaseException:
                # A full disk or a damaged file may have ended the transaction already.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

        self._attempt(transaction)

    def _attempt(self, work: Callable[[], T]) -> T:
        """Do `work`; when the file turns out to be damaged, set it aside and do it on a new one."""
        with self._lock:
            try:
                return work()
            except sqlite3.ProgrammingError as error:
                raise StoreError(f"`{self._path}` is closed") from error
            except sqlite3.Error as error:
                if not damaged(error):
                    raise store_error(self._path, error) from error
            self._begin_anew()
            try:
                return work()
            except sqlite3.Error as error:
                raise store_error(self._path, error) from error

    def _begin_anew(self) -> None:
        self._db.close()
        kept = move_aside(self._path)
        self._db, _ = connect(self._path)
        self.notice = f"The run database was begun anew, as it is damaged; the old one is `{kept}`"


def _row(record: Record) -> tuple[Any, ...]:
    return (
        record.node,
        record.key,
        record.target,
        record.manifest.pack(),
        record.previous.pack(),
        record.output.digest,
        json.dumps(dict(record.output.data)),
        record.verdict.value,
        record.seconds,
        record.finished_at,
        record.session,
        json.dumps(record.reasons) if record.reasons else "",
    )


def _record(row: tuple[Any, ...]) -> Record:
    node, key, target, manifest, previous, digest, data = row[:7]
    verdict, seconds, finished_at, session, reasons = row[7:]
    return Record(
        node=node,
        key=key,
        output=Output(digest, json.loads(data)),
        target=target,
        manifest=Entries.unpack(manifest),
        previous=Entries.unpack(previous),
        verdict=_VERDICTS[verdict],
        seconds=seconds,
        finished_at=finished_at,
        session=session,
        reasons=tuple(json.loads(reasons)) if reasons else (),
    )


_VERDICTS = {verdict.value: verdict for verdict in Verdict}


def _failure_text(failure: Failure) -> str:
    parts = {
        "kind": failure.kind.value,
        "summary": failure.summary,
        "details": failure.details,
        "hint": failure.hint,
        "transient": failure.transient,
    }
    return json.dumps(parts)


def _failure_record(row: tuple[Any, ...]) -> FailureRecord:
    node, text, at, seconds, session = row
    parts = json.loads(text)
    failure = Failure(
        FailureKind(parts["kind"]),
        parts["summary"],
        tuple(parts["details"]),
        parts["hint"],
        parts["transient"],
    )
    return FailureRecord(node, failure, at, seconds, session)
