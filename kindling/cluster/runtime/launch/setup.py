"""What happens between the fork and the program, in a container's first process or a later one.

It tells how it went over the status socket, which closes by itself when the program is executed:
nothing at all for success, a message for a failure, a terminal's descriptor on the way.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
import termios
from typing import Any, NoReturn

from kindling.cluster.runtime.launch import kernel, rootfs
from kindling.cluster.runtime.launch.cgroups import Group
from kindling.cluster.runtime.launch.identity import assume, find_identity, mask_of
from kindling.cluster.runtime.launch.network import PodNetwork
from kindling.cluster.runtime.launch.program import (
    DEFAULT_PATH,
    become,
    clean_process,
    enter_folder,
    find_program,
)
from kindling.cluster.runtime.launch.refusal import Refusal, reason_of

__all__ = ["Seat", "execute", "finish", "start"]


class Seat:
    """The streams of a process: descriptors that were handed over, or a terminal to be made."""

    def __init__(self, fds: dict[str, int], status: socket.socket, *, tty: bool) -> None:
        self.fds = fds
        self.status = status
        self.tty = tty

    def take(self, terminal: int) -> None:
        """Make them 0, 1 and 2."""
        if terminal >= 0:
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
            streams = [terminal] * 3
        else:
            null = os.open("/dev/null", os.O_RDWR)
            streams = [self.fds.get(name, null) for name in ("stdin", "stdout", "stderr")]
        # Out of the way first: a stream may lie on another one's number.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in streams]
        for number, fd in enumerate(high):
            os.dup2(fd, number)

    def open_terminal(self) -> int:
        """Our end of a new terminal of the container; the other is sent away."""
        if not self.tty:
            return -1
        try:
            far = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            fcntl.ioctl(far, 0x40045431, struct.pack("i", 0))  # TIOCSPTLCK: unlock
            packed = fcntl.ioctl(far, 0x80045430, struct.pack("I", 0))  # TIOCGPTN: its number
            path = f"/dev/pts/{struct.unpack('I', packed)[0]}"
            near = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            raise Refusal(f"open /dev/ptmx: {reason_of(error)}") from None
        socket.send_fds(self.status, [b"t"], [far])
        os.close(far)
        return near


def finish(seat: Seat, error: BaseException) -> NoReturn:
    """Say why there will be no program."""
    if isinstance(error, Refusal):
        told = {"error": str(error), "reason": error.reason}
    elif isinstance(error, OSError):
        about = f"{error.filename}: " if error.filename else ""
        told = {"error": f"{about}{reason_of(error)}", "reason": "CreateContainerError"}
    else:
        told = {"error": f"{type(error).__name__}: {error}", "reason": "CreateContainerError"}
    with contextlib.suppress(OSError):
        seat.status.send(json.dumps(told).encode())
    os._exit(127)


def start(
    spec: dict[str, Any],
    seat: Seat,
    pod: PodNetwork,
    group: Group | None,
    shm: str,
    hidden: list[str],
    *,
    single: bool,
) -> NoReturn:
    """The life of a container's first process up to its program."""
    try:
        mask = mask_of(spec["add"], spec["drop"], privileged=spec["privileged"])
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
        if group is not None:
            group.join()
        pod.enter()
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWCGROUP)
        kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
        volumes = rootfs.open_volumes(spec["mounts"], devices=spec["privileged"])
        devices = [(name, kernel.clone_tree(f"/dev/{name}")) for name in rootfs.DEVICES]
        shared = kernel.clone_tree(shm)
        trees = _cgroup_trees(group)
        kernel.umount(os.path.dirname(shm), kernel.MNT_DETACH)  # the launcher's own
        root, parts = rootfs.assemble(spec["folder"], spec["layers"], host=spec["host"])
        if not spec["privileged"]:
            kernel.no_devices(root)
        rootfs.enter(root)
        rootfs.make_system(str(shared), trees, devices)
        if spec["host"] and not spec["privileged"]:
            rootfs.hide(hidden)
        targets = rootfs.make_volumes(volumes)
        if not spec["privileged"]:
            rootfs.mask_system()
        os.setsid()
        terminal = seat.open_terminal()
        if terminal >= 0:
            _make_console(terminal)
        if not spec["cwd"].startswith("/"):
            raise Refusal(f"Cwd must be an absolute path: {spec['cwd']!r}")
        with contextlib.suppress(OSError):
            # Made while it can be: the app may be nobody, and the root read-only.
            os.makedirs(spec["cwd"], 0o755, exist_ok=True)
        if spec["read_only_root"]:
            rootfs.forbid_writing(parts, targets)
        kernel.umount(".", kernel.MNT_DETACH)
        os.chdir("/")
        _go(spec, seat, terminal, mask, single=single)
    except BaseException as error:
        finish(seat, error)


def execute(
    spec: dict[str, Any], seat: Seat, holder: int, group: Group | None, *, single: bool
) -> NoReturn:
    """The same for a further process of a container, whose first one is the pidfd `holder`. Its
    process namespace has been entered by the fork."""
    try:
        mask = mask_of(spec["add"], spec["drop"], privileged=spec["privileged"])
        if group is not None:
            group.join()
        kernel.setns(
            holder,
            kernel.CLONE_NEWNS
            | kernel.CLONE_NEWNET
            | kernel.CLONE_NEWIPC
            | kernel.CLONE_NEWUTS
            | kernel.CLONE_NEWCGROUP,
        )
        os.setsid()
        _go(spec, seat, seat.open_terminal(), mask, single=single)
    except BaseException as error:
        finish(seat, error)


def _go(spec: dict[str, Any], seat: Seat, terminal: int, mask: int, *, single: bool) -> NoReturn:
    identity = find_identity(spec["user"], spec["groups"])
    env = {key: value for key, value in spec["env"] if key and "=" not in key}
    env.setdefault("PATH", DEFAULT_PATH)
    env.setdefault("HOSTNAME", socket.gethostname())
    env.setdefault("HOME", identity.home)
    if terminal >= 0:
        env.setdefault("TERM", "xterm")
        with contextlib.suppress(OSError):
            os.fchown(terminal, identity.uid, -1)
    for fd in seat.fds.values():
        # So that the app may open /dev/stdout anew.
        with contextlib.suppress(OSError):
            os.fchown(fd, identity.uid, identity.gid)
    seat.take(terminal)
    assume(identity, mask, single=single)
    enter_folder(spec["cwd"])
    path = find_program(spec["argv"][0], env["PATH"])
    clean_process()
    become(path, spec["argv"], env)
    raise AssertionError("unreachable")


def _make_console(terminal: int) -> None:
    with open("/dev/console", "w"):
        pass
    kernel.mount(f"/dev/pts/{_number(terminal)}", "/dev/console", "", kernel.MS_BIND)


def _number(terminal: int) -> str:
    return os.path.basename(os.ttyname(terminal))


def _cgroup_trees(group: Group | None) -> dict[str, int]:
    """The container's own groups as mounts, to be shown to it; an empty name for version two."""
    trees: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for name, path in group.paths.items() if group is not None else ():
            second = os.path.exists(f"{path}/cgroup.controllers")
            if second and "" in trees:
                continue
            tree = kernel.clone_tree(path)
            kernel.read_only(tree)
            trees["" if second else name] = tree
    return trees
