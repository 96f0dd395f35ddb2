"""Who a container's process is: user, groups, capabilities.

Looked up in the container's own files, and worded as runc does. The capabilities are docker's
default set (its documentation, "Runtime privilege and Linux capabilities").
"""

from __future__ import annotations

import os
from typing import NamedTuple

from kindling.cluster.runtime.launch import kernel
from kindling.cluster.runtime.launch.refusal import Refusal

__all__ = ["Identity", "assume", "find_identity", "mask_of"]

# fmt: off
_NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)
_DEFAULT = (
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP",
    "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
)
# fmt: on
_ALL = (1 << 64) - 1
_MOST = 4_294_967_294


class Identity(NamedTuple):
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def mask_of(add: list[str], drop: list[str], *, privileged: bool) -> int:
    """The capabilities of a container. `ALL` may stand in either list; a name may begin with
    `CAP_`."""
    if privileged:
        return _ALL
    names = set(_DEFAULT)
    added, dropped = _plain(add), _plain(drop)
    # As containerd does it: ALL in either list first, then the names one by one.
    if "ALL" in added:
        names = set(_NAMES)
    if "ALL" in dropped:
        names = set()
    names |= added - {"ALL"}
    names -= dropped - {"ALL"}
    return sum(1 << _NAMES.index(name) for name in names)


def _plain(names: list[str]) -> set[str]:
    found = {name.upper().removeprefix("CAP_") for name in names}
    for name in sorted(found - {"ALL"} - set(_NAMES)):
        raise Refusal(f'unknown capability "CAP_{name}"', "CreateContainerError")
    return found


def _rows(path: str, least: int) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.rstrip("\n").split(":") for line in file]
    except OSError:
        return []
    return [row for row in rows if len(row) >= least]


def _id(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and int(text) <= _MOST else None


def find_identity(user: str, groups: list[int]) -> Identity:
    """Of `name`, `uid`, `uid:gid` or `user:group` in the root file system that we are in."""
    who, _, group = user.partition(":")
    who = who or "0"
    accounts = _rows("/etc/passwd", 4)
    number = _id(who)
    account = next((row for row in accounts if row[0] == who), None)
    if account is None and number is not None:
        account = next((row for row in accounts if _id(row[2]) == number), None)
    if account is not None and (uid := _id(account[2])) is not None:
        gid = _id(account[3]) or 0
    elif number is not None:
        uid, gid = number, 0
    else:
        raise Refusal(f"unable to find user {who}: no matching entries in passwd file")
    home = account[5] if account is not None and len(account) > 5 and account[5] else "/"
    known = _rows("/etc/group", 3)
    further: list[int] = list(groups)
    if group:
        entry = next((row for row in known if row[0] == group), None)
        found = _id(entry[2]) if entry is not None else _id(group)
        if found is None:
            raise Refusal(f"unable to find group {group}: no matching entries in group file")
        gid = found
    elif account is not None:
        # An account brings the groups it is a member of, unless the group was given.
        for row in known:
            member = len(row) > 3 and account[0] in row[3].split(",")
            if member and (other := _id(row[2])) is not None:
                further.append(other)
    return Identity(uid, gid, tuple(dict.fromkeys([gid, *further])), home)


def assume(identity: Identity, mask: int, *, single: bool) -> None:
    """Become it, for good. With `single` the user namespace knows one user only: then another one
    is that user under another name, in one more namespace."""
    kernel.drop_bounding(mask)
    if single:
        if identity.uid or identity.gid:
            _rename(identity.uid, identity.gid)
    else:
        try:
            os.setgroups(identity.groups)
            os.setresgid(identity.gid, identity.gid, identity.gid)
            os.setresuid(identity.uid, identity.uid, identity.uid)
        except OSError as error:
            raise Refusal(
                f"user {identity.uid}:{identity.gid} cannot be had on this machine: its number is"
                " outside of those that /etc/subuid and /etc/subgid grant"
            ) from error
    if identity.uid == 0:
        kernel.capabilities(mask)


def _rename(uid: int, gid: int) -> None:
    kernel.unshare(kernel.CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("gid_map", f"{gid} 0 1"),
        ("uid_map", f"{uid} 0 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
