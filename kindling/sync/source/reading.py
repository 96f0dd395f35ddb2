"""Asking the disk what the paths that count hold now.

Each path is examined with what lies around it: a folder on the way that is new is read whole, one
that is gone or has become a file takes all below with it, and no link below the root is followed.
So the result is right whatever was told of the events, and in whatever order.

What is found, and what becomes of it in the container:

    a file                       its bytes and permission bits; empty ones and ones with holes too
                                 (holes come as zeros)
    a folder                     made, with its bits; an empty one too
    a link within the folder     made as it is, whether it leads to a file, a folder or nowhere
    a link out of the folder     refused (`outside`), as is a link that leads over such a one
    socket, fifo, device         refused (`special`), never opened
    unreadable file or folder    refused (`unreadable`; entry `unreadable:0`); what the container
                                 has there is left, and it is read as soon as that is allowed
    a name of up to 255 bytes    carried, with newlines, quotes, in no known encoding, `..a`
    `.kindling-tmp-...`          refused (`name`)
    changed while it was read    read again, five times at most; a file that never stands still is
                                 taken as it was read last, and its next event brings us back
    gone before it was read      gone
    touched, content as it was   nothing changed

What is refused is told by name, what the container has there is left, and all else goes on.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from kindling.files.contents import entry_of_file, entry_of_other
from kindling.files.statcache import StatCache, is_settled
from kindling.files.tree import ABSENT
from kindling.sync.rules.landing import always_ignored, ignored_by_name
from kindling.sync.source.members import Members, parent_of
from kindling.sync.source.selection import Selection, Span

__all__ = ["Found", "Reader"]

Found = tuple[str, int | None]
"""A path's entry, and its size where it is a file."""

_FEW = 8
"""Fewer files than this are read where we are: starting threads would take longer."""
_BATCH = 64


@dataclass(slots=True)
class _Looking:
    """One look under way."""

    entries: Mapping[str, str]
    members: Members
    found: dict[str, Found | None] = field(default_factory=dict[str, Found | None])
    folders: dict[str, bool] = field(default_factory=dict[str, bool])
    """Folders on the way to what was examined: are they as they were known?"""
    ways: set[str] = field(default_factory=set[str])
    """Folders above what was examined."""
    walked: set[str] = field(default_factory=set[str])
    """Examined with all below."""
    pending: dict[str, os.stat_result] = field(default_factory=dict[str, os.stat_result])


