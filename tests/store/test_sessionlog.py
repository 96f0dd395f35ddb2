"""Log lines: kept, filtered, followed, bounded."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kindling.graph.node import NodeId
from kindling.store.sessionlog import LogFilter, LogRecord, SessionLog, follow_log, read_log
from kindling.testing.clock import FakeClock

API, WEB = NodeId("image:api"), NodeId("serve:web")


def fill(state: Path) -> None:
    log = SessionLog(state, "s1")
    log.append(1.0, API, "api", "stdout", "one")
    log.append(2.0, WEB, "web", "stderr", "two \u2028 \udcff")
    log.append(3.0, API, "api", "kindling", "three")
    log.close()


def texts(state: Path, wanted: LogFilter) -> list[str]:
    return [line.text for line in read_log(state, wanted)]


def test_lines_come_back_as_they_were(tmp_path: Path) -> None:
    fill(tmp_path)
    assert list(read_log(tmp_path))[1] == LogRecord(
        2.0, WEB, "web", "stderr", "two \u2028 \udcff", "s1"
    )


def test_filters(tmp_path: Path) -> None:
    fill(tmp_path)
    assert texts(tmp_path, LogFilter(names=["api"])) == ["one", "three"]
    assert texts(tmp_path, LogFilter(names=["serve:web"])) == ["two \u2028 \udcff"]
    assert texts(tmp_path, LogFilter(since=2.5)) == ["three"]
    assert texts(tmp_path, LogFilter(tail=1)) == ["three"]
    assert texts(tmp_path, LogFilter(tail=0)) == []
    assert texts(tmp_path, LogFilter(names=["api"], tail=1, since=0.5)) == ["three"]
    assert texts(tmp_path, LogFilter(session="s2")) == []


def test_no_log_is_an_empty_one(tmp_path: Path) -> None:
    assert list(read_log(tmp_path)) == []


def test_old_files_go_when_new_ones_are_full(tmp_path: Path) -> None:
    log = SessionLog(tmp_path, "s1", max_bytes=2000, keep=3)
    for at in range(200):
        log.append(float(at), API, "api", "stdout", f"line {at}")
    log.close()
    files = sorted((tmp_path / "logs").iterdir())
    assert len(files) == 3
    assert all(file.stat().st_size < 2200 for file in files)
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    kept = [line.at for line in read_log(tmp_path)]
    assert kept == [float(at) for at in range(200 - len(kept), 200)]


def test_a_full_disk_loses_lines_and_says_why_but_never_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = SessionLog(tmp_path, "s1")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        log.append(1.0, API, "api", "stdout", "lost")
        assert log.failure is not None
        assert "No space is left" in log.failure.message
    log.append(2.0, API, "api", "stdout", "kept")
    assert log.failure is None
    log.close()
    assert texts(tmp_path, LogFilter()) == ["kept"]


async def test_following_tells_what_is_there_and_then_what_comes(tmp_path: Path) -> None:
    fill(tmp_path)
    clock = FakeClock()
    got: list[str] = []

    async def follow() -> None:
        async for line in follow_log(tmp_path, clock, LogFilter(names=["api"], tail=1)):
            got.append(line.text)

    async with asyncio.TaskGroup() as group:
        follower = group.create_task(follow(), name="follow")
        await clock.advance(1.0)
        assert got == ["three"]
        log = SessionLog(tmp_path, "s2", max_bytes=300, keep=50)
        for at in range(20):
            log.append(10.0 + at, API, "api", "stdout", f"new {at}")
            log.append(10.0 + at, WEB, "web", "stdout", "other")
            if at % 7 == 0:
                await clock.advance(0.5)
        path = max((tmp_path / "logs").iterdir())
        with path.open("ab") as file:
            file.write(b'{"at":99.0,"session":"s2","node":"image:api"')
            file.flush()
            await clock.advance(0.5)
            file.write(b',"resource":"api","stream":"stdout","text":"torn, then whole"}\n')
        await clock.advance(0.5)
        log.close()
        follower.cancel()
    assert got == ["three", *(f"new {at}" for at in range(20)), "torn, then whole"]


async def _first(found: AsyncIterator[LogRecord]) -> LogRecord:
    return await anext(found)


async def test_following_begins_before_there_is_a_log(tmp_path: Path) -> None:
    clock = FakeClock()
    lines_ = follow_log(tmp_path, clock)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(_first(lines_), name="first")
        await clock.advance(1.0)
        log = SessionLog(tmp_path, "s1")
        log.append(1.0, API, "api", "stdout", "hello")
        log.close()
        await clock.advance(1.0)
        assert (await first).text == "hello"
