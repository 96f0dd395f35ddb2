"""What a container sees as its files: layers, system folders, volumes.

All of it happens in the container's own mount namespace, and the machine sees none of it. Volumes
are opened by their path on the machine first, as trees attached nowhere, and put in place once the
container's root is ours: so a link or a `..` in an image leads nowhere but into that image.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Any

from kindling.cluster.runtime.launch import kernel
from kindling.cluster.runtime.launch.hostroot import (
    has_large_mounts,
    mount_overlay,
    mount_parts,
)
from kindling.cluster.runtime.launch.refusal import Refusal, reason_of

__all__ = [
    "DEVICES",
    "Volume",
    "assemble",
    "enter",
    "forbid_writing",
    "hide",
    "make_system",
    "make_volumes",
    "mask_system",
    "open_volumes",
]

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
    "core": "/proc/kcore",
}
_PLAIN = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
# As containerd masks them.
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class Volume:
    """A mount of the specification, its source opened."""

    def __init__(self, target: str, tree: int, *, folder: bool, size: int) -> None:
        self.target = target
        self.tree = tree
        self.folder = folder
        self.size = size


def assemble(folder: str, layers: list[str], *, host: bool) -> tuple[str, list[str]]:
    """Mount the layers, lowest first, under the private one in `folder/upper`; where that is, and
    which paths in it are mounts of their own."""
    root, upper, work = (os.path.join(folder, name) for name in ("root", "upper", "work"))
    for path in (root, upper, work, os.path.join(work, "all")):
        os.makedirs(path, 0o755, exist_ok=True)
    os.chmod(upper, 0o755)
    lower = list(reversed(layers))
    whole = os.path.join(work, "all")
    try:
        if not host:
            mount_overlay(lower or [root], upper, whole, root)
            return root, []
        if has_large_mounts():
            return root, mount_parts(layers, upper, work, root)
        try:
            mount_overlay([*lower, "/"], upper, whole, root)
            return root, []
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return root, mount_parts(layers, upper, work, root)
    except OSError as error:
        about = error.filename if error.filename in lower else "overlay"
        raise Refusal(
            f"failed to mount rootfs: {about}: {reason_of(error)}", "CreateContainerError"
        ) from None


def open_volumes(mounts: list[dict[str, Any]], *, devices: bool) -> list[Volume]:
    """In the order in which they have to be made: a folder before what lies in it."""
    found = []
    for row in sorted(mounts, key=lambda row: os.path.normpath(row["target"]).count("/")):
        target, source = row["target"], row["source"]
        if not target.startswith("/") or "\0" in target:
            raise Refusal(
                f"mount destination {target!r} not absolute", "CreateContainerConfigError"
            )
        if source is None:
            found.append(Volume(target, -1, folder=True, size=row["size"]))
        else:
            try:
                folder = stat.S_ISDIR(os.stat(source).st_mode)
                tree = kernel.clone_tree(source)
                if row["read_only"]:
                    kernel.read_only(tree)
                if not devices:
                    kernel.no_devices(tree)
            except OSError as error:
                raise Refusal(
                    f"failed to mount {source!r} to rootfs at {target!r}: {reason_of(error)}"
                ) from None
            found.append(Volume(target, tree, folder=folder, size=0))
    return found


def enter(root: str) -> None:
    """Make `root` ours. The machine's root stays on top of it, reachable as the working folder
    only, until it is let go by `kernel.umount(".")`."""
    os.chdir(root)
    kernel.pivot_root(".", ".")
    # The working folder is the new root now; the old one lies over it.


def _ordinary(path: str) -> None:
    """A folder of the system must be a folder: an image may not lead us astray with a link."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise Refusal(f"filesystem must be mounted on ordinary directory: {path}") from None


