"""Watching by inotify, without watches on ignored folders.

watchdog's own recursive watch cannot leave folders out, and one of its watches per folder would
cost a thread each. So its reader of the inotify descriptor is subclassed here and the walk is ours:
one instance, one thread, a watch on each folder that counts and none below `node_modules`.

A new folder is watched first and listed second, so that nothing in it can be missed; what was there
by then is reported as changed. A root that is missing is awaited at the nearest folder that is
there. Where the kernel allows no more watches, folders are polled instead.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterable, Sequence

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from kindling.files.roots import Cover, Sink, WatchRoot

__all__ = ["InotifyBackend"]

_GONE = InotifyConstants.IN_DELETE_SELF | InotifyConstants.IN_MOVE_SELF
_CAME = InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO
_WENT = InotifyConstants.IN_DELETE | InotifyConstants.IN_MOVED_FROM
_MAY_OPEN = InotifyConstants.IN_ATTRIB
_IS_FOLDER = InotifyConstants.IN_ISDIR
_MASK = Mask(
    _CAME
    | _WENT
    | _GONE
    | InotifyConstants.IN_MODIFY
    # Linkers write by mmap, which only the close tells.
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_EXCL_UNLINK
)

_UNWATCHED = WatchDescriptor(-1)
_POLL = 1.0

_Seen = dict[str, tuple[int, int, int, int, int]]


class _Folder:
    """A folder that is watched, or polled where it could not be (`wd` is -1)."""

    __slots__ = ("awaits", "covers", "path", "seen", "wd")

    def __init__(self, path: str, wd: WatchDescriptor) -> None:
        self.path = path
        self.wd = wd
        self.covers: tuple[Cover, ...] = ()
        """The roots that this folder is part of."""
        self.awaits: dict[str, set[WatchRoot]] = {}
        """Roots that are, or whose way begins with, a member of this folder."""
        self.seen: _Seen = {}
        """What polling found last."""

    @property
    def idle(self) -> bool:
        return not self.covers and not self.awaits


class _Reader(InotifyFD):
    """watchdog's reader thread, handing whole reads to one callable instead of one callback per
    watch."""

    def __init__(self, handle: Callable[[Iterable[InotifyEvent]], None]) -> None:
        super().__init__()
        self._handle = handle
        self.name = "kindling-inotify"

    def run(self) -> None:
        while self.should_keep_running():
            self._handle(self.read_events())

    # The three methods that a callback has; events do not come by them.

    def on_event(self, event: InotifyEvent) -> None: ...

    def on_watch_deleted(self, wd: WatchDescriptor) -> None: ...

    def on_queue_overflow(self) -> None: ...

    def add(self, path: str, mask: Mask) -> WatchDescriptor:
        """Watch a folder; -1 when it may not be read.

        Raises:
            OSError: It is not there, is no folder, or the limit is reached (ENOSPC).
        """
        id_ = CallbackId(id(self))
        with self._lock:
            watch = self._get_or_create_watch(os.fsencode(path), mask)
            watch.callbacks[id_] = self
            if watch.wd == _UNWATCHED:
                self._watch_for_wd.pop(watch.wd, None)
            return watch.wd

    def remove(self, wd: WatchDescriptor) -> None:
        """End a watch, of a folder that may be gone already."""
        self.remove_callbacks([(wd, CallbackId(id(self)))])

    def forget(self, wd: WatchDescriptor) -> None:
        """The kernel has ended a watch by itself."""
        with self._lock:
            self._remove_watch(wd)


class InotifyBackend:
    """Watches a changing set of roots and tells a sink. Its methods block; one thread at a time."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lock = threading.RLock()
        self._roots: set[WatchRoot] = set()
        self._folders: dict[str, _Folder] = {}
        # By bind mounts and links one folder may have several paths, and has one watch.
        self._by_wd: dict[WatchDescriptor, list[_Folder]] = {}
        self._anchors: dict[WatchRoot, _Folder] = {}
        self._polled: set[_Folder] = set()
        self._poller: threading.Thread | None = None
        self._closed = threading.Event()
        self._reader: _Reader | None = None
        try:
            self._reader = _Reader(self.handle)
        except OSError as error:
            if error.errno not in {errno.EMFILE, errno.ENFILE}:
                raise
            sink.limited("fs.inotify.max_user_instances")
        else:
            self._reader.start()

    def close(self) -> None:
        """End every watch and both threads."""
        self._closed.set()
        if self._reader is not None:
            self._reader.stop()
            self._reader.join()
        if self._poller is not None:
            self._poller.join()

    @property
    def folders(self) -> frozenset[str]:
        """The folders that are watched or polled just now."""
        with self._lock:
            return frozenset(self._folders)

    def set_roots(self, roots: Sequence[WatchRoot]) -> None:
        """Watch exactly these from now on. Once it returns, every later change is told."""
        wanted = set(roots)
        with self._lock:
            gone = self._roots - wanted
            fresh = [root for root in dict.fromkeys(roots) if root not in self._roots]
            self._roots = wanted
            # First in, then out: a folder that both sets share keeps its watch.
            for root in fresh:
                self._anchor(root)
            if gone:
                self._uncover(gone)

    # Events --------------------------------------------------------------------------------------

    def handle(self, events: Iterable[InotifyEvent]) -> None:
        """Take a read's worth of events."""
        with self._lock:
            if self._closed.is_set():
                return
            for event in events:
                if event.mask & InotifyConstants.IN_Q_OVERFLOW:
                    self._rebuild()
                    return
                for folder in tuple(self._by_wd.get(event.wd, ())):
                    self._event(folder, event.mask, os.fsdecode(event.name))

    def _event(self, folder: _Folder, mask: int, name: str) -> None:
        if mask & InotifyConstants.IN_IGNORED:
            self._ended(folder)
            return
        if not name:
            # What happens to a folder itself is told by its parent, but for those that only await.
            if mask & _GONE and folder.awaits:
                self._leave(folder.path)
            return
        path = _join(folder.path, name)
        if mask & _IS_FOLDER:
            if mask & InotifyConstants.IN_MOVED_FROM:
                self._leave(path)
            elif mask & _CAME or (mask & _MAY_OPEN and path not in self._folders):
                # One that could not be read has no watch, and may be readable now.
                inner = [c.child(name) for c in folder.covers if not c.prunes(name)]
                if inner:
                    self._enter(path, inner, tell=True)
        if any(not cover.drops(name) for cover in folder.covers):
            self._sink.changed(path)
        for root in tuple(folder.awaits.get(name, ())):
            self._root_event(root, path, mask)

    def _root_event(self, root: WatchRoot, path: str, mask: int) -> None:
        """Something happened to a root, or to a folder on the way to one that is missing."""
        if path != root.path:
            if mask & _CAME:
                self._anchor(root)
                if os.path.lexists(root.path):
                    self._sink.lost(root.path)
            return
        self._sink.changed(path)
        if mask & _CAME and os.path.isdir(path):
            self._anchor(root)
            self._sink.lost(path)
        elif mask & _WENT and mask & _IS_FOLDER:
            self._sink.lost(path)

    def _ended(self, folder: _Folder) -> None:
        """The kernel ended a watch: the folder is gone, or its file system is."""
        covers = folder.covers
        if self._reader is not None:
            self._reader.forget(folder.wd)
        self._forget(folder)
        if covers and os.path.isdir(folder.path):
            # Not gone, then, or made anew already.
            self._enter(folder.path, covers, tell=True)
            for cover in covers:
                self._sink.lost(cover.root.path)
        self._displaced(folder)

    def _leave(self, path: str) -> None:
        """A folder was moved away: its watches went with it and are ended."""
        prefix = path + "/"
        left = [f for p, f in self._folders.items() if p == path or p.startswith(prefix)]
        for folder in left:
            self._unwatch(folder)
        for folder in left:
            self._displaced(folder)

    def _displaced(self, folder: _Folder) -> None:
        """The roots that this folder awaited must be awaited elsewhere."""
        for root in {root for roots in folder.awaits.values() for root in roots}:
            if root in self._roots:
                self._anchors.pop(root, None)
                self._anchor(root)
                self._sink.lost(root.path)

    def _rebuild(self) -> None:
        """Events were lost, of new folders and of moves too: begin anew, then have all looked
        at."""
        for folder in tuple(self._folders.values()):
            self._unwatch(folder)
        self._anchors.clear()
        for root in self._roots:
            self._anchor(root)
        for root in self._roots:
            self._sink.lost(root.path)

    # Watches -------------------------------------------------------------------------------------

    def _anchor(self, root: WatchRoot) -> None:
        """Watch a root, and where it will come back should it vanish."""
        cover = Cover.of(root)
        if cover.out:
            return
        if (before := self._anchors.pop(root, None)) is not None:
            self._drop_awaiting(before, root)
        while root.path != "/":
            place, name = os.path.split(root.path)
            while place != "/" and not os.path.isdir(place):
                place, name = os.path.split(place)
            folder = self._watch(place)
            if folder is None:
                if os.path.isdir(place):
                    # It may not be read, so nothing can be told of it.
                    break
                continue
            folder.awaits.setdefault(name, set()).add(root)
            self._anchors[root] = folder
            way = _join(place, name)
            if way == root.path or not os.path.isdir(way):
                break
            # The next folder on the way has come meanwhile.
            self._drop_awaiting(folder, root)
        if os.path.isdir(root.path):
            self._enter(root.path, [cover], tell=False)

    def _drop_awaiting(self, folder: _Folder, root: WatchRoot) -> None:
        for name, roots in tuple(folder.awaits.items()):
            roots.discard(root)
            if not roots:
                del folder.awaits[name]
        if folder.idle:
            self._unwatch(folder)

    def _enter(self, top: str, covers: Sequence[Cover], *, tell: bool) -> None:
        """Watch a folder and all below it; with `tell`, what is there counts as changed."""
        todo: list[tuple[str, Sequence[Cover]]] = [(top, covers)]
        while todo:
            path, seen_by = todo.pop()
            before = self._folders.get(path)
            known = before.covers if before is not None else ()
            folder = self._watch(path)
            if folder is None:
                continue
            if folder is not before:
                known = ()
            fresh = [cover for cover in seen_by if cover not in known]
            if not fresh:
                # Watched already, and listed after it was.
                continue
            folder.covers = (*known, *fresh)
            for item in _listing(path):
                name = item.name
                if tell and any(not cover.drops(name) for cover in fresh):
                    self._sink.changed(_join(path, name))
                if item.is_dir(follow_symlinks=False):
                    inner = [cover.child(name) for cover in fresh if not cover.prunes(name)]
                    if inner:
                        todo.append((_join(path, name), inner))

    def _watch(self, path: str) -> _Folder | None:
        """The watched folder at `path`, new where there was none or another; None when it is
        gone."""
        wd = _UNWATCHED
        if self._reader is not None:
            try:
                wd = self._reader.add(path, _MASK)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    return None
                self._sink.limited("fs.inotify.max_user_watches")
            else:
                if wd == _UNWATCHED:
                    return None
        elif not os.path.isdir(path):
            return None
        before = self._folders.get(path)
        if before is not None:
            if before.wd == wd:
                return before
            # Another folder has taken its place; those who wait here still do.
            folder = _Folder(path, wd)
            folder.awaits, before.awaits = before.awaits, {}
            for root in {root for roots in folder.awaits.values() for root in roots}:
                self._anchors[root] = folder
            self._forget(before)
        else:
            folder = _Folder(path, wd)
        self._folders[path] = folder
        if wd == _UNWATCHED:
            folder.seen = _look(path)
            self._polled.add(folder)
            self._start_polling()
        else:
            self._by_wd.setdefault(wd, []).append(folder)
        return folder

    def _unwatch(self, folder: _Folder) -> None:
        self._forget(folder)
        if folder.wd != _UNWATCHED and folder.wd not in self._by_wd and self._reader is not None:
            self._reader.remove(folder.wd)

    def _forget(self, folder: _Folder) -> None:
        if self._folders.get(folder.path) is folder:
            del self._folders[folder.path]
        self._polled.discard(folder)
        same = self._by_wd.get(folder.wd)
        if same is not None and folder in same:
            same.remove(folder)
            if not same:
                del self._by_wd[folder.wd]

    def _uncover(self, gone: set[WatchRoot]) -> None:
        for root in gone:
            if (anchor := self._anchors.pop(root, None)) is not None:
                self._drop_awaiting(anchor, root)
        for folder in tuple(self._folders.values()):
            if any(cover.root in gone for cover in folder.covers):
                folder.covers = tuple(c for c in folder.covers if c.root not in gone)
            if folder.idle:
                self._unwatch(folder)

    # Polling -------------------------------------------------------------------------------------

    def _start_polling(self) -> None:
        if self._poller is None:
            self._poller = threading.Thread(target=self._poll_on, name="kindling-poll", daemon=True)
            self._poller.start()

    def _poll_on(self) -> None:
        while not self._closed.wait(_POLL):
            self.poll()

    def poll(self) -> None:
        """Look at every folder that could not be watched, and tell what differs from the last
        look."""
        with self._lock:
            for folder in tuple(self._polled):
                if folder not in self._polled:
                    continue
                if not os.path.isdir(folder.path):
                    self._ended(folder)
                    continue
                before, folder.seen = folder.seen, _look(folder.path)
                for name, mask in _changes(before, folder.seen):
                    self._event(folder, mask, name)


