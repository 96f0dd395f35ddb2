"""Reading the few files that assembling looks into."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from kindling.errors import HostError

__all__ = ["DiskReader", "FileReader"]


class FileReader(Protocol):
    """The text of project files, by paths as declarations have them (POSIX, from the root)."""

    def read(self, path: str) -> str | None:
        """The text of a file, or None where there is no such file.

        Raises:
            HostError: It is there and cannot be read.
        """
        ...


class DiskReader:
    """The files below (and beside) a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> str | None:
        try:
            return (self._root / path).read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise HostError(f"`{path}` cannot be read: {error.strerror or error}") from error
