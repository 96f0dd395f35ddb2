"""Batches as tar archives with a script that moves their files into place, and trees out of them.
Runs in a thread: it reads and writes files."""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Sequence
from hashlib import sha256
from typing import IO

from kindling.sync.protocol import Contents, Process, SourceChangedError
from kindling.sync.transport.sending import read_file
from kindling.sync.trees.batch import (
    Chmod,
    Delete,
    Link,
    Mkdir,
    Move,
    Operation,
    Put,
    Rmdir,
)
from kindling.sync.trees.manifest import path_bytes

__all__ = ["entries_of", "packed", "processes_of"]

_CHUNK = 1 << 20
_MARK = b"\1kindling\1"
_PUT = b"""set -e
put() {
  # Moving to a link that leads to a folder would move into that folder.
  if [ -L "$2" ]; then rm -f "$2"; fi
  if [ -d "$2" ]; then echo "$2: Is a directory" >&2; exit 1; fi
  mv -f "$1" "$2"
}"""


def packed(target: IO[bytes], operations: Sequence[Operation], contents: Contents) -> int:
    """Write an archive of what is to be put, under numbers, and `script`, which does the batch from
    `/` with `$stage` the folder where all of it is unpacked; its size.

    Raises:
        SourceChangedError: A file is not what the batch says.
    """
    lines = [_PUT]
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for number, operation in enumerate(operations):
            path = _quoted(operation.path)
            match operation:
                case Put(_, mode):
                    _add(archive, operation, contents, str(number), mode)
                    lines.append(b'put "$stage/%d" %s' % (number, path))
                case Move(source, place, mode, digest):
                    # Nobody there could tell whether it still holds what it should.
                    _add(archive, Put(place, mode, digest), contents, str(number), mode)
                    lines.append(b'put "$stage/%d" %s' % (number, path))
                    lines.append(b"rm -f %s" % _quoted(source))
                case Mkdir(_, mode):
                    lines.append(b"mkdir -m %o %s" % (mode, path))
                case Link(_, target_text):
                    lines.append(b'ln -s -- %s "$stage/%d"' % (_word(target_text), number))
                    lines.append(b'put "$stage/%d" %s' % (number, path))
                case Chmod(_, mode):
                    lines.append(b"chmod %o %s" % (mode, path))
                case Delete():
                    lines.append(b"rm -f %s" % path)
                case Rmdir():
                    lines.append(b"rmdir %s 2>/dev/null || :" % path)
        script = b"\n".join(lines) + b"\n"
        about = tarfile.TarInfo("script")
        about.size = len(script)
        archive.addfile(about, io.BytesIO(script))
    return target.tell()


def entries_of(source: IO[bytes], skip: frozenset[str]) -> dict[str, str]:
    """What an archive holds, as entries of `kindling.files.tree`."""
    source.seek(0)
    found: dict[str, str] = {}
    if not source.read(1):
        return found
    source.seek(0)
    with tarfile.open(
        fileobj=source, mode="r|", encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for member in archive:
            path = posixpath.normpath(member.name)
            if path == "." or not skip.isdisjoint(path.split("/")):
                continue
            if member.islnk():
                found[path] = found.get(posixpath.normpath(member.linkname), "")
            elif member.isreg():
                sums = sha256()
                content = archive.extractfile(member)
                while content is not None and (data := content.read(_CHUNK)):
                    sums.update(data)
                found[path] = f"file:{member.mode & 0o7777:o}:sha256:{sums.hexdigest()}"
            elif member.isdir():
                found[path] = f"dir:{member.mode & 0o7777:o}"
            elif member.issym():
                found[path] = f"link:{member.linkname}"
            else:
                found[path] = f"other:{member.mode & 0o7777:o}"
    return {path: text for path, text in found.items() if text}


def processes_of(said: bytes) -> tuple[Process, ...]:
    """What a script printed of /proc: `stat`, a mark and `cmdline` of each, after another mark."""
    found: list[Process] = []
    for part in said.split(_MARK)[1:]:
        about, _, command = part.partition(b"\1")
        head, _, rest = about.rpartition(b")")
        fields = rest.split()
        if len(fields) < 26 or fields[0] in (b"Z", b"X"):
            continue
        found.append(
            Process(
                int(head.split(b" ", 1)[0]),
                int(fields[1]),
                int(fields[19]),
                b"-".join(fields[23:26]).decode(),
                tuple(
                    word.decode("utf-8", "surrogateescape") for word in command.split(b"\0")[:-1]
                ),
            )
        )
    return tuple(found)


def _add(archive: tarfile.TarFile, put: Put, contents: Contents, name: str, mode: int) -> None:
    try:
        content = read_file(contents.file(put.path))
    except OSError as error:
        raise SourceChangedError(put.path) from error
    if put.digest and put.digest != f"sha256:{sha256(content).hexdigest()}":
        raise SourceChangedError(put.path)
    about = tarfile.TarInfo(name)
    about.size = len(content)
    about.mode = mode
    archive.addfile(about, io.BytesIO(content))


def _quoted(path: str) -> bytes:
    """A place as one word of a shell, relative to `/` and never an option."""
    return _word(f"./{path}")


def _word(text: str) -> bytes:
    return b"'" + path_bytes(text).replace(b"'", b"'\\''") + b"'"
