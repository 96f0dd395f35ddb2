"""print, warn, fail, exit, blob."""

from __future__ import annotations

from typing import NoReturn

from kindling.errors import ConfigError
from kindling.lang.blob import Blob
from kindling.lang.call import Call
from kindling.lang.session import Native, Stop

__all__ = ["NATIVES"]


def print_(call: Call, text: object) -> None:
    for line in str(text).split("\n"):
        call.session.inputs.output(call.where, line)


def warn(call: Call, msg: object) -> None:
    call.warn(str(msg))


def fail(call: Call, text: object) -> NoReturn:  # noqa: ARG001
    first, _, rest = str(text).partition("\n")
    raise ConfigError(first or "fail() was called", details=rest.split("\n") if rest else [])


def exit_(call: Call, msg: object) -> NoReturn:
    if msg:
        print_(call, msg)
    raise Stop


def blob(call: Call, contents: object) -> Blob:
    return Blob(call.text("contents", contents))


NATIVES: dict[str, Native] = {
    "print": print_,
    "warn": warn,
    "fail": fail,
    "exit": exit_,
    "blob": blob,
}
