"""The files of layers on top of each other, as a container sees them, without mounting anything."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from kindling.cluster.images.unpack import OPAQUE
from kindling.files.ignore import Ignore

__all__ = ["ContextTree", "FileTree", "RootView", "is_opaque"]

_MOST_LINKS = 40


class FileTree(Protocol):
    """Files to copy from. Paths are relative, POSIX, without `..`; empty is the root. A link is
    itself, never what it leads to."""

    def stat(self, path: str) -> os.stat_result | None: ...

    def real(self, path: str) -> str:
        """The file of this machine that is meant."""
        ...

    def names(self, path: str) -> list[str]:
        """What a folder holds, sorted."""
        ...

    def resolve(self, path: str) -> str:
        """The path with every link followed, inside the tree, whether it exists or not."""
        ...


class _Links:
    """Following links inside a tree, for whatever knows its own `stat` and `real`."""

    def stat(self, path: str) -> os.stat_result | None:
        raise NotImplementedError

    def real(self, path: str) -> str:
        raise NotImplementedError

    def resolve(self, path: str) -> str:
        waiting = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        at: list[str] = []
        links = 0
        while waiting:
            name = waiting.pop()
            if name == "..":
                at = at[:-1]
                continue
            below = "/".join((*at, name))
            info = self.stat(below)
            if info is None or not stat.S_ISLNK(info.st_mode) or links >= _MOST_LINKS:
                at.append(name)
                continue
            links += 1
            target = os.readlink(self.real(below))
            if target.startswith("/"):
                at = []
            waiting += [part for part in reversed(target.split("/")) if part not in ("", ".")]
        return "/".join(at)


class RootView(_Links):
    """`layers` in overlayfs form, lowest first, over the machine's own root with `host`."""

    def __init__(self, layers: Sequence[Path], *, host: bool = False) -> None:
        self._layers = [str(layer) for layer in reversed(layers)]
        self._host = host

    def stat(self, path: str) -> os.stat_result | None:
        found = self._find(path)
        return found[1] if found is not None else None

    def real(self, path: str) -> str:
        found = self._find(path)
        if found is None:
            raise FileNotFoundError(path)
        return found[0]

    def names(self, path: str) -> list[str]:
        found: dict[str, bool] = {}
        for layer in self._layers:
            state = _state(layer, path)
            if state in ("hidden", "file"):
                break
            if state == "absent":
                continue
            folder = os.path.join(layer, path)
            with os.scandir(folder) as entries:
                for entry in entries:
                    found.setdefault(
                        entry.name, not _is_whiteout(entry.stat(follow_symlinks=False))
                    )
            if state == "opaque":
                break
        else:
            if self._host and os.path.isdir("/" + path):
                for name in os.listdir("/" + path):
                    found.setdefault(name, True)
        return sorted(name for name, there in found.items() if there)

    def _find(self, path: str) -> tuple[str, os.stat_result] | None:
        for layer in self._layers:
            state = _state(layer, path)
            if state in ("folder", "opaque", "file"):
                real = os.path.join(layer, path)
                return real, os.lstat(real)
            if state == "hidden":
                return None
        if self._host:
            try:
                return f"/{path}", os.lstat(f"/{path}")
            except OSError:
                return None
        if not path:
            return "/", os.stat_result((stat.S_IFDIR | 0o755, 0, 0, 2, 0, 0, 0, 0, 0, 0))
        return None


class ContextTree(_Links):
    """The files below a folder; `ignored` says which are as if they were not there."""

    def __init__(self, folder: Path, ignored: Ignore | None = None) -> None:
        self.folder = folder
        self._ignored = ignored or None

    def stat(self, path: str) -> os.stat_result | None:
        try:
            info = os.lstat(self.folder / path)
        except OSError:
            return None
        if self._ignored is not None and path and self._ignored.matches(path):
            # A folder that is dropped may hold what is not.
            keeps = stat.S_ISDIR(info.st_mode) and not self._ignored.prunes(path)
            return info if keeps and self.names(path) else None
        return info

    def real(self, path: str) -> str:
        return os.path.join(self.folder, path)

    def names(self, path: str) -> list[str]:
        below = f"{path}/" if path else ""
        return [
            name
            for name in sorted(os.listdir(self.folder / path))
            if self._ignored is None or self.stat(below + name) is not None
        ]


def _state(layer: str, path: str) -> str:
    """What a layer says of a path: `absent` (ask the next), `hidden` (it is gone, or not below a
    folder), `folder`, `opaque` (a folder that hides those below it), `file`."""
    at = layer
    opaque = False
    info = os.lstat(layer)
    for part in path.split("/") if path else []:
        if not stat.S_ISDIR(info.st_mode):
            return "hidden"
        opaque = opaque or (at != layer and is_opaque(at))
        at = f"{at}/{part}"
        try:
            info = os.lstat(at)
        except FileNotFoundError:
            return "hidden" if opaque else "absent"
        if _is_whiteout(info):
            return "hidden"
    if not stat.S_ISDIR(info.st_mode):
        return "file"
    return "opaque" if opaque or (at != layer and is_opaque(at)) else "folder"


def _is_whiteout(info: os.stat_result) -> bool:
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def is_opaque(path: str) -> bool:
    """Whether a folder of a layer hides what lower layers have there."""
    try:
        return os.getxattr(path, OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False
