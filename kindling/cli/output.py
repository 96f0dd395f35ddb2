"""Data on standard output, in the locale's encoding, with colour where it is welcome."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kindling.cli.invocation import Invocation
from kindling.errors import HostError

if TYPE_CHECKING:
    from kindling.engine.notices import Level
    from kindling.report.ink import Ink

__all__ = ["emit", "emit_json", "ink_for", "tell_remarks"]


def emit(text: str, end: str = "") -> None:
    """Write text; what the encoding lacks becomes `?`.

    Raises:
        HostError: It cannot be written (a full disk).
        BrokenPipeError: Nobody reads it any more.
    """
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write((text + end).encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise HostError(f"cannot write to standard output: {error.strerror or error}") from error


def emit_json(form: Any, *, indent: int | None = 2) -> None:
    """Write one JSON document, in ASCII."""
    emit(json.dumps(form, indent=indent), "\n")


def ink_for(invocation: Invocation) -> Ink:
    """How text may look on standard output. Without a terminal, lines may be long."""
    from kindling.report.ink import Ink
    from kindling.report.terminal import Terminal

    terminal = Terminal.of(sys.stdout, color=invocation.color)
    tty = sys.stdout.isatty()
    width = max(40, shutil.get_terminal_size((100, 24)).columns) if tty else 120
    return Ink(terminal.color, width)


def tell_remarks(remarks: Iterable[tuple[Level, str]]) -> None:
    """What was said on the way goes to standard error; warnings are named as such."""
    from kindling.engine.notices import Level

    prefix = {Level.INFO: "", Level.WARNING: "warning: ", Level.ERROR: "error: "}
    encoding = sys.stderr.encoding or "utf-8"
    for level, text in remarks:
        line = f"{prefix[level]}{text}\n"
        sys.stderr.write(line.encode(encoding, "replace").decode(encoding))
