"""Records are whole or absent, nobody else's to read, and a foreign file does no harm."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kindling.errors import StoreError, UsageError
from kindling.sync.template.restore import Recorded
from kindling.sync.workload.liveness import (
    Holder,
    Life,
    begin_life,
    end_life,
    here,
    life_of,
)
from kindling.sync.workload.records import Record, Records
from tests.sync.workload.playing import session


def record(name: str = "s1", when: str = "2026-01-02T03:04:05Z") -> Record:
    made = replace(session(name, writable=("/app",)), when=when)
    template = {"spec": {"containers": [{"name": "app", "env": [{"name": "ü", "value": "\n"}]}]}}
    kept = Recorded("Deployment", "shop", "web", "u1", template, {"spec": {}}, made)
    return Record(kept, "c1", "kind-x", here("/f"), True, ("p1", "p2"), ({"manager": "m"},))


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    records = Records(tmp_path / "deep" / "sync")
    records.save(record())
    assert records.get("s1") == record()
    assert records.all().records == (record(),)
    assert records.all().problems == ()


def test_only_its_owner_may_read_a_record(tmp_path: Path) -> None:
    records = Records(tmp_path / "sync")
    old = os.umask(0)
    try:
        records.save(record())
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "sync" / "s1.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "sync").stat().st_mode) == 0o700


def test_a_record_is_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the folder is, when the call returns: no power cut can take it away again."""
    steps: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def noted_fsync(file: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        fsync(file)

    def noted_rename(path: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_rename)
    Records(tmp_path).save(record())
    assert steps == ["file", "rename", "folder"]


def test_a_disk_that_is_full_leaves_the_older_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Records(tmp_path)
    records.save(record())

    def full(file: int) -> None:
        del file
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        records.save(replace(record(), touched=()))
    assert records.get("s1") == record()
    assert [path.name for path in tmp_path.iterdir()] == ["s1.json"]


def test_torn_and_foreign_files_are_told_of_and_left_alone(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.save(record("s2", "2026-01-03T00:00:00Z"))
    records.save(record("s1", "2026-01-02T00:00:00Z"))
    whole = record().to_json()
    (tmp_path / "torn.json").write_text(whole[: len(whole) // 2])
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "other.json").write_text(whole)
    (tmp_path / "future.json").write_text(whole.replace('"version":1', '"version":2'))
    (tmp_path / ".s3.json.abc").write_text("half")
    (tmp_path / "notes.txt").write_text("mine")
    kept = records.all()
    assert [one.session for one in kept.records] == ["s1", "s2"]
    told = "\n".join(kept.problems)
    assert len(kept.problems) == 5, told
    for name in ("torn", "bytes", "list", "other", "future"):
        assert f"{name}.json" in told
    assert len(list(tmp_path.iterdir())) == 9


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    records = Records(tmp_path / "none")
    assert records.all().records == ()
    assert records.get("s1") is None
    records.forget("s1")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "-a", "a-", "x" * 201, "a\0"])
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    records = Records(tmp_path / "sync")
    with pytest.raises(UsageError):
        records.save(record(name))
    with pytest.raises(UsageError):
        records.forget(name)
    assert records.get(name) is None
    assert not (tmp_path / "sync").exists()


# Who lives ----------------------------------------------------------------------------------------


def test_a_process_lives_until_it_ends_and_its_number_alone_is_no_proof() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    holder = here(pid=child.pid)
    assert life_of(holder) is Life.ALIVE
    assert life_of(replace(holder, started="1")) is Life.DEAD
    assert child.stdin is not None
    child.kill()
    # A zombie, then nothing.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert life_of(holder) is Life.DEAD
    child.wait()
    child.stdin.close()
    assert life_of(holder) is Life.DEAD


def test_another_boot_is_another_machine_unless_the_record_lies_here(tmp_path: Path) -> None:
    holder = replace(here(str(tmp_path)), boot="another")
    assert life_of(holder, "s1") is Life.ELSEWHERE
    Records(tmp_path).save(record())
    assert life_of(holder, "s1") is Life.DEAD
    assert life_of(replace(holder, host="elsewhere"), "s1") is Life.ELSEWHERE
    assert life_of(replace(here(), space="pid:[1]"), "s1") is Life.ELSEWHERE


def test_a_session_of_this_very_process_lives_as_long_as_it_has_it() -> None:
    assert life_of(here(), "s-here") is Life.DEAD
    begin_life("s-here")
    try:
        assert life_of(here(), "s-here") is Life.ALIVE
    finally:
        end_life("s-here")
    assert life_of(here(), "s-here") is Life.DEAD


def test_a_holder_is_named_by_process_and_machine() -> None:
    assert str(Holder("desk", 7, "1", "b")) == "process 7 on desk"
