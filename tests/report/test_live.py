"""The live view, on a small terminal of our own that does what its bytes say."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from kindling.engine.notices import KindlingfileLoaded, Notice, SessionStarted
from kindling.graph.event import Hold, HoldReason
from kindling.graph.node import NodeId
from kindling.report.choose import choose
from kindling.report.frame import frame
from kindling.report.jsonlines import JsonLinesReporter
from kindling.report.live import LiveReporter
from kindling.report.plain import PlainReporter
from kindling.report.record import Record
from kindling.report.terminal import ASCII, UNICODE, Terminal, signs_for

View = Callable[..., Any]
_STEP = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


class Screen(io.StringIO):
    """A terminal of `lines` by `columns` with scroll-back: text, CR, LF, cursor up, erasing."""

    def __init__(self, columns: int, lines: int) -> None:
        super().__init__()
        self.columns, self.lines = columns, lines
        self.rows = [""]
        self.row = self.column = 0
        self.cursor_shown = True

    def write(self, text: str) -> int:
        for step in _STEP.finditer(text):
            argument, command, cr, lf, chars = step.groups()
            if cr:
                self.column = 0
            elif lf:
                self.row += 1
                if self.row == len(self.rows):
                    self.rows.append("")
            elif chars:
                row = self.rows[self.row].ljust(self.column)
                self.rows[self.row] = row[: self.column] + chars + row[self.column + len(chars) :]
                self.column += len(chars)
            elif command == "A":
                top = max(0, len(self.rows) - self.lines)
                assert self.row - int(argument) >= top, "the block is higher than the terminal"
                self.row -= int(argument)
            elif command == "J":
                self.rows[self.row] = self.rows[self.row][: self.column]
                del self.rows[self.row + 1 :]
            elif command == "K":
                self.rows[self.row] = self.rows[self.row][: self.column]
            elif argument == "?25":
                self.cursor_shown = command == "h"
        return len(text)

    @property
    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self.rows)


def reporter_on(screen: Screen, *, color: bool = False, signs: Any = UNICODE) -> LiveReporter:
    terminal = Terminal("utf-8", live=True, color=color, signs=signs)
    return LiveReporter(screen, terminal, clock=None, size=lambda: (screen.columns, screen.lines))


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (50, 15), (40, 15), (200, 60)])
def test_the_picture_during_a_session(
    session: list[Notice],
    started: float,
    columns: int,
    lines: int,
    snapshot: SnapshotAssertion,
) -> None:
    record = Record()
    for notice in session[:-3]:
        record.take(notice)
    rows = frame(record, started + 9.5, columns, lines - 1, UNICODE)
    assert len(rows) < lines
    assert all(row.cell_len < columns for row in rows)
    assert "\n".join(row.plain.rstrip() for row in rows) == snapshot


@pytest.mark.parametrize("color", [False, True])
def test_what_happened_scrolls_by_and_the_picture_leaves_no_trace(
    session: list[Notice], color: bool
) -> None:
    """After the end, the terminal holds each line once, as the plain face would have written it."""
    screen = Screen(80, 24)
    live = reporter_on(screen, color=color)
    for notice in session:
        live.notice(notice)
        live.draw(notice.at)
        assert screen.cursor_shown
        assert screen.column == 0
    live.close()
    lines = screen.text.splitlines()
    assert lines[0].startswith("kindling up: Kindlingfile")
    assert "image:api | #1 RUN pip install -r requirements.txt" in lines
    assert sum(line.startswith("up failed after") for line in lines) == 1
    assert not any(line.startswith("── kindling") for line in lines)


def test_one_state_is_drawn_once(session: list[Notice], started: float) -> None:
    """Nothing is written while nothing changes, but for what runs."""
    screen = Screen(80, 24)
    live = reporter_on(screen)
    settled = [*session[:3], session[6]]
    for notice in settled:
        live.notice(notice)
    live.draw(started + 1)
    before = screen.rows.copy()
    written: list[str] = []

    def write(text: str) -> int:
        written.append(text)
        return len(text)

    screen.write = write  # type: ignore[method-assign]
    for tenth in range(50):
        live.draw(started + 1 + tenth / 10)
    assert written == []
    assert screen.rows == before


def test_many_nodes_show_what_matters(view: View, started: float) -> None:
    hold = Hold(HoldReason.SLOT)
    views = [view(f"image:s{n}", "held", hold=hold) for n in range(290)]
    views += [view(f"image:r{n}", "running") for n in range(4)]
    views.append(view("image:bad", "failed"))
    record = Record()
    record.take(SessionStarted(started, "s", "up", "Kindlingfile"))
    record.take(KindlingfileLoaded(started, 0.1, tuple(views)))
    rows = [row.plain for row in frame(record, started + 3, 80, 20, UNICODE)]
    assert len(rows) == 20
    assert "1 failed  4 running  290 held" in rows[1]
    assert "bad" in rows[2]
    assert all(f"r{n}" in rows[3 + n] for n in range(4))
    assert rows[-1] == "… and 278 held"


@pytest.mark.parametrize("lines", range(1, 12))
@pytest.mark.parametrize("columns", [20, 33])
def test_no_size_is_too_small(
    session: list[Notice], started: float, columns: int, lines: int
) -> None:
    record = Record()
    for notice in session[:-1]:
        record.take(notice)
        rows = frame(record, started + 9, columns, lines, ASCII)
        assert len(rows) <= lines
        assert all(row.cell_len < columns for row in rows)
        assert all(row.plain.isascii() for row in rows)


def test_a_terminal_that_became_narrower_is_painted_over_whole(
    session: list[Notice], started: float
) -> None:
    """The rows of before have been wrapped by the terminal, and take more lines now."""
    screen = Screen(100, 30)
    live = reporter_on(screen)
    for notice in session[:4]:
        live.notice(notice)
    live.draw(started + 1)
    screen.columns = 50
    wrapped: list[str] = []
    for row in screen.rows:
        wrapped += [row[at : at + 50] for at in range(0, max(1, len(row.rstrip())), 50)]
    screen.rows, screen.row = wrapped, len(wrapped) - 1
    live.draw(started + 1)
    assert screen.text.count("── kindling up") == 1


def test_signs_follow_the_encoding() -> None:
    assert signs_for("utf-8") is UNICODE
    assert signs_for("latin-1") is ASCII
    assert signs_for("ANSI_X3.4-1968") is ASCII
    assert signs_for(None) is ASCII


class Tty(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "color", "live", "coloured"),
    [
        ({"TERM": "xterm"}, "auto", True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "auto", True, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, "auto", True, True),
        ({"TERM": "dumb"}, "auto", False, False),
        ({}, "auto", False, True),
        ({"TERM": "xterm"}, "never", True, False),
        ({"TERM": "dumb"}, "always", False, True),
    ],
)
def test_the_environment_is_heard(
    environ: dict[str, str], color: str, live: bool, coloured: bool
) -> None:
    terminal = Terminal.of(Tty(), environ, color)
    assert (terminal.live, terminal.color) == (live, coloured)


def test_the_face_fits_the_stream() -> None:
    assert isinstance(choose(io.StringIO()), PlainReporter)
    assert isinstance(choose(io.StringIO(), json=True), JsonLinesReporter)
    assert isinstance(choose(Tty(), plain=True, environ={"TERM": "xterm"}), PlainReporter)
    live = choose(Tty(), environ={"TERM": "xterm"})
    assert isinstance(live, LiveReporter)
    live.close()


def test_a_held_node_names_what_it_waits_for(view: View, started: float) -> None:
    record = Record()
    held = view("apply:api", hold=Hold(HoldReason.DEPENDENCY, (NodeId("push:api"),)))
    record.take(KindlingfileLoaded(started, 0.1, (held,)))
    assert any("waits for push:api" in row.plain for row in frame(record, started, 80, 9, UNICODE))
