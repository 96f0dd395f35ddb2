"""The paths of a tree by folder, so that what lies below one is found without a look at all."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Members", "parent_of"]


def parent_of(path: str) -> str | None:
    """The folder that a path lies in: `.` for what lies in the root; None for the root itself and
    for what is above it."""
    folder, slash, name = path.rpartition("/")
    if name == "..":
        return None
    if not slash:
        return None if path == "." else "."
    return None if folder == ".." or folder.endswith("/..") else folder


class Members:
    """Paths, and for each folder the names in it that are paths or lead to one."""

    def __init__(self) -> None:
        self._paths: set[str] = set()
        self._names: dict[str, dict[str, None]] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._paths

    def add(self, path: str) -> None:
        self._paths.add(path)
        folder = parent_of(path)
        while folder is not None:
            names = self._names.get(folder)
            if names is not None:
                names[path] = None
                return
            self._names[folder] = {path: None}
            path, folder = folder, parent_of(folder)

    def remove(self, path: str) -> None:
        self._paths.discard(path)
        while path not in self._paths and path not in self._names:
            folder = parent_of(path)
            if folder is None:
                return
            names = self._names.get(folder)
            if names is None:
                return
            names.pop(path, None)
            if names:
                return
            del self._names[folder]
            path = folder

    def leads(self, path: str) -> bool:
        """Does any path lie below it?"""
        return path in self._names

    def within(self, folder: str) -> tuple[str, ...]:
        """What lies in the folder itself: paths, and folders on the way to some."""
        return tuple(self._names.get(folder, ()))

    def below(self, folder: str, *, itself: bool = False) -> Iterator[str]:
        """Every path below the folder. The tree must not change meanwhile."""
        if itself and folder in self._paths:
            yield folder
        todo = [folder]
        while todo:
            for path in self._names.get(todo.pop(), ()):
                if path in self._paths:
                    yield path
                if path in self._names:
                    todo.append(path)
