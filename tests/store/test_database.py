"""The run database: what is kept, and that it is whole or absent whatever happens."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from kindling.errors import StoreError
from kindling.graph.node import NodeId
from kindling.graph.outcome import Failure, FailureKind, Output, Verdict
from kindling.store import database, schema
from kindling.store.database import Store
from kindling.store.lock import SessionLock
from kindling.store.records import Entries, Record

API = NodeId("image:api")

RECORD = Record(
    node=API,
    key="k1",
    output=Output("sha256:1", {"ref": "api", "n": [1, {"x": None}], "é": "\udcff"}),
    target="uid",
    manifest=Entries({"file:b": "2", "file:a": "1", "file:\udcff": "3"}),
    previous=Entries({"file:b": "1"}),
    verdict=Verdict.RAN,
    seconds=1.5,
    finished_at=1000.25,
    session="s1",
    reasons=("`b` changed", "`\udcff` is new"),
)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "project" / ".kindling"


def test_a_record_comes_back_as_it_was(state: Path) -> None:
    with Store.open(state) as store:
        assert store.record(API) is None
        store.save(RECORD)
    with Store.open(state) as store:
        found = store.record(API)
        assert found == RECORD
        assert found is not None
        assert dict(found.output.data) == RECORD.output.data
        assert list(found.manifest.lines) == ["file:b", "file:a", "file:\udcff"]
        assert store.records() == {API: RECORD}


def test_the_folder_is_private_and_hidden_from_git(state: Path) -> None:
    Store.open(state).close()
    assert (state / ".gitignore").read_text() == "*\n"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "state.db").stat().st_mode) == 0o600


def test_a_success_takes_the_place_of_the_one_before_and_of_a_failure(state: Path) -> None:
    failure = Failure(FailureKind.BUILD, "boom", ("line 1", "line 2"), "fix it", transient=True)
    with Store.open(state) as store:
        store.save(RECORD)
        store.save_failure(API, failure, at=5.0, seconds=2.0, session="s2")
        kept = store.failure(API)
        assert kept is not None
        assert (kept.failure, kept.at, kept.seconds, kept.session) == (failure, 5.0, 2.0, "s2")
        assert store.record(API) == RECORD
        assert set(store.failures()) == {API}
        store.save(replace(RECORD, key="k2"))
        assert store.failure(API) is None
        assert store.records()[API].key == "k2"


def test_what_was_undone_is_forgotten_but_for_how_long_it_took(state: Path) -> None:
    with Store.open(state) as store:
        store.save(RECORD)
        store.forget(API)
        assert store.record(API) is None
        assert store.seconds() == {API: 1.5}


def test_the_typical_duration_is_the_median_of_the_last_real_runs(state: Path) -> None:
    with Store.open(state) as store:
        for seconds in (100.0, 100.0, *range(1, 10)):
            store.save(replace(RECORD, seconds=float(seconds)))
        store.save(replace(RECORD, verdict=Verdict.RESTORED, seconds=0.0))
        assert store.seconds() == {API: 5.0}


def test_the_action_cache_answers_by_key_and_stays_bounded(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_CACHE_KEPT", 5)
    monkeypatch.setattr(database, "_CACHE_SLACK", 1)
    with Store.open(state) as store:
        for at in range(20):
            store.remember(f"k{at}", Output(str(at), {"at": at}))
        assert store.cached("k0") is None
        assert store.cached("nothing") is None
        found = store.cached("k19")
        assert found is not None
        assert (found.digest, dict(found.data)) == ("19", {"at": 19})
        assert sum(store.cached(f"k{at}") is not None for at in range(20)) == 5


def test_snapshots_facts_and_stat_rows(state: Path) -> None:
    with Store.open(state) as store:
        assert store.snapshot() is None
        store.save_snapshot(b"\x00one")
        store.save_snapshot(b"two", "Tiltfile")
        store.set_fact("target", "kind")
        store.set_fact("gone", "x")
        store.set_fact("gone", None)
        store.save_stats({"a": b"1", "b": b"2"})
        store.save_stats({"a": None, "b": b"3"})
    with Store.open(state) as store:
        assert (store.snapshot(), store.snapshot("Tiltfile")) == (b"\x00one", b"two")
        assert (store.fact("target"), store.fact("gone")) == ("kind", None)
        assert store.stats() == {"b": b"3"}


def test_saving_many_is_all_or_nothing(state: Path) -> None:
    bad = replace(RECORD, node=NodeId("image:bad"), key=object())  # type: ignore[arg-type]
    with Store.open(state) as store:
        with pytest.raises(StoreError):
            store.save_many([RECORD, bad])
        assert store.records() == {}
        store.save_many([RECORD, replace(RECORD, node=NodeId("image:b"))])
        assert len(store.records()) == 2


def test_threads_may_share_a_store(state: Path) -> None:
    with Store.open(state) as store:

        def work(number: int) -> None:
            for at in range(20):
                store.save(replace(RECORD, node=NodeId(f"local:{number}-{at}")))
                store.records()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.records()) == 80


def test_one_reads_while_another_writes(state: Path) -> None:
    with Store.open(state) as writer, Store.open(state) as reader:
        writer.save(RECORD)
        assert reader.record(API) == RECORD


def test_a_closed_store_says_so(state: Path) -> None:
    store = Store.open(state)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.records()


# Files that cannot be used -----------------------------------------------------------------------


def aside(state: Path) -> list[Path]:
    return sorted(state.glob("state-*.db"))


def test_another_schema_is_set_aside_whole(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(state) as store:
        store.save(RECORD)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 2)
    with Store.open(state) as store:
        assert "another version of kindling wrote it (schema 1, not 2)" in store.notice
        assert "\n" not in store.notice
        assert store.records() == {}
    (kept,) = aside(state)
    assert str(kept) in store.notice
    with sqlite3.connect(kept) as db:
        assert db.execute("SELECT node FROM records").fetchall() == [(API,)]
    db.close()


@pytest.mark.parametrize("content", [b"not a database at all, but some text", b"\x00" * 8192])
def test_a_file_that_is_no_database_is_set_aside(state: Path, content: bytes) -> None:
    state.mkdir(parents=True)
    (state / "state.db").write_bytes(content)
    with Store.open(state) as store:
        assert "begun anew" in store.notice
        store.save(RECORD)
    (kept,) = aside(state)
    assert kept.read_bytes() == content
    with Store.open(state) as store:
        assert store.notice == ""
        assert store.record(API) == RECORD


def test_a_strangers_database_is_set_aside(state: Path) -> None:
    state.mkdir(parents=True)
    db = sqlite3.connect(state / "state.db")
    db.execute("CREATE TABLE mine (x)")
    db.commit()
    db.close()
    with Store.open(state) as store:
        assert "kindling did not write it" in store.notice
    assert len(aside(state)) == 1


def test_damage_that_shows_only_later_is_survived(state: Path) -> None:
    with Store.open(state) as store:
        for at in range(300):
            store.save(replace(RECORD, node=NodeId(f"local:{at}")))
    path = state / "state.db"
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xa5" * (len(data) - 8192)
    path.write_bytes(data)
    with Store.open(state) as store:
        assert store.records() == {}
        assert "it is damaged" in store.notice
        store.save(RECORD)
        assert store.record(API) == RECORD
    assert len(aside(state)) == 1


def test_an_empty_file_is_a_new_database(state: Path) -> None:
    """What is left when the very first start is killed early."""
    state.mkdir(parents=True)
    (state / "state.db").touch()
    with Store.open(state) as store:
        assert store.notice == ""
        store.save(RECORD)


def test_a_database_in_use_by_a_session_is_not_pulled_away(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SessionLock(state, command="kindling up", at=1.0):
        # From here on we are somebody else.
        monkeypatch.setattr(os, "getpid", lambda: -1)
        (state / "state.db").write_bytes(b"not a database, I fear")
        with pytest.raises(StoreError) as caught:
            Store.open(state)
    assert "kindling up" in caught.value.render()
    assert aside(state) == []


# Disks and permissions ---------------------------------------------------------------------------


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / ".kindling").touch()
    with pytest.raises(StoreError, match="is in the way") as caught:
        Store.open(tmp_path / ".kindling")
    assert str(tmp_path / ".kindling") in caught.value.message


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs root that may mount a tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill_up(disk: Path) -> None:
    with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(b"x" * 4096)


def save_many_records(store: Store) -> None:
    for at in range(2000):
        store.save(replace(RECORD, node=NodeId(f"local:{at}")))


def test_a_full_disk_is_a_clear_error_and_costs_nothing_finished(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "1m"):
        store = Store.open(disk / ".kindling")
        store.save(RECORD)
        fill_up(disk)
        with pytest.raises(StoreError) as caught:
            save_many_records(store)
        text = caught.value.render()
        assert f"No space is left for `{disk / '.kindling' / 'state.db'}`" in text
        assert "Free some space" in text
        assert store.record(API) == RECORD
        (disk / "ballast").unlink()
        store.save(replace(RECORD, key="k2"))
        store.close()
        with Store.open(disk / ".kindling") as store:
            assert store.notice == ""
            assert store.records()[API].key == "k2"


def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "64k"):
        fill_up(disk)
        with pytest.raises(StoreError, match="No space is left"):
            Store.open(disk / ".kindling")
        assert not (disk / ".kindling" / ".gitignore").exists()


def test_a_read_only_file_system_is_a_clear_error(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "1m"):
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(StoreError, match="cannot be written") as caught:
            Store.open(disk / ".kindling")
    assert str(disk / ".kindling") in caught.value.message
    assert "make that folder writable" in caught.value.hint


# Killed ------------------------------------------------------------------------------------------

_WRITER = """
import sys
from pathlib import Path
from kindling.graph.node import NodeId
from kindling.graph.outcome import Output
from kindling.store.database import Store
from kindling.store.records import Entries, Record
store = Store.open(Path(sys.argv[1]))
begin = int(sys.argv[2])
for at in range(begin, begin + 100_000):
    body = str(at)
    store.save_many(
        Record(NodeId(f"local:{at}-{part}"), body, Output(body, {"at": body * 50}),
               manifest=Entries({f"file:{n}": body for n in range(50)}))
        for part in range(3)
    )
    store.remember(body, Output(body, {"at": body}))
    print(at, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_whole_records(state: Path) -> None:
    """What it said is saved is there, whole; what it had begun is there whole or not at all."""
    begin = 0
    for round_ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(state), str(begin)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        acknowledged = begin - 1
        for _ in range(1 + 7 * round_):
            acknowledged = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines()
        if rest:
            acknowledged = int(rest[-1])
        writer.stdout.close()
        writer.wait()
        with Store.open(state) as store:
            assert store.notice == ""
            records = store.records()
            for at in range(acknowledged + 1):
                for part in range(3):
                    record = records[NodeId(f"local:{at}-{part}")]
                    assert record.key == record.output.digest == str(at)
                    assert record.output.data["at"] == str(at) * 50
                    assert set(record.manifest.lines.values()) == {str(at)}
                assert store.cached(str(at)) is not None
            assert len(records) in {3 * (acknowledged + 1), 3 * (acknowledged + 2)}
        begin = acknowledged + 1
