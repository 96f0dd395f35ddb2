"""Layers as tar streams: made out of files to copy, or out of what a container changed.

The same entries give the same bytes: sorted by name, no names of users, whole seconds.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event

from kindling.cluster.images.tape import Stopped
from kindling.cluster.images.unpack import OPAQUE

__all__ = ["END", "Entry", "changes", "entry_bytes", "owner_of"]

END = b"\0" * 1024
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a layer: its name there, the file it is made of (or `data`), and how it is to
    be. `mode` holds the kind of file too; `link` is the target of a link (`hard`: a hard one)."""

    name: str
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    source: str = ""
    data: bytes = b""
    link: str = ""
    hard: bool = False
    attributes: tuple[tuple[str, bytes], ...] = ()


def entry_bytes(entry: Entry, stop: Event | None = None) -> Iterator[bytes]:
    """An entry as it stands in the tar. Blocking; a file that changes meanwhile keeps the size that
    it had when it was opened."""
    info = tarfile.TarInfo(entry.name)
    info.mode = stat.S_IMODE(entry.mode)
    info.uid, info.gid, info.mtime = entry.uid, entry.gid, entry.mtime
    if entry.attributes:
        info.pax_headers = {
            f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")
            for name, value in entry.attributes
        }
    if entry.hard:
        info.type, info.linkname = tarfile.LNKTYPE, entry.link
    elif stat.S_ISLNK(entry.mode):
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
    elif stat.S_ISDIR(entry.mode):
        info.type = tarfile.DIRTYPE
        info.name = entry.name.rstrip("/") + "/"
    elif stat.S_ISFIFO(entry.mode):
        info.type = tarfile.FIFOTYPE
    elif entry.source:
        yield from _file(info, entry.source, stop)
        return
    else:
        info.size = len(entry.data)
    yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    if info.size:
        yield entry.data + b"\0" * (-len(entry.data) % tarfile.BLOCKSIZE)


def _file(info: tarfile.TarInfo, source: str, stop: Event | None) -> Iterator[bytes]:
    with open(source, "rb", buffering=0) as file:
        info.size = os.fstat(file.fileno()).st_size
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        left = info.size
        while left and (data := file.read(min(left, _CHUNK))):
            if stop is not None and stop.is_set():
                raise Stopped
            left -= len(data)
            yield data
        while left:
            yield b"\0" * min(left, _CHUNK)
            left -= min(left, _CHUNK)
        yield b"\0" * (-info.size % tarfile.BLOCKSIZE)


def changes(folder: str) -> Iterator[Entry]:
    """What a folder in overlayfs form says, as entries of a layer. Blocking."""
    seen: dict[tuple[int, int], str] = {}

    def walk(path: str, below: str) -> Iterator[Entry]:
        with os.scandir(path) as scan:
            found = sorted(scan, key=lambda item: item.name)
        for item in found:
            info = item.stat(follow_symlinks=False)
            name = below + item.name
            uid, gid = owner_of(info)
            if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
                yield Entry(f"{below}.wh.{item.name}", stat.S_IFREG)
            elif stat.S_ISDIR(info.st_mode):
                yield Entry(name, info.st_mode, uid, gid, int(info.st_mtime))
                if _attribute(item.path, OPAQUE) == b"y":
                    yield Entry(f"{name}/.wh..wh..opq", stat.S_IFREG)
                yield from walk(item.path, f"{name}/")
            elif stat.S_ISLNK(info.st_mode):
                link = os.readlink(item.path)
                yield Entry(name, info.st_mode, uid, gid, int(info.st_mtime), link=link)
            elif stat.S_ISREG(info.st_mode) or stat.S_ISFIFO(info.st_mode):
                first = seen.setdefault((info.st_dev, info.st_ino), name)
                if info.st_nlink > 1 and first != name:
                    yield Entry(name, info.st_mode, uid, gid, link=first, hard=True)
                    continue
                capability = _attribute(item.path, "security.capability")
                yield Entry(
                    name,
                    info.st_mode,
                    uid,
                    gid,
                    int(info.st_mtime),
                    source=item.path if stat.S_ISREG(info.st_mode) else "",
                    attributes=(("security.capability", capability),) if capability else (),
                )

    return walk(folder, "")


def owner_of(info: os.stat_result) -> tuple[int, int]:
    """Who a file of ours belongs to inside an image: without root, what is ours is root's there."""
    if os.geteuid() == 0:
        return info.st_uid, info.st_gid
    uid = 0 if info.st_uid == os.geteuid() else info.st_uid
    gid = 0 if info.st_gid == os.getegid() else info.st_gid
    return uid, gid


def _attribute(path: str, name: str) -> bytes:
    with contextlib.suppress(OSError):
        return os.getxattr(path, name, follow_symlinks=False)
    return b""
