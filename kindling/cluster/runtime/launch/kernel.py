"""The system calls that Python has no words for. Every function raises `OSError`.

The numbers of the newer calls are the same on every architecture (Linux's unified table from 403
up); the constants are those of the kernel's user headers.
"""

from __future__ import annotations

import ctypes
import os

__all__ = [
    "CLONE_NEWCGROUP",
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "MNT_DETACH",
    "MS_BIND",
    "MS_NODEV",
    "MS_NOEXEC",
    "MS_NOSUID",
    "MS_PRIVATE",
    "MS_RDONLY",
    "MS_REC",
    "MS_SLAVE",
    "PR_SET_CHILD_SUBREAPER",
    "PR_SET_PDEATHSIG",
    "attach",
    "capabilities",
    "clone_tree",
    "drop_bounding",
    "mount",
    "no_devices",
    "pivot_root",
    "prctl",
    "read_only",
    "setns",
    "umount",
    "unshare",
]

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36

_OPEN_TREE = 428
_MOVE_MOUNT = 429
_MOUNT_SETATTR = 442
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NODEV = 1, 4

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, about: str = "") -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), about or None)
    return result


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, flags: int) -> None:
    _check(_libc.setns(fd, flags), "setns")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    _check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            os.fsencode(kind),
            ctypes.c_ulong(flags),
            os.fsencode(data) if data else None,
        ),
        target,
    )


def umount(target: str, flags: int = 0) -> None:
    _check(_libc.umount2(os.fsencode(target), flags), target)


def pivot_root(new: str, old: str) -> None:
    _check(_libc.pivot_root(os.fsencode(new), os.fsencode(old)), new)


def prctl(option: int, value: int = 0) -> int:
    zero = ctypes.c_ulong(0)
    return _check(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero), "prctl")


def clone_tree(path: str) -> int:
    """A copy of the mount at `path` with all below it, attached nowhere yet."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE
    return _check(
        _libc.syscall(
            ctypes.c_long(_OPEN_TREE), _AT_FDCWD, os.fsencode(path), ctypes.c_uint(flags)
        ),
        path,
    )


def attach(tree: int, target: str) -> None:
    """Put what `clone_tree` gave at `target`, whose last part is followed if it is a link."""
    follow_target = 0x10
    _check(
        _libc.syscall(
            ctypes.c_long(_MOVE_MOUNT),
            tree,
            b"",
            _AT_FDCWD,
            os.fsencode(target),
            ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH | follow_target),
        ),
        target,
    )


class _MountAttr(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def read_only(tree: int | str, *, recursive: bool = True) -> None:
    """Forbid writing through a mount: one not attached yet, or that at a path."""
    _set_attributes(tree, _MOUNT_ATTR_RDONLY, recursive=recursive)


def no_devices(tree: int | str) -> None:
    """Device files in these mounts are none, whoever made them."""
    _set_attributes(tree, _MOUNT_ATTR_NODEV, recursive=True)


def _set_attributes(tree: int | str, mask: int, *, recursive: bool) -> None:
    attr = _MountAttr(mask, 0, 0, 0)
    by_fd = isinstance(tree, int)
    flags = (_AT_EMPTY_PATH if by_fd else 0) | (_AT_RECURSIVE if recursive else 0)
    _check(
        _libc.syscall(
            ctypes.c_long(_MOUNT_SETATTR),
            tree if isinstance(tree, int) else _AT_FDCWD,
            b"" if isinstance(tree, int) else os.fsencode(tree),
            ctypes.c_uint(flags),
            ctypes.byref(attr),
            ctypes.c_size_t(ctypes.sizeof(attr)),
        ),
        "" if isinstance(tree, int) else tree,
    )


def drop_bounding(keep: int) -> None:
    """Leave only the capabilities of the mask `keep` in the bounding set."""
    number = 0
    while _libc.prctl(PR_CAPBSET_READ, ctypes.c_ulong(number), 0, 0, 0) >= 0:
        if not keep >> number & 1:
            prctl(PR_CAPBSET_DROP, number)
        number += 1


class _CapHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


_CapData = ctypes.c_uint32 * 6
_CAP_VERSION_3 = 0x20080522


def capabilities(mask: int) -> None:
    """Have exactly the capabilities of `mask`, of those that we have, and inherit none."""
    header = _CapHeader(_CAP_VERSION_3, 0)
    data = _CapData()
    _check(_libc.capget(ctypes.byref(header), ctypes.byref(data)), "capget")
    low, high = data[1] & mask & 0xFFFFFFFF, data[4] & mask >> 32
    data = _CapData(low, low, 0, high, high, 0)
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(data)), "capset")
