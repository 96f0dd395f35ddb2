"""What the command line of `kindling sync` says, checked as far as no cluster is needed for it."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from kindling.errors import HostError, UsageError, nearest

__all__ = ["Pause", "Source", "destination", "source_of", "workload_of"]

_ENVIRONMENTS = frozenset({"dse", "devstagingenvironment", "devstagingenvironments"})
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_PAUSE = re.compile(r"(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>ms|s|m|)")
_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0}
_LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Source:
    """The folder that steps are relative to, and what of it is synced: `.`, or the name of the one
    file that is. `shown` is what the user calls it."""

    root: Path
    local: str
    shown: str

    @property
    def single(self) -> bool:
        return self.local != "."


def workload_of(option: str, argument: str) -> str:
    """The workload of `-d` or of the argument, as `kindling.sync.workload.finding` takes it; empty
    where neither is given. A DevStagingEnvironment means its Deployment.

    Raises:
        UsageError: Both are given and differ, or it is no name.
    """
    option, argument = option.strip(), argument.strip()
    if option and argument and option != argument:
        raise UsageError(f"`-d {option}` and `{argument}` are two workloads; a session has one")
    text = option or argument
    if not text:
        return ""
    kind, slash, name = text.rpartition("/")
    if not _NAME.fullmatch(name) or "/" in kind or (slash and not kind):
        raise UsageError(
            f"`{text}` cannot be the name of a workload",
            hint="Write `my-api`, `deployment/my-api` or `statefulset/my-db`.",
        )
    if kind.lower().partition(".")[0] in _ENVIRONMENTS:
        return f"deployment/{name.replace('.', '-')}"
    return text


def source_of(text: str) -> Source:
    """What is synced from.

    Raises:
        UsageError: It is not there, or neither a folder nor a file.
        HostError: It cannot be read.
    """
    given = Path(text or ".")
    path = Path(os.path.abspath(given))
    try:
        is_dir, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise HostError(f"`--src {text}` cannot be read: {error.strerror or error}") from error
    if is_dir:
        if not os.access(path, os.R_OK | os.X_OK):
            raise HostError(f"`--src {text}` cannot be read: permission denied")
        return Source(path.resolve(), ".", text)
    if is_file:
        return Source(path.parent.resolve(), path.name, text)
    if os.path.lexists(path):
        what = "is a link to nothing" if path.is_symlink() else "is neither a folder nor a file"
        raise UsageError(f"`--src {text}` {what}")
    raise UsageError(f"there is no `{text}` to sync from (`--src`)", hint=_near(path))


def _near(path: Path) -> str:
    try:
        return nearest(path.name, sorted(os.listdir(path.parent)))
    except OSError:
        return f"There is no folder `{path.parent}` either."


def destination(text: str, source: Source) -> str:
    """Where it lands in the container, as a sync step has it. A single file lands in a folder
    under its own name, unless the path given ends in a name of its kind.

    Raises:
        UsageError: No absolute path, or the root of the container.
    """
    if not text.startswith("/"):
        raise UsageError(
            f"`--dest {text}` is no absolute path",
            hint=f"Write where it is in the container, for example `--dest /{text or 'app'}`.",
        )
    if "\0" in text or any(part == ".." for part in text.split("/")):
        raise UsageError(f"`--dest {text}`: write the path without `..`")
    path = posixpath.normpath("/" + text.lstrip("/"))
    if not source.single:
        if path == "/":
            raise UsageError(
                "`--dest /` would put the source over the whole container",
                hint="Name the folder where the program's files are, for example `--dest /app`.",
            )
        top = path.split("/")[1]
        if top in ("proc", "sys", "dev"):
            raise UsageError(f"`--dest {text}`: `/{top}` holds no files of a program")
        return path
    last = posixpath.basename(path)
    suffix = posixpath.splitext(source.local)[1]
    own = last == source.local or (suffix and posixpath.splitext(last)[1] == suffix)
    if own and not text.endswith("/"):
        return path
    return path.rstrip("/") + "/"


class Pause(click.ParamType[float]):
    """A short time in seconds as people write it: `500ms`, `0.5s`, `2`."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        found = _PAUSE.fullmatch(str(value).strip().lower())
        if found is None:
            self.fail(f"{value!r} is no duration; write 500ms, 0.5s or 2s", param, ctx)
        seconds = float(found["number"]) * _UNITS[found["unit"]]
        if seconds > _LONGEST_PAUSE:
            self.fail(f"{value!r} is longer than a minute", param, ctx)
        return seconds
