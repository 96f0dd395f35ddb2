"""The listeners that a session's command line asks for, and a session run with them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kindling.cli.invocation import Invocation

if TYPE_CHECKING:
    from kindling.engine.notices import Reporter
    from kindling.engine.options import SessionOptions

__all__ = ["Faces", "closing", "face_options", "run_with_faces"]


@dataclass(frozen=True, slots=True)
class Faces:
    """How a session is to be told. `junit` and `report` are files written when it ends."""

    plain: bool = False
    json: bool = False
    timestamps: bool = False
    junit: Path | None = None
    report: Path | None = None

    def listeners(self, invocation: Invocation) -> list[Reporter]:
        """The face first, then the files."""
        from kindling.report.choose import choose

        # Log lines of --verbose on the same terminal would run through the live picture.
        plain = self.plain or (invocation.verbose and sys.stderr.isatty())
        face = choose(
            sys.stdout, plain, self.json, color=invocation.color, timestamps=self.timestamps
        )
        listeners = [face]
        if self.junit is not None:
            from kindling.report.junit import JUnitReporter

            listeners.append(JUnitReporter(self.junit))
        if self.report is not None:
            from kindling.report.summary import SummaryReporter

            listeners.append(SummaryReporter(self.report))
        return listeners


def run_with_faces(invocation: Invocation, options: SessionOptions, faces: Faces) -> int:
    """Run a session to its end and tell it; its exit code.

    Raises:
        KindlingError: It could not begin, or a report could not be written.
    """
    import asyncio

    from kindling.engine.listeners import Fan
    from kindling.engine.run import run_session

    if invocation.verbose:
        from kindling.cli.verbose import log_to_stderr

        log_to_stderr()
    with closing(faces.listeners(invocation)) as listeners:
        return asyncio.run(run_session(options, Fan(listeners)))


def face_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `up` and `ci` that say how a session is told; they arrive as `faces`."""

    @wraps(function)
    def with_faces(
        *args: Any,
        plain: bool,
        timestamps: bool,
        as_json: bool,
        junit: Path | None,
        report: Path | None,
        **others: Any,
    ) -> Any:
        faces = Faces(plain=plain, json=as_json, timestamps=timestamps, junit=junit, report=report)
        return function(*args, faces=faces, **others)

    path = click.Path(path_type=Path)
    for option in (
        click.option("--report", type=path, metavar="PATH", help="Write a JSON report at the end."),
        click.option("--junit", type=path, metavar="PATH", help="Write a JUnit file at the end."),
        click.option(
            "--json", "as_json", is_flag=True, help="One JSON object per notice (docs/json.md)."
        ),
        click.option("--timestamps", is_flag=True, help="The time before each plain line."),
        click.option("--plain", is_flag=True, help="Lines instead of the live view."),
    ):
        with_faces = option(with_faces)
    return with_faces


@contextmanager
def closing(listeners: Sequence[Reporter]) -> Iterator[Sequence[Reporter]]:
    """Close them however it ends, the face last.

    A session closes its listeners itself once it has begun; closing them twice does nothing. The
    terminal must be in order before an error is printed.
    """
    with ExitStack() as stack:
        for listener in listeners:
            stack.callback(listener.close)
        yield listeners
