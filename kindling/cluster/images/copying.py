"""COPY and ADD: which files go where, as the entries of the layer that they make."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Event

from kindling.cluster.images.layer_tar import Entry, owner_of
from kindling.cluster.images.rootview import FileTree, RootView
from kindling.cluster.images.tape import Stopped
from kindling.errors import nearest

__all__ = ["CopyError", "Copying", "content_digest", "parents"]

_CHUNK = 1024 * 1024


class CopyError(Exception):
    """What cannot be copied, in Docker's words."""


@dataclass(frozen=True, slots=True)
class Copying:
    """One COPY: `sources` are patterns in `tree`, `dest` is absolute, or ends with a slash for a
    folder. `owner` None keeps the files' own; `mode` None keeps theirs."""

    tree: FileTree
    sources: tuple[str, ...]
    dest: str
    owner: tuple[int, int] | None = (0, 0)
    mode: int | None = None

    def entries(self, view: RootView) -> list[Entry]:
        """The layer's entries over an image of these files, folders above them included. Blocking.

        Raises:
            CopyError: A source does not exist, or several have no folder to go to.
        """
        found: dict[str, Entry] = {}
        matched = [path for source in self.sources for path in self._match(source)]
        dest = view.resolve(self.dest)
        info = view.stat(dest)
        to_folder = self.dest.endswith(("/", "/.")) or (
            info is not None and stat.S_ISDIR(info.st_mode)
        )
        if len(matched) > 1 and not to_folder:
            raise CopyError(
                "When using COPY with more than one source file, the destination must be a"
                " directory and end with a /"
            )
        for path in matched:
            info = self.tree.stat(path)
            if info is not None and stat.S_ISLNK(info.st_mode):
                path = self.tree.resolve(path)
                info = self.tree.stat(path)
            if info is None:
                raise CopyError(f"stat {path}: file does not exist")
            if stat.S_ISDIR(info.st_mode):
                if dest and view.stat(dest) is None:
                    found[dest] = self._entry(dest, info, path)
                for entry in self._below(path, dest):
                    found[entry.name] = entry
            else:
                name = posixpath.join(dest, posixpath.basename(path)) if to_folder else dest
                name = view.resolve(name)
                found[name] = self._entry(name, info, path)
        above = parents(found, view, self.owner or (0, 0))
        return [*above, *(found[name] for name in sorted(found))]

    def _match(self, source: str) -> list[str]:
        clean = posixpath.normpath("/" + source).lstrip("/")
        if not re.search(r"[*?\[\\]", clean):
            info = self.tree.stat(clean)
            if info is None:
                folder = self.tree.resolve(posixpath.dirname(clean))
                base = posixpath.basename(clean)
                clean = posixpath.join(folder, base) if folder else base
                info = self.tree.stat(clean)
            if info is None:
                raise CopyError(self._missing(source, clean))
            return [clean]
        found = [""]
        for part in clean.split("/"):
            pattern = _pattern(part)
            found = [
                f"{folder}/{name}" if folder else name
                for folder in found
                if (info := self.tree.stat(folder)) is not None and stat.S_ISDIR(info.st_mode)
                for name in self.tree.names(folder)
                if pattern.fullmatch(name)
            ]
        if not found:
            raise CopyError("no source files were specified")
        return found

    def _missing(self, source: str, clean: str) -> str:
        said = (
            "file not found in build context or excluded by .dockerignore: stat"
            f" {source.lstrip('/') or '.'}: file does not exist"
        )
        folder = posixpath.dirname(clean)
        info = self.tree.stat(folder)
        if info is not None and stat.S_ISDIR(info.st_mode):
            hint = nearest(posixpath.basename(clean), self.tree.names(folder))
            return f"{said}. {hint}" if hint else said
        return said

    def _below(self, path: str, dest: str) -> Iterator[Entry]:
        for name in self.tree.names(path):
            source = f"{path}/{name}" if path else name
            target = f"{dest}/{name}" if dest else name
            info = self.tree.stat(source)
            if info is None:
                continue
            if not (
                stat.S_ISREG(info.st_mode)
                or stat.S_ISDIR(info.st_mode)
                or stat.S_ISLNK(info.st_mode)
            ):
                continue
            yield self._entry(target, info, source)
            if stat.S_ISDIR(info.st_mode):
                yield from self._below(source, target)

    def _entry(self, name: str, info: os.stat_result, path: str) -> Entry:
        uid, gid = self.owner if self.owner is not None else owner_of(info)
        mode = info.st_mode
        if self.mode is not None and not stat.S_ISLNK(mode):
            mode = stat.S_IFMT(mode) | self.mode
        real = self.tree.real(path)
        entry = Entry(name, mode, uid, gid, int(info.st_mtime))
        if stat.S_ISLNK(mode):
            return replace(entry, mode=stat.S_IFLNK | 0o777, link=os.readlink(real))
        return replace(entry, source=real) if stat.S_ISREG(mode) else entry


def parents(
    names: dict[str, Entry], view: RootView, owner: tuple[int, int] = (0, 0)
) -> list[Entry]:
    """The folders above these names: as the image has them, or new ones."""
    found: dict[str, Entry] = {}
    for name in names:
        folder = posixpath.dirname(name)
        while folder and folder not in found and folder not in names:
            info = view.stat(folder)
            if info is not None and stat.S_ISDIR(info.st_mode):
                found[folder] = Entry(folder, info.st_mode, *owner_of(info), int(info.st_mtime))
            else:
                found[folder] = Entry(folder, stat.S_IFDIR | 0o755, *owner)
            folder = posixpath.dirname(folder)
    return [found[name] for name in sorted(found)]


def content_digest(entries: Sequence[Entry], stop: Event) -> str:
    """A digest of what is copied: names, kinds, modes, owners and bytes, but not times, by which
    Docker's builders do not tell files apart either. Blocking."""
    digest = hashlib.sha256()
    for entry in entries:
        if stop.is_set():
            raise Stopped
        digest.update(
            f"{entry.name}\0{entry.mode:o}\0{entry.uid}\0{entry.gid}\0{entry.link}\0".encode(
                "utf-8", "surrogateescape"
            )
        )
        content = hashlib.sha256(entry.data)
        if entry.source:
            with open(entry.source, "rb", buffering=0) as file:
                while data := file.read(_CHUNK):
                    content.update(data)
        digest.update(content.digest())
    return digest.hexdigest()


def _pattern(text: str) -> re.Pattern[str]:
    """One name's pattern, as Go's filepath.Match has it."""
    out = ""
    at = 0
    while at < len(text):
        sign = text[at]
        at += 1
        if sign == "*":
            out += ".*"
        elif sign == "?":
            out += "."
        elif sign == "\\" and at < len(text):
            out += re.escape(text[at])
            at += 1
        elif sign == "[" and (end := text.find("]", at + 1)) > 0:
            inside = text[at:end]
            negated = inside.startswith("^")
            body = inside[negated:].replace("[", "\\[")
            out += f"[{'^' if negated else ''}{body}]"
            at = end + 1
        else:
            out += re.escape(sign)
    try:
        return re.compile(out, re.DOTALL)
    except re.error as error:
        raise CopyError(f"syntax error in pattern `{text}`: {error}") from error
