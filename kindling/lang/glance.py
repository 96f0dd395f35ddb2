"""What a path looks like from outside: nothing, something, a file, or a folder with these names."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

__all__ = ["THERE", "look", "still", "text_digest"]

THERE = "there"
"""The digest of a path of which only its existence was asked."""


def text_digest(text: str) -> str:
    """A short digest of a text, for telling whether it is still the same."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def look(path: Path) -> str:
    """`""` for nothing, `file`, or `folder` and a digest of the names in it.

    Contents do not matter.
    """
    try:
        with os.scandir(path) as entries:
            names = sorted(f"{entry.name}{'/' if entry.is_dir() else ''}" for entry in entries)
    except OSError:
        return "file" if path.exists() else ""
    return "folder " + text_digest("\n".join(names))


def still(path: Path, digest: str) -> bool:
    """Whether a path still looks as it did when an evaluation took `digest` of it."""
    return path.exists() if digest == THERE else look(path) == digest
