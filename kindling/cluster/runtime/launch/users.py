"""The user namespace of a launcher that is not root.

With `newuidmap` and numbers of one's own in /etc/subuid, root in a container is this user and every
other user one of those numbers. Without, there is this user alone.
"""

from __future__ import annotations

import os
import shutil
from typing import Any, NamedTuple

from kindling.cluster.runtime.launch import kernel
from kindling.cluster.runtime.launch.refusal import Refusal, reason_of

__all__ = ["Users", "enter_users"]


class Users(NamedTuple):
    """`single`: there is one user only; `why` says so to people."""

    own_namespace: bool
    single: bool
    why: str = ""


def _granted(path: str, names: set[str]) -> tuple[int, int] | None:
    """The first range of the file (`name:first:count`) that is ours."""
    try:
        with open(path) as file:
            rows = [line.strip().split(":") for line in file]
    except OSError:
        return None
    for row in rows:
        if len(row) == 3 and row[0] in names and row[1].isdecimal() and row[2].isdecimal():
            return int(row[1]), int(row[2])
    return None


def _names() -> set[str]:
    uid = str(os.getuid())
    names = {uid}
    try:
        with open("/etc/passwd", errors="replace") as file:
            names |= {row[0] for row in (line.split(":") for line in file) if row[2:3] == [uid]}
    except OSError:
        pass
    return names


def enter_users(config: dict[str, Any]) -> Users:
    """Become root of a new user namespace, unless we are root already. Raises `Refusal`."""
    if os.geteuid() == 0 and not config.get("rootless"):
        return Users(own_namespace=False, single=False)
    names = _names()
    uids, gids = _granted("/etc/subuid", names), _granted("/etc/subgid", names)
    tools = shutil.which("newuidmap"), shutil.which("newgidmap")
    uid, gid = os.geteuid(), os.getegid()
    why = ""
    if not (tools[0] and tools[1]):
        why = "newuidmap and newgidmap are not installed (package uidmap)"
    elif uids is None or gids is None:
        why = "/etc/subuid and /etc/subgid grant this user no numbers"
    if why or uids is None or gids is None:
        _unshare()
        _map_single(uid, gid)
        return Users(own_namespace=True, single=True, why=why)
    maps = (
        [tools[0], "0", str(uid), "1", "1", str(uids[0]), str(uids[1])],
        [tools[1], "0", str(gid), "1", "1", str(gids[0]), str(gids[1])],
    )
    if _map_many([[str(word) for word in row] for row in maps]):
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os.setgroups([])
        return Users(own_namespace=True, single=False)
    _map_single(uid, gid)
    return Users(own_namespace=True, single=True, why="newuidmap refused to map numbers")


def _unshare() -> None:
    try:
        kernel.unshare(kernel.CLONE_NEWUSER)
    except OSError as error:
        raise Refusal(f"user namespaces are not allowed here: {reason_of(error)}") from error


def _map_single(uid: int, gid: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        try:
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        except OSError as error:
            raise Refusal(f"a user namespace cannot be used here: {reason_of(error)}") from error


def _map_many(maps: list[list[str]]) -> bool:
    """Somebody outside has to write the maps: a child that stays behind."""
    ready, told = os.pipe()
    about = str(os.getpid())
    child = os.fork()
    if child == 0:
        os.close(told)
        os.read(ready, 1)
        for tool, *numbers in maps:
            if os.spawnv(os.P_WAIT, tool, [tool, about, *numbers]) != 0:
                os._exit(1)
        os._exit(0)
    os.close(ready)
    try:
        _unshare()
        os.write(told, b"x")
    finally:
        os.close(told)
        _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0
