"""os, os.path, shlex.

`os.getenv` notes what it read, so that a later start knows whether this evaluation still holds.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from kindling.lang.call import Call
from kindling.lang.glance import THERE
from kindling.lang.session import Native

__all__ = ["NATIVES"]


def getcwd(call: Call) -> str:
    return str(call.folder)


def getenv(call: Call, key: object, default: object) -> object:
    name = call.required("key", key)
    call.session.read_environ(name)
    return call.session.environ.get(name, default)


def putenv(call: Call, key: object, value: object) -> None:
    call.session.environ[call.required("key", key)] = call.text("value", value)


def unsetenv(call: Call, key: object) -> None:
    call.session.environ.pop(call.required("key", key), None)


def abspath(call: Call, path: object) -> str:
    return call.session.paths.absolute(call.text("path", path), call.folder)


def basename(call: Call, path: object) -> str:
    return os.path.basename(call.text("path", path).rstrip("/"))


def dirname(call: Call, path: object) -> str:
    return os.path.dirname(call.text("path", path)) or "."


def exists(call: Call, path: object) -> bool:
    target = Path(call.session.paths.absolute(call.text("path", path), call.folder))
    there = target.exists()
    relative = call.session.paths.relative(target)
    call.state.glances.setdefault(relative, THERE if there else "")
    return there


def join(call: Call, path: object, paths: object) -> str:
    parts = call.texts("paths", paths)
    return os.path.join(call.text("path", path), *parts)


def realpath(call: Call, path: object) -> str:
    target = call.session.paths.absolute(call.text("path", path), call.folder)
    return os.path.realpath(target)


def relpath(call: Call, targpath: object, basepath: object) -> str:
    absolute = call.session.paths.absolute
    base = absolute(call.text("basepath", basepath) or ".", call.folder)
    return os.path.relpath(absolute(call.text("targpath", targpath), call.folder), base)


def quote(call: Call, s: object) -> str:
    return shlex.quote(call.text("s", s))


NATIVES: dict[str, Native] = {
    "os.getcwd": getcwd,
    "os.getenv": getenv,
    "os.putenv": putenv,
    "os.unsetenv": unsetenv,
    "os.path.abspath": abspath,
    "os.path.basename": basename,
    "os.path.dirname": dirname,
    "os.path.exists": exists,
    "os.path.join": join,
    "os.path.realpath": realpath,
    "os.path.relpath": relpath,
    "shlex.quote": quote,
}