def make_system(shm: str, cgroups: dict[str, int], devices: list[tuple[str, int]]) -> None:
    """/proc, /sys and /dev. Called after `enter`; `shm` and `devices` are trees."""
    for path in ("/proc", "/sys", "/dev"):
        _ordinary(path)
    kernel.mount("proc", "/proc", "proc", _PLAIN)
    try:
        kernel.mount("sysfs", "/sys", "sysfs", _PLAIN | kernel.MS_RDONLY)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EBUSY):
            raise
        # A pod in the network of a namespace that is not ours; few miss it.
    else:
        _make_cgroups(cgroups)
    # Each device is a mount of its own, and others would be an app's way to this machine's disks.
    flags = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("tmpfs", "/dev", "tmpfs", flags, "mode=755,size=65536k")
    for name, tree in devices:
        with open(f"/dev/{name}", "w"):
            pass
        kernel.attach(tree, f"/dev/{name}")
        os.close(tree)
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(f"/dev/{name}", 0o755)
    flags = kernel.MS_NOSUID | kernel.MS_NOEXEC
    options = "newinstance,ptmxmode=0666,mode=0620"
    try:
        kernel.mount("devpts", "/dev/pts", "devpts", flags, options + ",gid=5")
    except OSError:  # group 5 is none of ours in this user namespace
        kernel.mount("devpts", "/dev/pts", "devpts", flags, options)
    kernel.attach(int(shm), "/dev/shm")
    with contextlib.suppress(OSError):
        kernel.mount("mqueue", "/dev/mqueue", "mqueue", _PLAIN)
    for name, target in _LINKS.items():
        os.symlink(target, f"/dev/{name}")


def _make_cgroups(cgroups: dict[str, int]) -> None:
    """The container's own groups, for programs that size themselves by their limits."""
    with contextlib.suppress(OSError):
        if "" in cgroups:
            kernel.attach(cgroups[""], "/sys/fs/cgroup")
        elif cgroups:
            kernel.mount("tmpfs", "/sys/fs/cgroup", "tmpfs", _PLAIN, "mode=755")
            for name, tree in cgroups.items():
                os.mkdir(f"/sys/fs/cgroup/{name}")
                kernel.attach(tree, f"/sys/fs/cgroup/{name}")
    for tree in cgroups.values():
        os.close(tree)


def forbid_writing(parts: list[str], volumes: list[str]) -> None:
    """Make the root read-only, and those of its parts that no volume lies on."""
    for path in ("/", *parts):
        if path not in volumes:
            kernel.read_only(path, recursive=False)


def hide(folders: list[str]) -> None:
    """Make folders of the machine's root empty, wherever links lead to them. Called after `enter`,
    before volumes, which may lie in them."""
    for folder in {os.path.realpath(path) for path in folders}:
        if folder != "/" and os.path.isdir(folder):
            flags = _PLAIN | kernel.MS_RDONLY
            kernel.mount("tmpfs", folder, "tmpfs", flags, "size=0,mode=555")


def make_volumes(volumes: list[Volume]) -> list[str]:
    """Where they are. Called after `enter`."""
    targets = []
    for volume in volumes:
        target = os.path.realpath(volume.target)
        if target == "/" or target == "/proc" or target.startswith("/proc/"):
            raise Refusal(f'"{volume.target}" cannot be mounted because it is inside /proc or /')
        try:
            if volume.folder:
                os.makedirs(target, 0o755, exist_ok=True)
            elif not os.path.exists(target):
                os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
                os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
            if volume.tree < 0:
                size = f",size={volume.size}" if volume.size else ""
                kernel.mount(
                    "tmpfs", target, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=1777" + size
                )
            else:
                kernel.attach(volume.tree, target)
                os.close(volume.tree)
            targets.append(target)
        except OSError as error:
            raise Refusal(f"failed to mount at {volume.target!r}: {reason_of(error)}") from None
    return targets


def mask_system() -> None:
    """Hide what a container without privileges has no business with."""
    for path in _READ_ONLY:
        with contextlib.suppress(FileNotFoundError):
            tree = kernel.clone_tree(path)
            try:
                kernel.read_only(tree)
                kernel.attach(tree, path)
            finally:
                os.close(tree)
    for path in _MASKED:
        try:
            mode = os.stat(path).st_mode
        except OSError:
            continue
        if stat.S_ISDIR(mode):
            kernel.mount("tmpfs", path, "tmpfs", _PLAIN | kernel.MS_RDONLY, "size=0")
        else:
            kernel.mount("/dev/null", path, "", kernel.MS_BIND)
