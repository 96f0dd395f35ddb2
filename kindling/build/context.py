"""Build contexts: the files that a build sees, listed once and sent as a tar stream.

The stream holds the same entries in the same order for the same tree: sorted, owned by nobody, with
mode bits and links as they are. Times of modification go along in whole seconds, because servers
make ETags of them and zip refuses 1970; neither of Docker's builders counts them in its cache.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path, PurePosixPath

from kindling.build.protocol import BuildContext
from kindling.errors import HostError
from kindling.files.ignore import Ignore
from kindling.graph.node import IgnoreRule

__all__ = ["ContextFile", "list_context", "stage_context", "tar_context"]

_CHUNK = 256 * 1024
_WHOLE = 4 * 1024 * 1024
"""Files up to this size are read whole before their header is written."""


_OWN = IgnoreRule(".", ("**/.kindling",))
"""Our own state changes with every run: sent along, it would make every image another."""


@dataclass(frozen=True, slots=True)
class ContextFile:
    """One entry of a context: its name there (POSIX, relative) and the file it stands for."""

    name: str
    path: str
    mode: int
    """As `stat` has it, the kind of file included."""
    size: int = 0
    mtime: float = 0.0


def list_context(context: BuildContext) -> tuple[ContextFile, ...]:
    """Every folder, file and link of a context that is not ignored, in the order of their names.

    Blocking. Sockets, pipes and devices are left out, as Docker does.

    Raises:
        HostError: The folder does not exist, or something in it cannot be read.
    """
    if not context.folder.is_dir():
        raise HostError(f"the build context `{context.folder}` is not a folder")
    ignore = Ignore(context.root, (*context.ignore, _OWN))
    base = PurePosixPath(os.path.relpath(context.folder, context.root).replace(os.sep, "/"))
    prefix = "" if str(base) == "." else f"{base}/"
    only = _only(context, prefix)
    found: list[ContextFile] = []

    def walk(folder: str, name: str) -> None:
        try:
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except FileNotFoundError:
            return  # removed meanwhile: it is no longer part of the context
        except OSError as error:
            raise HostError(f"cannot read `{folder}`: {error.strerror}") from error
        for entry in entries:
            below = f"{name}{entry.name}"
            is_dir = entry.is_dir(follow_symlinks=False)
            wanted = only(below)
            if wanted is _Wanted.NO:
                continue
            rooted = prefix + below
            dropped = ignore.matches(rooted, is_dir)
            if is_dir:
                if not dropped and wanted is _Wanted.YES:
                    found.append(_entry(below, entry))
                if not (dropped and ignore.prunes(rooted)):
                    walk(entry.path, f"{below}/")
            elif not dropped and wanted is _Wanted.YES:
                try:
                    item = _entry(below, entry)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(item.mode) or stat.S_ISLNK(item.mode):
                    found.append(item)

    walk(str(context.folder), "")
    return tuple(found)


def tar_context(
    files: Sequence[ContextFile],
    extra: Sequence[tuple[str, bytes]] = (),
    *,
    changed: Callable[[str], None] = lambda _: None,
) -> Iterator[bytes]:
    """A context as pieces of a tar stream. `extra` entries take the place of files of their name.

    Blocking. A file that grows or shrinks while it is read arrives with the size that its header
    says; `changed` is then told its name, and whoever watches files will see the change too. A file
    that vanished is left out.

    Raises:
        HostError: A file cannot be read.
    """
    replaced = {name for name, _ in extra}
    pending = bytearray()
    for file in files:
        if file.name in replaced:
            continue
        try:
            for piece in _member(file, changed):
                pending += piece
                if len(pending) >= _CHUNK:
                    yield bytes(pending)
                    pending.clear()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise HostError(f"cannot read `{file.path}`: {error.strerror}") from error
    for name, data in extra:
        info = tarfile.TarInfo(name)
        info.mode, info.size = 0o644, len(data)
        pending += _header(info) + data + _padding(len(data))
    pending += b"\0" * 1024
    yield bytes(pending)


def stage_context(files: Sequence[ContextFile], folder: Path) -> None:
    """Make `folder` hold exactly the context, by hard links where the file system allows.

    For builders that want a folder and no stream. Blocking.
    """
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in files:
            target = folder / file.name
            if stat.S_ISDIR(file.mode):
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file.path, target, follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError:  # another file system, or a file of another user
                shutil.copy2(file.path, target, follow_symlinks=False)
        for file in reversed(files):
            if stat.S_ISDIR(file.mode):
                (folder / file.name).chmod(stat.S_IMODE(file.mode) | 0o700)
                os.utime(folder / file.name, (file.mtime, file.mtime))
    except OSError as error:
        name = error.filename or folder
        raise HostError(f"cannot stage the build context: `{name}`: {error.strerror}") from error


class _Wanted(IntEnum):
    """Whether `only` wants an entry: no, itself, or just something below it."""

    NO = 0
    BELOW = 1
    YES = 2


def _only(context: BuildContext, prefix: str) -> Callable[[str], _Wanted]:
    if not context.only:
        return lambda _: _Wanted.YES
    kept = []
    for path in context.only:
        rooted = os.path.normpath(path)
        kept.append(os.path.relpath(rooted, prefix or ".") if prefix else rooted)
    if "." in kept:
        return lambda _: _Wanted.YES

    def wanted(name: str) -> _Wanted:
        if any(name == path or name.startswith(f"{path}/") for path in kept):
            return _Wanted.YES
        below = any(path.startswith(f"{name}/") for path in kept)
        return _Wanted.BELOW if below else _Wanted.NO

    return wanted


def _entry(name: str, entry: os.DirEntry[str]) -> ContextFile:
    info = entry.stat(follow_symlinks=False)
    return ContextFile(name, entry.path, info.st_mode, info.st_size, int(info.st_mtime))


def _member(file: ContextFile, changed: Callable[[str], None]) -> Iterator[bytes]:
    info = tarfile.TarInfo(file.name)
    info.mode = stat.S_IMODE(file.mode)
    info.mtime = int(file.mtime)
    if stat.S_ISDIR(file.mode):
        info.type = tarfile.DIRTYPE
        info.name += "/"
        yield _header(info)
    elif stat.S_ISLNK(file.mode):
        info.type = tarfile.SYMTYPE
        info.linkname = os.readlink(file.path)
        yield _header(info)
    else:
        yield from _regular(file, info, changed)


def _regular(
    file: ContextFile, info: tarfile.TarInfo, changed: Callable[[str], None]
) -> Iterator[bytes]:
    with open(file.path, "rb") as source:
        now = os.fstat(source.fileno())
        info.size = now.st_size
        info.mode = stat.S_IMODE(now.st_mode)
        info.mtime = int(now.st_mtime)
        if now.st_size <= _WHOLE:
            data = source.read(_WHOLE + 1)
            if len(data) != now.st_size:
                changed(file.name)
            if len(data) <= _WHOLE:
                info.size = len(data)
            data = data[: info.size]
            yield _header(info)
            yield data
            yield _padding(len(data))
            return
        yield _header(info)
        left = now.st_size
        while left and (data := source.read(min(left, _CHUNK))):
            left -= len(data)
            yield data
        after = os.fstat(source.fileno())
        if left or (after.st_size, after.st_mtime_ns) != (now.st_size, now.st_mtime_ns):
            changed(file.name)
        while left:
            piece = min(left, _CHUNK)
            yield b"\0" * piece
            left -= piece
        yield _padding(now.st_size)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padding(size: int) -> bytes:
    return b"\0" * (-size % tarfile.BLOCKSIZE)
