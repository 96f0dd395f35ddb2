"""Secrets on disk: written whole, readable by their owner alone."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["private_folder", "write_private"]


def private_folder(folder: Path) -> None:
    """Make the folder, closed to everyone else, whatever the umask."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step, mode 0600 from its first byte, and durable on return."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
