"""Watching where the system watches whole trees by itself (macOS, Windows): watchdog as it is.

Ignored folders cost nothing there, so their events are dropped here. A lost event is not told by
every system; what is told by none is a root that vanishes and comes back, so roots are awaited at a
folder above.
"""

from __future__ import annotations

import os
import posixpath
import threading
from collections.abc import Sequence
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import ObservedWatch

from kindling.files.ignore import DEFAULT_PATTERNS, Ignore
from kindling.files.roots import Sink, WatchRoot
from kindling.graph.node import IgnoreRule

__all__ = ["NativeBackend"]

_IGNORED_EVENTS = {"opened", "closed_no_write"}


class NativeBackend(FileSystemEventHandler):
    """Watches a changing set of roots and tells a sink. Its methods block; one thread at a time."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        # Replaced whole, never changed: watchdog's thread reads it without a lock, since it calls
        # us with one of its own held that we need for adding watches.
        self._roots: dict[WatchRoot, Ignore] = {}
        self._watches: dict[tuple[str, bool], ObservedWatch] = {}
        self._observer = Observer()
        self._observer.start()

    def close(self) -> None:
        """End every watch and all threads."""
        self._observer.stop()
        self._observer.join()

    def set_roots(self, roots: Sequence[WatchRoot]) -> None:
        """Watch exactly these from now on. Once it returns, every later change is told."""
        self._roots = {root: _own_rules(root) for root in roots}
        self._place()

    def _place(self) -> None:
        """Watch what the roots need now: themselves, and the nearest folder above that is there."""
        with self._lock:
            wanted: set[tuple[str, bool]] = set()
            for root in self._roots:
                wanted.add((_nearest(root.path), False))
                if os.path.isdir(root.path):
                    wanted.add((root.path, True))
            for path, recursive in wanted - self._watches.keys():
                watch = self._observer.schedule(self, path, recursive=recursive)
                self._watches[path, recursive] = watch
            for key in self._watches.keys() - wanted:
                self._observer.unschedule(self._watches.pop(key))

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog, on its thread."""
        if event.event_type in _IGNORED_EVENTS:
            return
        came_or_went = event.event_type != "modified"
        for path in {os.fsdecode(event.src_path), os.fsdecode(event.dest_path)} - {""}:
            self._tell(path, came_or_went=came_or_went)

    def _tell(self, path: str, *, came_or_went: bool) -> None:
        moved = False
        told = False
        for root, own in self._roots.items():
            on_the_way = root.path.startswith(path + os.sep)
            below = path == root.path or path.startswith(root.path + os.sep)
            told = told or (below and _counts(root, own, path))
            if came_or_went and (on_the_way or path == root.path):
                moved = True
                self._sink.lost(root.path)
        if told:
            self._sink.changed(path)
        if moved:
            threading.Thread(target=self._place, name="kindling-watch").start()


def _nearest(path: str) -> str:
    """The nearest folder above `path` that is there: it sees the root vanish and come back."""
    place = os.path.dirname(path)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    return place


def _own_rules(root: WatchRoot) -> Ignore:
    return Ignore(Path(root.path), (IgnoreRule(".", DEFAULT_PATTERNS),))


def _counts(root: WatchRoot, own: Ignore, path: str) -> bool:
    if path == root.path:
        return True
    if own.matches(_relative(path, root.path)):
        return False
    return root.ignore is None or not root.ignore.matches(_relative(path, str(root.ignore.root)))


def _relative(path: str, start: str) -> str:
    return posixpath.normpath(os.path.relpath(path, start).replace(os.sep, "/"))
