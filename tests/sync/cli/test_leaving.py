"""The first Ctrl-C ends a session in order, the second at once, and no reader is needed for it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from types import SimpleNamespace

import pytest

from kindling.cli.invocation import Invocation
from kindling.cli.sync_face import Face
from kindling.cli.sync_leaving import Leaving, leaving
from kindling.sync.notices import Carried, Remark
from kindling.testing.clock import FakeClock


async def test_a_signal_asks_for_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    with leaving(lambda: "left") as wish:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(wish.wait(), 60)
    assert capfd.readouterr().err == ""


async def test_signals_right_after_the_first_are_that_one_again(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    moment = [5.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: moment[0])
    ended: list[int] = []
    wish = Leaving(lambda: "`kindling sync --restore` puts it back", ended.append)
    wish.hear()
    moment[0] = 5.1
    wish.hear()
    assert ended == []
    moment[0] = 5.4
    wish.hear()
    assert ended == [130]
    assert capfd.readouterr().err == "\n`kindling sync --restore` puts it back\n"


def test_who_reads_no_more_is_noticed_once_and_breaks_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_text: str) -> int:
        raise OSError(5, "Input/output error")

    gone = SimpleNamespace(write=fail, flush=lambda: None, isatty=lambda: False, encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", gone)
    told: list[str] = []
    face = Face(Invocation(), FakeClock(), closed=lambda: told.append("closed"))
    face.tell(Remark("a"))
    face.tell(Carried(("a",), 1, 0, 1, 1, 0.1))
    face.settle()
    face.log("pod", "app", "line")
    assert told == ["closed"]


def test_a_log_line_never_stands_in_the_line_of_a_batch(
    capfd: pytest.CaptureFixture[str],
) -> None:
    face = Face(Invocation(color="never"), FakeClock())
    face.tell(Carried(("a",), 1, 0, 1, 1, 0.1))
    face.log("api-1", "app", "GET \x1b[2J/")
    face.settle()
    assert capfd.readouterr().out.splitlines() == ["✓ a, 1 B in 100 ms", "api-1/app | GET /"]