def _look(path: str) -> _Seen:
    found: _Seen = {}
    for item in _listing(path):
        try:
            seen = item.stat(follow_symlinks=False)
        except OSError:
            # Gone between the listing and the look.
            continue
        if stat.S_ISDIR(seen.st_mode):
            # Its times tell of its members, which are told themselves.
            found[item.name] = (seen.st_mode, seen.st_ino, 0, 0, 0)
        else:
            times = seen.st_mtime_ns, seen.st_ctime_ns
            found[item.name] = (seen.st_mode, seen.st_ino, seen.st_size, *times)
    return found


def _changes(before: _Seen, after: _Seen) -> Iterable[tuple[str, int]]:
    """The difference of two looks as events that inotify would have told."""
    for name, seen in before.items():
        now = after.get(name)
        if now == seen:
            continue
        kind = _IS_FOLDER if stat.S_ISDIR(seen[0]) else 0
        if now is None or now[1] != seen[1]:
            yield name, InotifyConstants.IN_MOVED_FROM | kind
        else:
            yield name, InotifyConstants.IN_MODIFY | kind
    for name, seen in after.items():
        if name not in before or before[name][1] != seen[1]:
            yield name, InotifyConstants.IN_CREATE | (_IS_FOLDER if stat.S_ISDIR(seen[0]) else 0)


def _listing(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as items:
            return list(items)
    except OSError:
        # Gone again, which its parent tells, or not ours to read, which reading it for a key will
        # tell.
        return []


def _join(folder: str, name: str) -> str:
    return folder + name if folder == "/" else f"{folder}/{name}"
