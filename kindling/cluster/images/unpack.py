"""Layers as folders: a tar stream applied to an empty folder, in the form that overlayfs takes.

A deleted name becomes a character device 0:0, a folder whose lower content is hidden gets the
attribute `user.overlay.opaque`. Nothing an archive says makes us write outside the folder: names
are split and looked at one by one, and links inside it are followed as if the folder were the root.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from kindling.cluster.images.tape import LIMITS, ArchiveError, Limits, Source, Tape, entries

__all__ = ["OPAQUE", "Unpacked", "make_whiteout", "set_opaque", "unpack"]

OPAQUE = "user.overlay.opaque"
_WHITEOUT = ".wh."
_OPAQUE_MARK = ".wh..wh..opq"
_MOST_LINKS = 40
_KEPT_XATTRS = ("security.capability",)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What came of a layer: the digest of its plain tar, the bytes of its files, and, where we may
    not give files away, the owners they should have (uid and gid by path)."""

    diff_id: str
    size: int
    owners: dict[str, tuple[int, int]] = field(default_factory=dict)


def unpack(
    source: Source,
    folder: Path,
    *,
    limits: Limits = LIMITS,
    stop: Event | None = None,
    whiteouts: bool = True,
) -> Unpacked:
    """Apply a plain tar stream to `folder`, which must be empty. Blocking.

    Devices and aufs' own files are left out. Without `whiteouts` it is no layer but any archive,
    and names that begin with `.wh.` mean nothing.

    Raises:
        ArchiveError: The archive is broken, too large, or reaches out of the folder.
        Stopped: `stop` was set.
    """
    tape = Tape(source, limit=limits.size, stop=stop)
    work = _Unpacking(tape, str(folder), limits, whiteouts)
    try:
        for entry in entries(tape, limits):
            work.add(entry)
        work.finish()
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL):
            raise ArchiveError(f"`{work.name[:200]}`: {error.strerror}") from error
        raise
    tape.drain()
    return Unpacked(tape.digest, work.size, work.owners)


def make_whiteout(path: str) -> None:
    """Mark a name as deleted. Needs no privilege since Linux 5.8."""
    try:
        os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))
    except PermissionError as error:
        raise ArchiveError(
            "this layer deletes files of the layers below it, which without root can be stored"
            " since Linux 5.8 alone"
        ) from error


def set_opaque(path: str) -> None:
    """Hide what lower layers have in a folder."""
    try:
        os.setxattr(path, OPAQUE, b"y", follow_symlinks=False)
    except OSError as error:
        raise ArchiveError(
            f"the file system of the images folder has no attributes of users: {error.strerror}"
        ) from error


