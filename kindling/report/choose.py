"""Which face a session gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO

from kindling.engine.notices import Reporter
from kindling.report.terminal import ColorChoice, Terminal

__all__ = ["choose"]


def choose(
    stdout: IO[str],
    plain: bool = False,
    json: bool = False,
    *,
    color: ColorChoice = "auto",
    timestamps: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Reporter:
    """JSON lines when asked for, the live view on a terminal that can show it, else plain lines.

    `color` is `auto`, `always` or `never`; `NO_COLOR` and `TERM=dumb` are heard under `auto`.
    """
    if json:
        from kindling.report.jsonlines import JsonLinesReporter

        return JsonLinesReporter(stdout)
    terminal = Terminal.of(stdout, environ, color)
    if terminal.live and not plain:
        from kindling.report.live import LiveReporter

        return LiveReporter(stdout, terminal)
    from kindling.report.plain import PlainReporter

    return PlainReporter(stdout, color=terminal.color, timestamps=timestamps)
