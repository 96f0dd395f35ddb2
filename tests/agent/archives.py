"""Build contexts for tests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

__all__ = ["archive", "member"]


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """An entry of an archive, as odd as one likes."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, target, 0o755
    return made


def archive(files: Mapping[str, bytes], *members: tarfile.TarInfo) -> bytes:
    """A `.tar.gz` of these files and entries."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as made:
        for name, data in files.items():
            info = member(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
        for one in members:
            made.addfile(one)
    return out.getvalue()
