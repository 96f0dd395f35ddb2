"""What was acknowledged is on the disk, whatever happens to the process or the disk."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from kindling.cluster.storage.database import (
    SCHEMA_VERSION,
    Contents,
    ObjectStore,
    StoreError,
    Write,
)


class Reports:
    """What the store said of its writes; `wait` until it spoke of so many."""

    def __init__(self) -> None:
        self.batches: list[tuple[Sequence[Write], Exception | None]] = []
        self._changed = threading.Condition()

    def __call__(self, writes: Sequence[Write], error: Exception | None) -> None:
        with self._changed:
            self.batches.append((writes, error))
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(
                lambda: sum(len(writes) for writes, _ in self.batches) >= count, timeout=30
            )

    @property
    def durable(self) -> list[int]:
        return [w.revision for writes, error in self.batches if error is None for w in writes]

    @property
    def failed(self) -> list[int]:
        return [w.revision for writes, error in self.batches if error is not None for w in writes]


def write(revision: int, name: str = "a", *, size: int = 10, epoch: int = 0) -> Write:
    return Write(revision, "things", "default", name, b"x" * size, None, epoch)


def contents(path: Path) -> Contents:
    store = ObjectStore(path)
    try:
        return store.open(Reports())
    finally:
        store.close()


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    store, reports = ObjectStore(path), Reports()
    store.open(reports)
    store.submit(Write(1, "things", "n", "a", b"1", None))
    store.submit(Write(2, "things", "n", "a", b"2", b"1"))
    store.submit(Write(3, "things", "n", "b", b"3", None))
    store.submit(Write(4, "things", "n", "b", None, b"3"))
    store.close()
    assert reports.durable == [1, 2, 3, 4]
    found = contents(path)
    assert found.revision == 4
    assert found.objects == [("things", "n", "a", b"2")]
    assert [(undo.revision, undo.before) for undo in found.history] == [
        (1, None),
        (2, b"1"),
        (3, None),
        (4, b"3"),
    ]


def test_writes_that_wait_share_a_commit(tmp_path: Path) -> None:
    store, reports = ObjectStore(tmp_path / "o.db"), Reports()
    store.open(reports)
    for revision in range(1, 501):
        store.submit(write(revision, f"n{revision}"))
    store.close()
    assert reports.durable == list(range(1, 501))
    assert len(reports.batches) < 100


def test_the_history_on_disk_is_cut_and_says_where_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    store, reports = ObjectStore(path), Reports()
    store.open(reports)
    for revision in range(1, 3501):
        store.submit(write(revision))
    reports.wait(3500)
    store.close()
    found = contents(path)
    first = found.history[0].revision
    assert found.history_start == first - 1
    assert 1_000 <= len(found.history) <= 3_000
    assert [undo.revision for undo in found.history] == list(range(first, 3501))


def test_a_file_of_a_newer_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    contents(path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(StoreError, match="written by a newer kindling"):
        contents(path)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(StoreError, match="cannot open"):
        contents(path)


def test_after_a_failure_everything_built_upon_it_fails_too(tmp_path: Path) -> None:
    """Until the writing side says, by the next epoch, that it has heard of it."""
    path = tmp_path / "o.db"
    store, reports = ObjectStore(path), Reports()
    store.open(reports)
    blocker = sqlite3.connect(path, isolation_level=None, timeout=0)
    blocker.execute("BEGIN IMMEDIATE")
    store.submit(write(1))
    reports.wait(1)  # SQLite gives up after a second
    blocker.execute("ROLLBACK")
    blocker.close()
    store.submit(write(2))
    store.submit(write(3, "b", epoch=1))
    store.close()
    assert (reports.failed, reports.durable) == ([1, 2], [3])
    assert [name for _, _, name, _ in contents(path).objects] == ["b"]


WRITER = """
import sys
from pathlib import Path
from kindling.cluster.storage.database import ObjectStore, Write

def report(writes, error):
    assert error is None, error
    for write in writes:
        sys.stdout.buffer.write(b"%d\\n" % write.revision)
    sys.stdout.buffer.flush()

store = ObjectStore(Path(sys.argv[1]))
found = store.open(report)
revision = found.revision
while True:
    for _ in range(7):
        revision += 1
        body = b'{"revision": %d, "pad": "%s"}' % (revision, b"x" * (revision % 3000))
        store.submit(Write(revision, "things", "", f"n{revision % 400}", body, None))
    if store._queue.qsize() > 500:
        import time
        time.sleep(0.001)
"""


def test_no_acknowledged_write_is_lost_to_kill_9(tmp_path: Path) -> None:
    """A process that writes as fast as it can is killed at any moment, several times over."""
    path = tmp_path / "o.db"
    chance = random.Random(7)
    acknowledged = 0
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        enough = acknowledged + chance.randrange(1, 4000)
        with process.stdout as lines:
            for line in lines:
                acknowledged = int(line)
                if acknowledged >= enough:
                    os.kill(process.pid, signal.SIGKILL)
                    break
            for line in lines:
                if line.endswith(b"\n"):
                    acknowledged = int(line)
        assert process.wait() == -signal.SIGKILL
        found = contents(path)
        assert found.revision >= acknowledged
        newest = {name: body for _, _, name, body in found.objects}
        for revision in range(max(1, found.revision - 399), found.revision + 1):
            assert b'"revision": %d,' % revision in newest[f"n{revision % 400}"]
        acknowledged = found.revision


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs root to mount a small disk"
)
def test_a_full_disk_refuses_writes_and_takes_them_again_when_there_is_room(
    tmp_path: Path,
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    try:
        path = disk / "o.db"
        store, reports = ObjectStore(path), Reports()
        store.open(reports)
        store.submit(write(1, "first"))
        reports.wait(1)
        (disk / "ballast").write_bytes(b"x" * 1_000_000)
        revision = 1
        while not reports.failed:
            revision += 1
            store.submit(write(revision, f"n{revision}", size=50_000))
            reports.wait(revision)
        assert "full" in str(reports.batches[-1][1])
        (disk / "ballast").unlink()
        store.submit(write(revision + 1, "last", epoch=1))
        store.close()
        assert reports.durable[-1] == revision + 1
        found = contents(path)
        names = {name for _, _, name, _ in found.objects}
        assert {"first", "last"} <= names
        assert f"n{reports.failed[0]}" not in names
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
