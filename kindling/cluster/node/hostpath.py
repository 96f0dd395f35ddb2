"""Paths of this machine as volumes, and what their type promises."""

from __future__ import annotations

import stat
from pathlib import Path

__all__ = ["host_path"]


def host_path(text: str, kind: str) -> Path:
    """The path, made if its type says so. Raises `ValueError`, in the kubelet's words, where it is
    something else."""
    path = Path(text)
    if kind in ("", "DirectoryOrCreate") and not path.exists():
        path.mkdir(parents=True, mode=0o755)
    elif kind == "FileOrCreate" and not path.exists():
        path.touch(mode=0o644)
    checks = {
        "Directory": (stat.S_ISDIR, "a directory"),
        "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
        "File": (stat.S_ISREG, "a file"),
        "FileOrCreate": (stat.S_ISREG, "a file"),
        "Socket": (stat.S_ISSOCK, "a socket file"),
        "CharDevice": (stat.S_ISCHR, "a character device"),
        "BlockDevice": (stat.S_ISBLK, "a block device"),
    }
    if kind in checks:
        check, what = checks[kind]
        if not path.exists() or not check(path.stat().st_mode):
            raise ValueError(f"hostPath type check failed: {text} is not {what}")
    return path
