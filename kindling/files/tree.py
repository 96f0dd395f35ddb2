"""Manifests of file sets: every path with what it holds.

Made for the common case that nothing changed: one pass over the folders, one `stat` per file, one
look into the stat cache per file, no regular expression where a set will do. What did change is
hashed by a few threads, since reading and hashing both let go of the interpreter.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from kindling.errors import HostError
from kindling.files.contents import entry_of_file, entry_of_other
from kindling.files.ignore import DEFAULT_PATTERNS, Ignore
from kindling.files.statcache import StatCache, is_settled
from kindling.graph.node import FileSet, IgnoreRule

__all__ = ["ABSENT", "FileManifest", "TreeReader"]

ABSENT = "absent"
"""The entry of a path that is asked for and not there."""

_FEW = 8
"""Fewer changed files than this are hashed where we are: starting threads would take longer."""
_BATCH = 64

_TYPE = 0o170000
_REGULAR, _FOLDER = stat.S_IFREG, stat.S_IFDIR
_DEFAULTS = Ignore(Path("/"), (IgnoreRule(".", DEFAULT_PATTERNS),))


@dataclass(frozen=True, slots=True)
class FileManifest:
    """Path (POSIX, relative to the root) to an entry that covers kind, mode, content and link
    target.

    `file:644:sha256:...`, `dir:755`, `link:TARGET`, `fifo:644`, `socket:755`, `device:600`, and
    `absent` for a path that was asked for and is not there. Sorted by path. Folders are entries of
    their own, so an empty one counts. `digest` is of all of it.
    """

    entries: Mapping[str, str]
    digest: str


@dataclass(slots=True)
class _Pending:
    """A file whose content is not known yet."""

    folder: str
    name: str
    path: str


class TreeReader:
    """Reads file sets below `root`. Blocking; call in a thread. Safe from several.

    Symlinks are entries and never followed. What version control and editors write for themselves
    (`DEFAULT_PATTERNS`) is left out, unless it was asked for by name.
    """

    def __init__(self, root: Path, cache: StatCache) -> None:
        self._root = root
        # A project may be reached by a link; within it none is followed.
        self._top = os.path.realpath(root)
        self._cache = cache

    def read(self, fileset: FileSet) -> FileManifest:
        """The manifest of a file set as it is now.

        A file that changes while it is read is read again. What vanishes meanwhile is not there.

        Raises:
            HostError: A file or folder cannot be read; the message names it.
            ConfigError: An ignore pattern is none.
        """
        ignore = Ignore(self._root, fileset.ignore)
        entries: dict[str, str] = {}
        pending: list[_Pending] = []
        for path in _roots(fileset):
            if not ignore.matches(path):
                self._read_root(path, ignore, entries, pending)
            elif not ignore.prunes(path):
                self._walk(path, ignore, entries, pending)
        if pending:
            self._hash(pending, entries)
        ordered = {path: entries[path] for path in sorted(entries)}
        return FileManifest(MappingProxyType(ordered), _digest(ordered))

    def _read_root(
        self, path: str, ignore: Ignore, entries: dict[str, str], pending: list[_Pending]
    ) -> None:
        try:
            seen = os.lstat(self._place(path))
        except (FileNotFoundError, NotADirectoryError):
            entries[path] = ABSENT
            return
        except OSError as error:
            raise _unreadable(self._place(path), error) from error
        kind = seen.st_mode & _TYPE
        if kind == _FOLDER:
            entries[path] = f"dir:{seen.st_mode & 0o7777:o}"
            self._walk(path, ignore, entries, pending)
        elif kind == _REGULAR:
            folder, name = posixpath.split(path)
            if (entry := self._known(folder or ".", name, seen)) is None:
                pending.append(_Pending(folder or ".", name, path))
            else:
                entries[path] = entry
        else:
            self._special(path, seen, entries)

    def _walk(
        self, top: str, ignore: Ignore, entries: dict[str, str], pending: list[_Pending]
    ) -> None:
        """Everything below a folder; the folder itself is the caller's."""
        # Local names: this loop runs once per file of the project.
        dropped_by_default = _DEFAULTS.matches_child
        dropped = ignore.matches_child if ignore else None
        cache = self._cache
        todo = [top]
        while todo:
            folder = todo.pop()
            place = self._place(folder)
            try:
                with os.scandir(place) as listing:
                    found = list(listing)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise _unreadable(place, error) from error
            known = cache.folder(folder)
            prefix = "" if folder == "." else folder + "/"
            files = 0
            for item in found:
                name = item.name
                path = prefix + name
                if dropped_by_default(name, name):
                    continue
                if dropped is not None and dropped(path, name):
                    if item.is_dir(follow_symlinks=False) and not ignore.prunes(path):
                        todo.append(path)
                    continue
                try:
                    seen = item.stat(follow_symlinks=False)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except OSError as error:
                    raise _unreadable(place + "/" + name, error) from error
                mode = seen.st_mode
                kind = mode & _TYPE
                if kind == _REGULAR:
                    files += 1
                    had = known.get(name)
                    if (
                        had is not None
                        and had[1] == seen.st_mtime_ns
                        and had[2] == seen.st_ctime_ns
                        and had[0] == seen.st_size
                        and had[3] == seen.st_ino
                        and had[4] == mode
                    ):
                        entries[path] = had[5]  # type: ignore[assignment]
                    else:
                        pending.append(_Pending(folder, name, path))
                elif kind == _FOLDER:
                    entries[path] = f"dir:{mode & 0o7777:o}"
                    todo.append(path)
                else:
                    self._special(path, seen, entries)
            if len(known) > files:
                cache.trim(folder, {item.name for item in found})

    def _known(self, folder: str, name: str, seen: os.stat_result) -> str | None:
        had = self._cache.folder(folder).get(name)
        now = [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_mode]
        return str(had[5]) if had is not None and had[:5] == now else None

    def _special(self, path: str, seen: os.stat_result, entries: dict[str, str]) -> None:
        place = self._place(path)
        try:
            entry = entry_of_other(place, seen)
        except OSError as error:
            raise _unreadable(place, error) from error
        if entry is None:
            entries.pop(path, None)
        else:
            entries[path] = entry

    def _hash(self, pending: list[_Pending], entries: dict[str, str]) -> None:
        now = self._cache.now()
        if len(pending) < _FEW:
            results: Iterable[list[str | None]] = [self._hash_batch(pending, now)]
        else:
            size = min(_BATCH, -(-len(pending) // 4))
            batches = [pending[at : at + size] for at in range(0, len(pending), size)]
            with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "kindling-hash") as pool:
                results = list(pool.map(lambda batch: self._hash_batch(batch, now), batches))
        found = (entry for batch in results for entry in batch)
        for file, entry in zip(pending, found, strict=True):
            if entry is not None:
                entries[file.path] = entry
        if self._cache.worth_saving:
            self._cache.save()

    def _hash_batch(self, batch: list[_Pending], now: int) -> list[str | None]:
        return [self._hash_one(file, now) for file in batch]

    def _hash_one(self, file: _Pending, now: int) -> str | None:
        place = self._place(file.path)
        try:
            entry, seen = entry_of_file(place)
        except OSError as error:
            raise _unreadable(place, error) from error
        if entry is not None and seen is not None and is_settled(seen, now):
            self._cache.put(file.folder, file.name, seen, entry)
        return entry

    def _place(self, path: str) -> str:
        return self._top if path == "." else f"{self._top}/{path}"


def _roots(fileset: FileSet) -> list[str]:
    """The paths to begin at: those of the set, or what `only` keeps of them."""
    paths = list(dict.fromkeys(posixpath.normpath(path) for path in fileset.paths))
    if not fileset.only:
        return paths
    kept: dict[str, None] = {}
    for only in map(posixpath.normpath, fileset.only):
        for path in paths:
            if _holds(path, only):
                kept[only] = None
            elif _holds(only, path):
                kept[path] = None
    return list(kept)


def _holds(folder: str, path: str) -> bool:
    """Is `path` the folder itself or below it?"""
    if folder == ".":
        return path != ".." and not path.startswith("../")
    return path == folder or path.startswith(folder + "/")


def _digest(entries: Mapping[str, str]) -> str:
    text = "\0".join([part for entry in entries.items() for part in entry])
    # File names that are not UTF-8 reach us with surrogates in them.
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=32).hexdigest()


def _unreadable(place: str, error: OSError) -> HostError:
    return HostError(
        f"`{place}` cannot be read: {error.strerror or error}",
        hint="Make it readable, or leave it out with an ignore pattern.",
    )
