"""The folder's files: what is published is whole and in order, and nothing leads out of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kindling.agent.folder import Folder
from kindling.agent.signals import Kind, Request
from kindling.errors import HostError

API = Request(Kind.BUILD, "api")


class Steps(Folder):
    """Notes what could be seen in the folder before each change."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.seen: list[frozenset[str]] = []

    def _step(self) -> None:
        self.seen.append(frozenset(self.entries()))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Steps]:
    made = Steps(tmp_path)
    made.open()
    yield made
    made.close()


def ask(path: Path, name: str = "api", identity: str = "", **inputs: str) -> None:
    for ending, text in ({"tar.gz": "t", "dest": "d"} | inputs).items():
        (path / f"{name}.{ending}").write_text(text)
    (path / f"{name}.request").write_text(identity)


def names(path: Path) -> set[str]:
    return {one.name for one in path.iterdir() if one.is_file()}


def answer(folder: Folder, request: Request, code: int = 0, *lines: str) -> bool:
    log = folder.open_log(request)
    for line in lines:
        log.write(line)
    log.close()
    return folder.answer(request, code)


def test_row_45_log_then_exit_code_then_done(folder: Steps, tmp_path: Path) -> None:
    ask(tmp_path, identity="job-1")
    assert folder.claim(API)
    assert names(tmp_path) >= {"api.request.processing"}
    assert answer(folder, API, 3, "one", "two")
    firsts = [
        next(at for at, seen in enumerate(folder.seen) if name in seen)
        for name in ("api.log", "api.exitcode", "api.done")
    ]
    assert firsts == sorted(set(firsts))
    assert (tmp_path / "api.log").read_text() == "one\ntwo\n"
    assert (tmp_path / "api.exitcode").read_text() == "3\n"
    assert (tmp_path / "api.done").read_text() == "job-1\n"
    assert "api.request.processing" not in names(tmp_path)


def test_row_47_an_old_answer_is_gone_before_a_request_is_taken(
    folder: Steps, tmp_path: Path
) -> None:
    for ending in ("log", "exitcode", "done"):
        (tmp_path / f"api.{ending}").write_text("old")
    ask(tmp_path)
    folder.claim(API)
    taken = [seen for seen in folder.seen if "api.request" not in seen]
    assert not any({"api.done", "api.exitcode", "api.log"} & seen for seen in taken)
    assert names(tmp_path) == {"api.request.processing"}


def test_row_47_what_a_request_took_in_is_not_there_for_the_next(
    folder: Steps, tmp_path: Path
) -> None:
    ask(tmp_path, dockerfile="Dockerfile.old")
    folder.claim(API)
    kept = folder.open_input(API, ".dockerfile")
    assert kept is not None
    with kept:
        assert kept.read() == b"Dockerfile.old"
    (tmp_path / "api.request").write_text("")
    folder.claim(API)
    assert folder.open_input(API, ".dockerfile") is None
    assert folder.open_input(API, ".dest") is None
    assert not (tmp_path / "api.dockerfile").exists()


def test_a_request_that_was_taken_back_is_not_claimed_nor_answered(
    folder: Steps, tmp_path: Path
) -> None:
    assert not folder.claim(API)
    ask(tmp_path)
    folder.claim(API)
    (tmp_path / "api.request.processing").unlink()
    assert not answer(folder, API)
    assert names(tmp_path) == set()


def test_no_answer_is_published_over_a_newer_request(folder: Steps, tmp_path: Path) -> None:
    ask(tmp_path)
    folder.claim(API)
    (tmp_path / "api.request").write_text("newer")
    assert not answer(folder, API)
    assert "api.done" not in names(tmp_path)
    assert "api.request" in names(tmp_path)


def test_links_are_neither_followed_nor_written_through(folder: Steps, tmp_path: Path) -> None:
    secret = tmp_path.parent / f"{tmp_path.name}-secret"
    secret.write_text("token")
    (tmp_path / "api.dest").symlink_to(secret)
    (tmp_path / "api.log").symlink_to(secret)
    (tmp_path / "api.exitcode").symlink_to(secret)
    (tmp_path / "api.request").write_text("")
    assert folder.state("api.dest") is None
    folder.claim(API)
    assert (tmp_path / "api.dest").is_symlink()
    folder.take_in(API, ".dest")
    with pytest.raises(OSError, match="symbolic"):
        folder.open_input(API, ".dest")
    (tmp_path / "api.log").symlink_to(secret)
    assert answer(folder, API, 0, "line")
    assert secret.read_text() == "token"
    assert (tmp_path / "api.log").read_text() == "line\n"
    assert not (tmp_path / "api.log").is_symlink()


def test_pipes_and_folders_are_no_files(folder: Steps, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.request")
    (tmp_path / "b.request").mkdir()
    assert folder.entries() == {}


def test_one_folder_has_one_agent(folder: Steps, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="Another build agent"):
        Folder(tmp_path).open()
    assert folder.entries() == {}


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="nowhere"):
        Folder(tmp_path / "nowhere").open()


def test_attempts_are_counted_until_the_answer(folder: Steps, tmp_path: Path) -> None:
    ask(tmp_path)
    folder.claim(API)
    assert [folder.attempt(API) for _ in range(3)] == [1, 2, 3]
    answer(folder, API)
    ask(tmp_path)
    folder.claim(API)
    assert folder.attempt(API) == 1


def test_old_answers_and_forgotten_inputs_go(folder: Steps, tmp_path: Path) -> None:
    kept = {"new.log", "new.done", "later.tar.gz", "busy.dest", "busy.request", "README.log.txt"}
    for name in {*kept, "old.log", "old.done", "old.exitcode", "lost.dockerfile", "x.apply-log"}:
        (tmp_path / name).write_text("")
        if name.startswith(("old", "later", "x")):
            os.utime(tmp_path / name, (1e9 + 100, 1e9 + 100))
        elif name.startswith(("lost", "busy")):
            os.utime(tmp_path / name, (1e9, 1e9))
    folder._now = lambda: 1e9 + 200
    folder.expire(answers=50, inputs=150)
    assert names(tmp_path) == kept


def full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int) -> None:
    """The disk takes nothing while the agent's reserve is on it."""
    real_write, real_open = os.write, os.open
    reserve = tmp_path / ".agent" / "reserve"
    assert reserve.stat().st_size == 64 * 1024

    def write(descriptor: int, data: bytes) -> int:
        if reserve.exists():
            raise OSError(code, os.strerror(code))
        return real_write(descriptor, data)

    def opened(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if str(path).startswith("new-") and reserve.exists():
            raise OSError(code, os.strerror(code))
        return real_open(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(os, "open", opened)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_in_the_log_and_the_answer_still_comes(
    folder: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    ask(tmp_path)
    folder.claim(API)
    full(monkeypatch, tmp_path, code)
    assert answer(folder, API, 1, "one", "two")
    told = (tmp_path / "api.log").read_text()
    assert told == "kindling: the disk is full: 2 lines of this log are lost\n"
    assert (tmp_path / "api.exitcode").read_text() == "1\n"
    assert (tmp_path / ".agent" / "reserve").exists()


def test_an_answer_without_a_log_line_comes_on_a_full_disk_too(
    folder: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(tmp_path)
    folder.claim(API)
    full(monkeypatch, tmp_path, errno.ENOSPC)
    assert answer(folder, API)
    assert (tmp_path / "api.done").exists()
