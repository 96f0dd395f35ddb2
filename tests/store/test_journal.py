"""The journal: whole lines, and nothing that was begun is forgotten."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kindling.errors import StoreError
from kindling.store.journal import Journal, open_intents, read_journal, sessions


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    with Journal.open(tmp_path, "s1") as journal:
        journal.append("started", {"node": "image:api", "text": "line\n\u2028 \udcff"}, at=1.5)
        id_ = journal.intend("patch", {"template": {"a": 1}}, at=2.0)
        journal.settle(id_, at=3.0)
    found = list(read_journal(tmp_path, "s1"))
    assert [(entry.at, entry.kind) for entry in found] == [
        (1.5, "started"),
        (2.0, "intent"),
        (3.0, "settled"),
    ]
    assert found[0].data == {"node": "image:api", "text": "line\n\u2028 \udcff"}
    assert found[1].data == {"id": id_, "what": "patch", "data": {"template": {"a": 1}}}


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    Journal.open(tmp_path, "s1").close()
    assert stat.S_IMODE((tmp_path / "journal" / "s1.jsonl").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "journal").stat().st_mode) == 0o700


def test_a_torn_last_line_is_left_out_and_closed_off(tmp_path: Path) -> None:
    with Journal.open(tmp_path, "s1") as journal:
        journal.append("one", {}, at=1.0)
    path = tmp_path / "journal" / "s1.jsonl"
    path.write_bytes(path.read_bytes() + b'{"kind":"intent","at":2.0,"id"')
    assert [entry.kind for entry in read_journal(tmp_path, "s1")] == ["one"]
    assert open_intents(tmp_path) == ()
    with Journal.open(tmp_path, "s1") as journal:
        journal.append("two", {}, at=3.0)
    assert [entry.kind for entry in read_journal(tmp_path, "s1")] == ["one", "two"]


def test_what_is_open_is_found_newest_first_and_closed_by_a_later_session(tmp_path: Path) -> None:
    with Journal.open(tmp_path, "s1") as journal:
        journal.append("noise", {"kind": "intent"}, at=0.5)
        first = journal.intend("patch", {"n": 1}, at=1.0)
        done = journal.intend("patch", {"n": 2}, at=2.0)
        second = journal.intend("scale", {"n": 3}, at=3.0)
        journal.settle(done, at=4.0)
    os.utime(tmp_path / "journal" / "s1.jsonl", (10, 10))
    with Journal.open(tmp_path, "s2") as journal:
        third = journal.intend("patch", {"n": 4}, at=5.0)
        found = open_intents(tmp_path)
        assert [intent.id for intent in found] == [third, second, first]
        assert (found[1].session, found[1].kind, found[1].data, found[1].at) == (
            "s1",
            "scale",
            {"n": 3},
            3.0,
        )
        journal.settle(first, at=6.0, undone=True)
        journal.settle(second, at=6.0, undone=True)
    assert [intent.id for intent in open_intents(tmp_path)] == [third]


def test_going_on_with_a_session_gives_ids_of_its_own(tmp_path: Path) -> None:
    with Journal.open(tmp_path, "s1") as journal:
        first = journal.intend("a", {}, at=1.0)
    with Journal.open(tmp_path, "s1") as journal:
        assert journal.intend("b", {}, at=2.0) != first
    assert len(open_intents(tmp_path)) == 2


def test_the_newest_are_kept_and_whatever_is_still_open(tmp_path: Path) -> None:
    for at in range(30):
        with Journal.open(tmp_path, f"s{at:02}", keep=5) as journal:
            journal.append("x", {}, at=float(at))
            if at == 3:
                journal.intend("patch", {}, at=float(at))
        os.utime(tmp_path / "journal" / f"s{at:02}.jsonl", (at, at))
    assert sessions(tmp_path) == ("s29", "s28", "s27", "s26", "s25", "s03")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 200])
def test_a_session_name_is_checked_before_it_becomes_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="is no name for a session"):
        Journal.open(tmp_path, name)
    with pytest.raises(StoreError, match="No journal"):
        read_journal(tmp_path, name)


def test_an_unknown_session_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    Journal.open(tmp_path, "s1").close()
    with pytest.raises(StoreError) as caught:
        read_journal(tmp_path, "s2")
    assert "known: [s1]" in caught.value.render()


def test_a_line_that_does_not_fit_on_the_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal.open(tmp_path, "s1") as journal:
        journal.append("one", {}, at=1.0)
        real = os.write

        def half(file: int, data: bytes) -> int:
            if len(data) > 10:
                return real(file, data[:10])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", half)
        with pytest.raises(StoreError, match="No space is left"):
            journal.append("two", {}, at=2.0)
        monkeypatch.setattr(os, "write", real)
        journal.append("three", {}, at=3.0)
    text = (tmp_path / "journal" / "s1.jsonl").read_bytes()
    assert text.count(b"\n") == 2
    assert [entry.kind for entry in read_journal(tmp_path, "s1")] == ["one", "three"]


_WRITER = """
import sys
from pathlib import Path
from kindling.store.journal import Journal
journal = Journal.open(Path(sys.argv[1]), "s1")
while True:
    id_ = journal.intend("patch", {"body": "x" * 5000}, at=1.0)
    print("begun", id_, flush=True)
    journal.append("event", {"body": "y" * 3000}, at=1.0)
    journal.settle(id_, at=2.0)
    print("done", id_, flush=True)
"""


def test_a_session_killed_at_any_moment_forgets_no_intent(tmp_path: Path) -> None:
    for round_ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        said = [writer.stdout.readline().split() for _ in range(1 + 5 * round_)]
        writer.send_signal(signal.SIGKILL)
        said += [line.split() for line in writer.stdout.read().splitlines()]
        writer.stdout.close()
        writer.wait()
        begun = [id_ for word, id_ in said if word == "begun"]
        done = {id_ for word, id_ in said if word == "done"}
        still = {intent.id for intent in open_intents(tmp_path)}
        assert not still & done
        # The last one may be settled without having said so.
        assert set(begun[:-1]) - done <= still
        assert len(still) <= round_ + 1
        assert all(entry.kind for entry in read_journal(tmp_path, "s1"))
