"""A path below a volume, whatever links its users have put there."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

__all__ = ["SubPathError", "below"]


class SubPathError(Exception):
    """A sub-path that leads out of its volume, or cannot be made."""


def below(volume: Path, sub: str) -> Path:
    """The real file or folder of `sub` inside `volume`; folders are made where nothing is. A link
    on the way is followed only as far as it stays inside."""
    parts = PurePosixPath(sub).parts
    if sub.startswith("/") or ".." in parts:
        raise SubPathError(f"subPath {sub!r} must be relative, without `..`")
    root = Path(os.path.realpath(volume))
    here = root
    for index, part in enumerate(parts):
        step = here / part
        real = Path(os.path.realpath(step))
        if real != root and root not in real.parents:
            raise SubPathError(
                f"subpath {str(PurePosixPath(*parts[: index + 1]))!r} leads out of the volume"
            )
        if not os.path.lexists(real):
            try:
                real.mkdir(mode=0o777)
                real.chmod(root.stat().st_mode & 0o7777)
            except OSError as error:
                raise SubPathError(f"subPath {sub!r} cannot be made: {error}") from error
        here = real
    return here
