"""The machine's own root as a container's, where one overlay over all of it will not do.

In a user namespace the kernel refuses a lower folder that something is mounted below, since an
overlay would show what the mount hides; and anywhere, an overlay does not see what is mounted
below its lower folder, which matters when /usr or /home is a file system of its own. So: one
overlay of the image's layers alone, and on it one for each of the machine's folders that has no
mount below, with folders that do taken apart. The private layers of all of them together are one
tree in the form of an overlay's upper folder, as if there were one overlay only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat

from kindling.cluster.runtime.launch import kernel

__all__ = ["has_large_mounts", "mount_overlay", "mount_parts"]

_DISKS = {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "xfs", "zfs"}
_SYSTEM = {"/proc", "/sys", "/dev"}
_PASSING = {"/run", "/tmp", "/var/run", "/var/tmp"}
"""Folders of what passes: not taken apart, since they may hold thousands, but begun empty."""
_SMALL = 1 << 20


def mount_overlay(lower: list[str], upper: str, work: str, target: str) -> None:
    """Mount `lower`, uppermost first. A layer that lies somewhere below the lowest is refused by
    the kernel as overlapping; then the lowest becomes an overlay itself first."""
    try:
        _mount(lower, upper, work, target)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        empty, lowest = f"{work}.empty", f"{work}.lowest"
        os.mkdir(empty)
        os.mkdir(lowest)
        # A folder of another file system, because an overlay without an upper has two at least.
        kernel.mount("tmpfs", empty, "tmpfs", 0, "mode=755")
        _mount([lower[-1], empty], "", "", lowest)
        _mount([*lower[:-1], lowest], upper, work, target)


def _mount(lower: list[str], upper: str, work: str, target: str) -> None:
    """By descriptor, since paths may hold colons and commas, and all options together have to fit
    into one page."""
    opened: list[int] = []
    private = [upper, work] if upper else []
    try:
        for path in [*lower, *private]:
            opened.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        names = [f"/proc/self/fd/{fd}" for fd in opened]
        options = f"lowerdir={':'.join(names[: len(lower)])}"
        if private:
            options += f",upperdir={names[-2]},workdir={names[-1]}"
        kernel.mount("overlay", target, "overlay", 0, options + ",userxattr")
    finally:
        for fd in opened:
            os.close(fd)


def _mounts() -> dict[str, str]:
    """What is mounted where, with its kind."""
    found = {}
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            words = line.split(" ")
            path = words[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
            found[path] = words[2]
    return found


def has_large_mounts() -> bool:
    """/usr, /home or the like is a file system of its own."""
    return any(
        kind in _DISKS and path != "/" and path.count("/") <= 2 and os.path.isdir(path)
        for path, kind in _mounts().items()
    )


def mount_parts(layers: list[str], upper: str, work: str, root: str) -> list[str]:
    """Make the machine's root with `layers` (lowest first) over it at `root`; the paths of the
    parts in it."""
    mounts = _mounts()
    parts: list[tuple[list[str], str]] = []
    _plan("", layers, upper, mounts, parts)
    base, none = os.path.join(work, "base"), os.path.join(work, "none")
    os.mkdir(base)
    os.mkdir(none)
    lower = list(reversed(layers)) or [none]
    mount_overlay(lower, upper, base, root)
    made = []
    for number, (folders, rel) in enumerate(parts):
        own = os.path.join(work, str(number))
        os.mkdir(own)
        # What may not be seen, or has just gone, is an empty folder.
        with contextlib.suppress(PermissionError, FileNotFoundError):
            mount_overlay(folders, upper + rel, own, root + rel)
            made.append(rel)
    return made


def _plan(
    rel: str,
    layers: list[str],
    upper: str,
    mounts: dict[str, str],
    parts: list[tuple[list[str], str]],
) -> None:
    """Prepare the upper folder for `rel`, and list the overlays that it takes."""
    try:
        names = sorted(os.listdir("/" + rel.lstrip("/")))
    except OSError:
        return
    for name in names:
        path = f"{rel}/{name}"
        try:
            status = os.lstat(path)
        except OSError:
            continue
        over = _above(path, layers)
        if over is None:
            continue
        made = upper + path
        if stat.S_ISLNK(status.st_mode):
            if not over:
                os.symlink(os.readlink(path), made)
        elif stat.S_ISREG(status.st_mode):
            if not over and status.st_size <= _SMALL:
                with contextlib.suppress(OSError):
                    shutil.copy(path, made)
        elif stat.S_ISDIR(status.st_mode) and path not in _SYSTEM:
            os.mkdir(made)
            os.chmod(made, stat.S_IMODE(status.st_mode) | 0o700)
            inside = path + "/"
            if any(mount == path or mount.startswith(inside) for mount in mounts):
                if path not in _PASSING and mounts.get(path, "ext4") in _DISKS:
                    _plan(path, layers, upper, mounts, parts)
            else:
                parts.append(([*over, path], path))


def _above(path: str, layers: list[str]) -> list[str] | None:
    """What the layers have at `path`, uppermost first; None when they hide the machine's."""
    found: list[str] = []
    for layer in reversed(layers):
        inside = layer + path
        if _hides_children(layer, path):
            return None
        try:
            status = os.lstat(inside)
        except OSError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            return None
        found.append(inside)
        if _opaque(inside):
            return None
    return found


def _hides_children(layer: str, path: str) -> bool:
    """A folder on the way to it is opaque, or is no folder."""
    parent = os.path.dirname(path)
    while parent != "/":
        inside = layer + parent
        if os.path.lexists(inside) and (
            os.path.islink(inside) or not os.path.isdir(inside) or _opaque(inside)
        ):
            return True
        parent = os.path.dirname(parent)
    return False


def _opaque(folder: str) -> bool:
    try:
        return os.getxattr(folder, "user.overlay.opaque") == b"y"
    except OSError:
        return False