class _Unpacking:
    """One archive on its way into one folder."""

    def __init__(self, tape: Tape, root: str, limits: Limits, whiteouts: bool) -> None:
        self._tape = tape
        self._root = root
        self._limits = limits
        self._whiteouts = whiteouts
        self._is_root = os.geteuid() == 0
        self._parents: dict[str, str] = {"": root}
        self._folders: dict[str, tuple[int, int]] = {}
        """Mode and time of each folder, which are set last: adding to it changes both."""
        self.owners: dict[str, tuple[int, int]] = {}
        self.size = 0
        self.name = ""

    def add(self, entry: tarfile.TarInfo) -> None:
        self.name = entry.name
        parts = _split(entry.name)
        if not parts:
            if entry.isdir():
                self._note_folder(self._root, entry, "")
            return
        base = parts[-1]
        if self._whiteouts and base == _OPAQUE_MARK:
            set_opaque(self._folder(parts[:-1]))
            return
        if self._whiteouts and base.startswith(_WHITEOUT):
            self._delete(parts[:-1], base.removeprefix(_WHITEOUT))
            return
        if entry.isdev() and not entry.isfifo():
            return
        parent = self._folder(parts[:-1])
        path = f"{parent}/{base}"
        if entry.isdir():
            self._make_folder(path, entry, "/".join(parts))
            return
        self._clear(path, "/".join(parts))
        if entry.issym():
            os.symlink(entry.linkname, path)
        elif entry.islnk():
            self._link(path, entry)
            return
        elif entry.isfifo():
            os.mkfifo(path)
        else:
            self._write(path, entry)
        self._dress(path, entry, "/".join(parts))

    def finish(self) -> None:
        for path, (mode, seconds) in reversed(self._folders.items()):
            os.chmod(path, mode)
            os.utime(path, (seconds, seconds))

    # Places --------------------------------------------------------------------------------------

    def _folder(self, parts: list[str]) -> str:
        """The folder of these names, made where it is missing; links are followed inside."""
        key = "/".join(parts)
        known = self._parents.get(key)
        if known is not None:
            return known
        path = self._root
        waiting = list(reversed(parts))
        at: list[str] = []
        links = 0
        while waiting:
            name = waiting.pop()
            if name == "..":
                at = at[:-1]
                path = "/".join((self._root, *at))
                continue
            below = f"{path}/{name}"
            try:
                mode = os.lstat(below).st_mode
            except FileNotFoundError:
                os.mkdir(below, 0o755)
                os.chmod(below, 0o755)
                mode = stat.S_IFDIR
            if stat.S_ISLNK(mode):
                links += 1
                if links > _MOST_LINKS:
                    raise ArchiveError(f"`{self.name[:200]}`: too many levels of links")
                target = os.readlink(below)
                if target.startswith("/"):
                    at, path = [], self._root
                waiting += [part for part in reversed(target.split("/")) if part not in ("", ".")]
            elif stat.S_ISDIR(mode):
                at.append(name)
                path = below
            elif _is_whiteout(below):
                os.unlink(below)
                os.mkdir(below, 0o755)
                set_opaque(below)
                at.append(name)
                path = below
            else:
                raise ArchiveError(f"`{self.name[:200]}` lies below a file")
        self._parents[key] = path
        return path

    def _clear(self, path: str, key: str) -> None:
        """Make room for what comes: the last of several entries of one name wins."""
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            from kindling.cluster.images.blobs import remove_tree

            remove_tree(Path(path))
            inside = f"{path}/"
            for known in [p for p in self._folders if p == path or p.startswith(inside)]:
                del self._folders[known]
        else:
            os.unlink(path)
        self._parents = {"": self._root}
        self.owners.pop(key, None)

    def _delete(self, parts: list[str], base: str) -> None:
        if base.startswith(_WHITEOUT):
            return  # aufs kept its own books under such names
        if base in ("", ".", ".."):
            raise ArchiveError(f"`{self.name[:200]}` deletes no name")
        path = f"{self._folder(parts)}/{base}"
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            make_whiteout(path)
            return
        # A whiteout is about lower layers alone: what this layer has itself stays.
        if stat.S_ISDIR(mode):
            set_opaque(path)

    # Kinds ---------------------------------------------------------------------------------------

    def _make_folder(self, path: str, entry: tarfile.TarInfo, key: str) -> None:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            hidden = _is_whiteout(path)
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                self._clear(path, key)
                os.mkdir(path, 0o700)
                if hidden:
                    set_opaque(path)
        self._note_folder(path, entry, key)

    def _note_folder(self, path: str, entry: tarfile.TarInfo, key: str) -> None:
        self._own(path, entry, key)
        self._attributes(path, entry)
        self._folders.pop(path, None)
        self._folders[path] = (entry.mode & 0o7777, _seconds(entry))

    def _write(self, path: str, entry: tarfile.TarInfo) -> None:
        self.size += entry.size
        if self.size > self._limits.size:
            raise ArchiveError(f"the archive's files have more than {self._limits.size} bytes")
        with open(path, "xb", buffering=0) as file:
            sparse: list[tuple[int, int]] | None = getattr(entry, "sparse", None)
            if sparse is None:
                for data in self._tape.content(entry.size):
                    file.write(data)
                return
            for offset, length in sparse:
                if offset + length > entry.size:
                    raise ArchiveError(f"`{self.name[:200]}` has a piece beyond its end")
                file.seek(offset)
                for data in self._tape.content(length):
                    file.write(data)
            file.truncate(entry.size)

    def _link(self, path: str, entry: tarfile.TarInfo) -> None:
        parts = _split(entry.linkname)
        if not parts:
            raise ArchiveError(f"`{self.name[:200]}` is a link to the root")
        target = f"{self._folder(parts[:-1])}/{parts[-1]}"
        try:
            mode = os.lstat(target).st_mode
        except FileNotFoundError:
            mode = 0
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISFIFO(mode)):
            raise ArchiveError(
                f"`{self.name[:200]}` is a link to `{entry.linkname[:200]}`, which is no file of"
                " this layer"
            )
        os.link(target, path, follow_symlinks=False)

    # Attributes ----------------------------------------------------------------------------------

    def _dress(self, path: str, entry: tarfile.TarInfo, key: str) -> None:
        self._own(path, entry, key)
        if not entry.issym():
            os.chmod(path, entry.mode & 0o7777)
            self._attributes(path, entry)
        seconds = _seconds(entry)
        os.utime(path, (seconds, seconds), follow_symlinks=False)

    def _own(self, path: str, entry: tarfile.TarInfo, key: str) -> None:
        if entry.uid == 0 and entry.gid == 0:
            return
        if not (0 <= entry.uid < 2**32 - 1 and 0 <= entry.gid < 2**32 - 1):
            raise ArchiveError(f"`{self.name[:200]}` belongs to a user who cannot be")
        if self._is_root:
            try:
                os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
            except OSError as error:  # root of a user namespace that lacks this user
                if error.errno not in (errno.EINVAL, errno.EPERM):
                    raise
            else:
                return
        self.owners[key] = (entry.uid, entry.gid)

    def _attributes(self, path: str, entry: tarfile.TarInfo) -> None:
        for name, value in entry.pax_headers.items():
            kept = name.removeprefix("SCHILY.xattr.")
            if kept == name or not (
                kept in _KEPT_XATTRS
                or (kept.startswith("user.") and not kept.startswith("user.overlay."))
            ):
                continue
            with contextlib.suppress(OSError):  # not ours to give, or not known here
                os.setxattr(path, kept, value.encode("utf-8", "surrogateescape"))


def _split(name: str) -> list[str]:
    """The names of a path, which is taken from the root whether it begins with a slash or not."""
    if "\0" in name:
        raise ArchiveError(f"a name with a zero byte: `{name[:200]!r}`")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ArchiveError(f"`{name[:200]}` leads out of the root")
    return parts


def _is_whiteout(path: str) -> bool:
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def _seconds(entry: tarfile.TarInfo) -> int:
    return min(max(int(entry.mtime), -(2**31)), 2**33)
