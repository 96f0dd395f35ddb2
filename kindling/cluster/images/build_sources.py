"""Where the files of a build come from: its context, archives, addresses."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event

from kindling.cluster.images.copying import CopyError
from kindling.cluster.images.dockerfile import DockerfileError, Instruction
from kindling.cluster.images.layer_tar import END, Entry, entry_bytes
from kindling.cluster.images.tape import ArchiveError, Source, decompressed
from kindling.cluster.images.unpack import unpack
from kindling.files.ignore import Ignore

__all__ = ["fetch", "ignored", "unpack_any", "write_out"]

_MOST_URL = 1 << 30


def ignored(context: Path) -> Ignore | None:
    """The rules of a context's `.dockerignore`."""
    from kindling.errors import ConfigError
    from kindling.files.ignore import parse_patterns
    from kindling.graph.node import IgnoreRule

    path = context / ".dockerignore"
    if not path.is_file():
        return None
    try:
        patterns = parse_patterns(path.read_text("utf-8", "replace"))
        return Ignore(context, (IgnoreRule(".", patterns),))
    except ConfigError as error:
        raise DockerfileError(f"error reading .dockerignore: {error.message}") from error


def unpack_any(path: str, folder: Path, stop: Event) -> bool:
    """Unpack a file if it is a tar archive, compressed in any of the ways ADD knows."""
    import bz2
    import lzma
    import tarfile

    try:
        if not tarfile.is_tarfile(path):
            with open(path, "rb") as probe:
                if probe.read(4) != b"\x28\xb5\x2f\xfd":
                    return False
    except (OSError, EOFError):
        return False
    with open(path, "rb") as file, ExitStack() as opened:
        head = file.read(6)
        file.seek(0)
        source: Source = file
        if head.startswith(b"BZh"):
            source = opened.enter_context(bz2.open(file))
        elif head.startswith(b"\xfd7zXZ"):
            source = opened.enter_context(lzma.open(file))
        else:
            source = decompressed(file)
        unpack(source, folder, stop=stop, whiteouts=False)
    return True


def write_out(entries: Sequence[Entry], folder: Path, stop: Event) -> None:
    """Copy entries to a folder, by way of the tar that they are."""
    import io

    data = io.BytesIO()
    for entry in entries:
        for piece in entry_bytes(entry, stop):
            data.write(piece)
    data.write(END)
    data.seek(0)
    try:
        unpack(data, folder, stop=stop, whiteouts=False)
    except ArchiveError as error:
        raise CopyError(str(error)) from error


async def fetch(step: Instruction, url: str, folder: Path) -> Path:
    """What ADD of an address gets, as a file in `folder`.

    Raises:
        DockerfileError: It cannot be had.
    """
    import aiohttp

    name = posixpath.basename(url.partition("?")[0].rstrip("/"))
    if not name or not url.partition("://")[2].strip("/").count("/"):
        raise step.error(f"cannot determine filename for source {url}")
    path = folder / name
    try:
        async with (
            aiohttp.ClientSession(trust_env=True) as session,
            session.get(url) as answer,
        ):
            if answer.status >= 400:
                raise step.error(f"ADD failed: {url}: {answer.status} {answer.reason}")
            with path.open("wb") as file:
                async for chunk in answer.content.iter_chunked(1 << 18):
                    file.write(chunk)
                    if file.tell() > _MOST_URL:
                        raise step.error(f"ADD failed: {url} has more than 1 GiB")
    except aiohttp.ClientError as error:
        raise step.error(f"ADD failed: {url}: {error}") from error
    os.utime(path, (0, 0))
    return path
