"""Is a build context whole, and does it stay within itself?"""

from __future__ import annotations

import gzip
import posixpath
import tarfile
import zlib
from dataclasses import dataclass
from typing import IO

from kindling.agent.orders import RefusedError

__all__ = ["Contents", "CutShortError", "examine"]

_LISTED = 200_000


class CutShortError(Exception):
    """The archive ends too early: it is still being written, or never will be."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What an archive holds."""

    files: frozenset[str]
    size: int


def examine(file: IO[bytes]) -> Contents:
    """Read a whole `.tar.gz`.

    Raises:
        CutShortError: Its end is missing.
        RefusedError: It is no such archive, or would write outside of the folder it is unpacked in.
    """
    head = file.read(2)
    if len(head) < 2:
        raise CutShortError
    if head != b"\x1f\x8b":
        raise RefusedError("the context is no gzip archive: `tar -czf` makes one")
    file.seek(0)
    files: set[str] = set()
    links: set[str] = set()
    size = 0
    try:
        with gzip.GzipFile(fileobj=file) as plain:
            with tarfile.open(fileobj=plain, mode="r|") as archive:
                for member in archive:
                    name = _inside(member, links)
                    size += member.size
                    if member.issym():
                        links.add(name)
                    elif len(files) < _LISTED:
                        files.add(name)
                    archive.members = []  # type: ignore[attr-defined]  # or it keeps them all
            while plain.read(1 << 20):  # the end of the archive proves that it came whole
                pass
    except (EOFError, tarfile.ReadError) as error:
        if isinstance(error, tarfile.ReadError) and "unexpected end" not in str(error):
            raise RefusedError(f"the context cannot be unpacked: {error}") from error
        raise CutShortError from error
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error) as error:
        raise RefusedError(f"the context cannot be unpacked: {error}") from error
    return Contents(frozenset(files), size)


def _inside(member: tarfile.TarInfo, links: set[str]) -> str:
    """The member's path in the context. Links may point where they like, as in an image; nothing
    may be written through one."""
    name = posixpath.normpath(member.name)
    if name.startswith(("/", "../")) or name == "..":
        raise RefusedError(f"the context has `{member.name}`, which lies outside of it")
    if member.ischr() or member.isblk():
        raise RefusedError(f"the context has the device `{member.name}`")
    parts = name.split("/")
    through = next((p for i in range(1, len(parts)) if (p := "/".join(parts[:i])) in links), None)
    if through is not None:
        raise RefusedError(f"the context has `{member.name}` below the link `{through}`")
    if member.islnk():
        target = posixpath.normpath(member.linkname)
        if target.startswith(("/", "../")) or target == "..":
            raise RefusedError(f"the context has the link `{member.name}` to `{member.linkname}`")
    return name