class Reader:
    """Reads the paths of a selection. Blocking; one thread at a time."""

    def __init__(self, top: str, selection: Selection, cache: StatCache) -> None:
        self._top = top
        self._selection = selection
        self._cache = cache

    def examine(
        self, paths: Collection[str] | None, entries: Mapping[str, str], members: Members
    ) -> dict[str, Found | None]:
        """What differs from `entries` (which `members` names by folder): None for what is gone.

        `paths` are looked at with all below them; None: everything is.
        """
        looking = _Looking(entries, members)
        for path in self._selection.tops if paths is None else sorted(paths):
            self._path(path, looking)
        if paths is None:
            for path in entries.keys() - looking.found.keys():
                looking.found[path] = None
        self._read(looking)
        for local in self._selection.locals:
            # A step's own path is an entry even where it is not there.
            if (looking.found[local] if local in looking.found else entries.get(local)) is None:
                looking.found[local] = (ABSENT, None)
        return {
            path: one
            for path, one in looking.found.items()
            if (None if one is None else one[0]) != entries.get(path)
        }

    def _path(self, path: str, looking: _Looking) -> None:
        selection = self._selection
        if not selection.covers(path):
            for top in selection.leads_to(path):
                self._path(top, looking)
            return
        if always_ignored(path) or path in looking.walked:
            return
        way = self._way(path)
        if any(folder in looking.walked for folder in way):
            return
        looking.ways.update(way)
        for folder in way:
            if not self._is_known_folder(folder, looking):
                # New, gone, or a file or link by now: then so is all that lies in it.
                self._at(folder, looking)
                return
        self._at(path, looking)

    def _way(self, path: str) -> list[str]:
        """The folders from the root to the path, the outermost first. Those on the way to a folder
        beside the root are the user's own and may be links."""
        found: list[str] = []
        folder = parent_of(path)
        while folder is not None and folder != ".":
            found.append(folder)
            folder = parent_of(folder)
        return found[::-1]

    def _is_known_folder(self, folder: str, looking: _Looking) -> bool:
        known = looking.folders.get(folder)
        if known is None:
            known = self._look_at_folder(folder, looking)
            looking.folders[folder] = known
        return known

    def _look_at_folder(self, folder: str, looking: _Looking) -> bool:
        try:
            seen = os.lstat(self._place(folder))
        except OSError:
            return False
        if not stat.S_ISDIR(seen.st_mode):
            return False
        if not self._selection.holds(folder):
            # Nothing is known of it itself; it is on the way to what counts.
            return True
        text = f"dir:{seen.st_mode & 0o7777:o}"
        if not looking.entries.get(folder, "").startswith("dir:"):
            return False
        looking.found[folder] = (text, None)
        return True

    def _at(self, path: str, looking: _Looking) -> None:
        """What is at the path and below it."""
        looking.walked.add(path)
        for known in looking.members.below(path, itself=True):
            looking.found[known] = None
        if path in looking.ways:
            # What was found below a moment ago need not be there any more.
            prefix = "" if path == "." else path + "/"
            for seen_now in (looking.found, looking.pending):
                for known in [one for one in seen_now if one.startswith(prefix)]:
                    looking.found[known] = None
                    looking.pending.pop(known, None)
        place = self._place(path)
        holds = self._selection.holds(path)
        try:
            seen = os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError:
            if holds:
                looking.found[path] = ("unreadable:0", None)
            return
        if stat.S_ISDIR(seen.st_mode):
            if holds:
                looking.found[path] = (f"dir:{seen.st_mode & 0o7777:o}", None)
            if spans := self._selection.spans_in(path):
                self._walk(path, spans, looking)
        elif holds:
            self._one(path, parent_of(path) or ".", posixpath.basename(path), seen, looking)

    def _walk(self, top: str, spans: tuple[Span, ...], looking: _Looking) -> None:
        # Local names: this loop runs once per file of the project.
        found = looking.found
        todo = [(top, spans)]
        while todo:
            folder, spans = todo.pop()
            place = self._place(folder)
            try:
                with os.scandir(place) as listing:
                    items = list(listing)
            except (FileNotFoundError, NotADirectoryError):
                found.pop(folder, None)
                continue
            except OSError:
                found[folder] = ("unreadable:0", None)
                continue
            looking.walked.add(folder)
            prefix = "" if folder == "." else folder + "/"
            for item in items:
                name = item.name
                if ignored_by_name(name):
                    continue
                path = prefix + name
                kept = any(not span.drops(path, name) for span in spans)
                try:
                    if item.is_dir(follow_symlinks=False):
                        inner = self._selection.spans_of_member(path, spans)
                        if kept:
                            mode = item.stat(follow_symlinks=False).st_mode
                            found[path] = (f"dir:{mode & 0o7777:o}", None)
                        if inner:
                            todo.append((path, inner))
                    elif kept:
                        self._one(path, folder, name, item.stat(follow_symlinks=False), looking)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except OSError:
                    found[path] = ("unreadable:0", None)
            self._cache.trim(folder, {item.name for item in items})

    def _one(
        self, path: str, folder: str, name: str, seen: os.stat_result, looking: _Looking
    ) -> None:
        """What is no folder."""
        if not stat.S_ISREG(seen.st_mode):
            entry = entry_of_other(self._place(path), seen)
            looking.found[path] = None if entry is None else (entry, None)
            return
        had = self._cache.folder(folder).get(name)
        if had is not None and had[:5] == [
            seen.st_size,
            seen.st_mtime_ns,
            seen.st_ctime_ns,
            seen.st_ino,
            seen.st_mode,
        ]:
            looking.found[path] = (str(had[5]), seen.st_size)
        else:
            looking.pending[path] = seen

    def _read(self, looking: _Looking) -> None:
        pending = looking.pending
        if not pending:
            return
        now = self._cache.now()
        paths = list(pending)
        if len(paths) < _FEW:
            results = [self._content(path, now) for path in paths]
        else:
            size = min(_BATCH, -(-len(paths) // 4))
            batches = [paths[at : at + size] for at in range(0, len(paths), size)]
            with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "kindling-hash") as pool:
                done = pool.map(lambda batch: [self._content(path, now) for path in batch], batches)
                results = [one for batch in done for one in batch]
        looking.found.update(zip(paths, results, strict=True))
        if self._cache.worth_saving:
            self._cache.save()

    def _content(self, path: str, now: int) -> Found | None:
        try:
            entry, seen = entry_of_file(self._place(path))
        except OSError:
            return ("unreadable:0", None)
        if entry is None:
            return None
        if seen is None:
            return (entry, None)
        if is_settled(seen, now):
            folder, name = parent_of(path) or ".", posixpath.basename(path)
            self._cache.put(folder, name, seen, entry)
        return (entry, seen.st_size)

    def _place(self, path: str) -> str:
        return self._top if path == "." else f"{self._top}/{path}"
