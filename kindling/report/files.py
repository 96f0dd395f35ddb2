"""Reports that are files: written whole beside their place, then renamed into it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from kindling.errors import HostError

__all__ = ["write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the whole new one.

    Raises:
        HostError: The folder cannot be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise HostError(
            f"cannot write `{path}`: {error.strerror or error}",
            hint="Choose another place for the report.",
        ) from error


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current
