"""What `kindling sync` writes: at 80 columns, one line a batch."""

from __future__ import annotations

import json
import re

import pytest
from syrupy.assertion import SnapshotAssertion

from kindling.report.ink import Ink
from kindling.report.sync import SyncNarrator, sizes, sync_form, took
from kindling.report.terminal import ASCII, UNICODE
from kindling.sync.notices import (
    Acted,
    Built,
    Carried,
    Found,
    Notice,
    Reached,
    Released,
    Remark,
)

STORY: tuple[Notice, ...] = (
    Reached("my-api-6f8b9c4d7-x2k9p/app", "agent", 12, 34_120, 0.081),
    Found(
        "Detected runtime: Python (uvicorn)",
        "Strategy: signal reload (SIGHUP)",
        "Watching /home/you/src/my-api -> /app in pod my-api-6f8b9c4d7-x2k9p",
        tips=("uvicorn reloads by itself with `--reload`.",),
    ),
    Carried(("main.py",), 1, 0, 1204, 1, 0.0213),
    Acted("SIGHUP", 0.0042),
    Carried(("a.py", "b.py", "c.py"), 40, 2, 84_000, 1, 0.046),
    Acted("restart", 0.31),
    Carried(("old.py",), 1, 1, 90, 3, 0.012),
    Acted("restart", 1.4, 3),
    Carried(("api/v1/resources/handlers/orders/very_long_name_of_a_module.py",), 1, 0, 9, 2, 0.5),
    Acted("restart", 0.31, 2),
    Carried(("one/more.txt", "two.txt"), 2, 0, 5_100_000, 1, 2.5),
    Built("built by `go build -o app .`", 1.92),
    Built("`go build -o app .`", 0.4, ok=False, output=("./main.go:3:1: syntax error",)),
    Reached("my-api-6f8b9c4d7-zz9pp/app", "tar", 2, 1_000, 0.2, "new pod"),
    Reached("my-api-6f8b9c4d7-zz9pp/app", "agent", 0, 0, 0.02, "connection lost"),
    Remark(
        "`secret` is refused: it is a link that leaves the source folder, to `/etc/passwd`",
        warning=True,
        details=("secret -> /etc/passwd",),
        hint="Copy the file, or leave it out by `--exclude secret`.",
    ),
    Remark("waiting for a ready pod"),
    Released("deployment/my-api is as it was before"),
    Released("deployment/my-api was changed meanwhile", exact=False, details=("image: a -> b",)),
)


def told(ink: Ink | None = None, story: tuple[Notice, ...] = STORY) -> str:
    narrator = SyncNarrator(ink or Ink(width=80), UNICODE)
    return "".join(narrator.tell(notice) for notice in story) + narrator.settle()


def test_a_session_is_told_at_80_columns(snapshot: SnapshotAssertion) -> None:
    text = told()
    assert max(map(len, text.splitlines())) <= 80
    assert text == snapshot


def test_colours_change_nothing_but_colours() -> None:
    coloured = told(Ink(color=True, width=80))
    assert coloured != told()
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == told()


def test_a_terminal_without_signs_gets_ascii() -> None:
    narrator = SyncNarrator(Ink(width=80), ASCII)
    "".join(narrator.tell(notice) for notice in STORY).encode("ascii")


def test_a_batch_and_what_was_done_about_it_are_one_line() -> None:
    narrator = SyncNarrator(Ink(width=80), UNICODE)
    assert narrator.tell(Carried(("a.py",), 1, 0, 10, 1, 0.02)) == "✓ a.py, 10 B in 20 ms"
    assert narrator.tell(Acted("restart", 0.3)) == ", restart in 300 ms"
    assert narrator.settle() == "\n"
    assert narrator.settle() == ""


def test_names_cannot_move_the_cursor() -> None:
    text = told(story=(Carried(("a\x1b[2J\nb",), 1, 0, 1, 1, 0.01),))
    assert "\x1b" not in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1204, "1.2 KB"),
        (34_120, "34 KB"),
        (999_499, "999 KB"),
        (999_600, "1.0 MB"),
        (15_700_000, "16 MB"),
        (3_000_000_000, "3.0 GB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert sizes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "1 ms"), (0.0213, "21 ms"), (0.31, "310 ms"), (0.9996, "1.0 s"), (75.0, "1 min 15 s")],
)
def test_times(seconds: float, text: str) -> None:
    assert took(seconds) == text


def test_every_notice_has_a_json_form_that_is_one_line_of_ascii() -> None:
    for notice in STORY:
        form = sync_form(notice, 1_700_000_000.12345)
        assert (form["schema"], form["at"]) == (1, 1_700_000_000.123)
        assert "\n" not in json.dumps(form)
    assert sync_form(STORY[2], 0.0) == {
        "schema": 1,
        "type": "carried",
        "at": 0.0,
        "names": ["main.py"],
        "count": 1,
        "deleted": 0,
        "size": 1204,
        "containers": 1,
        "seconds": 0.0213,
    }
