"""Ports of this machine: who holds one that is taken. Reads `/proc`, so elsewhere than on Linux it
knows nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["holder"]

_LISTEN = "0A"


def holder(port: int, proc: Path = Path("/proc")) -> str:
    """The process that listens on TCP `port`, as `name (pid 12)`; empty where that cannot be
    told."""
    inodes = {
        inode for table in ("tcp", "tcp6") for inode in _listening(proc / "net" / table, port)
    }
    if not inodes:
        return ""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for folder in proc.iterdir():
        if folder.name.isdigit() and _holds(folder / "fd", wanted):
            return f"{_name(folder)} (pid {folder.name})"
    return ""


def _listening(table: Path, port: int) -> Iterator[str]:
    try:
        lines = table.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
            yield fields[9]


def _holds(folder: Path, wanted: set[str]) -> bool:
    try:
        links = list(folder.iterdir())
    except OSError:  # it has ended, or is another user's
        return False
    for link in links:
        try:
            if os.readlink(link) in wanted:
                return True
        except OSError:
            continue
    return False


def _name(folder: Path) -> str:
    try:
        words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        text = " ".join(words).strip() or (folder / "comm").read_text(encoding="utf-8").strip()
    except OSError:
        return "a process"
    return text if len(text) <= 60 else f"{text[:60]}..."
