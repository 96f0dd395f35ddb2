"""Operations on a container's tree, and the batch that they make up.

Each is whole or not at all for its path: a put, a move and a link take the place of a file or link
at one stroke (a temporary name beside it, then a rename), and never of a folder. None follows a
link: what is a folder in a batch is a folder by then. `digest` of a move is what the source must
hold; where it does not, whoever applies it puts the file instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kindling.sync.trees.manifest import Refused

__all__ = [
    "Batch",
    "Chmod",
    "Delete",
    "Link",
    "Mkdir",
    "Move",
    "Operation",
    "Put",
    "Rmdir",
]


@dataclass(frozen=True, slots=True)
class Mkdir:
    """Makes a folder where nothing is."""

    path: str
    mode: int


@dataclass(frozen=True, slots=True)
class Put:
    """Brings a file's bytes, whole or as a difference to what is there."""

    path: str
    mode: int
    digest: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Gives a file that is there another name, so that no bytes travel."""

    source: str
    path: str
    mode: int
    digest: str


@dataclass(frozen=True, slots=True)
class Link:
    """Makes a symbolic link."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Chmod:
    """Sets the permission bits of a file or folder."""

    path: str
    mode: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Removes a file or link; one that is gone already is no error."""

    path: str


@dataclass(frozen=True, slots=True)
class Rmdir:
    """Removes a folder that is empty; one that is not stays, which is no error."""

    path: str


Operation = Mkdir | Put | Move | Link | Chmod | Delete | Rmdir


@dataclass(frozen=True, slots=True)
class Batch:
    """Operations in the order in which they must become visible, and what could not be carried."""

    operations: tuple[Operation, ...] = ()
    refused: tuple[Refused, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.operations)

    def __len__(self) -> int:
        return len(self.operations)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    @property
    def puts(self) -> tuple[Put, ...]:
        """What needs bytes of ours."""
        return tuple(one for one in self.operations if isinstance(one, Put))

    @property
    def size(self) -> int:
        """Bytes of the files to put, as far as sizes are known; differences may need fewer."""
        return sum(one.size or 0 for one in self.puts)
