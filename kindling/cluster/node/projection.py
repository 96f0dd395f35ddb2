"""Files of a volume that change all at once.

The layout is the kubelet's (`pkg/volume/util/atomic_writer.go`), since programs watch for it: a
folder of its own for each state, `..data` leading to the present one, and a link for each name at
the top leading through `..data`. Renaming a fresh link over `..data` is what switches.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

__all__ = ["PayloadFile", "write_payload"]


@dataclass(frozen=True, slots=True)
class PayloadFile:
    content: bytes
    mode: int


def write_payload(folder: Path, files: Mapping[str, PayloadFile], group: int | None = None) -> bool:
    """Make `folder` hold exactly `files`, by their relative paths; whether anything changed.
    Raises `ValueError` for a path that leads out."""
    for path in files:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
            raise ValueError(f"invalid path: {path}")
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "..data"
    old = data.resolve() if data.is_symlink() else None
    if old is not None and _holds(old, files):
        return False
    state = folder / f"..{secrets.token_hex(8)}"
    state.mkdir(mode=0o755)
    state.chmod(0o755)
    try:
        _fill(state, files, group)
    except BaseException:
        shutil.rmtree(state, ignore_errors=True)
        raise
    fresh = folder / "..data_tmp"
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    fresh.symlink_to(state.name)
    fresh.replace(data)
    tops = {PurePosixPath(path).parts[0] for path in files}
    for top in tops:
        link = folder / top
        if not link.is_symlink():
            link.symlink_to(f"..data/{top}")
    for entry in folder.iterdir():
        if entry.is_symlink() and entry.name != "..data" and entry.name not in tops:
            entry.unlink()
    if old is not None and old.parent == folder.resolve():
        shutil.rmtree(old, ignore_errors=True)
    return True


def _fill(state: Path, files: Mapping[str, PayloadFile], group: int | None) -> None:
    for path, file in files.items():
        target = state / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        if group is not None:
            os.chown(target, -1, group)
        target.chmod(file.mode | (0o440 if group is not None else 0))


def _holds(state: Path, files: Mapping[str, PayloadFile]) -> bool:
    there = {
        path.relative_to(state).as_posix(): path for path in state.rglob("*") if path.is_file()
    }
    return there.keys() == files.keys() and all(
        there[name].read_bytes() == file.content
        and (there[name].stat().st_mode & file.mode) == file.mode
        for name, file in files.items()
    )
